"""Carries actions out: one `match` from an action to driver calls."""

from collections.abc import Collection
from dataclasses import replace

import structlog

from metier.control.tools import Tools
from metier.control.transfers import Tracking, untracked
from metier.domain import actions as act
from metier.domain.errors import (
    Bug,
    DriverError,
    MetierError,
    OutcomeUnknown,
    Refused,
    Unavailable,
    chain,
    told,
)
from metier.domain.fleet import Fleet
from metier.domain.image import Image, ImageType, Machine
from metier.domain.image_health import Verification, verification
from metier.domain.image_use import host_key
from metier.domain.node import Node
from metier.domain.observation import Power, VmFacts
from metier.domain.personalizing import carried_by
from metier.drivers.hypervisor.api import Adopting, GuestSpec, Hypervisor, ImageSource
from metier.planner.effects import DEADLINES_S, Done, Failed, Outcome

log = structlog.get_logger()

_FORMS = {ImageType.VMM_HOST: "vmm-host"}


def execute(action: act.Work, fleet: Fleet, tools: Tools, tracking: Tracking = untracked) -> Outcome:
    """Do `action` now, blocking, and say how it ended; never raises.

    `fleet` is the snapshot in which it was begun.  It may be called again with the
    same action after a crash: every driver call finds what is already done.
    `tracking` is told how far what is copied to the host is.
    """
    try:
        return _execute(action, fleet, tools, tracking)
    except Refused as error:
        return Failed(told(error), final=True)
    except Unavailable as error:
        return Failed(told(error))
    except OutcomeUnknown as error:
        return Failed(told(error), unsure=True)
    except Exception as error:  # a bug in one driver must not leave its node pending for ever
        log.exception("action failed", action=type(action).__name__, node=action.node)
        return Failed(f"internal error: {chain(error)}", unsure=True)


def _execute(action: act.Work, fleet: Fleet, tools: Tools, tracking: Tracking) -> Outcome:
    node = fleet.nodes[action.node]
    limit_s = float(DEADLINES_S[type(action)])
    match action:
        case act.InventoryNode():
            return _inventory(node, tools, limit_s)
        case act.PowerOn():
            tools.drivers.power(node).on(timeout_s=limit_s)
        case act.PowerOff():
            tools.drivers.power(node).off(timeout_s=limit_s)
        case act.StageVms():
            return _stage_vms(action, tools.drivers.hypervisor(node), limit_s)
        case act.RemoveVms():
            _remove_vms(tools.drivers.hypervisor(node), limit_s)
        case act.DiagnoseNode():
            return _diagnose(node, fleet, tools, limit_s)
        case _:
            return _on_guest(action, fleet, node, tools, tracking)
    return Done()


def _on_guest(action: act.Work, fleet: Fleet, node: Node, tools: Tools, tracking: Tracking) -> Outcome:
    host, limit_s = _host_of(fleet, node), float(DEADLINES_S[type(action)])
    hypervisor = tools.drivers.hypervisor(host)
    number = node.vm_number
    assert number is not None
    match action:
        case act.PrepareGuest():
            guest, digest = _guest_spec(action, tools, verification(fleet, action.image.ref))
            with tracking(node.name, host.name, action.image.ref) as progress:
                remarks = hypervisor.prepare(number, guest, progress, timeout_s=limit_s)
            return Done(remarks=remarks, digest=digest)
        case act.StartGuest():
            hypervisor.start(number, timeout_s=limit_s)
        case act.ShutdownGuest():
            hypervisor.shutdown(number, timeout_s=limit_s)
        case act.StopGuest():
            hypervisor.stop(number, timeout_s=limit_s)
        case act.RetireGuest():
            discard = action.discard.id if action.discard else None
            hypervisor.retire(number, discard, timeout_s=limit_s)
        case _:
            raise Bug(f"no driver call is written for {type(action).__name__}")
    return Done()


def _host_of(fleet: Fleet, node: Node) -> Node:
    host = fleet.host_of(node)
    if host is None:
        raise Refused(f"{node.name} has no host")
    return host


def _inventory(node: Node, tools: Tools, limit_s: float) -> Outcome:
    facts = tools.drivers.hypervisor(node).facts(timeout_s=limit_s)
    forms = facts.hardware.image_forms | {_FORMS[ImageType.VMM_HOST]}
    hardware = replace(facts.hardware, image_forms=forms)
    return Done(remarks=(facts.product,), hardware=hardware, details=facts.details)


def _stage_vms(action: act.StageVms, hypervisor: Hypervisor, limit_s: float) -> Outcome:
    """Remove what an earlier image left behind, take over what is handed over, define what is on offer."""
    offered = {offer.number for offer in action.offers}
    for vm in hypervisor.report(timeout_s=limit_s).vms:
        if vm.power is Power.OFF and _is_in_the_way(vm, offered):
            hypervisor.remove_vm(vm.number, timeout_s=limit_s)
    remarks: tuple[str, ...] = ()
    if isinstance(hypervisor, Adopting):
        remarks = hypervisor.adopt_vms(offered, timeout_s=limit_s)
    for offer in action.offers:
        hypervisor.define_vm(offer, timeout_s=limit_s)
    try:
        details = hypervisor.facts(timeout_s=limit_s).details
    except DriverError as error:  # what it says of itself is for people: its VMs serve without
        return Done(remarks=(*remarks, f"what the host is could not be asked: {told(error)}"))
    return Done(remarks=remarks, details=details)


def _is_in_the_way(vm: VmFacts, offered: Collection[int]) -> bool:
    """Say whether a VM that is off is to go: nobody offers it, or it is staged and has an offer's number.

    The latter is given back, to be taken over under another number; not once something is on it.
    """
    if vm.is_staged:
        return vm.number in offered and vm.instance is None
    return vm.number not in offered


def _remove_vms(hypervisor: Hypervisor, limit_s: float) -> None:
    for vm in hypervisor.report(timeout_s=limit_s).vms:
        if vm.power is not Power.OFF:
            hypervisor.stop(vm.number, timeout_s=limit_s)
        hypervisor.remove_vm(vm.number, timeout_s=limit_s)


def _guest_spec(
    action: act.PrepareGuest, tools: Tools, verified: Verification | None
) -> tuple[GuestSpec, str]:
    """Return what is to run on a VM, and the digest of what it is told; raises Refused."""
    image = action.image
    if image.machine is None:
        raise Refused(f"image {image.ref} has no disks to run")
    if verified is not None and verified.damage:
        raise Refused(
            f"image {image.ref} was found damaged: {verified.damage}",
            remedy="put the tier on another version; import or capture this one again as a new version",
        )
    try:
        disks = tools.matrix.disks(image)
    except MetierError as error:
        raise Refused(f"cannot read image {image.ref} out of the image matrix") from error
    try:
        seed = tools.personality(carried_by(action))
    except MetierError as error:
        raise Refused(f"cannot make the seed of slot {action.slot}") from error
    guest = GuestSpec(
        instance=action.instance.id,
        image=ImageSource(host_key(image), _machine_of(image, image.machine), disks),
        hostname=action.hostname,
        seed=seed.content,
        metadata={"tier": action.slot.tier, "slot": str(action.slot.number), "image": str(image.ref)},
    )
    return guest, seed.digest


def _machine_of(image: Image, machine: Machine) -> Machine:
    """Return the machine that an image expects; what says nothing of its guest OS is of the image's type."""
    if image.type is ImageType.WINDOWS and not machine.guest_os:
        return replace(machine, guest_os=image.type.value)
    return machine


def _diagnose(node: Node, fleet: Fleet, tools: Tools, limit_s: float) -> Outcome:
    """Test what can be tested while a node is off: its host answers, and still has its VM."""
    host = fleet.host_of(node) if node.is_virtual else node
    if host is None:
        return Failed(f"its host {node.host} is gone", final=True)
    if host.vmm is None:
        return Failed("it has no VM manager to test it with", final=True)
    report = tools.drivers.hypervisor(host).report(timeout_s=limit_s)
    if node.is_virtual and all(vm.number != node.vm_number for vm in report.vms):
        return Failed(f"{host.name} no longer has its VM", final=True)
    return Done()
