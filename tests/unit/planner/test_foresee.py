"""What would follow, to the end, if everything succeeded."""

from metier.domain.tier import TierState
from metier.planner.foresee import foresee
from tests.unit.planner.stories import Story, names


def test_it_foresees_a_whole_activation_and_what_is_then_waited_for() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("web", target=3, minimum=1, maximum=3)
    plan = foresee(story.fleet, story.rounds.now)
    done = names(plan.actions)
    assert done[0] == "AllocateNode host-1"
    for name in ("PowerOn host-1", "StageVms host-1", "StartGuest host-1/VM1", "StartGuest host-1/VM2"):
        assert name in done
    assert [waiting.subject for waiting in plan.waiting] == ["web"]
    assert "needs 1 more node" in plan.waiting[0].why


def test_what_is_foreseen_is_what_happens() -> None:
    story = Story(hosts=2, vms=2)
    story.tier("web", target=2)
    story.rest()
    story.tier("hosts", state=TierState.ALLOCATED)
    foreseen = names(foresee(story.fleet, story.rounds.now).actions)
    happened = names(story.until_rest())
    assert sorted(foreseen) == sorted(happened)


def test_it_changes_nothing() -> None:
    story = Story()
    before = story.fleet
    foresee(before, story.rounds.now)
    assert story.fleet is before
    assert before.generation == story.fleet.generation
