"""A data centre in which everything takes as long as it was measured to take on the site.

What was never measured takes as long as it did for others, or else what plans assume: a
simulation and `metier plan` expect the same.
"""

from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef
from metier.sim.clock import Agenda
from metier.sim.datacentre import DataCentre
from metier.sim.pace import guest_boot_s, guest_boots_s, guest_stop_s, host_boot_s
from metier.sim.site import datacentre_of

_ANY = ImageRef("", "")
"""No image is called so: what is expected of it is what is usual on the site."""


def measured_datacentre(fleet: Fleet, agenda: Agenda) -> DataCentre:
    """Return the data centre that a fleet last saw, whose machines and guests boot as they were seen to."""
    datacentre = datacentre_of(fleet, agenda)
    for machine in datacentre.machines.values():
        machine.boot_s = host_boot_s(fleet, machine.name)
    datacentre.guest_boot_s = guest_boots_s(fleet)
    datacentre.usual_guest_boot_s = guest_boot_s(fleet, _ANY)
    datacentre.guest_stop_s = guest_stop_s(fleet)
    return datacentre
