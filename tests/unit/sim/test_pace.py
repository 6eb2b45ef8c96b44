"""A simulation that keeps a site's measured times takes as long as was measured."""

import pytest

from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, image_ref
from metier.domain.tier import TierState
from metier.domain.timing import DEFAULTS_S, OF_IMAGES, Activity, TimingId
from metier.operations import load_operations
from metier.sim.clock import Agenda
from metier.sim.datacentre import DataCentre
from metier.sim.pace import call_s, guest_boot_s, guest_stop_s, host_boot_s, pace_of, whole
from metier.sim.simulation import Simulation
from metier.sim.sketch import Sketch
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_tier,
    a_timing,
    a_virtual_node,
    an_image,
    an_instance,
)
from tests.simulation.site import CHECKED

MEASURED_S = {
    Activity.POWER_ON: 95.0,
    Activity.GUEST_BOOT: 40.0,
    Activity.PREPARE: 12.0,
    Activity.STAGE: 7.0,
    Activity.GUEST_SHUTDOWN: 9.0,
    Activity.RETIRE: 3.0,
    Activity.REMOVE_VMS: 4.0,
    Activity.POWER_OFF: 11.0,
}


def a_site() -> Fleet:
    timings = [
        a_timing(activity, subject, seconds)
        for activity, seconds in MEASURED_S.items()
        for subject in ("host-1", "web@1")
    ]
    return a_fleet(
        a_host_image(vms=1),
        an_image(collectors=CHECKED),
        a_host_tier(minimum=0, target=1, maximum=1, state=TierState.ACTIVE),
        a_tier("web", target=1, state=TierState.ACTIVE),
        a_host(tier=None),
        *timings,
    )


def whole_sketch(fleet: Fleet, agenda: Agenda) -> DataCentre:
    sketch = Sketch(fleet, agenda.clock)
    sketch.machine("host-1")
    return sketch


@pytest.mark.parametrize("activity", sorted(MEASURED_S))
def test_what_is_simulated_is_measured_as_it_was(activity: Activity) -> None:
    load_operations()
    fleet = a_site()
    simulation = Simulation(fleet, NOW, pace=pace_of(fleet), build=whole_sketch)
    simulation.rest()
    simulation.order("tier", "deactivate", name="hosts")
    simulation.rest()
    subject = "web@1" if activity in OF_IMAGES else "host-1"
    before, measured = simulation.fleet.timings[TimingId(activity, subject)].seconds
    assert measured == pytest.approx(before, abs=1.2)


def test_calls_differ_by_image_and_by_host() -> None:
    fleet = a_fleet(
        a_host("host-1"),
        a_timing(Activity.PREPARE, "web@1", 12.0),
        a_timing(Activity.STAGE, "host-1", 7.0),
        a_timing(Activity.STAGE, "host-2", 9.0),
    )
    guest = a_virtual_node(instance=an_instance())
    assert call_s(fleet, "PrepareGuest", guest) == 12.0
    assert call_s(fleet, "StageVms", fleet.nodes[NodeId("host-1")]) == 7.0
    assert call_s(fleet, "StartGuest", guest) is None
    assert pace_of(fleet).call_s["StageVms"] == 8.0


def test_what_nobody_measured_is_assumed() -> None:
    fleet = a_fleet(a_host(), an_image())
    assert whole(fleet, Activity.POWER_ON, "host-1").seconds == DEFAULTS_S[Activity.POWER_ON]
    assert host_boot_s(fleet, NodeId("host-1")) < DEFAULTS_S[Activity.POWER_ON]
    assert 0 < guest_stop_s(fleet) < DEFAULTS_S[Activity.GUEST_SHUTDOWN]


def test_a_boot_is_assumed_to_keep_to_the_shortest_startup_time_granted() -> None:
    tiers = (a_tier("web", startup_s=40), a_tier("db", startup_s=20), a_host_tier(startup_s=2))
    fleet = a_fleet(an_image(), *tiers)
    assert whole(fleet, Activity.GUEST_BOOT, "web@1").seconds == 10.0
    measured = a_fleet(an_image(), *tiers, a_timing(Activity.GUEST_BOOT, "web@1", 35.0))
    assert whole(measured, Activity.GUEST_BOOT, "web@1").seconds == 35.0
    assert guest_boot_s(measured, image_ref("web@1")) < 35.0
