"""Looking ahead: what would follow, when, and for whom it would be felt."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from metier.domain.fleet import Draft, Fleet, Kind
from metier.domain.forecast import Dip, Displaced, Duration, Forecast, Level
from metier.domain.ids import NodeId, SlotId, TierId, image_ref
from metier.domain.job import JobState
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement
from metier.domain.observation import Power
from metier.domain.tier import TierState
from metier.domain.timing import Activity, Timing
from metier.operations import load_operations
from metier.operations.registry import Caller, operation
from metier.sim.clock import Agenda, VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.faults import befall
from metier.sim.forecast import TRIES, forecast, forecast_within
from metier.sim.simulation import Simulation
from metier.sim.site import datacentre_of
from tests.builders import (
    HOST_HARDWARE,
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    a_tier,
    a_timing,
    an_image,
)
from tests.simulation.site import CHECKED
from tests.unit.planner.stories import Story, names

HOSTS, WEB = TierId("hosts"), TierId("web")
SHUTDOWN_S = 15.0
BOOT_S = 31.0


def build(fleet: Fleet, agenda: Agenda) -> DataCentre:
    """Return machines that are off, and boot in ten seconds."""
    datacentre = DataCentre(agenda.clock)
    hardware = replace(HOST_HARDWARE, networks=frozenset({"default"}))
    for node in fleet.nodes.values():
        datacentre.add(node.name, hardware, boot_s=10.0)
    return datacentre


def a_site(*, vms: int = 2, timings: tuple[Any, ...] = (), **tier: Any) -> Simulation:
    """Return two hosts at rest, and tier web with two guests that are checked."""
    load_operations()
    numbers = {"minimum": 2, "target": 2, "maximum": 4, "state": TierState.ACTIVE} | tier
    fleet = a_fleet(
        a_host_image(vms=vms),
        an_image(collectors=CHECKED),
        a_host_tier(target=2, minimum=0, maximum=2, priority=90, state=TierState.ACTIVE),
        a_tier("web", **numbers),
        *(a_host(f"host-{number}", tier=None) for number in (1, 2)),
    )
    simulation = Simulation(fleet, NOW, build=build)
    simulation.rest()
    simulation.edit(lambda draft: _measure(draft, *timings))
    simulation.rest()
    return simulation


def _measure(draft: Draft, *timings: Timing) -> None:
    """Forget what was measured until now, and know these timings instead."""
    for timing in [*draft.timings]:
        draft.put(Kind.TIMING, timing, None)
    for timing in timings:
        draft.put_timing(timing)


MEASURED = (
    a_timing(Activity.GUEST_BOOT, "web@1", 30.0, BOOT_S, 32.0),
    a_timing(Activity.GUEST_SHUTDOWN, "web@1", SHUTDOWN_S),
    a_timing(Activity.PREPARE, "web@1", 4.0),
)


def after(simulation: Simulation, noun: str, verb: str, **arguments: Any) -> Forecast:
    """Return what would follow if an order was given that is not given."""
    fork = simulation.fleet.edit()
    what = operation(noun, verb)
    assert what.change is not None
    caller = Caller("ann", simulation.now, accept_warnings=True)
    what.change(fork, what.arguments_type(**arguments), caller)
    return forecast(fork.freeze(), simulation.now)


def done(found: Forecast) -> list[str]:
    return names(one.action for one in found.actions)


# --- what follows -------------------------------------------------------------------


def test_it_foresees_a_whole_activation_and_what_is_then_waited_for() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("web", target=3, minimum=1, maximum=3)
    found = forecast(story.fleet, story.rounds.now)
    assert done(found)[0] == "AllocateNode host-1"
    for name in ("PowerOn host-1", "StageVms host-1", "StartGuest host-1/VM1", "StartGuest host-1/VM2"):
        assert name in done(found)
    assert [waiting.subject for waiting in found.waiting] == ["web"]
    assert "needs 1 more node" in found.waiting[0].why


def test_what_is_foreseen_is_what_happens() -> None:
    story = Story(hosts=2, vms=2)
    story.tier("web", target=2)
    story.rest()
    story.tier("hosts", state=TierState.ALLOCATED)
    foreseen = done(forecast(story.fleet, story.rounds.now))
    happened = names(story.until_rest())
    assert sorted(foreseen) == sorted(happened)


def test_it_changes_nothing_and_says_the_same_again() -> None:
    simulation = a_site()
    before, records = simulation.fleet, dict(simulation.records.texts)
    first = after(simulation, "node", "shutdown", name="host-2")
    assert first.actions
    assert after(simulation, "node", "shutdown", name="host-2") == first
    assert simulation.fleet is before
    assert simulation.records.texts == records


def test_where_all_is_well_nothing_follows() -> None:
    simulation = a_site()
    assert forecast(simulation.fleet, simulation.now) == Forecast()


# --- times --------------------------------------------------------------------------


def test_what_was_measured_decides_when() -> None:
    simulation = a_site(timings=MEASURED, target=2)
    found = after(simulation, "tier", "edit", name="web", target=3)
    assert done(found) == [
        "AllocateNode host-1/VM2",
        "PrepareGuest host-1/VM2",
        "StartGuest host-1/VM2",
        "AdvanceNode host-1/VM2",
        "AdvanceNode host-1/VM2",
    ]
    begun = [one.after_s for one in found.actions]
    assert begun[:2] == [0.0, 0.0]
    assert begun[2] == pytest.approx(4.0, abs=0.2)
    assert begun[4] == pytest.approx(4.0 + BOOT_S, abs=1.1)
    assert found.seconds == begun[-1]


def test_it_says_what_its_times_rest_on() -> None:
    simulation = a_site(timings=MEASURED[:1])
    found = after(simulation, "tier", "edit", name="web", target=3)
    assert found.durations == (
        Duration(Activity.GUEST_BOOT, "web@1", BOOT_S, 3, is_own=True),
        Duration(Activity.PREPARE, "web@1", 30.0, 0, is_own=False),
    )


def test_what_is_assumed_of_a_boot_keeps_to_what_the_tier_grants() -> None:
    simulation = a_site(startup_s=20)
    found = after(simulation, "tier", "edit", name="web", target=3)
    assert found.durations[-1] == Duration(Activity.GUEST_BOOT, "web@1", 10.0, 0, is_own=False)
    assert "FailNode host-1/VM2" not in done(found)


def test_what_others_took_is_not_called_measured() -> None:
    timings = (a_timing(Activity.GUEST_BOOT, "web@1", 50.0),)
    simulation = a_site(timings=timings)
    draft = simulation.fleet.edit()
    draft.put_image(an_image("web@2", collectors=CHECKED))
    draft.put_tier(a_tier("db", image=image_ref("web@2"), state=TierState.ACTIVE))
    found = forecast(draft.freeze(), simulation.now)
    boots = [one for one in found.durations if one.activity is Activity.GUEST_BOOT]
    assert boots == [Duration(Activity.GUEST_BOOT, "web@2", 50.0, 1, is_own=False)]


def test_work_under_way_takes_what_is_left_of_its_time() -> None:
    simulation = a_site(timings=MEASURED)
    simulation.order("tier", "edit", name="web", target=3)
    draft = simulation.fleet.edit()
    node = next(node for node in draft.nodes.values() if node.pending is not None)
    assert node.pending is not None
    assert node.pending.action == "PrepareGuest"
    found = forecast(simulation.fleet, simulation.now + timedelta(seconds=3))
    assert done(found)[:2] == ["PrepareGuest host-1/VM2", "StartGuest host-1/VM2"]
    assert found.actions[1].after_s == pytest.approx(1.0, abs=0.2)


def test_a_boot_under_way_goes_on() -> None:
    simulation = a_site(timings=MEASURED)
    simulation.order("tier", "edit", name="web", target=3)
    while simulation.fleet.nodes[NodeId("host-1/VM2")].lifecycle is not Lifecycle.STARTING:
        simulation.pass_s(0.1)
    later = simulation.now + timedelta(seconds=20)
    found = forecast(simulation.fleet, later)
    assert done(found) == ["AdvanceNode host-1/VM2"]
    assert found.seconds == pytest.approx(BOOT_S - 20, abs=1.5)
    assert found.durations == (Duration(Activity.GUEST_BOOT, "web@1", BOOT_S, 3, is_own=True),)


def test_a_start_under_way_is_shown_as_begun_now_and_not_doubted() -> None:
    simulation = a_site(timings=MEASURED)
    simulation.order("tier", "edit", name="web", target=3)
    while True:
        pending = simulation.fleet.nodes[NodeId("host-1/VM2")].pending
        if pending is not None and pending.action == "StartGuest":
            break
        simulation.pass_s(0.1)
    found = forecast(simulation.fleet, simulation.now)
    assert done(found)[0] == "StartGuest host-1/VM2"
    assert found.actions[0].after_s == 0.0
    assert found.seconds == pytest.approx(BOOT_S, abs=1.5)


# --- for whom it is felt ------------------------------------------------------------


def test_a_tier_that_dips_below_its_minimum_and_a_guest_that_moves() -> None:
    simulation = a_site(timings=MEASURED)
    found = after(simulation, "node", "shutdown", name="host-2")
    (dip,) = [dip for dip in found.dips if dip.below is Level.MINIMUM and dip.tier == WEB]
    whole_s = SHUTDOWN_S + BOOT_S
    assert (dip.wanted, dip.lowest, dip.from_s) == (2, 1, 0.0)
    assert dip.seconds == pytest.approx(whole_s, abs=2.0)
    slot = SlotId(WEB, 2)
    gap_s = found.displaced[0].gap_s
    assert found.displaced == (Displaced(NodeId("host-2/VM1"), slot, NodeId("host-1/VM2"), 0.0, gap_s),)
    assert gap_s == dip.seconds


def test_a_tier_that_has_more_than_its_minimum_dips_only_below_its_target() -> None:
    simulation = a_site(timings=MEASURED, minimum=1)
    found = after(simulation, "node", "shutdown", name="host-2")
    assert {dip.below for dip in found.dips if dip.tier == WEB} == {Level.TARGET}


def test_a_dip_that_nothing_restores_has_no_end() -> None:
    simulation = a_site(vms=1, timings=MEASURED)
    found = after(simulation, "tier", "edit", name="hosts", target=2)
    assert found.dips == ()
    draft = simulation.fleet.edit()
    draft.put_tier(replace(draft.tiers[WEB], minimum=3, target=3))
    found = forecast(draft.freeze(), simulation.now)
    assert Dip(WEB, Level.MINIMUM, 3, 0.0, None, 2) in found.dips
    assert "needs 1 more node" in next(one.why for one in found.waiting if one.subject == WEB)


def test_a_guest_that_nobody_replaces_goes_nowhere() -> None:
    simulation = a_site(timings=MEASURED, minimum=0)
    found = after(simulation, "tier", "edit", name="web", target=1)
    assert [(one.node, one.to, one.gap_s) for one in found.displaced] == [("host-2/VM1", None, None)]


# --- nodes in odd states ------------------------------------------------------------


def test_a_disengaged_node_is_left_alone_and_waited_for() -> None:
    simulation = a_site(minimum=0)
    simulation.edit(
        lambda draft: draft.change_node(NodeId("host-2/VM1"), engagement=Engagement(False, "ann", NOW))
    )
    found = after(simulation, "tier", "edit", name="web", target=0)
    assert "host-2/VM1" not in {one.action.node for one in found.actions}
    assert [(one.subject, one.why) for one in found.waiting] == [("web", "host-2/VM1 is disengaged")]


def test_a_host_that_does_not_answer_stays_silent_and_its_guests_are_waited_for() -> None:
    simulation = a_site(minimum=0)
    befall(simulation, "host-2 dies")
    simulation.pass_s(300)
    found = forecast(simulation.fleet, simulation.now)
    assert (found.actions, found.notes) == ((), ())
    said = [one.why for one in found.waiting if one.subject == WEB]
    assert any("waits for evidence that host-2/VM1 is down" in why for why in said)


def test_guests_of_a_host_whose_vm_manager_hangs_serve_on() -> None:
    simulation = a_site()
    befall(simulation, "VM manager of host-2 hangs")
    simulation.pass_s(300)
    found = after(simulation, "tier", "edit", name="web", target=3)
    assert {one.node for one in found.displaced} == set()
    assert "StartGuest host-1/VM2" in done(found)
    assert "host-2" in {one.subject for one in found.waiting}


def test_what_is_tried_in_vain_does_not_go_on_for_ever() -> None:
    simulation = a_site(minimum=0)
    befall(simulation, "BMC of host-2 is mute")
    simulation.pass_s(30)
    assert simulation.fleet.seen(NodeId("host-2")).power is Power.UNKNOWN
    found = after(simulation, "node", "power-off", name="host-2")
    tried = done(found).count("PowerOff host-2")
    assert 1 <= tried <= TRIES + 1
    assert not found.notes


def test_a_failed_guest_is_started_again_and_serves() -> None:
    simulation = a_site(timings=MEASURED)
    vm = simulation.datacentre.machines[NodeId("host-2")].vms[1]
    simulation.datacentre.stop_vm(simulation.datacentre.machines[NodeId("host-2")], vm)
    simulation.pass_s(1)
    found = forecast(simulation.fleet, simulation.now)
    assert done(found)[-1].startswith("AdvanceNode")
    assert all(dip.seconds is not None for dip in found.dips)


# --- what is not foreseen -----------------------------------------------------------


def test_jobs_are_named_and_not_run() -> None:
    simulation = a_site()
    draft = simulation.fleet.edit()
    draft.put_job(a_job(3, state=JobState.RUNNING))
    draft.put_job(a_job(4, state=JobState.DONE))
    found = forecast(draft.freeze(), simulation.now)
    assert [note.partition(",")[0] for note in found.notes] == ["job 3"]
    assert not found.actions


def test_it_says_where_it_was_broken_off() -> None:
    simulation = a_site(timings=MEASURED)
    draft = simulation.fleet.edit()
    draft.put_tier(replace(draft.tiers[WEB], target=3, maximum=3))
    fleet = draft.freeze()
    short = forecast(fleet, simulation.now, longest_s=5.0)
    assert short.notes == ("it was not looked further than 5 s ahead: there is no rest before",)
    assert [name for name in done(short) if "Start" in name] == ["StartGuest host-1/VM2"]
    assert short.seconds < forecast(fleet, simulation.now).seconds
    assert forecast(fleet, simulation.now, most_turns=1).notes
    assert forecast(fleet, simulation.now, is_enough=lambda: True).actions == ()


def test_a_running_controller_looks_only_so_long() -> None:
    simulation = a_site(timings=MEASURED)
    draft = simulation.fleet.edit()
    draft.put_tier(replace(draft.tiers[WEB], target=3, maximum=3))

    class Hasty(VirtualClock):
        def now(self) -> Any:
            self.move(super().now() + timedelta(seconds=1))
            return super().now()

        def real_s(self, seconds: float) -> float:
            return seconds

    fleet = draft.freeze()
    assert forecast_within(Hasty(NOW), 3.0)(fleet, simulation.now).notes
    assert not forecast_within(Hasty(NOW), 1e9)(fleet, simulation.now).notes


def test_an_exported_site_can_be_foreseen_though_it_was_seen_long_ago() -> None:
    simulation = a_site(timings=MEASURED)
    found = forecast(simulation.fleet, simulation.now + timedelta(days=30))
    assert not found.actions
    assert datacentre_of(simulation.fleet, simulation.agenda).machines
