"""Another image version on an active tier: slot by slot, and no further than it is well (R-UPDATE)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from metier.domain.actions import (
    Action,
    AllocateNode,
    EndRollout,
    MoveSlot,
    PauseRollout,
    ReleaseNode,
    StopNode,
)
from metier.domain.fleet import Draft
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef, TierId, image_ref
from metier.domain.image import OfferedVm
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Place
from metier.domain.observation import Health
from metier.domain.rollout import begun
from metier.domain.status import health
from metier.domain.tier import TierState, Trouble
from tests.builders import an_image
from tests.unit.planner.stories import CHECKED, Story

WEB = TierId("web")
NEW = image_ref("web@2")
SWITCHES_OFF = {"reboot_on_failure": False, "move_to_maintenance": False}


def a_story(*, hosts: int = 2, vms: int = 3, **tier: Any) -> Story:
    """Return a site at rest whose tier `web` runs `web@1`, with `web@2` beside it."""
    story = Story(hosts=hosts, vms=vms)
    add_image(story, "web@2")
    story.tier("web", **({"target": 3, "minimum": 2, "surge": 0} | tier))
    story.rest()
    assert len(story.running("web")) == story.the_tier("web").target
    return story


def add_image(story: Story, ref: str, **fields: Any) -> None:
    image = an_image(ref, **({"collectors": CHECKED, "startup_s": 60} | fields))
    story.rounds.edit(lambda draft: draft.put_image(image))


def update(story: Story, ref: str = "web@2") -> None:
    def change(draft: Draft) -> None:
        draft.put_tier(begun(draft.tiers[WEB], image_ref(ref), story.rounds.now))

    story.rounds.edit(change)


def resume(story: Story) -> None:
    rollout = story.the_tier("web").rollout
    assert rollout is not None
    story.tier("web", rollout=replace(rollout, paused=""), resumed_at=story.rounds.now)


def until(story: Story, is_so: Callable[[], bool], rounds: int = 100) -> list[Action]:
    """Go round until something is so; returns all actions on the way."""
    actions: list[Action] = []
    for _ in range(rounds):
        if is_so():
            return actions
        actions += story.go()
    raise AssertionError(f"never so: {story.rounds.last.waiting}")


def normal(story: Story) -> int:
    nodes = story.fleet.member_nodes(WEB)
    return sum(health(story.fleet, node) is Health.NORMAL for node in nodes)


def moved(story: Story) -> tuple[int, ...]:
    rollout = story.the_tier("web").rollout
    return () if rollout is None else rollout.moved


def versions(story: Story) -> dict[int, ImageRef]:
    """Return what each slot's VM really runs, by slot number."""
    found = {}
    for node in story.fleet.member_nodes(WEB):
        vm = story.vm(node.name)
        if vm.is_on and node.placement.slot is not None:
            found[node.placement.slot] = image_ref(vm.metadata["image"])
    return found


def moves(actions: Sequence[Action]) -> list[int]:
    return [action.number for action in actions if isinstance(action, MoveSlot)]


def to_the_end(story: Story, *, rounds: int = 300) -> tuple[list[Action], int]:
    """Go on until the roll-out has ended or is paused; returns all actions, and the fewest normal members."""
    actions: list[Action] = []
    fewest = normal(story)
    for _ in range(rounds):
        rollout = story.the_tier("web").rollout
        if rollout is None or rollout.paused:
            return actions, fewest
        actions += story.go()
        fewest = min(fewest, normal(story))
    raise AssertionError(f"no end: {story.rounds.last.waiting}")


def test_r_update_1_one_slot_at_a_time_from_the_highest_down() -> None:
    story = a_story()
    nodes = story.members("web")
    update(story)
    actions, fewest = to_the_end(story)
    assert moves(actions) == [3, 2, 1]
    assert fewest == 2
    assert isinstance(actions[-1], EndRollout)
    story.rest()
    assert versions(story) == dict.fromkeys((1, 2, 3), NEW)
    assert story.members("web") == nodes
    tier = story.the_tier("web")
    assert (tier.image, tier.rollout, tier.previous_image) == (NEW, None, image_ref("web@1"))


def test_r_update_1_the_guest_os_is_asked_and_the_old_instance_goes() -> None:
    story = a_story(keep_instances=True)
    old = {story.slot("web", number).instance.id for number in (1, 2, 3)}
    update(story)
    actions, _ = to_the_end(story)
    stops = [action for action in actions if isinstance(action, StopNode)]
    assert [(stop.grace_s, stop.rule) for stop in stops] == [(60, "R-UPDATE-1")] * 3
    stored = {name for machine in story.datacentre.machines.values() for name in machine.store.instances}
    assert not old & stored


def test_r_update_1_several_at_a_time_where_the_tier_may_miss_them() -> None:
    story = a_story(hosts=3, vms=3, target=6, minimum=2, maximum=6, max_unavailable=3)
    update(story)
    assert moves(story.go()) == [6, 5, 4]
    _, fewest = to_the_end(story)
    assert fewest >= 3


def test_r_update_1_never_below_the_minimum_while_another_way_is_open() -> None:
    story = a_story(target=3, minimum=2, max_unavailable=3)
    update(story)
    _, fewest = to_the_end(story)
    assert fewest == 2


def test_r_update_1_a_tier_at_its_minimum_goes_one_below_it() -> None:
    story = a_story(target=3, minimum=3, max_unavailable=2)
    update(story)
    _, fewest = to_the_end(story)
    assert fewest == 2


def test_r_update_1_surge_comes_first_and_leaves_last() -> None:
    story = a_story(target=3, minimum=3, maximum=4, surge=1)
    update(story)
    first = story.go()
    assert moves(first) == [4]
    assert [action.slot.number for action in first if isinstance(action, AllocateNode)] == [4]
    assert not [action for action in first if isinstance(action, StopNode)]
    actions, fewest = to_the_end(story)
    assert moves(actions) == [3, 2, 1]
    assert fewest >= 3
    story.rest()
    assert [node.placement.slot for node in story.fleet.member_nodes(WEB)] == [1, 2, 3]
    assert versions(story) == dict.fromkeys((1, 2, 3), NEW)


def test_r_update_1_surge_keeps_to_the_maximum() -> None:
    story = a_story(target=3, minimum=3, maximum=3, surge=2)
    update(story)
    assert not [action for action in story.go() if isinstance(action, AllocateNode)]


def test_r_update_1_without_a_free_node_it_goes_on_without_surge() -> None:
    story = a_story(hosts=1, vms=3, target=3, minimum=2, maximum=4, surge=1)
    update(story)
    actions, fewest = to_the_end(story)
    assert moves(actions) == [3, 2, 1]
    assert fewest == 2
    assert "tier-short" not in story.problems()


def test_r_update_1_surge_never_harvests() -> None:
    story = a_story(hosts=2, vms=3, target=3, minimum=2, maximum=5, surge=2, priority=80)
    story.tier("batch", target=3, minimum=0, priority=10)
    story.rest()
    update(story)
    to_the_end(story)
    assert len(story.members("batch")) == 3


def test_r_update_1_unhealthy_members_first() -> None:
    story = a_story(**SWITCHES_OFF)
    (one, *_) = story.members("web")
    story.vm(one).answers = False
    until(story, lambda: story.node(one).lifecycle is Lifecycle.FAILED)
    update(story)
    assert moves(story.go()) == [1]
    until(story, lambda: story.vm(one).metadata.get("image") == "web@2")
    story.vm(one).answers = True
    actions, _ = to_the_end(story)
    assert moves(actions) == [3, 2]


def test_r_update_1_who_is_down_counts() -> None:
    story = a_story(target=3, minimum=1, **SWITCHES_OFF)
    one = story.members("web")[0]
    update(story)
    story.vm(one).answers = False
    assert 2 not in moves(story.go(60))
    assert normal(story) == 2


def test_r_update_1_disengaged_members_are_left_alone_and_named() -> None:
    story = a_story()
    story.disengage(story.members("web")[1])
    update(story)
    actions = story.go(80)
    assert moves(actions) == [3, 1]
    assert story.fleet.tiers[WEB].rollout is not None
    (name,) = [node.name for node in story.fleet.member_nodes(WEB) if not node.engaged]
    assert f"roll-out: slot 2 ({name}) stays on web@1 while it is disengaged" in story.waits("web")
    story.engage(name)
    actions, _ = to_the_end(story)
    assert moves(actions) == [2]


def test_r_update_1_a_node_that_the_version_does_not_fit_is_replaced() -> None:
    offers = [OfferedVm(1, 512), OfferedVm(2, 1024)]
    story = Story(hosts=2, offers=offers)
    add_image(story, "web@2", requirements=Requirements(memory_mib=1024))
    story.tier("web", target=1, minimum=0, surge=0)
    story.rest()
    assert story.members("web")[0].endswith("/VM1")
    update(story)
    actions, _ = to_the_end(story)
    assert [action.rule for action in actions if isinstance(action, ReleaseNode)] == ["R-UPDATE-1"]
    assert story.members("web")[0].endswith("/VM2")
    story.rest()
    assert versions(story) == {1: NEW}


def test_r_update_1_where_no_node_fits_it_says_so_and_takes_nothing_down() -> None:
    story = a_story()
    add_image(story, "web@2", requirements=Requirements(memory_mib=4096))
    update(story)
    assert not moves(story.go(20))
    assert any("web@2 needs more than" in why for why in story.waits("web"))
    assert normal(story) == 3


def test_r_update_2_a_slot_that_fails_pauses_and_is_left_as_evidence() -> None:
    story = a_story()
    two = story.members("web")[2]
    update(story)
    never_normal(story)
    actions, _ = to_the_end(story)
    (pause,) = [action for action in actions if isinstance(action, PauseRollout)]
    assert (pause.node, pause.rule) == (two, "R-UPDATE-2")
    assert pause.reason.startswith(f"slot 3 ({two}) failed on web@2: its services did not answer within")
    later = story.go(40)
    assert not moves(later)
    assert story.node(two).lifecycle is Lifecycle.FAILED
    assert story.node(two).placement.place is Place.TIER
    assert "update-paused" in story.problems("web")
    assert normal(story) == 2


def test_r_update_2_resume_lets_the_switches_work_and_goes_on() -> None:
    story = paused()
    resume(story)
    story.vm(story.members("web")[2]).answers = True
    actions, _ = to_the_end(story)
    assert moves(actions) == [2, 1]
    story.rest()
    assert "update-paused" not in story.problems()


def test_r_update_2_what_fails_again_pauses_again() -> None:
    story = paused()
    resume(story)
    never_normal(story)
    actions, _ = to_the_end(story)
    assert [action for action in actions if isinstance(action, PauseRollout)]
    assert not moves(actions)


def test_r_update_2_rollback_takes_what_failed_first_and_restarts_nobody_else() -> None:
    story = paused()
    failed = story.members("web")[2]
    update(story, "web@1")
    actions = until(story, lambda: story.vm(failed).metadata.get("image") == "web@1")
    story.vm(failed).answers = True
    more, _ = to_the_end(story)
    actions += more
    assert sorted(moves(actions)) == [1, 2, 3]
    assert len([action for action in actions if isinstance(action, StopNode)]) == 1
    story.rest()
    assert versions(story) == dict.fromkeys((1, 2, 3), image_ref("web@1"))
    assert normal(story) == 3
    assert story.the_tier("web").previous_image is None


def test_r_update_2_while_paused_replacements_run_what_their_slot_ran() -> None:
    story = paused()
    one = story.members("web")[0]
    story.vm(one).answers = False
    story.go(60)
    story.tier("web", reboot_on_failure=False)
    story.vm(story.members("web")[0]).answers = True
    story.go(60)
    assert versions(story)[1] == image_ref("web@1")


def paused() -> Story:
    """Return a story whose roll-out is paused after slot 3 failed on the new version."""
    story = a_story()
    update(story)
    never_normal(story)
    to_the_end(story)
    rollout = story.the_tier("web").rollout
    assert rollout is not None
    assert rollout.paused
    assert rollout.moved == (3,)
    return story


def never_normal(story: Story) -> None:
    """Let slot 3's guest come up on the new version, and never answer."""
    for _ in range(100):
        nodes = [node for node in story.fleet.member_nodes(WEB) if node.placement.slot == 3]
        for node in nodes:
            vm = story.vm(node.name)
            if vm.is_on and vm.metadata.get("image") == "web@2":
                vm.answers = False
                if node.lifecycle is Lifecycle.STARTING:
                    return
        story.go()
    raise AssertionError(story.rounds.trace[-10:])


def test_a_third_version_may_follow_and_the_way_back_is_to_the_last_whole_one() -> None:
    story = a_story()
    add_image(story, "web@3")
    update(story)
    until(story, lambda: NEW in versions(story).values())
    update(story, "web@3")
    assert story.the_tier("web").rollout == replace(
        story.the_tier("web").rollout,
        previous=image_ref("web@1"),
        moved=(),  # type: ignore[type-var]
    )
    to_the_end(story)
    story.rest()
    assert set(versions(story).values()) == {image_ref("web@3")}
    assert story.the_tier("web").previous_image == image_ref("web@1")


def test_slots_that_run_the_version_already_are_not_restarted() -> None:
    story = a_story()
    update(story)
    actions = until(story, lambda: moved(story) == (3, 2))
    update(story, "web@1")
    update(story, "web@2")
    more, _ = to_the_end(story)
    stops = [action for action in (*actions, *more) if isinstance(action, StopNode)]
    assert len(stops) <= 4
    story.rest()
    assert set(versions(story).values()) == {NEW}


def test_it_rests_while_the_tier_is_not_active_and_goes_on_then() -> None:
    story = a_story()
    update(story)
    story.go(1)
    story.tier("web", state=TierState.ALLOCATED)
    assert not moves(story.go(40))
    assert "the roll-out to web@2 rests until web is active again" in story.waits("web")
    story.tier("web", state=TierState.ACTIVE)
    to_the_end(story)
    story.rest()
    assert set(versions(story).values()) == {NEW}


def test_a_lower_target_releases_slots_that_were_not_moved() -> None:
    story = a_story()
    update(story)
    until(story, lambda: moved(story) == (3, 2))
    story.tier("web", target=1, minimum=0)
    to_the_end(story)
    story.rest()
    assert [node.placement.slot for node in story.fleet.member_nodes(WEB)] == [3]


def test_r_storm_1_the_brake_holds_a_roll_out() -> None:
    story = a_story()
    update(story)
    story.go(1)
    story.rounds.edit(lambda draft: draft.put_trouble(Trouble(WEB, braked_since=story.rounds.now)))
    story.go(30)
    assert moves(story.go(30)) == []
    assert "the roll-out to web@2 rests while nothing is replaced in web" in story.waits("web")


@pytest.mark.parametrize("after", range(0, 40, 3))
def test_a_killed_controller_goes_on_where_it_was(after: int) -> None:
    story = a_story()
    update(story)
    story.go(after)
    story.rounds.restart(lost=lambda _: after % 2 == 0)
    _, fewest = to_the_end(story)
    assert fewest >= 1
    story.rest()
    assert set(versions(story).values()) == {NEW}


@pytest.mark.parametrize("after", range(1, 30, 4))
def test_a_host_that_dies_meanwhile_does_not_stop_it_for_ever(after: int) -> None:
    story = a_story(hosts=3, vms=3)
    update(story)
    story.go(after)
    victim = story.node(story.members("web")[2]).host
    story.datacentre.switch(str(victim), on=False)
    to_the_end(story)
    story.rest(400)
    assert set(versions(story).values()) == {NEW}
    assert len(story.running("web")) == 3
