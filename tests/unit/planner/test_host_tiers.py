"""What the manual says of hosts and virtual nodes (R-HOST, R-SHRINK, R-FORCE, R-HOSTDOWN, R-REFRESH)."""

from dataclasses import replace

import pytest

from metier.domain.actions import (
    AllocateNode,
    DeleteNode,
    DiscoverNode,
    PowerOff,
    PowerOn,
    ReleaseNode,
    RemoveVms,
    StageVms,
    StartGuest,
    StopNode,
)
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Place, Request
from metier.domain.pool import PoolSettings
from metier.domain.tier import TierState
from tests.unit.planner.stories import Story, names, rules_of


def busy_site(hosts: int = 2, vms: int = 2, target: int = 2) -> Story:
    """Return a site at rest whose tier `web` has one guest on each host."""
    story = Story(hosts=hosts, vms=vms)
    story.tier("web", target=target, minimum=1)
    story.rest()
    return story


def test_r_host_1_a_running_host_offers_its_vms_and_they_reach_the_free_pool() -> None:
    story = Story(hosts=1, vms=2)
    done = story.until_rest()
    assert names(done, StageVms, DiscoverNode) == [
        "StageVms host-1",
        "DiscoverNode host-1/VM1",
        "DiscoverNode host-1/VM2",
    ]
    node = story.node("host-1/VM2")
    assert (node.placement.place, node.lifecycle, node.vm_slot) == (Place.FREE, Lifecycle.IDLE, "VM2")
    assert node.power_ip == story.node("host-1").power_ip


@pytest.mark.parametrize(
    ("setting", "place", "word"),
    [
        ("automatic_discovery", None, "not made nodes"),
        ("automatic_inventory", Place.DISCOVERED, "not inventoried"),
        ("automatic_free", Place.DISCOVERED, "not freed"),
    ],
)
def test_r_host_1_the_pools_settings_say_how_far(setting: str, place: Place | None, word: str) -> None:
    story = Story(hosts=1, vms=1)
    story.rest()
    settings = replace(PoolSettings(), **{setting: False})
    fresh = Story(hosts=1, vms=1, pool=settings)
    fresh.rest()
    assert fresh.exists("host-1/VM1") == (place is not None)
    if place is not None:
        assert fresh.node("host-1/VM1").placement.place is place
    assert any(word in waiting.why for waiting in fresh.rounds.last.waiting)


def test_r_shrink_1_a_host_without_active_guests_leaves_and_its_virtual_nodes_are_deleted() -> None:
    story = busy_site(target=1)
    story.tier("hosts", target=1)
    done = story.until_rest()
    (released,) = [action for action in done if isinstance(action, ReleaseNode)]
    assert (released.node, released.rule) == ("host-2", "R-SHRINK-1")
    assert not story.exists("host-2/VM1")
    assert names(done, RemoveVms, PowerOff) == ["RemoveVms host-2", "PowerOff host-2"]
    host = story.node("host-2")
    assert (host.placement.place, host.lifecycle) == (Place.FREE, Lifecycle.IDLE)
    assert story.running("web") == ["host-1/VM1"]


def test_r_shrink_2_it_waits_says_for_whom_and_acts_as_soon_as_one_qualifies() -> None:
    story = busy_site()
    story.tier("hosts", target=1)
    assert not story.until_rest()
    assert story.waits("hosts") == [
        "host-1 still hosts active guests VM1 (web slot 1)",
        "host-2 still hosts active guests VM1 (web slot 2)",
    ]
    assert story.rules("hosts") == {"R-SHRINK-2"}
    story.tier("web", target=1)
    story.rest()
    assert story.members("hosts") == ["host-1"]


def test_r_shrink_2_guests_that_still_shut_down_hold_their_host() -> None:
    story = busy_site(target=1)
    story.vm("host-1/VM1").obeys = False
    story.tier("web", target=0, minimum=0, shutdown_s=40)
    story.tier("hosts", target=0)
    story.go(2)
    assert "host-1 hosts VM1, which is stopping" in story.waits("hosts")
    story.rest()
    assert story.members("hosts") == []


@pytest.mark.parametrize("withheld", ["disengaged", "reserved"])
def test_r_shrink_3_never_a_host_with_a_disengaged_or_reserved_virtual_node(withheld: str) -> None:
    story = Story(hosts=1, vms=2)
    story.rest()
    if withheld == "disengaged":
        story.disengage("host-1/VM2")
    else:
        placement = replace(story.node("host-1/VM2").placement, place=Place.RESERVED)
        story.change("host-1/VM2", placement=placement)
    story.tier("hosts", target=0)
    assert not story.until_rest()
    assert story.waits("hosts") == [f"host-1 hosts VM2, which is {withheld}"]
    assert story.rules("hosts") == {"R-SHRINK-3"}


def test_r_force_1_a_forced_shutdown_deletes_all_virtual_nodes_and_replaces_the_active() -> None:
    story = busy_site()
    story.tier("hosts", target=1)
    story.disengage("host-2")
    story.order("host-2", Request.SHUTDOWN)
    done = story.until_rest()
    assert set(names(done, DeleteNode)) == {"DeleteNode host-2/VM1", "DeleteNode host-2/VM2"}
    assert story.running("web") == ["host-1/VM1", "host-1/VM2"]
    order = names(done, StopNode, ReleaseNode, AllocateNode, StartGuest, PowerOff)
    assert order == [
        "StopNode host-2",
        "ReleaseNode host-2/VM1",
        "AllocateNode host-1/VM2",
        "StartGuest host-1/VM2",
        "PowerOff host-2",
    ]
    assert story.node("host-2").request is None


def test_r_force_1_disengaged_virtual_nodes_go_with_their_host() -> None:
    story = busy_site()
    story.disengage("host-2/VM1")
    story.disengage("host-2")
    story.order("host-2", Request.POWER_OFF)
    story.rest()
    assert not story.exists("host-2/VM1")
    assert story.running("web") == ["host-1/VM1", "host-1/VM2"]


def test_r_force_1_a_replacement_waits_for_evidence_that_the_guest_is_down() -> None:
    story = busy_site()
    story.vm("host-2/VM1").obeys = False
    story.tier("web", shutdown_s=30)
    story.disengage("host-2")
    story.order("host-2", Request.SHUTDOWN)
    done = story.go(6)
    assert "StartGuest host-1/VM2" not in names(done)
    assert story.node("host-1/VM2").lifecycle is Lifecycle.PREPARED
    assert any("waits for evidence that host-2/VM1 is down" in why for why in story.waits("web"))
    story.rest()
    assert story.running("web") == ["host-1/VM1", "host-1/VM2"]


def test_r_force_2_a_host_shut_down_while_disengaged_stays_a_member_until_it_is_engaged() -> None:
    story = busy_site()
    story.tier("hosts", target=1)
    story.disengage("host-2")
    story.order("host-2", Request.SHUTDOWN)
    story.rest()
    assert story.members("hosts") == ["host-1", "host-2"]
    assert not story.until_rest(), "it is left off"
    story.engage("host-2")
    done = story.until_rest()
    assert names(done) == ["ReleaseNode host-2"]
    assert story.members("hosts") == ["host-1"]


def test_r_force_2_below_target_the_engaged_host_is_started_again() -> None:
    story = busy_site()
    story.disengage("host-2")
    story.order("host-2", Request.SHUTDOWN)
    story.rest()
    story.engage("host-2")
    assert "PowerOn host-2" in names(story.until_rest(), PowerOn)
    assert story.exists("host-2/VM1")


def test_r_hostdown_1_deactivating_hosts_deletes_virtual_nodes_and_guest_tiers_alert() -> None:
    story = busy_site()
    story.tier("hosts", state=TierState.ALLOCATED)
    done = story.until_rest()
    assert len(names(done, DeleteNode)) == 4
    assert rules_of(done, StopNode) == {"R-HOSTDOWN-1"}
    assert story.problems("web") == {"tier-short", "tier-below-minimum"}
    assert story.members("hosts") == ["host-1", "host-2"]
    assert not any(host.is_on for host in story.datacentre.machines.values())
    story.tier("hosts", state=TierState.ACTIVE)
    story.rest()
    assert len(story.running("web")) == 2, "rediscovered, inventoried, freed, allocated"
    assert not story.rounds.last.findings


def test_r_hostdown_1_no_alerts_if_the_guest_tiers_were_deactivated_first() -> None:
    story = busy_site()
    story.tier("web", state=TierState.ALLOCATED)
    story.rest()
    story.tier("hosts", state=TierState.ALLOCATED)
    story.rest()
    assert not story.exists("host-1/VM1")
    assert not story.rounds.last.findings


def test_r_hostdown_1_applies_to_disengaged_members_and_guests_too() -> None:
    story = busy_site()
    for name in ("host-1", "host-1/VM1", "host-1/VM2"):
        story.disengage(name)
    story.tier("hosts", state=TierState.INACTIVE)
    story.rest()
    assert story.members("hosts") == []
    assert not story.exists("host-1/VM1")
    assert story.node("host-1").placement.place is Place.FREE


def test_r_hostdown_1_a_host_without_a_power_controller_is_emptied_and_left_on() -> None:
    story = Story(hosts=1, vms=2, power=None)
    story.host("host-1").is_on = True
    story.tier("web")
    story.rest()
    assert story.running("web")
    story.tier("hosts", state=TierState.INACTIVE)
    story.rest()
    assert story.node("host-1").lifecycle is Lifecycle.IDLE
    assert story.host("host-1").is_on
    assert not story.host("host-1").vms


def test_r_refresh_1_off_and_on_again_rediscovers_vms_with_their_new_configuration() -> None:
    story = busy_site()
    vm = story.host("host-2").vms[2]
    vm.hardware = replace(vm.hardware, memory_mib=1024)
    story.rest()
    assert "vm-changed" in story.problems("host-2/VM2")
    story.disengage("host-2/VM2")
    story.disengage("host-2")
    story.order("host-2", Request.POWER_OFF)
    story.rest()
    assert not story.exists("host-2/VM1")
    assert not story.exists("host-2/VM2")
    story.order("host-2", Request.POWER_ON)
    story.rest()
    assert not story.exists("host-2/VM2"), "not before it is engaged"
    story.engage("host-2")
    story.rest()
    hardware = story.node("host-2/VM2").hardware
    assert hardware is not None
    assert hardware.memory_mib == 1024
    assert not story.problems("host-2/VM2")


def test_r_refresh_1_switched_off_by_hand_it_is_the_same() -> None:
    story = busy_site()
    story.disengage("host-2")
    story.host("host-2").lose_power()
    story.rest()
    assert not story.exists("host-2/VM1")
    assert len(story.running("web")) == 2
    assert story.node("host-2").lifecycle is Lifecycle.RUNNING, "nobody touched it"
    story.order("host-2", Request.POWER_ON)
    story.rest()
    story.engage("host-2")
    story.rest()
    assert story.exists("host-2/VM1")


def test_a_power_cycle_ends_with_the_host_serving_again() -> None:
    story = busy_site()
    story.order("host-2", Request.POWER_CYCLE)
    done = story.until_rest()
    assert names(done, PowerOff, PowerOn) == ["PowerOff host-2", "PowerOn host-2"]
    assert story.node("host-2").request is None
    assert story.exists("host-2/VM1")
    assert len(story.running("web")) == 2


def test_a_power_cycle_of_a_guest_keeps_its_slot_and_instance() -> None:
    story = busy_site()
    before = story.node("host-1/VM1")
    story.order("host-1/VM1", Request.POWER_CYCLE)
    done = story.until_rest()
    after = story.node("host-1/VM1")
    assert (after.placement, after.instance) == (before.placement, before.instance)
    assert "StartGuest host-1/VM1" in names(done)
    assert after.request is None


def test_an_idle_free_host_is_switched_off_and_on_by_order() -> None:
    story = Story(hosts=1, host_target=0)
    story.order("host-1", Request.POWER_ON)
    assert names(story.until_rest(), PowerOn) == ["PowerOn host-1"]
    assert story.host("host-1").is_on
    story.order("host-1", Request.SHUTDOWN)
    assert names(story.until_rest(), PowerOff) == ["PowerOff host-1"]
    assert story.node("host-1").request is None


def test_an_order_on_for_a_disengaged_guest_that_is_off_starts_it_anew() -> None:
    story = busy_site()
    story.disengage("host-1/VM1")
    story.vm("host-1/VM1").is_on = False
    story.rest()
    assert story.node("host-1/VM1").lifecycle is Lifecycle.RUNNING
    story.order("host-1/VM1", Request.POWER_ON)
    story.rest()
    assert story.vm("host-1/VM1").is_on
    assert story.node("host-1/VM1").request is None


def test_a_new_host_is_inventoried_and_freed_by_itself() -> None:
    story = Story(hosts=1, host_target=0)
    story.add_host("host-9")
    story.rest()
    node = story.node("host-9")
    assert node.placement.place is Place.FREE
    assert node.hardware is not None


def test_other_peoples_vms_keep_a_host_from_being_switched_off() -> None:
    story = Story(hosts=1, vms=1)
    story.rest()
    story.host("host-1").foreign = {f"theirs-{n}": True for n in range(2)}
    story.go()
    story.tier("hosts", target=0)
    done = story.until_rest()
    assert not names(done, PowerOff)
    assert all(story.host("host-1").foreign.values())
    assert story.node("host-1").lifecycle is Lifecycle.IDLE
