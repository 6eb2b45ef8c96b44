"""What fits a tier and what it costs (R-ALLOC-2, R-ALLOC-3), and what proves a node down (R-FENCE-1)."""

from datetime import timedelta

import pytest

from metier.domain.evidence import proof_of_down
from metier.domain.hardware import Hardware, Requirements, shortfalls, surplus
from metier.domain.ids import NodeId
from metier.domain.matching import obstacles
from metier.domain.node import Endpoint, Engagement, Place, Request
from metier.domain.observation import Observed, Power
from metier.domain.tier import Fence, TierState
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_tier,
    a_node,
    a_tier,
    a_virtual_node,
    an_image,
    vm_facts,
)

LATER = NOW + timedelta(seconds=1)
FENCE = Fence(NodeId("host-1/VM1"), NodeId("host-1"), 1, NOW)


def test_r_alloc_3_surplus_counts_every_sort_and_attributes_make_a_node_dear() -> None:
    needs = Requirements(memory_mib=256, cpus=1)
    plain = Hardware(512, cpus=2, disk_gib=1, nics=1)
    assert surplus(needs, plain) == 256 // 64 + 16 + 1 + 4
    fast = Hardware(512, cpus=2, disk_gib=1, nics=1, attributes=frozenset({"ssd"}))
    assert surplus(needs, fast) == surplus(needs, plain) + 64


def test_r_alloc_2_every_shortfall_is_named_in_words() -> None:
    needs = Requirements(1024, 4, 10, "aarch64", 2, frozenset({"ssd"}), frozenset({"storage"}))
    words = [gap.missing for gap in shortfalls(needs, Hardware(512, cpus=2))]
    assert words == [
        "512 MiB more memory",
        "2 more CPUs",
        "10 GiB more disk",
        "1 more NICs",
        "architecture aarch64",
        "attribute ssd",
        "network storage",
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, None),
        ({"place": Place.MAINTENANCE}, "it is in the maintenance pool"),
        ({"engagement": Engagement(False, "ann", why="a look")}, "it is disengaged by ann: a look"),
        ({"hardware": None}, "it is not inventoried"),
        ({"request": Request.POWER_OFF}, "an operator ordered power-off"),
        ({"tier": "web"}, "it is in tier web"),
        ({"promised": "db"}, "it was taken for tier db"),
    ],
)
def test_r_alloc_2_what_stands_in_the_way_of_a_virtual_node(fields: dict[str, object], sentence: str) -> None:
    tiers = (a_tier(maximum=3), a_tier("db", state=TierState.ACTIVE), a_host_tier())
    node = a_virtual_node(**fields)
    fleet = a_fleet(an_image(), *tiers, a_host(), node, observed={"host-1": Observed(Power.ON, NOW)})
    found = [obstacle.sentence for obstacle in obstacles(fleet, node, fleet.tiers["web"])]
    assert found == ([] if sentence is None else [sentence])


@pytest.mark.parametrize(
    ("host", "seen", "word"),
    [
        (a_host(engagement=Engagement(engaged=False)), Observed(), "is disengaged"),
        (a_host(request=Request.SHUTDOWN), Observed(), "is not running"),
        (a_host(), Observed(vmm_reachable=False), "does not answer"),
        (a_host("host-9"), Observed(), "is gone"),
    ],
)
def test_r_alloc_2_a_host_that_cannot_start_anything(host: object, seen: Observed, word: str) -> None:
    node = a_virtual_node()
    fleet = a_fleet(an_image(), a_tier(), a_host_tier(), host, node, observed={"host-1": seen})
    (found,) = obstacles(fleet, node, fleet.tiers["web"])
    assert word in found.sentence


def test_r_alloc_2_a_host_tier_wants_a_vm_manager() -> None:
    bare = a_node("metal")
    fleet = a_fleet(a_host_tier(), bare)
    (found,) = obstacles(fleet, bare, fleet.tiers["hosts"])
    assert found.sentence == "it has no VM manager"


@pytest.mark.parametrize(
    ("seen", "proof"),
    [
        (Observed(), None),
        (Observed(Power.UNKNOWN, LATER), None),
        (Observed(Power.ON, LATER), None),
        (Observed(Power.OFF, NOW), None),
        (Observed(Power.OFF, LATER), "the power controller of host-1 reports it off"),
        (Observed(vms=(vm_facts(1, Power.ON),), vms_at=LATER), None),
        (Observed(vms=(vm_facts(1, Power.UNKNOWN),), vms_at=LATER), None),
        (Observed(vms=(vm_facts(1, Power.OFF),), vms_at=NOW), None),
        (Observed(vms=(vm_facts(1, Power.OFF),), vms_at=LATER), "host host-1 reports VM1 off"),
        (Observed(vms=(vm_facts(2),), vms_at=LATER), None),
    ],
)
def test_r_fence_1_only_what_was_seen_off_afterwards_is_proof(seen: Observed, proof: str | None) -> None:
    fleet = a_fleet(a_host(tier=None, power=Endpoint("fake")), observed={"host-1": seen})
    assert proof_of_down(fleet, FENCE) == proof
