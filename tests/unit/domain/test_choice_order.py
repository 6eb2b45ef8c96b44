"""R-ALLOC-3 told a second time, without queues: of all candidates, in every step, the smallest rank."""

import random
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from metier.domain.allocation import allotments, by_importance
from metier.domain.choice import Rank, rank
from metier.domain.fleet import Draft, Fleet, Shape
from metier.domain.ids import natural
from metier.domain.matching import cost, needs_of, obstacles
from metier.domain.node import Node, Place, Placement
from metier.domain.tier import Tier
from tests.unit.domain.crowded import fleets


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
def test_the_order_in_which_records_came_decides_nothing(fleet: Fleet, chance: random.Random) -> None:
    names = list(fleet.nodes)
    chance.shuffle(names)
    other = fleet.edit()
    for name in names:
        node = other.nodes[name]
        other.remove_node(name)
        other.put_node(node)
    assert _all(fleet.edit()) == _all(other)


def _candidates(fleet: Fleet, tier: Tier) -> Iterator[Node]:
    return (node for node in fleet.nodes.values() if not obstacles(fleet, node, tier))


def _place(fleet: Fleet, tier: Tier, node: Node) -> tuple[tuple[bool, int], Rank, tuple[str | int, ...]]:
    assert node.hardware is not None
    price = cost(needs_of(fleet, tier), Shape(node.kind, node.hardware))
    return price, rank(fleet, tier, node), natural(node.name)


def _allot(draft: Draft, node: Node, tier: Tier, slot: int) -> None:
    placement = Placement(Place.TIER, tier.name, slot)
    draft.change_node(node.name, placement=placement, promised=None)


def _all(draft: Draft) -> list[tuple[str, str]]:
    found = []
    for one in allotments(draft, by_importance(draft, draft.tiers)):
        _allot(draft, one.node, draft.tiers[one.slot.tier], one.slot.number)
        found.append((str(one.node.name), str(one.slot)))
    return found
