"""What `explain` says would follow does follow: each sentence is tried on random small fleets."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware, Requirements, surplus
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import needs_of
from metier.domain.node import ENGAGED, Engagement, Node
from metier.domain.tier import Spread, Tier, TierKind, TierState, Trouble
from metier.operations.precedence import cost_of
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_tier,
    a_virtual_node,
    an_image,
)
from tests.unit.operations.asking import ask
from tests.unit.operations.claims import (
    allocated,
    at_rest,
    check_again,
    check_cure,
    check_harvest,
    check_line,
    harvested,
    released,
    starving,
    with_target,
)

WITHHELD = Engagement(False, "ann", NOW, "a look")
TIERS = ("web", "db", "batch")

hardware = st.builds(
    Hardware,
    memory_mib=st.sampled_from([128, 256, 512, 576, 1024]),
    cpus=st.sampled_from([1, 2]),
    disk_gib=st.just(8),
    attributes=st.sampled_from([frozenset(), frozenset({"ssd"})]),
)
requirements = st.builds(
    Requirements,
    memory_mib=st.sampled_from([0, 0, 512, 768]),
    cpus=st.sampled_from([0, 0, 2]),
    attributes=st.sampled_from([*[frozenset()] * 4, frozenset({"ssd"})]),
)
states = st.sampled_from([*[TierState.ACTIVE] * 5, TierState.ALLOCATED, TierState.INACTIVE])
homes = st.sampled_from(["free", "free", "free", "maintenance", "reserved", "discovered", *TIERS, *TIERS])
lives = st.sampled_from([*[Lifecycle.RUNNING] * 5, Lifecycle.PREPARED, Lifecycle.FAILED])
seldom = st.sampled_from([False, False, False, False, False, True])


@st.composite
def tiers(draw: st.DrawFn, name: str) -> Tier:
    minimum, more, room = draw(st.integers(0, 1)), draw(st.integers(0, 2)), draw(st.integers(0, 2))
    return a_tier(
        name,
        minimum=minimum,
        target=minimum + more,
        maximum=max(1, minimum + more + room),
        state=draw(states),
        priority=draw(st.sampled_from([10, 50, 50, 90])),
        requirements=draw(requirements),
        spread=draw(st.sampled_from(Spread)),
        harvesting=not draw(seldom),
        harvest_to_target=draw(st.booleans()),
        reboot_on_failure=False,
        move_to_maintenance=False,
    )


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Return a small site at rest: hosts of one host tier, their VMs, and three guest tiers."""
    hosts = draw(st.integers(1, 3))
    free_hosts = draw(st.integers(0, 2))
    filled: Counter[str] = Counter()
    guests = [
        _guest(draw, f"host-{host}", number, filled)
        for host in range(1, hosts + 1)
        for number in range(1, draw(st.integers(1, 4)) + 1)
    ]
    site = a_fleet(
        *(
            a_host(f"host-{n}", slot=n, engagement=WITHHELD if draw(seldom) else ENGAGED)
            for n in range(1, hosts + 1)
        ),
        *(a_host(f"metal-{n}", tier=None) for n in range(1, free_hosts + 1)),
        *guests,
        *(draw(tiers(name)) for name in TIERS),
        *([Trouble(TIERS[0], braked_since=NOW)] if draw(seldom) else []),  # type: ignore[arg-type]  # a name
        a_host_tier(state=TierState.ACTIVE, minimum=0, target=hosts, maximum=hosts + 1, priority=20),
        a_host_image(vms=4),
        an_image(),
    )
    rested = at_rest(site)
    assume(rested is not None)
    assert rested is not None
    return rested


def _guest(draw: st.DrawFn, host: str, number: int, filled: Counter[str]) -> Node:
    home = draw(homes)
    fields: dict[str, Any] = {"hardware": draw(hardware), "engagement": WITHHELD if draw(seldom) else ENGAGED}
    if home not in TIERS:
        return a_virtual_node(host, number, place=home, failures=draw(st.integers(0, 1)), **fields)
    filled[home] += 1
    life = draw(lives)
    problem = "it went off" if life is Lifecycle.FAILED else ""
    return a_virtual_node(
        host, number, tier=home, slot=filled[home], lifecycle=life, problem=problem, **fields
    )


def tiers_of(fleet: Fleet) -> list[Tier]:
    return sorted(fleet.tiers.values(), key=lambda tier: tier.name)


EXAMPLES = settings(max_examples=max(150, settings().max_examples))


def test_what_a_node_is_told_would_come_true() -> None:
    seen: Counter[str] = Counter()

    @EXAMPLES
    @given(fleets())
    def try_every_node(fleet: Fleet) -> None:
        for node in fleet.nodes.values():
            row = ask(fleet, "node", "explain", name=node.name)
            assert row["why"]
            if node.tier is None:
                for tier in tiers_of(fleet):
                    seen.update(_tried_outside(fleet, node, tier))
            else:
                seen.update(_tried_inside(fleet, node, fleet.tiers[node.tier], row))

    try_every_node()
    assert seen.keys() >= {
        "allocated first",
        "allocated later",
        "cure allocated",
        "cure would do",
        "kept",
        "no choice",
        "other choice",
        "released first",
        "replacement",
        "same choice",
    }, "each kind of claim was tried"


def _tried_outside(fleet: Fleet, node: Node, tier: Tier) -> Iterator[str]:
    (row,) = ask(fleet, "node", "explain", name=node.name, tier=tier.name)["tiers"]
    assert row["why_not"], "there is always a reason"
    assert not any("the next plan" in why for why in row["why_not"]), "nothing is left to be decided"
    for sentence in row["cures"]:
        if not row["fits"]:
            yield check_cure(fleet, node.name, tier, sentence)
        elif "resume" not in sentence and "others come first" not in sentence:
            yield check_line(fleet, tier, sentence, node.name)


def _tried_inside(fleet: Fleet, node: Node, tier: Tier, row: Any) -> Iterator[str]:
    for sentence in row["alternatives"]:
        yield check_again(fleet, node.name, tier, sentence)
    for sentence in (*row["would_leave"], *row["kept_by"]):
        yield from check_harvest(fleet, node.name, sentence)
    for sentence in row["would_leave"]:
        if "released" in sentence:
            yield check_line(fleet, tier, sentence, node.name)
    if tier.state is not TierState.INACTIVE and any("would not be released" in why for why in row["kept_by"]):
        assert node.name not in released(with_target(fleet, tier.name, 0), tier.name)
        yield "kept"


def test_what_a_tier_is_told_would_come_true() -> None:
    seen: Counter[str] = Counter()

    @EXAMPLES
    @given(fleets())
    def try_every_tier(fleet: Fleet) -> None:
        for tier in tiers_of(fleet):
            row = ask(fleet, "tier", "explain", name=tier.name)
            assert row["why"]
            seen.update(check_line(fleet, tier, sentence) for sentence in row["changes"])
            seen.update(_tried_lines(fleet, tier, row))
            if tier.kind is TierKind.GUEST:
                seen.update(_tried_cures(fleet, tier, row))
                seen.update(_tried_donors(fleet, tier, row))

    try_every_tier()
    assert seen.keys() >= {
        "allocated first",
        "released first",
        "line of candidates",
        "line to leave",
        "cure allocated",
        "cure would do",
        "donors",
    }, "each kind of claim was tried"


def _tried_lines(fleet: Fleet, tier: Tier, row: Any) -> Iterator[str]:
    has = len(fleet.members(tier.name))
    for count in range(1, len(row["next"]) + 1):
        line = [one["node"] for one in row["next"][:count]]
        assert allocated(with_target(fleet, tier.name, has + count), tier.name) == line
        yield "line of candidates"
    for count in range(1, len(row["would_leave"]) + 1):
        line = row["would_leave"][:count]
        assert released(with_target(fleet, tier.name, has - count), tier.name) == line
        yield "line to leave"
    if tier.state is not TierState.INACTIVE and len(row["would_leave"]) < 5:
        everybody = released(with_target(fleet, tier.name, 0), tier.name)
        assert everybody == row["would_leave"], "whoever would stay does"


def _tried_cures(fleet: Fleet, tier: Tier, row: Any) -> Iterator[str]:
    for sentence in row["cures"]:
        words = sentence.replace(":", " ").replace(",", " ").split()
        names = [name for name in fleet.nodes if name in words and fleet.nodes[name].is_virtual]
        if len(names) == 1:
            yield check_cure(fleet, names[0], tier, sentence)


def _tried_donors(fleet: Fleet, tier: Tier, row: Any) -> Iterator[str]:
    if tier.state is TierState.ACTIVE and row["brake"] is None:
        taken = harvested(starving(fleet, tier.name), tier.name)
        assert taken == [node for donor in row["donors"] for node in donor["nodes"]]
        yield "donors" if taken else "no donors"


@given(hardware, requirements)
def test_the_parts_of_a_cost_add_up_to_it(has: Hardware, needs: Requirements) -> None:
    """R-ALLOC-3."""
    roomy = replace(has, memory_mib=has.memory_mib + 1024, cpus=has.cpus + 2)
    node = a_virtual_node(hardware=roomy)
    tier = a_tier(requirements=needs)
    fleet = a_fleet(node, tier, an_image())
    parts = [int(part.split()[0]) for part in cost_of(fleet, tier, fleet.nodes[NodeId(node.name)])]
    assert sum(parts) == surplus(needs_of(fleet, tier), roomy)
