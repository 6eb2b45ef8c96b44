"""What is a failure, and what is done about it (R-FAIL, R-FENCE-1, R-STORM-1)."""

from dataclasses import replace

import pytest

from metier.domain.actions import (
    Action,
    Brake,
    DiagnoseNode,
    FailNode,
    LiftFence,
    PowerOff,
    PowerOn,
    ReleaseNode,
    StartGuest,
    StopNode,
)
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Place
from metier.domain.pool import PoolSettings
from metier.sim.machines import BmcFault
from tests.unit.planner.stories import Story, names


def one_guest(**tier: object) -> Story:
    """Return a site at rest with one guest, `host-1/VM1`, and room to replace it."""
    story = Story(hosts=2, vms=2)
    story.tier("web", **tier)
    story.rest()
    return story


def failures(actions: list[Action]) -> list[str]:
    return [action.problem for action in actions if isinstance(action, FailNode)]


def test_r_fail_1_collectors_must_fail_so_many_times_in_a_row() -> None:
    story = one_guest(failure_threshold=5)
    story.vm("host-1/VM1").answers = False
    assert not failures(story.go(4))
    (problem,) = failures(story.go(1))
    assert problem.startswith("its collectors failed 5 times in a row; tcp:80: ")


def test_r_fail_1_not_within_its_startup_time() -> None:
    story = Story(hosts=1, vms=1)
    story.datacentre.usual_guest_boot_s = 40
    story.tier("web", startup_s=50)
    assert not failures(story.go(35))
    assert story.running("web")


def test_r_fail_1_not_answering_within_the_startup_time() -> None:
    story = Story(hosts=1, vms=1)
    story.datacentre.usual_guest_boot_s = 400
    story.tier("web", startup_s=20, reboot_on_failure=False, move_to_maintenance=False)
    (problem,) = failures(story.go(20))
    assert problem.startswith("its services did not answer within the startup time of 20 s")


def test_r_fail_1_seen_off_without_having_been_told_to() -> None:
    story = one_guest()
    story.vm("host-1/VM1").is_on = False
    assert failures(story.go(1)) == ["it is off without having been told to"]


def test_r_fail_1_a_vm_that_is_gone_is_replaced() -> None:
    story = one_guest()
    del story.host("host-1").vms[1]
    done = story.until_rest()
    assert names(done)[0] == "DeleteNode host-1/VM1"
    assert story.running("web") == ["host-2/VM1"]
    assert story.exists("host-1/VM1"), "offered anew (R-DRIFT-1)"


def test_r_fail_1_one_that_comes_back_by_itself_is_running_again() -> None:
    story = one_guest(reboot_on_failure=False, move_to_maintenance=False)
    story.vm("host-1/VM1").answers = False
    story.rest()
    assert story.node("host-1/VM1").lifecycle is Lifecycle.FAILED
    story.vm("host-1/VM1").answers = True
    story.rest()
    assert story.running("web") == ["host-1/VM1"]


def test_r_fail_2_it_is_rebooted_first_and_only_once_in_the_window() -> None:
    story = one_guest()
    story.vm("host-1/VM1").is_on = False
    done = story.until_rest()
    assert [a.for_reboot for a in done if isinstance(a, StopNode)] == [True]
    assert story.running("web") == ["host-1/VM1"]
    story.vm("host-1/VM1").is_on = False
    done = story.until_rest()
    assert not names(done, StopNode)
    assert story.running("web") == ["host-2/VM1"]


def test_r_fail_2_rebooted_again_after_the_window_where_it_may_not_leave() -> None:
    story = one_guest(move_to_maintenance=False)
    for _ in range(2):
        story.vm("host-1/VM1").is_on = False
        story.rest()
    assert story.node("host-1/VM1").lifecycle is Lifecycle.FAILED
    assert story.rounds.last.wake, "it is looked at again when the window has passed"
    story.later(3600)
    story.rest()
    assert story.running("web") == ["host-1/VM1"]


def test_r_fail_2_a_hung_host_is_power_cycled_and_its_guests_run_elsewhere() -> None:
    story = one_guest()
    story.host("host-1").reachable = False
    done = story.go(5)
    assert names(done, PowerOff) == ["PowerOff host-1"]
    story.host("host-1").reachable = True
    done += story.until_rest()
    assert names(done, PowerOn) == ["PowerOn host-1"]
    assert story.running("hosts") == ["host-1", "host-2"]
    assert story.running("web") == ["host-2/VM1"]
    assert story.exists("host-1/VM1")


def test_r_fail_2_never_a_host_whose_guests_still_answer() -> None:
    story = one_guest()
    host = story.host("host-1")
    host.ready_at = story.rounds.now.replace(year=2100)  # the VM manager alone is gone
    assert not story.until_rest()
    assert "vmm-unreachable" in story.problems("host-1")
    assert story.waits("host-1") == ["host-1 is left as it is while host-1/VM1 still answer"]


def test_r_fail_2_nor_one_with_a_disengaged_virtual_node() -> None:
    story = one_guest(target=0, minimum=0)
    story.disengage("host-1/VM2")
    story.host("host-1").reachable = False
    done = story.until_rest()
    assert not names(done, PowerOff, StopNode, ReleaseNode)
    assert "host-1 failed and may still run host-1/VM2 (disengaged)" in story.waits("hosts")


def test_r_fail_3_to_maintenance_tested_and_back_to_the_free_pool() -> None:
    story = one_guest(reboot_on_failure=False)
    story.vm("host-1/VM1").answers = False
    done = story.until_rest()
    (released,) = [action for action in done if isinstance(action, ReleaseNode)]
    assert (released.to, released.rule) == (Place.MAINTENANCE, "R-FAIL-3")
    assert names(done, DiagnoseNode) == ["DiagnoseNode host-1/VM1"]
    node = story.node("host-1/VM1")
    assert (node.placement.place, node.problem) == (Place.FREE, "")
    assert story.running("web") == ["host-2/VM1"]


def test_r_fail_3_one_that_does_not_pass_stays_with_the_evidence() -> None:
    story = one_guest(reboot_on_failure=False)
    story.vm("host-1/VM1").answers = False
    story.rounds.sick.add(NodeId("host-1"))
    story.rest()
    node = story.node("host-1/VM1")
    assert (node.placement.place, node.problem) == (Place.MAINTENANCE, "it did not pass its tests")
    assert story.problems("host-1/VM1") == {"maintenance-failed"}


def test_r_fail_3_one_that_failed_three_times_stays_even_if_it_passes() -> None:
    story = one_guest(reboot_on_failure=False)
    story.change("host-1/VM1", failures=2)
    story.vm("host-1/VM1").answers = False
    story.rest()
    assert story.node("host-1/VM1").placement.place is Place.MAINTENANCE
    assert story.problems("host-1/VM1") == {"maintenance-failed"}
    assert "failed 3 times" in story.node("host-1/VM1").problem


def test_r_fail_4_with_both_switches_off_nobody_touches_it() -> None:
    story = one_guest(reboot_on_failure=False, move_to_maintenance=False)
    story.vm("host-1/VM1").is_on = False
    assert names(story.until_rest()) == ["FailNode host-1/VM1"]
    assert story.problems("host-1/VM1") == {"node-failed"}
    assert "R-FAIL-4" in story.rules("web")


@pytest.mark.parametrize("has_switch", [True, False])
def test_r_fence_1_no_replacement_starts_without_evidence(has_switch: bool) -> None:
    story = one_guest()
    host = story.host("host-1")
    if not has_switch:
        story.change("host-1", power=None)
        host.has_bmc = False
    host.reachable, host.bmc.fault = False, BmcFault.DEAD
    done = story.go(40)
    assert not names(done, StartGuest)
    assert story.node("host-2/VM1").lifecycle is Lifecycle.PREPARED
    assert "unfenced" in story.problems("web")
    assert any("waits for evidence that host-1/VM1 is down; host-1 does not" in w for w in story.waits("web"))
    host.reachable, host.bmc.fault = True, BmcFault.NONE
    done = story.until_rest()
    order = names(done, LiftFence, StartGuest)
    assert order.index("LiftFence host-1/VM1") < order.index("StartGuest host-2/VM1")
    assert story.running("web") == ["host-2/VM1"]
    assert not story.slot("web", 1).fences


def test_r_fence_1_an_operators_word_is_evidence() -> None:
    story = one_guest()
    story.host("host-1").reachable = False
    story.host("host-1").bmc.fault = BmcFault.DEAD
    story.go(40)
    slot = story.slot("web", 1)
    sworn = replace(slot, fences=tuple(replace(fence, attested="ann") for fence in slot.fences))
    story.rounds.edit(lambda draft: draft.put_slot(sworn))
    done = story.go(10)
    assert "StartGuest host-2/VM1" in names(done)
    assert [a.evidence for a in done if isinstance(a, LiftFence)] == ["ann vouched for it"]


def test_r_fence_1_what_was_seen_before_a_start_of_unknown_outcome_proves_nothing() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("web")
    while not names(story.go(), StartGuest):
        pass
    story.rounds.restart(lost=lambda action: True)
    node = story.node("host-1/VM1")
    assert node.lifecycle is Lifecycle.PREPARED
    assert node.started_at is not None
    assert node.started_at > story.rounds.now
    story.rest()
    assert story.running("web") == ["host-1/VM1"]


def test_r_fence_1_fences_of_empty_slots_are_lifted_too() -> None:
    story = one_guest(target=1, minimum=0)
    story.vm("host-1/VM1").obeys = False
    story.tier("web", target=0, shutdown_s=10)
    story.go(1)
    assert story.slot("web", 1).fences
    assert not story.waits("web")
    story.rest()
    assert not story.slot("web", 1).fences


def test_r_storm_1_too_many_failures_stop_automation_until_an_operator_resumes_it() -> None:
    story = Story(hosts=2, vms=5)
    story.tier("web", target=5, minimum=1)
    story.rest()
    for name in story.members("web")[:3]:
        story.vm(name).answers = False
    done = story.until_rest()
    assert len(names(done, FailNode)) == 3
    assert names(done, Brake, StopNode, ReleaseNode) == ["Brake host-1/VM1"]
    assert "storm" in story.problems("web")
    assert "R-STORM-1" in story.rules("web")
    for name in story.members("web"):
        story.vm(name).answers = True
    trouble = story.fleet.troubles[story.the_tier("web").name]
    story.rounds.edit(lambda draft: draft.put_trouble(replace(trouble, braked_since=None, failures=())))
    story.rest()
    assert len(story.running("web")) == 5


def test_r_storm_1_failures_spread_over_the_site_count_together() -> None:
    story = Story(hosts=1, vms=3, pool=PoolSettings(site_max_unhealthy_percent=40))
    for name in ("a", "b", "c"):
        story.tier(name)
    story.rest()
    for name in ("a", "b", "c"):
        story.vm(story.members(name)[0]).is_on = False
    assert len(names(story.until_rest(), Brake)) == 3


def test_r_storm_1_guests_of_a_dead_host_are_no_storm() -> None:
    story = Story(hosts=2, vms=4)
    story.tier("web", target=4, minimum=1, maximum=4)
    story.rest()
    story.host("host-1").lose_power()
    done = story.until_rest()
    assert not names(done, Brake)
    assert len(story.running("web")) == 4


def test_a_stopping_node_says_that_its_host_does_not_answer() -> None:
    story = one_guest(target=1, minimum=0)
    story.vm("host-1/VM1").obeys = False
    story.tier("web", target=0)
    story.go(2)
    story.host("host-1").ready_at = story.rounds.now.replace(year=2100)
    story.go(1)
    assert "host-1/VM1 cannot be stopped: its host host-1 does not answer" in story.waits("host-1/VM1")


def test_work_that_fails_is_tried_again_after_a_growing_pause() -> None:
    story = Story(hosts=1, vms=1)
    story.host("host-1").bmc.fault = BmcFault.DEAD
    story.go(3)
    reason = "cannot switch on host-1: its power controller does not answer"
    why = f"host-1 is tried again after a pause: {reason}"
    assert why in story.waits("hosts")
    assert not story.problems("host-1"), "once is a hiccup"
    story.go(12)
    assert "action-refused" in story.problems("host-1")
    pause = story.node("host-1").retry
    assert pause is not None
    assert pause.attempts >= 2
    story.host("host-1").bmc.fault = BmcFault.NONE
    story.go(20)
    story.rest()
    assert story.running("hosts")
