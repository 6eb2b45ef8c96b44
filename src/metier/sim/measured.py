"""A data centre in which everything takes as long as it was measured to take on the site.

What was never measured takes as long as it did for others, or else what plans assume
(`domain/timing.py`): a simulation and `metier plan` expect the same.
"""

from collections.abc import Mapping

from metier.domain.fleet import Fleet
from metier.domain.timing import Activity, expected_s
from metier.sim.clock import Agenda
from metier.sim.controller import Pace
from metier.sim.datacentre import DataCentre
from metier.sim.site import datacentre_of

_CALLS: Mapping[str, Activity] = {
    "InventoryNode": Activity.INVENTORY,
    "StageVms": Activity.STAGE,
    "RemoveVms": Activity.REMOVE_VMS,
    "PrepareGuest": Activity.PREPARE,
    "RetireGuest": Activity.RETIRE,
    "DiagnoseNode": Activity.DIAGNOSE,
}
"""Work that is timed from its order to its outcome: its calls take all of that."""

_OF_ALL = ""
"""No node and no image is called so: what is expected of it is what is usual on the site."""

_SHORTEST_S = 0.5


def measured_pace(fleet: Fleet) -> Pace:
    """Return how long calls take on the site."""
    pace = Pace()
    for word, activity in _CALLS.items():
        pace.call_s[word] = expected_s(fleet, activity, _OF_ALL).seconds
    return pace


def measured_datacentre(fleet: Fleet, agenda: Agenda) -> DataCentre:
    """Return the data centre that a fleet last saw, whose machines and guests boot as they were seen to."""
    datacentre = datacentre_of(fleet, agenda)
    pace = measured_pace(fleet)
    for machine in datacentre.machines.values():
        machine.boot_s = _after(pace, "PowerOn", expected_s(fleet, Activity.POWER_ON, machine.name).seconds)
    for image in fleet.images:
        boot_s = expected_s(fleet, Activity.GUEST_BOOT, str(image)).seconds
        datacentre.guest_boot_s[str(image)] = _after(pace, "StartGuest", boot_s)
    usual_s = expected_s(fleet, Activity.GUEST_BOOT, _OF_ALL).seconds
    datacentre.usual_guest_boot_s = _after(pace, "StartGuest", usual_s)
    stop_s = expected_s(fleet, Activity.GUEST_SHUTDOWN, _OF_ALL).seconds
    datacentre.guest_stop_s = _after(pace, "ShutdownGuest", stop_s)
    return datacentre


def _after(pace: Pace, call: str, seconds: float) -> float:
    """Return what is left of a time that was measured from an order, once its call is over."""
    return max(seconds - pace.call_s[call], _SHORTEST_S)
