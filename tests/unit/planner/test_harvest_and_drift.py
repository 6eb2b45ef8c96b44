"""Nodes taken from one tier for another (R-HARVEST), and what other tools did (R-DRIFT)."""

from dataclasses import replace

from metier.domain.actions import ReleaseNode, StageVms, StopGuest, StopNode
from metier.domain.lifecycle import Lifecycle
from metier.domain.tier import TierState
from tests.unit.planner.stories import Story, names


def full_house(**donor: object) -> Story:
    """Return a site whose three VMs all work for the donor tier `batch`."""
    story = Story(hosts=1, vms=3)
    story.tier("batch", **({"priority": 10, "minimum": 1, "target": 3} | donor))
    story.rest()
    return story


def test_r_harvest_1_below_minimum_nodes_are_taken_down_to_the_donors_minimum() -> None:
    story = full_house()
    story.tier("web", priority=50, minimum=3, target=3)
    done = story.until_rest()
    taken = [action for action in done if isinstance(action, ReleaseNode)]
    assert {action.rule for action in taken} == {"R-HARVEST-1"}
    assert {action.promised for action in taken} == {"web"}
    assert (len(story.running("web")), len(story.running("batch"))) == (2, 1)
    assert "R-ALLOC-5" in story.rules("web")


def test_r_harvest_1_between_minimum_and_target_only_if_the_tier_may() -> None:
    story = full_house()
    story.tier("web", priority=50, minimum=1, target=2)
    story.rest()
    assert len(story.running("web")) == 1
    story.tier("web", harvest_to_target=True)
    story.rest()
    assert len(story.running("web")) == 2


def test_r_harvest_1_never_from_a_tier_of_the_same_priority_or_with_harvesting_off() -> None:
    for donor in ({"priority": 50}, {"harvesting": False}):
        story = full_house(**donor)
        story.tier("web", priority=50)
        assert not names(story.until_rest(), ReleaseNode)


def test_r_harvest_2_never_a_disengaged_node_and_the_least_disturbing_first() -> None:
    story = full_house(reboot_on_failure=False, move_to_maintenance=False)
    story.disengage("host-1/VM1")
    story.tier("web", priority=50)
    story.rest()
    assert story.members("web") == ["host-1/VM2"]


def test_r_harvest_2_not_twice_within_the_cooldown() -> None:
    story = full_house()
    story.tier("web", priority=50, minimum=1, target=1)
    story.rest()
    assert story.members("web") == ["host-1/VM1"]
    story.tier("vital", priority=80, minimum=3, target=3, maximum=3)
    story.tier("web", minimum=0, target=1)
    story.rest()
    assert story.members("web") == ["host-1/VM1"], "it was harvested just now"
    assert story.rounds.last.wake, "it is looked at again after the cooldown"
    story.later(1800)
    story.rest()
    assert story.members("web") == []


def test_r_harvest_2_never_a_host_with_active_guests() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("hosts", minimum=0, priority=20)
    story.tier("web")
    story.rest()
    other = replace(story.the_tier("hosts"), name=type(story.the_tier("hosts").name)("other"), priority=80)
    story.rounds.edit(lambda draft: draft.put_tier(replace(other, minimum=1, target=1)))
    assert not names(story.until_rest(), ReleaseNode)
    story.tier("web", state=TierState.INACTIVE)
    story.rest()
    assert story.members("other") == ["host-1"]


def test_r_harvest_1_lowest_priority_first() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("mid", priority=30, minimum=0, target=1)
    story.tier("low", priority=10, minimum=0, target=1)
    story.rest()
    story.tier("web", priority=50)
    story.rest()
    assert story.running("mid")
    assert not story.members("low")


def test_r_drift_1_a_free_vm_started_by_another_tool_is_put_back() -> None:
    story = Story(hosts=1, vms=1)
    story.rest()
    story.vm("host-1/VM1").is_on = True
    done = story.go(2)
    assert "vm-moved-power" in story.problems() or names(done, StopNode)
    done += story.until_rest()
    assert [action.rule for action in done if isinstance(action, StopNode)] == ["R-DRIFT-1"]
    assert names(done, StopGuest)
    assert not story.vm("host-1/VM1").is_on
    assert story.node("host-1/VM1").lifecycle is Lifecycle.IDLE


def test_r_drift_1_an_allocated_vm_started_by_another_tool_is_put_back() -> None:
    story = Story(hosts=1, vms=1)
    story.tier("web", state=TierState.ALLOCATED)
    story.rest()
    story.vm("host-1/VM1").is_on = True
    story.rest()
    assert not story.vm("host-1/VM1").is_on
    assert story.members("web") == ["host-1/VM1"]


def test_r_drift_1_a_stopped_one_is_started_again() -> None:
    story = Story(hosts=1, vms=1)
    story.tier("web")
    story.rest()
    story.vm("host-1/VM1").is_on = False
    story.rest()
    assert story.vm("host-1/VM1").is_on


def test_r_drift_1_a_disengaged_one_is_only_reported() -> None:
    story = Story(hosts=1, vms=1)
    story.rest()
    story.disengage("host-1/VM1")
    story.vm("host-1/VM1").is_on = True
    assert not story.until_rest()
    assert story.problems("host-1/VM1") == {"vm-moved-power"}


def test_r_drift_1_a_removed_vm_is_offered_again() -> None:
    story = Story(hosts=1, vms=2)
    story.rest()
    del story.host("host-1").vms[2]
    done = story.until_rest()
    assert names(done)[:2] == ["DeleteNode host-1/VM2", "StageVms host-1"]
    assert [action.rule for action in done if isinstance(action, StageVms)] == ["R-DRIFT-1"]
    assert story.exists("host-1/VM2")


def test_r_drift_2_vms_of_others_are_never_listed_or_touched() -> None:
    story = Story(hosts=1, vms=1)
    story.host("host-1").foreign = {f"theirs-{n}": True for n in range(3)}
    story.rest()
    assert list(story.fleet.vms_of["host-1"]) == [1]
