"""What automation leaves alone, and what it still says about it (R-ENGAGE)."""

from datetime import timedelta

from metier.domain.actions import EngageNode
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement, Request
from metier.domain.tier import TierState
from tests.unit.planner.stories import Story, names


def test_r_engage_1_no_action_targets_a_disengaged_node_whatever_happens_to_it() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("web")
    story.rest()
    story.disengage("host-1/VM1")
    story.vm("host-1/VM1").is_on = False
    assert not story.until_rest()
    assert story.members("web") == ["host-1/VM1"]


def test_r_engage_1_an_operators_command_still_does() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("web")
    story.rest()
    story.disengage("host-1/VM1")
    story.order("host-1/VM1", Request.SHUTDOWN)
    story.rest()
    node = story.node("host-1/VM1")
    assert (node.lifecycle, node.request) == (Lifecycle.IDLE, None)
    assert not story.vm("host-1/VM1").is_on
    assert node.tier == "web", "it stays where it is, and off"


def test_r_engage_1_a_disengagement_ends_when_it_was_said_to() -> None:
    story = Story(hosts=1, vms=1)
    story.rest()
    until = story.rounds.now + timedelta(seconds=30)
    story.change("host-1/VM1", engagement=Engagement(False, "ann", story.rounds.now, "a look", until))
    assert not story.until_rest()
    assert story.rounds.last.wake == ((until, "host-1/VM1"),)
    story.later(30)
    assert names(story.until_rest(), EngageNode) == ["EngageNode host-1/VM1"]


def test_r_engage_2_a_disengaged_member_counts_and_its_failure_raises_alerts_alone() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("web")
    story.rest()
    story.disengage("host-1/VM1")
    story.vm("host-1/VM1").is_on = False
    story.rest()
    assert story.members("web") == ["host-1/VM1"]
    assert story.problems("host-1/VM1") == {"node-failed"}
    assert story.rules("web") == {"R-ENGAGE-2"}
    story.vm("host-1/VM1").is_on = True
    story.rest()
    assert not story.rounds.last.findings, "the manual: restart the VM from its console"


def test_the_manuals_update_procedure_ends_with_everything_returned() -> None:
    story = Story(hosts=1, vms=1)
    story.tier("work", reboot_on_failure=False, move_to_maintenance=False, harvesting=False)
    story.rest()
    assert story.node("host-1/VM1").vm_slot == "VM1"
    story.disengage("host-1/VM1")
    story.vm("host-1/VM1").is_on = False
    story.rest()
    story.vm("host-1/VM1").is_on = True
    story.tier("work", state=TierState.INACTIVE)
    story.rest()
    assert story.members("work") == []
    node = story.node("host-1/VM1")
    assert (node.lifecycle, node.instance) == (Lifecycle.IDLE, None)
    story.tier("hosts", state=TierState.INACTIVE)
    story.rest()
    assert not story.exists("host-1/VM1")
