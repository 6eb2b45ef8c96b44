"""What can befall a data centre and its controllers: each fault a sentence, with what it does.

Scenario files, random stories and the console of a simulated site all read this one list.
In a sentence MACHINE is a physical node's name, GUEST a virtual node's name (`host-1/VM2`)
or the host name of its slot (`web-2`), N a number.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from metier.domain.errors import NoSuchThing, Refusal, WrongUsage
from metier.domain.ids import NodeId
from metier.domain.image import OfferedVm
from metier.drivers.hypervisor.api import Ended
from metier.sim.datacentre import DataCentre
from metier.sim.machines import BmcFault, Machine, Vm, hardware_of
from metier.sim.matrix import SimMatrix
from metier.sim.simulation import Simulation
from metier.store.memory import SaveFault

FOREVER_S = 1e6
"""A call that takes so long never comes back, as far as anybody waits."""

_PARTS = {
    "MACHINE": r"(?P<machine>[\w.-]+)",
    "GUEST": r"(?P<guest>[\w.-]+(?:/VM\d+)?)",
    "OTHER": r"(?P<other>[\w.-]+)",
    "N": r"(?P<n>\d{1,9})",
}

Befall = Callable[..., None]


class Outside(Protocol):
    """All that is no controller: a `Simulation`, or what a live controller works on."""

    @property
    def datacentre(self) -> DataCentre:
        """The machines and what runs on them."""

    @property
    def matrix(self) -> SimMatrix:
        """The image matrix."""

    @property
    def now(self) -> datetime:
        """The present moment, in UTC."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One sentence and what it does.

    Attributes:
        sentence: With MACHINE, GUEST, OTHER and N in the places of names and numbers.
        help: What it means, in one sentence.
        heals: Whether it ends a fault rather than beginning one.
        needs_controller: Whether it befalls the controller, which only a `Simulation` can do.
    """

    sentence: str
    help: str
    befall: Befall
    heals: bool = False
    needs_controller: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        """What such a sentence looks like."""
        words = [_PARTS.get(word, re.escape(word)) for word in self.sentence.split()]
        return re.compile(r"\s+".join(words), re.IGNORECASE)


FAULTS: list[Fault] = []


def _fault(
    sentence: str, help_text: str, *, heals: bool = False, needs_controller: bool = False
) -> Callable[[Befall], Befall]:
    def register(befall: Befall) -> Befall:
        FAULTS.append(Fault(sentence, help_text, befall, heals, needs_controller))
        return befall

    return register


def befall(simulation: Outside, sentence: str) -> None:
    """Let what a sentence says happen now.

    Raises:
        WrongUsage: No fault reads like that.
        NoSuchThing: It names what is not there.
        Refusal: It befalls a controller, and `simulation` has none.
    """
    fault, words = read_fault(sentence)
    if fault.needs_controller and not isinstance(simulation, Simulation):
        raise Refusal(
            f"cannot let it happen that {sentence.strip()!r}: this controller runs for real",
            remedy="do it to its process yourself, or try it in `metier simulate`",
        )
    fault.befall(simulation, **_found(simulation, words))


def read_fault(sentence: str) -> tuple[Fault, dict[str, str]]:
    """Return the fault that a sentence tells, and the names and numbers in it; raises WrongUsage."""
    found = [(fault, match) for fault in FAULTS if (match := fault.pattern.fullmatch(sentence.strip()))]
    if found:
        # A sentence of fixed words comes first: a controller that dies is no machine of that name.
        fault, match = min(found, key=lambda one: len(one[1].groupdict()))
        return fault, match.groupdict()
    raise WrongUsage(
        f"nothing is known to happen that is called {sentence.strip()!r}",
        remedy="see `metier simulate --faults` for what can happen",
    )


def _found(simulation: Outside, words: dict[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, word in words.items():
        match key:
            case "machine" | "other":
                found[key] = find_machine(simulation, word)
            case "guest":
                found["place"], found["vm"] = find_guest(simulation, word)
            case _:
                found[key] = int(word)
    return found


def find_machine(simulation: Outside, name: str) -> Machine:
    """Return a machine; raises NoSuchThing."""
    machine = simulation.datacentre.machines.get(NodeId(name))
    if machine is None:
        raise NoSuchThing(f"there is no machine {name}", remedy="name a physical node of the site")
    machine.catch_up(simulation.now)
    return machine


def find_guest(simulation: Outside, name: str) -> tuple[Machine, Vm]:
    """Return a VM and its machine, by the node's name or the host name of its slot; raises NoSuchThing.

    Of several with one host name the one that runs is meant: the others were left behind.
    """
    host, _, number = name.partition("/VM")
    found = [
        (machine, vm)
        for machine, vm in simulation.datacentre.vms()
        if (machine.name == host and str(vm.number) == number) or (not number and vm.hostname == name)
    ]
    for machine, vm in sorted(found, key=lambda one: not one[1].is_on):
        machine.catch_up(simulation.now)
        return machine, vm
    raise NoSuchThing(f"there is no guest {name}", remedy="name it as `host-1/VM2` or by its host name")


# --- machines -----------------------------------------------------------------------------


@_fault("MACHINE dies", "it loses its current, and so does its BMC")
def _dies(simulation: Outside, machine: Machine) -> None:
    machine.has_mains = False
    simulation.datacentre.switch(machine.name, on=False)


@_fault(
    "MACHINE is repaired", "it has current and network again, and boots as it should; it is off", heals=True
)
def _repaired(simulation: Outside, machine: Machine) -> None:
    machine.has_mains = machine.reachable = True
    machine.boot_hangs = False
    machine.delay_s = 0.0
    machine.bmc.fault, machine.bmc.delay_s = BmcFault.NONE, 0.0
    if not machine.has_bmc:
        simulation.datacentre.switch(machine.name, on=True)
    simulation.datacentre.changed(machine)


@_fault("MACHINE loses power", "it goes off, and all that runs on it; its BMC answers")
def _loses_power(simulation: Outside, machine: Machine) -> None:
    simulation.datacentre.switch(machine.name, on=False)


@_fault("MACHINE is switched on by hand", "somebody presses its button", heals=True)
def _switched_on(simulation: Outside, machine: Machine) -> None:
    simulation.datacentre.switch(machine.name, on=True)


@_fault("MACHINE hangs at boot", "from now on it never comes to its VM manager")
def _hangs_at_boot(simulation: Outside, machine: Machine) -> None:
    machine.boot_hangs = True
    simulation.datacentre.changed(machine)


@_fault("MACHINE boots again", "its next boot goes well", heals=True)
def _boots_again(simulation: Outside, machine: Machine) -> None:
    machine.boot_hangs = False
    simulation.datacentre.changed(machine)


@_fault("network to MACHINE breaks", "nobody reaches its VM manager or its guests, which run on")
def _network_breaks(simulation: Outside, machine: Machine) -> None:
    machine.reachable = False
    simulation.datacentre.changed(machine)


@_fault("network to MACHINE is mended", "it and its guests are reached again", heals=True)
def _network_mended(simulation: Outside, machine: Machine) -> None:
    machine.reachable = True
    simulation.datacentre.changed(machine)


@_fault("VM manager of MACHINE hangs", "calls to it do not come back")
def _vmm_hangs(simulation: Outside, machine: Machine) -> None:
    machine.delay_s = FOREVER_S
    simulation.datacentre.changed(machine)


@_fault("VM manager of MACHINE is slow by N s", "each call to it takes so much longer")
def _vmm_slow(simulation: Outside, machine: Machine, n: int) -> None:
    machine.delay_s = float(n)
    simulation.datacentre.changed(machine)


@_fault("VM manager of MACHINE works again", "calls to it take as long as they should", heals=True)
def _vmm_works(simulation: Outside, machine: Machine) -> None:
    machine.delay_s = 0.0
    simulation.datacentre.changed(machine)


@_fault("N foreign VMs run on MACHINE", "other people started VMs there")
def _foreign(simulation: Outside, machine: Machine, n: int) -> None:
    staged = {name: False for name in machine.foreign if name in machine.staged}
    others = {f"foreign-{number}": True for number in range(1, n + 1)} if machine.is_on else {}
    machine.foreign = {**staged, **others}
    simulation.datacentre.changed(machine)


@_fault("MACHINE is patched to build N", "its VM manager has another patch level from now on; all runs on")
def _patched(simulation: Outside, machine: Machine, n: int) -> None:
    machine.patch_level = str(n)
    simulation.datacentre.changed(machine)


@_fault("VM of N MiB is staged on MACHINE", "somebody made a VM there to be handed over; it is off")
def _staged(simulation: Outside, machine: Machine, n: int) -> None:
    offer = OfferedVm(1, memory_mib=n, networks=tuple(sorted(machine.hardware.networks)))
    name = f"staged-{len(machine.staged) + 1}"
    simulation.datacentre.stage_vm(machine.name, name, hardware_of(offer))


# --- power controllers ----------------------------------------------------------------------


def _bmc(sentence: str, help_text: str, fault: BmcFault) -> None:
    def set_fault(simulation: Outside, machine: Machine) -> None:
        machine.bmc.fault = fault
        simulation.datacentre.changed(machine)

    _fault(f"BMC of MACHINE {sentence}", help_text, heals=fault is BmcFault.NONE)(set_fault)


_bmc("is dead", "it does not answer", BmcFault.DEAD)
_bmc("is mute", "it answers and says neither on nor off", BmcFault.MUTE)
_bmc("refuses", "it refuses every order", BmcFault.REFUSES)
_bmc("ignores orders", "it accepts every order and does nothing", BmcFault.IGNORES)
_bmc("says on", "it says that the machine is on, whatever is", BmcFault.SAYS_ON)
_bmc("says off", "it says that the machine is off, whatever is", BmcFault.SAYS_OFF)
_bmc("flaps", "every other call goes unanswered", BmcFault.FLAPS)
_bmc("is well", "it does as it should", BmcFault.NONE)


@_fault("BMC of MACHINE is slow by N s", "each call to it takes so much longer")
def _bmc_slow(simulation: Outside, machine: Machine, n: int) -> None:
    machine.bmc.delay_s = float(n)
    simulation.datacentre.changed(machine)


# --- guests ---------------------------------------------------------------------------------


@_fault("guest GUEST dies", "its VM goes off")
def _guest_dies(simulation: Outside, place: Machine, vm: Vm) -> None:
    simulation.datacentre.stop_vm(place, vm)


@_fault("guest GUEST shuts down", "its OS shuts itself down, as a person asks it to on its console")
def _guest_shuts_down(simulation: Outside, place: Machine, vm: Vm) -> None:
    simulation.datacentre.stop_vm(place, vm, Ended.BY_GUEST)


@_fault("guest GUEST hangs", "it runs, and its services do not answer")
def _guest_hangs(simulation: Outside, place: Machine, vm: Vm) -> None:
    vm.answers = False
    simulation.datacentre.changed(place)


@_fault("guest GUEST recovers", "its services answer, and it hears what it is told", heals=True)
def _guest_recovers(simulation: Outside, place: Machine, vm: Vm) -> None:
    vm.answers = vm.obeys = True
    simulation.datacentre.changed(place)


@_fault("guest GUEST ignores shutdown", "its OS does not hear that it should shut down")
def _guest_deaf(simulation: Outside, place: Machine, vm: Vm) -> None:
    vm.obeys = False
    simulation.datacentre.changed(place)


@_fault("GUEST is started by hand", "somebody starts the VM with another tool")
def _started_by_hand(simulation: Outside, place: Machine, vm: Vm) -> None:
    if place.is_on and not vm.is_aside:
        simulation.datacentre.start_vm(place, vm, by_hand=True)


@_fault("GUEST is stopped by hand", "somebody stops the VM with another tool")
def _stopped_by_hand(simulation: Outside, place: Machine, vm: Vm) -> None:
    simulation.datacentre.stop_vm(place, vm)


@_fault("GUEST is given N MiB by hand", "somebody changes the memory of the VM, which is off")
def _reconfigured(simulation: Outside, place: Machine, vm: Vm, n: int) -> None:
    if not vm.is_on:
        vm.set_memory(n)
        simulation.datacentre.changed(place)


@_fault("GUEST is deleted by hand", "the VM is gone, with another tool")
def _deleted_by_hand(simulation: Outside, place: Machine, vm: Vm) -> None:
    simulation.datacentre.stop_vm(place, vm)
    del place.vms[vm.number]
    place.staged.pop(vm.staged_as, None)
    simulation.datacentre.changed(place)


@_fault(
    "GUEST is moved to OTHER by hand", "somebody moves the VM, running, to another host; both must answer"
)
def _moved_by_hand(simulation: Outside, place: Machine, vm: Vm, other: Machine) -> None:
    can_move = place.vmm_answers(simulation.now) and other.vmm_answers(simulation.now)
    if other is not place and can_move and vm.is_on:
        simulation.datacentre.move_vm(place, vm, other)


# --- what all share -------------------------------------------------------------------------


@_fault("DHCP fails", "whoever asks for an address gets none")
def _dhcp_fails(simulation: Outside) -> None:
    simulation.datacentre.has_dhcp = False


@_fault("DHCP works again", "whoever asks for an address gets one", heals=True)
def _dhcp_works(simulation: Outside) -> None:
    simulation.datacentre.has_dhcp = True


@_fault("store of MACHINE is full", "no further image or instance fits on it")
def _store_full(simulation: Outside, machine: Machine) -> None:
    machine.store.free_bytes = 0
    simulation.datacentre.changed(machine)


@_fault("store of MACHINE has room again", "images and instances fit on it", heals=True)
def _store_has_room(simulation: Outside, machine: Machine) -> None:
    machine.store.free_bytes = 500 << 30
    simulation.datacentre.changed(machine)


@_fault("image matrix is full after N bytes", "an import ends when it has written so much")
def _matrix_full(simulation: Outside, n: int) -> None:
    simulation.matrix.free_bytes = n


@_fault("image matrix has room again", "imports find room", heals=True)
def _matrix_has_room(simulation: Outside) -> None:
    simulation.matrix.free_bytes = 1 << 50


# --- controllers ----------------------------------------------------------------------------


_inside = partial(_fault, needs_controller=True)


@_inside("controller dies", "it ends without a word, whatever it was doing")
def _controller_dies(simulation: Simulation) -> None:
    simulation.kill()


@_inside("controller starts", "it starts on what is stored; one that lives is ended first", heals=True)
def _controller_starts(simulation: Simulation) -> None:
    simulation.kill()
    simulation.start()


@_inside("second controller takes over", "it does not know of the first, nor the first of it")
def _second_controller(simulation: Simulation) -> None:
    simulation.usurp()


@_inside("disk of the controller is full N times", "so many rounds cannot be stored")
def _disk_full(simulation: Simulation, n: int) -> None:
    simulation.plant_save(*[SaveFault.FULL] * min(n, 100))


@_inside("answer of the database is lost", "a round is stored, and the controller is told that it is not")
def _database_lost(simulation: Simulation) -> None:
    simulation.plant_save(SaveFault.LOST_ANSWER)


@_inside("observations come up to N s late", "and so out of order")
def _late(simulation: Simulation, n: int) -> None:
    simulation.mail.late_s = float(n)


@_inside("observations come twice", "what was seen and done is told again")
def _twice(simulation: Simulation) -> None:
    simulation.mail.is_doubling = True


@_inside("observations come in order", "at once, and once", heals=True)
def _in_order(simulation: Simulation) -> None:
    simulation.mail.late_s, simulation.mail.is_doubling = 0.0, False


@_inside("clock jumps forward by N s", "the controller's machine has another time from its next start on")
def _clock_forward(simulation: Simulation, n: int) -> None:
    simulation.skew += timedelta(seconds=n)


@_inside("clock jumps back by N s", "the controller's machine has another time from its next start on")
def _clock_back(simulation: Simulation, n: int) -> None:
    simulation.skew -= timedelta(seconds=n)


@_fault("everything heals", "all faults end; what is off stays off", heals=True)
def heal(simulation: Outside) -> None:
    """End all faults."""
    simulation.datacentre.heal()
    for machine in simulation.datacentre.machines.values():
        _store_has_room(simulation, machine)
    simulation.matrix.free_bytes = 1 << 50
    if isinstance(simulation, Simulation):
        _in_order(simulation)
        simulation.plant_save()
        if not simulation.controller.is_alive:
            simulation.start()
