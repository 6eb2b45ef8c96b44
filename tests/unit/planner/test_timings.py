"""How long steps take is noted where they end, and only when they went well at the first try."""

from datetime import timedelta
from typing import Any

import pytest

from metier.domain import actions as act
from metier.domain.fleet import Draft, Fleet, Kind
from metier.domain.ids import NodeId, SlotId, TierId, image_ref
from metier.domain.lifecycle import Event, Lifecycle
from metier.domain.node import Place
from metier.domain.tier import TierState
from metier.domain.timing import DEFAULTS_S, Activity, Stopwatch, TimingId
from metier.planner.effects import DEADLINES_S, Done, Failed, Outcome, begin, recover, settle
from metier.planner.timings import ACTIVITIES
from tests.builders import (
    HOST_HARDWARE,
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_tier,
    a_virtual_node,
    an_image,
    an_instance,
)
from tests.unit.planner.stories import Story

HOST, VM1 = NodeId("host-1"), NodeId("host-1/VM1")


KINDS_OF_WORK = {
    kind
    for kind in vars(act).values()
    if isinstance(kind, type) and issubclass(kind, act.Work) and kind is not act.Work
}


class Bench:
    """A host and a guest, and a clock that is set forward by hand."""

    def __init__(self, **fields: Any) -> None:
        guest: dict[str, Any] = {
            "tier": "web",
            "instance": an_instance(),
            "lifecycle": Lifecycle.PREPARED,
        } | fields
        self.now = NOW
        self.draft: Draft = a_fleet(
            an_image(),
            a_host_image(),
            a_tier(state=TierState.ACTIVE),
            a_host_tier(state=TierState.ACTIVE),
            a_host(),
            a_virtual_node(**guest),
        ).edit()

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def begin(self, kind: type[act.Action], node: str = VM1, **fields: Any) -> Any:
        action = kind(node=NodeId(node), why="a test", rule="R-TEST-1", **fields)
        begin(self.draft, action, self.now, 41, 3)
        return action

    def do(
        self,
        kind: type[act.Action],
        node: str = VM1,
        *,
        takes: float = 1.0,
        outcome: Outcome | None = None,
        **fields: Any,
    ) -> None:
        """Begin work and settle it after `takes` seconds."""
        action = self.begin(kind, node, **fields)
        self.wait(takes)
        settle(self.draft, action, outcome or Done(), self.now)

    def see(self, event: Event, node: str = VM1) -> None:
        self.begin(act.AdvanceNode, node, event=event)

    def prepare(self, **more: Any) -> None:
        slot = SlotId(TierId("web"), 1)
        fields: dict[str, Any] = {
            "slot": slot,
            "image": an_image(),
            "instance": an_instance(),
            "hostname": "web-1",
        }
        self.do(act.PrepareGuest, **fields, address=None, gateway=None, **more)

    @property
    def noted(self) -> dict[str, tuple[float, ...]]:
        return {str(key): timing.seconds for key, timing in self.draft.timings.items()}


# --- the table ---------------------------------------------------------------------


def test_each_kind_of_work_is_one_activity_with_a_default() -> None:
    assert set(ACTIVITIES) == KINDS_OF_WORK == set(DEADLINES_S)
    assert sorted(ACTIVITIES.values()) == sorted(Activity) == sorted(DEFAULTS_S)


# --- work that ends with its outcome -------------------------------------------------


def test_work_is_timed_from_its_order_to_its_outcome() -> None:
    bench = Bench(lifecycle=Lifecycle.IDLE)
    bench.prepare(takes=12.3456)
    assert bench.noted == {"prepare/web@1": (12.346,)}


@pytest.mark.parametrize(
    ("kind", "fields", "key"),
    [
        (act.InventoryNode, {}, "inventory/host-1"),
        (act.StageVms, {"offers": ()}, "stage/host-1"),
        (act.RemoveVms, {}, "remove-vms/host-1"),
        (act.DiagnoseNode, {}, "diagnose/host-1"),
    ],
)
def test_work_on_a_host_is_timed_for_the_host(kind: type[act.Work], fields: dict[str, Any], key: str) -> None:
    bench = Bench()
    bench.draft.change_node(HOST, lifecycle=Lifecycle.IDLE)
    bench.do(kind, HOST, takes=3, outcome=Done(hardware=HOST_HARDWARE), **fields)
    assert bench.noted == {key: (3.0,)}


def test_a_virtual_node_is_diagnosed_through_its_host() -> None:
    bench = Bench(tier=None, place=Place.MAINTENANCE, lifecycle=Lifecycle.IDLE, instance=None)
    bench.do(act.DiagnoseNode, takes=2)
    assert bench.noted == {"diagnose/host-1": (2.0,)}


def test_samples_gather_and_each_is_to_be_stored() -> None:
    bench = Bench()
    for seconds in (3, 4):
        bench.do(act.StageVms, HOST, takes=seconds, offers=())
    assert bench.noted == {"stage/host-1": (3.0, 4.0)}
    (stored,) = bench.draft.changes[Kind.TIMING].values()
    assert stored.generation == bench.draft.generation


@pytest.mark.parametrize(
    "outcome", [Failed("no answer"), Failed("refused", final=True), Failed("lost", unsure=True)]
)
def test_failed_work_is_not_noted_and_nor_is_its_repetition(outcome: Failed) -> None:
    bench = Bench(lifecycle=Lifecycle.IDLE)
    bench.do(act.RemoveVms, HOST, outcome=outcome)
    bench.do(act.RemoveVms, HOST)
    assert not bench.noted
    bench.do(act.RemoveVms, HOST, takes=7)
    assert bench.noted == {"remove-vms/host-1": (7.0,)}


def test_work_that_a_restart_interrupted_is_not_noted_and_nor_is_its_repetition() -> None:
    bench = Bench(lifecycle=Lifecycle.IDLE)
    slot = SlotId(TierId("web"), 1)
    fields: dict[str, Any] = {
        "slot": slot,
        "image": an_image(),
        "instance": an_instance(),
        "hostname": "web-1",
    }
    late = bench.begin(act.PrepareGuest, **fields, address=None, gateway=None)
    bench.wait(5)
    recover(bench.draft, bench.draft.nodes[VM1], bench.now)
    settle(bench.draft, late, Done(), bench.now)
    bench.prepare(takes=1)
    assert not bench.noted
    assert bench.draft.nodes[VM1].lifecycle is Lifecycle.PREPARED


def test_a_late_outcome_is_not_noted() -> None:
    bench = Bench(lifecycle=Lifecycle.STOPPING)
    retire = bench.begin(act.RetireGuest, discard=None)
    bench.draft.remove_node(VM1)
    settle(bench.draft, retire, Done(), bench.now)
    assert not bench.noted


def test_a_clock_that_was_set_makes_no_sample() -> None:
    bench = Bench()
    bench.do(act.StageVms, HOST, takes=-3600, offers=())
    bench.do(act.StageVms, HOST, takes=3 * 86400, offers=())
    assert not bench.noted


def test_an_image_that_is_gone_is_not_noted() -> None:
    bench = Bench(lifecycle=Lifecycle.STOPPING)
    bench.draft.remove_image(image_ref("web@1"))
    bench.do(act.RetireGuest, discard=None)
    assert not bench.noted


# --- orders whose effect is seen later -----------------------------------------------


def test_a_guest_is_timed_from_its_start_order_until_its_services_answer() -> None:
    bench = Bench()
    bench.do(act.StartGuest, takes=1)
    bench.wait(2)
    bench.see(Event.BOOTED)
    bench.wait(20)
    bench.see(Event.ANSWERED)
    assert bench.noted == {"guest-boot/web@1": (23.0,)}
    assert not bench.draft.stopwatches


def test_a_host_is_timed_from_its_power_on_until_its_vm_manager_answers() -> None:
    bench = Bench()
    bench.draft.change_node(HOST, lifecycle=Lifecycle.IDLE)
    bench.do(act.PowerOn, HOST, takes=2)
    bench.wait(3)
    bench.do(act.PowerOn, HOST, takes=1)  # it was still seen off
    bench.wait(100)
    bench.see(Event.BOOTED, HOST)
    bench.see(Event.ANSWERED, HOST)
    assert bench.noted == {"power-on/host-1": (106.0,)}


def test_a_host_that_was_on_already_is_not_timed() -> None:
    bench = Bench()
    bench.draft.change_node(HOST, lifecycle=Lifecycle.IDLE)
    for event in (Event.BOOT, Event.BOOTED, Event.ANSWERED):
        bench.see(event, HOST)
    assert not bench.noted


def test_a_node_that_is_merely_switched_on_or_off_is_not_timed() -> None:
    bench = Bench()
    bench.draft.change_node(HOST, lifecycle=Lifecycle.NEW)
    bench.do(act.PowerOn, HOST)
    bench.do(act.PowerOff, HOST)
    assert not bench.draft.stopwatches


def test_a_guest_is_timed_from_being_asked_until_it_is_seen_off() -> None:
    bench = Bench(lifecycle=Lifecycle.STOPPING)
    bench.do(act.ShutdownGuest)
    bench.wait(14)
    bench.do(act.ShutdownGuest)  # it ignored the first
    bench.wait(4)
    bench.see(Event.STOPPED)
    assert bench.noted == {"guest-shutdown/web@1": (20.0,)}


def test_cleaning_a_guest_is_no_part_of_its_shutdown() -> None:
    bench = Bench(lifecycle=Lifecycle.STOPPING)
    bench.do(act.ShutdownGuest, takes=1)
    bench.wait(4)
    bench.do(act.RetireGuest, takes=30, discard=None)
    assert bench.noted == {"guest-shutdown/web@1": (5.0,), "retire/web@1": (30.0,)}


def test_a_guest_that_had_to_be_cut_off_has_not_shut_down() -> None:
    bench = Bench(lifecycle=Lifecycle.STOPPING)
    bench.do(act.ShutdownGuest, takes=60)
    bench.do(act.StopGuest, takes=1)
    bench.wait(1)
    bench.see(Event.STOPPED)
    assert bench.noted == {"guest-stop/web@1": (2.0,)}


def test_a_host_is_timed_from_its_power_off_until_it_is_seen_off() -> None:
    bench = Bench()
    bench.draft.change_node(HOST, lifecycle=Lifecycle.STOPPING)
    bench.do(act.PowerOff, HOST, takes=1)
    bench.wait(5)
    bench.see(Event.STOPPED, HOST)
    assert bench.noted == {"power-off/host-1": (6.0,)}


def fail(bench: Bench) -> None:
    bench.begin(act.FailNode, event=Event.FAULT, problem="it went off")


def stop(bench: Bench) -> None:
    bench.begin(act.StopNode)


def release(bench: Bench) -> None:
    bench.begin(act.ReleaseNode)


def delete(bench: Bench) -> None:
    bench.begin(act.DeleteNode)


@pytest.mark.parametrize("happens", [fail, stop, release, delete], ids=lambda each: each.__name__)
def test_a_boot_that_came_to_nothing_is_not_noted(happens: Any) -> None:
    bench = Bench()
    bench.do(act.StartGuest)
    assert bench.draft.stopwatches
    happens(bench)
    assert not bench.draft.stopwatches
    assert not bench.noted


def test_a_guest_that_came_back_after_it_failed_is_not_noted() -> None:
    bench = Bench()
    bench.do(act.StartGuest)
    fail(bench)
    bench.see(Event.ANSWERED)
    assert not bench.noted


def test_a_start_whose_outcome_is_unknown_is_not_timed_and_nor_is_the_next_try() -> None:
    bench = Bench()
    bench.do(act.StartGuest, outcome=Failed("lost", unsure=True))
    assert not bench.draft.stopwatches
    bench.do(act.StartGuest)
    bench.see(Event.BOOTED)
    bench.see(Event.ANSWERED)
    assert not bench.noted


def test_work_that_was_let_go_is_timed_no_longer() -> None:
    bench = Bench()
    bench.begin(act.StartGuest)
    recover(bench.draft, bench.draft.nodes[VM1], bench.now)
    assert not bench.draft.stopwatches


def test_engaging_and_other_decisions_do_not_stop_the_watch() -> None:
    bench = Bench()
    bench.do(act.StartGuest)
    bench.begin(act.EngageNode)
    assert bench.draft.stopwatches == {VM1: Stopwatch(Activity.GUEST_BOOT, NOW)}


def test_what_was_under_way_at_a_restart_is_not_noted() -> None:
    bench = Bench()
    bench.do(act.StartGuest)
    fleet = bench.draft.freeze()
    bench.draft = Fleet.of(fleet.records()).edit()
    bench.see(Event.BOOTED)
    bench.see(Event.ANSWERED)
    assert not bench.noted


# --- a whole story -------------------------------------------------------------------


def test_a_site_that_came_up_and_went_down_again_knows_what_each_took() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("web", target=2)
    story.rest()
    times = {str(key): timing.seconds for key, timing in story.fleet.timings.items()}
    assert times["power-on/host-1"] == (8.0,)  # 4 s to boot, and rounds of 2 s to see it
    assert times["stage/host-1"] == (1.0,)
    assert times["prepare/web@1"] == (1.0, 1.0)
    assert len(times["guest-boot/web@1"]) == 2
    assert 4.0 <= story.fleet.timings[TimingId(Activity.GUEST_BOOT, "web@1")].median_s <= 10.0
    assert not story.fleet.stopwatches
    story.tier("web", target=0, minimum=0)
    story.tier("hosts", state=TierState.INACTIVE)
    story.rest()
    assert set(story.fleet.timings) == {
        TimingId(Activity(activity), subject)
        for subject, activities in (
            ("host-1", ("power-on", "stage", "remove-vms", "power-off")),
            ("web@1", ("prepare", "guest-boot", "guest-shutdown", "retire")),
        )
        for activity in activities
    }
    assert not story.fleet.stopwatches
