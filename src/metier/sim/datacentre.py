"""A data centre in memory: all machines there are, and what can be done to them.

Time is a clock that is passed in, and nothing is random: whoever tells a story breaks
things.  It is safe to use from many threads.
"""

import copy
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from metier.domain.errors import Unavailable
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, SlotId
from metier.drivers.hypervisor.api import Ended
from metier.sim.machines import Bmc, CallFault, Machine, Store, Stray, Vm

_A_MACHINE = Hardware(
    memory_mib=16384,
    cpus=8,
    disk_gib=500,
    networks=frozenset({"default"}),
    image_forms=frozenset({"vmm-host"}),
)


class Clock(Protocol):
    """Where the data centre gets its time from."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""


class Running(NamedTuple):
    """A VM that runs by Metier's doing, and whose identity it has."""

    slot: SlotId
    machine: NodeId
    number: int
    instance: str | None
    address: str | None


class DataCentre:
    """All machines, the stores and the network between them.

    Attributes:
        guest_boot_s: Seconds from a VM's start to its services' first answer, by image (`web@1`).
        usual_guest_boot_s: The same for every other image.
        guest_stop_s: Seconds that a guest OS takes to shut down.
        has_dhcp: Guests and machines that ask for an address get one.
        listeners: Called with a machine's name after anything about it changed, or will
            have changed by the moment that comes with it.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.machines: dict[NodeId, Machine] = {}
        self.stores: dict[str, Store] = {}
        self.guest_boot_s: dict[str, float] = {}
        self.usual_guest_boot_s = 8.0
        self.guest_stop_s = 0.0
        self.has_dhcp = True
        self.lock = threading.RLock()
        self.listeners: list[Callable[[NodeId, datetime], None]] = []
        self._at: dict[str, list[tuple[Machine, Vm]]] = {}
        self._gone: set[NodeId] = set()
        self._put_up = 0

    def fork(self, clock: Clock) -> "DataCentre":
        """Return an independent copy of everything as it is now; nobody listens to it yet."""
        other = DataCentre(clock)
        with self.lock:
            memo: dict[int, object] = {id(machine.watchers): [] for machine in self.machines.values()}
            other.machines = copy.deepcopy(self.machines, memo)
            other.stores = copy.deepcopy(self.stores, memo)
            other.guest_boot_s = dict(self.guest_boot_s)
            other.usual_guest_boot_s, other.guest_stop_s = self.usual_guest_boot_s, self.guest_stop_s
            other.has_dhcp = self.has_dhcp
            other._gone, other._put_up = set(self._gone), self._put_up
            for machine, vm in other.vms():
                other.put_on_line(machine, vm)
        return other

    def add(
        self,
        name: str,
        hardware: Hardware = _A_MACHINE,
        *,
        is_on: bool = False,
        has_bmc: bool = True,
        boot_s: float = 30.0,
        store: str | None = None,
    ) -> Machine:
        """Put up a machine; one that is on answers at once.  Machines that name one `store` share it."""
        with self.lock:
            kept = self.stores.setdefault(store or name, Store())
            self._put_up += 1
            machine = Machine(NodeId(name), self._put_up, hardware, kept, boot_s=boot_s)
            machine.is_on, machine.has_bmc = is_on, has_bmc
            self.machines[machine.name] = machine
            self._gone.discard(machine.name)
            return machine

    def machine(self, name: str) -> Machine:
        """Return a machine as it is now; one that was never named before is put up, and is on.

        Raises:
            Unavailable: It was carried away.
        """
        with self.lock:
            if NodeId(name) in self._gone:
                raise Unavailable(f"cannot reach {name}: it was carried away")
            machine = self.machines.get(NodeId(name)) or self.add(name, is_on=True)
            machine.catch_up(self.clock.now())
            return machine

    def remove(self, name: str) -> None:
        """Carry a machine away, with its store if nobody shares it."""
        with self.lock:
            gone = self.machines.pop(NodeId(name))
            gone.lose_power()
            self._gone.add(gone.name)
            if not any(machine.store is gone.store for machine in self.machines.values()):
                self.stores = {key: store for key, store in self.stores.items() if store is not gone.store}
        self.changed(gone)

    # --- what there is ----------------------------------------------------------

    def catch_up(self) -> None:
        """Let everything that was to happen by now have happened."""
        for machine in self.machines.values():
            machine.catch_up(self.clock.now())

    def vms(self) -> Iterator[tuple[Machine, Vm]]:
        """Yield every VM of Metier's there is, and its machine."""
        for machine in self.machines.values():
            for vm in machine.vms.values():
                yield machine, vm

    def longest_boot_s(self) -> float:
        """Return how long the slowest machine or guest takes to come up, in seconds."""
        machines = [machine.boot_s for machine in self.machines.values()]
        return max([self.usual_guest_boot_s, *self.guest_boot_s.values(), *machines])

    def running(self) -> Iterator[Running]:
        """Yield every VM that runs by Metier's doing: the truth, whatever drivers say."""
        self.catch_up()
        for machine in self.machines.values():
            vms = [*machine.vms.values(), *(stray.vm for stray in machine.strays)]
            for vm in vms if machine.is_on else ():
                if vm.is_on and vm.slot is not None and not vm.by_hand:
                    yield Running(vm.slot, machine.name, vm.number, vm.instance, vm.address)

    def answering(self, address: str) -> Vm | None:
        """Return the guest whose services answer at an address, if any does."""
        now = self.clock.now()
        with self.lock:
            for machine, vm in self._at.get(address, ()):
                machine.catch_up(now)
                if vm.address == address and machine.is_on and machine.reachable and vm.serves(now):
                    return vm
        return None

    # --- what happens -----------------------------------------------------------

    def stage_vm(self, name: str, vm: str, hardware: Hardware) -> None:
        """Let a person make a VM on a machine, off, and hand it over: the next staging takes it."""
        with self.lock:
            machine = self.machine(name)
            machine.staged[vm], machine.foreign[vm] = hardware, False
        self.changed(machine)

    def switch(self, name: str, *, on: bool) -> None:
        """Give a machine power or cut it, and its guests' with it; as it is already is fine."""
        with self.lock:
            machine = self.machine(name)
            if on and not machine.is_on and machine.has_mains:
                machine.is_on = True
                machine.is_hung = machine.boot_hangs or (machine.boots_from_network and not self.has_dhcp)
                machine.ready_at = self.clock.now() + timedelta(seconds=machine.boot_s)
            elif not on:
                machine.lose_power()
        self.changed(machine, machine.ready_at if on else None)
        _notify(machine)

    def start_vm(self, machine: Machine, vm: Vm, *, by_hand: bool = False) -> None:
        """Start a VM that is off."""
        with self.lock:
            if vm.is_on:
                return
            boot_s = self.guest_boot_s.get(vm.metadata.get("image", ""), self.usual_guest_boot_s)
            vm.is_on, vm.by_hand, vm.off_at, vm.is_aside = True, by_hand, None, False
            vm.ready_at = self.clock.now() + timedelta(seconds=boot_s)
            vm.address = vm.fixed_address or self._lease(machine, vm)
            self.put_on_line(machine, vm)
        self.changed(machine, vm.ready_at)
        _notify(machine)

    def put_on_line(self, machine: Machine, vm: Vm) -> None:
        """Take note of the address that a VM has, so that it is found there."""
        if vm.address is not None:
            here = [one for one in self._at.get(vm.address, ()) if one[1].address == vm.address]
            self._at[vm.address] = [*[one for one in here if one[1] is not vm], (machine, vm)]

    def stop_vm(self, machine: Machine, vm: Vm, ended: Ended = Ended.CUT) -> None:
        """Let a VM go off: cut its power, as its host, a crash or a person would, or as `ended` says."""
        with self.lock:
            was_on = vm.is_on
            vm.switch_off(ended)
        if was_on:
            self.changed(machine)
            _notify(machine)

    def move_vm(self, machine: Machine, vm: Vm, to: Machine) -> None:
        """Move a VM to another machine as a person does: it runs on, and is no VM of that host's slots."""
        with self.lock:
            del machine.vms[vm.number]
            machine.staged.pop(vm.staged_as, None)
            to.strays.append(Stray(machine.name, vm))
        self.changed(machine)
        self.changed(to)
        _notify(machine)

    def shut_down_vm(self, machine: Machine, vm: Vm) -> None:
        """Ask the guest OS of a VM to shut down."""
        with self.lock:
            vm.shutdown_asked = vm.is_on
            if not (vm.is_on and vm.obeys) or vm.off_at is not None:
                return
            off_at = vm.off_at = self.clock.now() + timedelta(seconds=self.guest_stop_s)
            machine.catch_up(self.clock.now())
        self.changed(machine, off_at)
        if off_at <= self.clock.now():
            _notify(machine)

    def plant(self, name: str, verb: str, *faults: CallFault) -> None:
        """Let the next calls of `verb` (`start`, `report`, `off`, …) on a machine go wrong in this order."""
        with self.lock:
            machine = self.machine(name)
            machine.faults.setdefault(verb, []).extend(faults)
        self.changed(machine)

    def heal(self) -> None:
        """End all faults: everything has current, network and obedience; what stands still stands still."""
        with self.lock:
            self.has_dhcp = True
            for machine in self.machines.values():
                _heal(machine)
                machine.is_on = machine.is_on or not machine.has_bmc
        for machine in self.machines.values():
            self.changed(machine)

    def changed(self, machine: Machine, at: datetime | None = None) -> None:
        """Tell those who listen that a machine changed just now, or will have changed `at` a moment."""
        for tell in self.listeners:
            tell(machine.name, self.clock.now())
            if at is not None:
                tell(machine.name, at)

    def _lease(self, machine: Machine, vm: Vm) -> str | None:
        if not self.has_dhcp:
            return None
        return f"10.{machine.number >> 8 & 255}.{machine.number & 255}.{vm.number & 255}"


def _heal(machine: Machine) -> None:
    machine.has_mains = machine.reachable = True
    machine.boot_hangs = False
    machine.delay_s = 0.0
    machine.bmc = Bmc(calls=machine.bmc.calls)
    machine.faults.clear()
    for vm in machine.vms.values():
        vm.answers = vm.obeys = True


def _notify(machine: Machine) -> None:
    """Tell those who watch a machine's VM manager, if anybody can hear it."""
    if machine.reachable:
        for changed in list(machine.watchers):
            changed()


def doubles(running: Iterable[Running]) -> list[str]:
    """Return a sentence for every identity, instance or address that lives in two places at once."""
    seen: dict[str, Running] = {}
    found = []
    for one in running:
        for what in (f"slot {one.slot}", f"instance {one.instance}", f"address {one.address}"):
            if what.endswith(" None"):
                continue
            other = seen.setdefault(what, one)
            if other is not one:
                here, there = f"{one.machine}/VM{one.number}", f"{other.machine}/VM{other.number}"
                found.append(f"{what} runs twice: on {there} and on {here}")
    return found
