"""Builds a data centre that shows what a Fleet has seen: the start of every simulation of a real site."""

from datetime import datetime, timedelta

from metier.domain.effective import address, version_of
from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware
from metier.domain.ids import SlotId, image_ref, natural
from metier.domain.image_use import host_key
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node
from metier.domain.observation import Health, Power, VmFacts
from metier.sim.clock import Agenda
from metier.sim.datacentre import DataCentre
from metier.sim.machines import GUEST_FORMS, Instance, Machine, Vm

UNKNOWN_HARDWARE = Hardware(memory_mib=16384, cpus=8, disk_gib=500)
"""What a machine has that Metier never took stock of."""

GUEST_STOP_S = 2.0
"""Seconds that a small Linux takes to shut down; where nobody measured it."""


def datacentre_of(fleet: Fleet, agenda: Agenda) -> DataCentre:
    """Return a data centre in which everything is as `fleet` last saw it, and nothing else is broken.

    What was never seen is taken to be well: a machine that nobody asked is off, its VM manager
    answers when it is on, and a guest that runs serves unless its collectors say otherwise.
    """
    datacentre = DataCentre(agenda.clock)
    datacentre.guest_stop_s = GUEST_STOP_S
    for node in sorted(fleet.nodes.values(), key=lambda node: natural(node.name)):
        if not node.is_virtual:
            put_up(datacentre, fleet, node)
    return datacentre


def put_up(datacentre: DataCentre, fleet: Fleet, node: Node) -> Machine:
    """Put up the machine of a physical node as `fleet` last saw it, with its VMs."""
    seen = fleet.seen(node.name)
    hardware = node.hardware or UNKNOWN_HARDWARE
    is_on = seen.power is Power.ON or bool(seen.vmm_reachable) or node.power is None
    machine = datacentre.add(node.name, hardware, is_on=is_on, has_bmc=node.power is not None)
    machine.has_vmm = node.vmm is not None
    machine.reachable = not (is_on and seen.vmm_reachable is False and seen.vmm_failures > 0)
    machine.hardware = _with_networks(fleet, node, hardware)
    for number in range(seen.foreign_running):
        machine.foreign[f"foreign-{number + 1}"] = True
    if seen.vms is not None:
        machine.patch_level = seen.patch_level
        machine.puts_aside = any(facts.is_aside for facts in seen.vms)
    for facts in seen.vms or ():
        vm = _vm(fleet, node, facts, datacentre.clock.now())
        machine.vms[vm.number] = vm
        if vm.staged_as:
            machine.staged[vm.staged_as] = vm.hardware
        _put_instance(machine, vm, fleet)
        if vm.is_on:
            vm.address = vm.fixed_address or facts.address
            datacentre.put_on_line(machine, vm)
    return machine


def _with_networks(fleet: Fleet, node: Node, hardware: Hardware) -> Hardware:
    """Return hardware that reaches every network that VMs on it are offered with."""
    offered: set[str] = set(hardware.networks)
    for image in fleet.images.values():
        for offer in image.offers:
            offered |= set(offer.networks)
    return Hardware(
        hardware.memory_mib,
        hardware.cpus,
        hardware.disk_gib,
        hardware.architecture,
        hardware.nics,
        node.attributes | hardware.attributes,
        frozenset(offered),
        hardware.image_forms,
    )


def _vm(fleet: Fleet, host: Node, facts: VmFacts, now: datetime) -> Vm:
    hardware = facts.hardware or Hardware(memory_mib=0, image_forms=GUEST_FORMS)
    vm = Vm(facts.number, hardware, facts.power is Power.ON, facts.instance, is_aside=facts.is_aside)
    vm.staged_as = f"staged-{facts.number}" if facts.is_staged else ""
    name = fleet.vms_of.get(host.name, {}).get(facts.number)
    node = None if name is None else fleet.nodes[name]
    if node is None:
        return vm
    slot = _slot_of(node)
    if slot is not None and slot.tier in fleet.tiers:
        tier = fleet.tiers[slot.tier]
        vm.metadata = {"tier": slot.tier, "slot": str(slot.number), "image": str(version_of(tier, node))}
        vm.hostname = tier.hostname(slot.number)
        fixed = address(fleet, node)
        vm.fixed_address = None if fixed is None or fixed == facts.address else fixed.partition("/")[0]
    if vm.is_on:
        vm.by_hand = node.lifecycle is Lifecycle.IDLE
        vm.answers = node.lifecycle is not Lifecycle.FAILED or fleet.seen(node.name).health is Health.NORMAL
        vm.ready_at = now + timedelta(seconds=1) if node.lifecycle is Lifecycle.STARTING else now
    return vm


def _slot_of(node: Node) -> SlotId | None:
    if node.instance is not None:
        return node.instance.slot
    if node.tier is None or node.placement.slot is None:
        return None
    return SlotId(node.tier, node.placement.slot)


def _put_instance(machine: Machine, vm: Vm, fleet: Fleet) -> None:
    if vm.instance is None:
        return
    name = vm.metadata.get("image", "")
    image = fleet.images.get(image_ref(name)) if "@" in name else None
    key = name if image is None else host_key(image)
    machine.store.images.setdefault(key, 0)
    machine.store.instances.setdefault(vm.instance, Instance(key))
