"""Switching nodes, and what must be accepted first (R-FORCE-1)."""

import pytest

from metier.domain.errors import NeedsAcceptance, Refusal
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement, Request
from metier.domain.observation import Observed, Power
from metier.domain.tier import TierState
from metier.operations.registry import Caller
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_node,
    a_slot,
    a_tier,
    a_virtual_node,
    an_image,
    an_instance,
    vm_facts,
)
from tests.unit.operations.asking import ALICE, a_view, change, still

HOST = NodeId("host-1")
ACCEPTING = Caller("alice", NOW, accept_warnings=True)
OFF = Observed(power=Power.OFF, power_at=NOW)
ON = Observed(power=Power.ON, power_at=NOW)


def two_hosts_and_two_guests(**seen: int) -> Fleet:
    """Return host-1 with two active guests, and host-2 with one free virtual node."""
    return a_fleet(
        a_host(),
        a_host("host-2", slot=2),
        a_host_tier(target=2, state=TierState.ACTIVE),
        a_host_image(),
        a_virtual_node(number=1, tier="web", slot=1),
        a_virtual_node(number=2, tier="web", slot=2),
        a_virtual_node(number=3),
        a_virtual_node("host-2", 1),
        a_tier(target=2, minimum=2, state=TierState.ACTIVE),
        a_slot("web", 1, node=NodeId("host-1/VM1"), instance=an_instance("web", 1)),
        a_slot("web", 2, node=NodeId("host-1/VM2"), instance=an_instance("web", 2, store="host-9")),
        an_image(),
        observed={"host-1": Observed(**seen)},
    )


@pytest.mark.parametrize("verb", ["shutdown", "power-off", "power-cycle"])
def test_a_host_goes_down_only_once_each_guest_s_warning_is_accepted(verb: str) -> None:
    """R-FORCE-1, S52, S53."""
    fleet = two_hosts_and_two_guests()
    with pytest.raises(NeedsAcceptance) as refusal:
        change(fleet, "node", verb, name="host-1")
    assert refusal.value.warnings == (
        (
            "host-1/VM1 is active in tier web, slot 1: the tier falls below its minimum of 2 with 0 left; "
            "host-2/VM1 is free to replace it; its local data on host-1 is lost"
        ),
        (
            "host-1/VM2 is active in tier web, slot 2: the tier falls below its minimum of 2 with 0 left; "
            "no replacement is free; no local data is lost"
        ),
    )
    after, outcome = change(fleet, "node", verb, caller=ACCEPTING, name="host-1")
    assert after.nodes[HOST].request is Request(verb)
    assert outcome.message == f"{verb} of node host-1 ordered"
    assert "the 3 virtual nodes of host-1 are deleted" in outcome.warnings


def test_a_free_node_on_the_same_host_is_no_replacement() -> None:
    fleet = two_hosts_and_two_guests()
    draft = fleet.edit()
    draft.remove_node(NodeId("host-2/VM1"))
    with pytest.raises(NeedsAcceptance) as refusal:
        change(draft.freeze(), "node", "shutdown", name="host-1")
    assert all("no replacement is free" in warning for warning in refusal.value.warnings)


def test_a_disengaged_or_small_node_is_no_replacement() -> None:
    draft = two_hosts_and_two_guests().edit()
    draft.change_node(NodeId("host-2/VM1"), engagement=Engagement(False))
    with pytest.raises(NeedsAcceptance, match="has consequences") as refusal:
        change(draft.freeze(), "node", "shutdown", name="host-1")
    assert all("no replacement is free" in warning for warning in refusal.value.warnings)


def test_guests_of_tiers_that_are_not_active_and_idle_need_no_acceptance() -> None:
    fleet = a_fleet(
        a_host(),
        a_host_tier(),
        a_virtual_node(tier="web", lifecycle=Lifecycle.IDLE),
        a_tier(state=TierState.ALLOCATED),
        an_image(),
    )
    after, _ = change(fleet, "node", "shutdown", name="host-1")
    assert after.nodes[HOST].request is Request.SHUTDOWN


def test_vms_of_others_on_the_host_need_acceptance() -> None:
    fleet = a_fleet(a_host(), a_host_tier(), observed={"host-1": Observed(foreign_running=2)})
    with pytest.raises(NeedsAcceptance) as refusal:
        change(fleet, "node", "power-off", name="host-1")
    assert refusal.value.warnings == (
        "host-1 runs 2 VMs that are not Metier's: what runs there is cut off too",
    )


def test_an_active_guest_itself_needs_acceptance() -> None:
    """R-FORCE-1."""
    fleet = two_hosts_and_two_guests()
    with pytest.raises(NeedsAcceptance) as refusal:
        change(fleet, "node", "shutdown", name="host-1/VM1")
    assert refusal.value.warnings == (
        "host-1/VM1 is active in tier web, slot 1: the tier falls below its minimum of 2 with 1 left",
    )


def test_switching_an_engaged_member_off_says_that_it_comes_back() -> None:
    fleet = a_fleet(a_host(), a_host_tier(state=TierState.ACTIVE))
    _, outcome = change(fleet, "node", "power-off", name="host-1")
    assert any("disengage it to keep it off" in warning for warning in outcome.warnings)
    _, outcome = change(fleet, "node", "power-cycle", name="host-1")
    assert outcome.warnings == ()


def test_an_order_given_twice_is_no_error_and_another_takes_its_place() -> None:
    fleet, _ = change(a_fleet(a_node()), "node", "power-on", name="node-1")
    again, outcome = change(fleet, "node", "power-on", name="node-1")
    assert again is fleet
    assert outcome.message == "power-on of node node-1 is ordered already"
    fleet, outcome = change(fleet, "node", "power-off", name="node-1")
    assert fleet.nodes[NodeId("node-1")].request is Request.POWER_OFF
    assert outcome.warnings == ("this takes the place of the power-on ordered before",)


def test_a_node_that_cannot_be_switched_is_refused_with_a_remedy() -> None:
    with pytest.raises(Refusal, match="it has no power controller") as refusal:
        change(a_fleet(a_node(power=None)), "node", "power-off", name="node-1")
    assert "metier node edit node-1 --power" in refusal.value.remedy
    with pytest.raises(Refusal, match="it is quarantined"):
        change(a_fleet(a_node(place="quarantined")), "node", "power-on", name="node-1")


def test_a_virtual_node_without_an_active_tier_has_nothing_to_run() -> None:
    fleet = a_fleet(a_host(), a_host_tier(), a_virtual_node())
    with pytest.raises(Refusal, match="it is in no tier and so has no image to run"):
        change(fleet, "node", "power-on", name="host-1/VM1")
    member = a_virtual_node(tier="web", lifecycle=Lifecycle.IDLE)
    fleet = a_fleet(a_host(), a_host_tier(), member, a_tier(state=TierState.ALLOCATED))
    with pytest.raises(Refusal, match="its tier web is allocated"):
        change(fleet, "node", "power-cycle", name="host-1/VM1")


def test_waiting_for_off_ends_when_the_node_is_seen_off_and_the_order_is_done() -> None:
    stopping = a_host(request=Request.SHUTDOWN, lifecycle=Lifecycle.STOPPING)
    fleet = a_fleet(stopping, a_host_tier(), observed={"host-1": ON})
    view = a_view(fleet, waiting={"host-1": ["the guest OS has 40 s left"]})
    assert still(fleet, "node", "shutdown", view=view, name="host-1") == [
        "node host-1 is stopping, its power is on",
        "the guest OS has 40 s left",
    ]
    fleet = a_fleet(a_host(lifecycle=Lifecycle.IDLE), a_host_tier(), observed={"host-1": OFF})
    assert still(fleet, "node", "shutdown", name="host-1") == []
    assert still(fleet, "node", "power-off", name="host-1/VM1") == []


def test_waiting_for_on_ends_when_a_member_runs_or_another_node_is_seen_on() -> None:
    active = a_host_tier(state=TierState.ACTIVE)
    fleet = a_fleet(a_host(lifecycle=Lifecycle.BOOTING), active, observed={"host-1": ON})
    assert still(fleet, "node", "power-on", name="host-1") == ["node host-1 is booting"]
    assert still(a_fleet(a_host(), active), "node", "power-cycle", name="host-1") == []
    loose = a_fleet(a_host(tier=None), observed={"host-1": ON})
    assert still(loose, "node", "power-on", name="host-1") == []
    assert still(a_fleet(), "node", "power-on", name="host-1") == ["node host-1 is not there yet"]


def test_a_virtual_node_s_power_is_what_its_host_reports() -> None:
    seen = Observed(vms=(vm_facts(1, Power.OFF),), vms_at=NOW)
    fleet = a_fleet(a_host(), a_host_tier(), a_virtual_node(), observed={"host-1": seen})
    assert still(fleet, "node", "power-off", name="host-1/VM1") == []
    assert not ALICE.accept_warnings
