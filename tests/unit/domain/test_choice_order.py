"""R-ALLOC-3 told a second time, without queues: of all candidates, in every step, the smallest rank."""

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from metier.domain.allocation import Rank, allotments, by_importance, rank
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import natural
from metier.domain.matching import cost, needs_of, obstacles
from metier.domain.node import ENGAGED, Engagement, Node, Place, Placement
from metier.domain.tier import Spread, Tier, TierState
from tests.builders import VM_HARDWARE, a_fleet, a_host, a_host_tier, a_tier, a_virtual_node, an_image

TIERS = ("web", "db", "batch")
DEAR = replace(VM_HARDWARE, memory_mib=1024)
# As dear as the usual one, though of another shape.
OTHER = replace(VM_HARDWARE, memory_mib=448, disk_gib=9)

seldom = st.sampled_from((0, 0, 0, 0, 1, 2))
homes = st.sampled_from(("free",) * 6 + TIERS + ("maintenance",))


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Return hosts with free and taken nodes, of which some failed or are promised, and tiers in need."""
    hosts = range(1, draw(st.integers(1, 5)) + 1)
    filled = dict.fromkeys(TIERS, 0)
    nodes = [
        _guest(draw, f"host-{host}", number, filled)
        for host in hosts
        for number in range(1, draw(st.integers(0, 5)) + 1)
    ]
    site: list[Node | Tier] = [
        a_host(
            f"host-{host}",
            slot=host,
            failures=draw(seldom),
            engagement=ENGAGED if draw(seldom) < 2 else Engagement(False),
        )
        for host in hosts
    ]
    site += [
        a_host(f"spare-{n}", tier=None, failures=draw(seldom)) for n in range(1, draw(st.integers(0, 3)) + 1)
    ]
    more = draw(st.integers(0, 2))
    site.append(a_host_tier(state=TierState.ACTIVE, minimum=0, target=len(hosts) + more, priority=70))
    site += [_tier(draw, name, filled[name]) for name in TIERS]
    return a_fleet(*draw(st.permutations(nodes)), *site, an_image())


def _guest(draw: st.DrawFn, host: str, number: int, filled: dict[str, int]) -> Node:
    home = draw(homes)
    hardware = draw(st.sampled_from((VM_HARDWARE, VM_HARDWARE, OTHER, DEAR)))
    if home in TIERS:
        filled[home] += 1
        return a_virtual_node(host, number, tier=home, slot=filled[home], hardware=hardware)
    promised = draw(st.sampled_from((None,) * 6 + TIERS))
    return a_virtual_node(
        host, number, place=home, hardware=hardware, failures=draw(seldom), promised=promised
    )


def _tier(draw: st.DrawFn, name: str, has: int) -> Tier:
    target = draw(st.integers(0, 8))
    return a_tier(
        name,
        state=TierState.ALLOCATED,
        minimum=draw(st.integers(0, target)),
        target=target,
        maximum=max(1, has, target),
        priority=draw(st.sampled_from((10, 50, 90))),
        spread=draw(st.sampled_from(Spread)),
    )


@given(fleets())
def test_r_alloc_3_every_node_taken_is_the_first_of_all_candidates_at_its_turn(fleet: Fleet) -> None:
    draft = fleet.edit()
    for one in allotments(draft, by_importance(draft, draft.tiers)):
        tier = draft.tiers[one.slot.tier]
        assert one.node.name == min(_candidates(draft, tier), key=lambda node: _place(draft, tier, node)).name
        _allot(draft, one.node, tier, one.slot.number)
    for tier in draft.tiers.values():
        if len(draft.members(tier.name)) < tier.target:
            left = [node for node in _candidates(draft, tier) if node.promised is None]
            assert not left, "nobody goes short beside a candidate"


@given(fleets(), st.randoms())
def test_the_order_in_which_records_came_decides_nothing(fleet: Fleet, chance: object) -> None:
    names = list(fleet.nodes)
    chance.shuffle(names)  # type: ignore[attr-defined]  # a random.Random
    other = fleet.edit()
    for name in names:
        node = other.nodes[name]
        other.remove_node(name)
        other.put_node(node)
    assert _all(fleet.edit()) == _all(other)


def _candidates(fleet: Fleet, tier: Tier) -> Iterator[Node]:
    return (node for node in fleet.nodes.values() if not obstacles(fleet, node, tier))


def _place(fleet: Fleet, tier: Tier, node: Node) -> tuple[object, Rank, object]:
    assert node.hardware is not None
    (shape,) = (shape for shape, groups in fleet.free.items() if _is_among(groups, node))
    return cost(needs_of(fleet, tier), shape), rank(fleet, tier, node), natural(node.name)


def _is_among(groups: object, node: Node) -> bool:
    assert isinstance(groups, dict)
    return node.name in groups.get(node.host or node.name, ())


def _allot(draft: Draft, node: Node, tier: Tier, slot: int) -> None:
    placement = Placement(Place.TIER, tier.name, slot)
    draft.change_node(node.name, placement=placement, promised=None)


def _all(draft: Draft) -> list[tuple[str, str]]:
    found = []
    for one in allotments(draft, by_importance(draft, draft.tiers)):
        _allot(draft, one.node, draft.tiers[one.slot.tier], one.slot.number)
        found.append((str(one.node.name), str(one.slot)))
    return found
