"""A data centre in memory: hosts, their VMs, what is asked of them and what they show.

It models the outside, never Metier: it knows no tiers, only machines, the identity
each VM was given, and what is broken.  Time is an argument, and nothing is random;
faults are set by whoever tells the story.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from metier.domain import actions as act
from metier.domain.effective import collectors
from metier.domain.errors import Bug
from metier.domain.fleet import Draft
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, SlotId
from metier.domain.image import OfferedVm
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node
from metier.domain.observation import CheckResult, Health, Observed, Power, VmFacts
from metier.planner.effects import Done, Failed, Outcome

_REFUSED = "the VM is running"


@dataclass(slots=True)
class SimVm:
    """A VM that Metier defined on a host.

    Attributes:
        slot: The slot whose identity it was prepared with.
        ready_at: When its services answer; meaningless while it is off.
        answers: False while its services are broken.
        obeys: False while its guest OS ignores the power button.
        by_hand: It was started by another tool than Metier.
    """

    number: int
    hardware: Hardware
    is_on: bool = False
    instance: str | None = None
    slot: SlotId | None = None
    ready_at: datetime | None = None
    answers: bool = True
    obeys: bool = True
    by_hand: bool = False


@dataclass(slots=True)
class SimHost:
    """A physical machine with a VM manager, or without one.

    Attributes:
        ready_at: When its VM manager answers; None if it does as soon as the machine is on.
        reachable: False while the network to its VM manager is broken.
        switchable: False while its power controller does not answer.
        has_vmm: False for metal that runs no VM manager.
        foreign_running: Running VMs there that are not Metier's; they go with its power.
        is_sick: It fails diagnostics.
    """

    name: NodeId
    hardware: Hardware
    is_on: bool = False
    ready_at: datetime | None = None
    reachable: bool = True
    switchable: bool = True
    has_vmm: bool = True
    has_switch: bool = True
    foreign_running: int = 0
    is_sick: bool = False
    vms: dict[int, SimVm] = field(default_factory=dict)

    def vmm_answers(self, now: datetime) -> bool:
        """Say whether its VM manager can be asked now."""
        is_up = self.is_on and (self.ready_at is None or now >= self.ready_at)
        return self.has_vmm and self.reachable and is_up

    def lose_power(self) -> None:
        """Go off, and every VM with it."""
        self.is_on = False
        self.foreign_running = 0
        for vm in self.vms.values():
            vm.is_on = False


@dataclass(slots=True)
class World:
    """All machines there are.

    Attributes:
        host_boot_s: Seconds from power to the VM manager's first answer.
        guest_boot_s: Seconds from a VM's start to its services' first answer.
    """

    hosts: dict[NodeId, SimHost] = field(default_factory=dict)
    host_boot_s: int = 30
    guest_boot_s: int = 4

    def add(self, name: str, hardware: Hardware, *, is_on: bool = False, has_switch: bool = True) -> SimHost:
        """Add a host; one that is on answers at once."""
        host = SimHost(NodeId(name), hardware, is_on=is_on, has_switch=has_switch)
        self.hosts[host.name] = host
        return host

    def vm(self, node: Node) -> SimVm | None:
        """Return the VM of a virtual node, if its host still has it."""
        host = self.hosts.get(node.host) if node.host is not None else None
        return None if host is None or node.vm_number is None else host.vms.get(node.vm_number)

    # --- doing -----------------------------------------------------------------

    def carry_out(self, node: Node, action: act.Work, now: datetime) -> Outcome:
        """Do what `action` asks of `node`, and say how it went."""
        match action:
            case act.PowerOn() | act.PowerOff():
                return self._switch(self.hosts[node.name], isinstance(action, act.PowerOn), now)
            case act.DiagnoseNode():
                host = self.hosts[node.host or node.name]
                return Failed("it did not pass its tests", final=True) if host.is_sick else Done()
            case _:
                return self._ask_vmm(node, action, now)

    def _ask_vmm(self, node: Node, action: act.Work, now: datetime) -> Outcome:
        host = self.hosts[node.host or node.name]
        if not host.vmm_answers(now):
            return Failed(f"{host.name} does not answer")
        match action:
            case act.InventoryNode():
                return Done(hardware=host.hardware)
            case act.StageVms():
                return self._stage(host, action)
            case act.RemoveVms():
                return self._remove(host)
            case _:
                vm = self.vm(node)
                if vm is None:
                    return Failed(f"{host.name} has no {node.vm_slot}", final=True)
                return self._guest(vm, action, now)

    def _switch(self, host: SimHost, on: bool, now: datetime) -> Outcome:
        if not host.switchable:
            return Failed(f"the power controller of {host.name} does not answer")
        if on and not host.is_on:
            host.is_on, host.ready_at = True, now + timedelta(seconds=self.host_boot_s)
        elif not on:
            host.lose_power()
        return Done()

    def _stage(self, host: SimHost, action: act.StageVms) -> Outcome:
        offered = {offer.number for offer in action.offers}
        for number in [number for number, vm in host.vms.items() if number not in offered and not vm.is_on]:
            del host.vms[number]
        for offer in action.offers:
            if offer.number not in host.vms:
                host.vms[offer.number] = SimVm(offer.number, hardware_of(offer))
        return Done()

    def _remove(self, host: SimHost) -> Outcome:
        if any(vm.is_on for vm in host.vms.values()):
            return Failed(_REFUSED, final=True)
        host.vms.clear()
        return Done()

    def _guest(self, vm: SimVm, action: act.Work, now: datetime) -> Outcome:
        match action:
            case act.PrepareGuest():
                if vm.is_on:
                    return Failed(_REFUSED, final=True)
                vm.instance, vm.slot = action.instance.id, action.slot
            case act.StartGuest():
                if not vm.is_on:
                    vm.is_on, vm.by_hand = True, False
                    vm.ready_at = now + timedelta(seconds=self.guest_boot_s)
            case act.ShutdownGuest():
                vm.is_on = vm.is_on and not vm.obeys
            case act.StopGuest():
                vm.is_on = False
            case act.RetireGuest():
                if vm.is_on:
                    return Failed(_REFUSED, final=True)
                vm.instance = vm.slot = None
            case _:
                raise Bug(f"no model of {type(action).__name__} on a VM")
        return Done()

    # --- showing ---------------------------------------------------------------

    def show(self, draft: Draft, now: datetime) -> None:
        """Put into `draft` what drivers and collectors would see of every node now."""
        for name, host in self.hosts.items():
            if name in draft.nodes:
                draft.put_observed(name, self._seen(host, draft.seen(name), now))
        for tier, members in list(draft.tier_members.items()):
            if not collectors(draft, draft.tiers[tier]):
                continue
            for name in members.values():
                node = draft.nodes[name]
                if node.is_virtual and node.lifecycle in _JUDGED:
                    draft.put_observed(name, self._judged(node, draft.seen(name), now))

    def _seen(self, host: SimHost, last: Observed, now: datetime) -> Observed:
        seen = self._power_seen(host, last, now)
        if not host.has_vmm:
            return seen
        if not host.vmm_answers(now):
            return replace(
                seen,
                power=seen.power if host.has_switch else Power.UNKNOWN,
                vmm_reachable=False,
                vmm_at=now,
                vmm_failures=last.vmm_failures + 1,
                vmm_error="connection timed out",
            )
        return replace(
            seen,
            power=seen.power if host.has_switch else Power.ON,
            power_at=seen.power_at if host.has_switch else now,
            vmm_reachable=True,
            vmm_at=now,
            vmm_failures=0,
            vmm_error="",
            vms=tuple(_facts(vm) for _, vm in sorted(host.vms.items())),
            vms_at=now,
            foreign_running=host.foreign_running,
        )

    def _power_seen(self, host: SimHost, last: Observed, now: datetime) -> Observed:
        if not host.has_switch:
            return last
        if not host.switchable:
            return replace(last, power=Power.UNKNOWN, power_at=now, power_error="no answer")
        return replace(last, power=Power.ON if host.is_on else Power.OFF, power_at=now, power_error="")

    def _judged(self, node: Node, last: Observed, now: datetime) -> Observed:
        vm = self.vm(node)
        is_up = vm is not None and vm.is_on and vm.answers and vm.ready_at is not None and now >= vm.ready_at
        host = self.hosts[node.host] if node.host is not None else None
        ok = is_up and host is not None and host.is_on and host.reachable
        return replace(
            last,
            health=Health.NORMAL if ok else Health.CRITICAL,
            health_at=now,
            checks=(CheckResult("tcp:80", ok, "" if ok else "connection refused"),),
            failed_checks=0 if ok else last.failed_checks + 1,
        )

    # --- the truth --------------------------------------------------------------

    def running_as(self) -> Iterator[tuple[SlotId, NodeId, int, str | None]]:
        """Yield the identity, host, VM number and instance of every VM that runs by Metier's doing."""
        for host in self.hosts.values():
            for vm in host.vms.values():
                if host.is_on and vm.is_on and vm.slot is not None and not vm.by_hand:
                    yield vm.slot, host.name, vm.number, vm.instance


_JUDGED = (Lifecycle.STARTING, Lifecycle.RUNNING, Lifecycle.FAILED)


def hardware_of(offer: OfferedVm) -> Hardware:
    """Return what a VM made for `offer` has."""
    return Hardware(
        offer.memory_mib,
        offer.cpus,
        offer.disk_gib,
        nics=len(offer.networks),
        networks=frozenset(offer.networks),
        image_forms=frozenset({"qcow2", "raw", "vmdk"}),
    )


def _facts(vm: SimVm) -> VmFacts:
    return VmFacts(vm.number, Power.ON if vm.is_on else Power.OFF, vm.hardware, vm.instance)
