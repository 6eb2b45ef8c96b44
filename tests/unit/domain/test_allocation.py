"""Who gets which free node, and in which order (R-ALLOC-1, R-ALLOC-3)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from metier.domain.allocation import Allotment, allotments, by_importance, has_brake_on, shortage
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Requirements
from metier.domain.node import Place, Placement
from metier.domain.tier import Spread, Tier, TierState, Trouble
from tests.builders import (
    NOW,
    VM_HARDWARE,
    a_fleet,
    a_host,
    a_host_tier,
    a_tier,
    a_virtual_node,
    an_image,
)


def followed(draft: Draft) -> Iterator[Allotment]:
    """Yield who gets what, and put each there."""
    for one in allotments(draft, by_importance(draft, draft.tiers)):
        draft.change_node(one.node.name, placement=Placement(Place.TIER, one.slot.tier, one.slot.number))
        yield one


def allotted(fleet: Fleet) -> list[tuple[str, str, int, str]]:
    """Return who would get which slot, at what cost and to reach what."""
    return [(one.node.name, str(one.slot), one.cost, one.level) for one in followed(fleet.edit())]


def a_site(*records: Any, **web: Any) -> Fleet:
    hosts = [a_host(f"host-{number}", slot=number) for number in (1, 2)]
    values: dict[str, Any] = {"state": TierState.ALLOCATED, "target": 2}
    tier: Tier = a_tier(**(values | web))
    return a_fleet(*hosts, a_host_tier(target=2), an_image(), tier, *records)


def test_r_alloc_1_every_minimum_comes_before_any_target() -> None:
    web = a_tier("vital", state=TierState.ALLOCATED, priority=90, minimum=0, target=2)
    nodes = [a_virtual_node(number=number) for number in (1, 2)]
    assert allotted(a_site(web, *nodes, minimum=1)) == [
        ("host-1/VM1", "web/1", 32, "minimum"),
        ("host-1/VM2", "vital/1", 32, "target"),
    ]


def test_r_alloc_3_nodes_of_different_hardware_at_the_same_cost_are_spread_like_equals() -> None:
    # 64 MiB less and one GiB of disk more: another shape, the same surplus.
    other = replace(VM_HARDWARE, memory_mib=VM_HARDWARE.memory_mib - 64, disk_gib=VM_HARDWARE.disk_gib + 1)
    nodes = [
        a_virtual_node("host-1", 1),
        a_virtual_node("host-1", 2),
        a_virtual_node("host-2", 1, hardware=other),
        a_virtual_node("host-2", 2, hardware=other),
    ]
    for records in (nodes, nodes[::-1]):
        assert [name for name, *_ in allotted(a_site(*records))] == ["host-1/VM1", "host-2/VM1"]
        packed = a_site(*records, spread=Spread.PACK)
        assert [name for name, *_ in allotted(packed)] == ["host-1/VM1", "host-1/VM2"]


def test_r_alloc_3_the_cheapest_is_left_to_a_tier_that_has_no_other_but_not_beside_promised_nodes() -> None:
    fast = replace(VM_HARDWARE, memory_mib=256, cpus=4)
    large = replace(VM_HARDWARE, memory_mib=16384)
    records = [
        a_virtual_node(number=1, hardware=fast),
        a_virtual_node(number=2, hardware=large),
        a_tier("vital", state=TierState.ALLOCATED, priority=90),
        a_tier(state=TierState.ALLOCATED, requirements=Requirements(cpus=4)),
        a_tier("batch"),
    ]
    first, second = followed(a_site(*records).edit())
    assert (first.node.name, first.slot.tier, first.left_to) == ("host-1/VM2", "vital", ("web",))
    assert (second.node.name, second.slot.tier, second.left_to) == ("host-1/VM1", "web", ())
    promised = a_virtual_node("host-2", 1, hardware=fast, promised="batch")
    assert [one.node.name for one in followed(a_site(*records, promised).edit())] == ["host-1/VM1"]


def test_r_alloc_4_and_r_storm_1_nobody_gets_more_than_the_maximum_nor_anything_while_braked() -> None:
    fleet = a_site(a_virtual_node(number=1), target=3, maximum=1)
    tier = next(tier for tier in fleet.tiers.values() if tier.name == "web")
    assert (shortage(fleet, tier, 3), shortage(fleet, replace(tier, state=TierState.INACTIVE), 3)) == (1, 0)
    assert len(allotted(fleet)) == 1
    braked = a_site(a_virtual_node(number=1), Trouble(tier.name, braked_since=NOW))
    assert has_brake_on(braked, tier)
    assert not allotted(braked)
