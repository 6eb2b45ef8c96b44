"""A data centre for looking ahead: machines are put up when they are first asked for, and on their way.

A site has thousands of machines and a change concerns few of them.  What was ordered and not
yet seen when the look ahead begins is taken to be under way for as long as it takes here.
"""

from datetime import datetime, timedelta

from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, natural
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node
from metier.domain.observation import Health, Power
from metier.sim.datacentre import Clock, DataCentre
from metier.sim.machines import BmcFault, Machine, Vm
from metier.sim.pace import guest_boots_s, guest_stop_s, host_boot_s
from metier.sim.site import put_up

_COMING = (Lifecycle.BOOTING, Lifecycle.STARTING)


class Sketch(DataCentre):
    """What `fleet` last saw, with its own measured times.

    Whatever is started from now on works, also what failed before; whatever is not started
    anew stays as it was seen.

    Attributes:
        until: When the last of all that is under way is over: boots and shutdowns.
    """

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        super().__init__(clock)
        self._fleet = fleet
        self._began = clock.now()
        physical = sorted((node.name for node in fleet.nodes.values() if not node.is_virtual), key=natural)
        self._numbers = {name: number for number, name in enumerate(physical, start=1)}
        self.guest_boot_s = guest_boots_s(fleet)
        self.guest_stop_s = guest_stop_s(fleet)
        self.until = self._began
        self.listeners.append(self._note)

    def machine(self, name: str) -> Machine:
        """Return a machine as it is now; raises Unavailable."""
        node = self._fleet.nodes.get(NodeId(name))
        if node is not None and node.name not in self.machines and node.name in self._numbers:
            with self.lock:
                self._sketch(node)
        return super().machine(name)

    def switch(self, name: str, *, on: bool) -> None:
        """Give a machine power or cut it; one that comes up answers."""
        machine = self.machine(name)
        if not machine.is_on:
            node = self._fleet.nodes.get(machine.name)
            machine.reachable, machine.has_vmm = True, node is None or node.vmm is not None
        super().switch(name, on=on)

    def start_vm(self, machine: Machine, vm: Vm, *, by_hand: bool = False) -> None:
        """Start a VM that is off; its services will answer."""
        vm.answers = vm.answers or not vm.is_on
        super().start_vm(machine, vm, by_hand=by_hand)

    def _note(self, _name: NodeId, at: datetime) -> None:
        if at > self.clock.now():
            self.until = max(self.until, at)

    # --- what is under way already ----------------------------------------------------

    def _sketch(self, node: Node) -> None:
        machine = put_up(self, self._fleet, node)
        machine.number = self._numbers[node.name]
        machine.boot_s = host_boot_s(self._fleet, node.name)
        self._doubt(machine, node)
        self._go_on(machine, node)
        for guest in self._fleet.virtual_nodes(node.name):
            vm = machine.vms.get(guest.vm_number or 0)
            if vm is not None:
                self._go_on_with(machine, guest, vm)

    def _doubt(self, machine: Machine, node: Node) -> None:
        """Leave unknown what is: a power controller that gave no answer gives none here."""
        seen = self._fleet.seen(node.name)
        if node.power is not None and seen.power is Power.UNKNOWN and seen.power_at is not None:
            machine.bmc.fault = BmcFault.DEAD if seen.power_error else BmcFault.MUTE
            machine.is_on = True
            machine.reachable = bool(seen.vmm_reachable)
        if not machine.reachable and any(map(self._serves, self._fleet.virtual_nodes(node.name))):
            # What hangs is its VM manager: its guests could not serve without its network.
            machine.reachable, machine.has_vmm = True, False

    def _serves(self, guest: Node) -> bool:
        is_judged = self._fleet.seen(guest.name).health is Health.NORMAL
        return guest.lifecycle is Lifecycle.RUNNING and is_judged

    def _go_on(self, machine: Machine, node: Node) -> None:
        seen = self._fleet.seen(node.name)
        if node.lifecycle is Lifecycle.BOOTING and node.started_at is not None:
            machine.is_on = machine.is_on or not _is_since(seen.power_at, node.started_at)
            machine.ready_at = self._later(machine, node.started_at, machine.boot_s)
            machine.reachable = True
        told_at = node.asked_at if node.pending is None else None
        if told_at is not None and not _is_since(seen.power_at, told_at):
            machine.lose_power()

    def _go_on_with(self, machine: Machine, guest: Node, vm: Vm) -> None:
        seen_at = self._fleet.seen(machine.name).vms_at
        if guest.lifecycle in _COMING and guest.started_at is not None and machine.is_on:
            if not vm.is_on and not _is_since(seen_at, guest.started_at):
                self.start_vm(machine, vm)
            boot_s = self.guest_boot_s.get(vm.metadata.get("image", ""), self.usual_guest_boot_s)
            vm.ready_at = self._later(machine, guest.started_at, boot_s)
        elif guest.asked_at is not None and _is_stopping(guest) and vm.is_on:
            is_cut = guest.stop_by is not None and guest.asked_at >= guest.stop_by
            vm.off_at = self._later(machine, guest.asked_at, 0.0 if is_cut else self.guest_stop_s)

    def _later(self, machine: Machine, began: datetime, seconds: float) -> datetime:
        """Return when something ends that began before, at the earliest now; whoever listens is told."""
        at = max(self.clock.now(), began + timedelta(seconds=seconds))
        self.changed(machine, at)
        return at


def _is_stopping(guest: Node) -> bool:
    """Say whether a guest was told to stop, by an order that is not just being given."""
    return guest.lifecycle is Lifecycle.STOPPING and guest.pending is None


def _is_since(seen_at: datetime | None, moment: datetime) -> bool:
    return seen_at is not None and seen_at > moment
