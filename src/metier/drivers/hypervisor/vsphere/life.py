"""The life of a VM: defined, given an instance, cleaned and set aside, removed."""

from typing import Any, NamedTuple

from metier.domain.errors import Refused
from metier.domain.image import OfferedVm
from metier.drivers.hypervisor.api import GuestSpec
from metier.drivers.hypervisor.vsphere import devices, staged, vms
from metier.drivers.hypervisor.vsphere.devices import DiskFile
from metier.drivers.hypervisor.vsphere.elsewhere import other_user, refuse_if_elsewhere
from metier.drivers.hypervisor.vsphere.host import attachment
from metier.drivers.hypervisor.vsphere.mark import Mark, mark_options
from metier.drivers.hypervisor.vsphere.questions import finish_start
from metier.drivers.hypervisor.vsphere.session import Session
from metier.drivers.hypervisor.vsphere.shape import Shape, kept_nics, nearest_guest_id, shape_for
from metier.drivers.hypervisor.vsphere.vmware import vim, vmodl

_NEW_GUEST = "otherLinux64Guest"


def define(session: Session, offer: OfferedVm) -> None:
    """Make VM `offer.number`, unless it is there or aside."""
    if session.look_up(offer.number) is not None or session.aside.find(offer.number) is not None:
        return
    session.require_working()
    session.aside.drop_lost(offer.number)
    place, host = session.place, session.host
    backings = [attachment(session.endpoint, host, place, name) for name in offer.networks]
    spec = vim.vm.ConfigSpec(
        name=place.vm(offer.number),
        guestId=_NEW_GUEST,
        instanceUuid=place.vm_id(place.node, offer.number),
        numCPUs=offer.cpus,
        memoryMB=offer.memory_mib,
        # The host makes a folder of the VM's name, or another one where that name is taken.
        files=vim.vm.FileInfo(vmPathName=f"[{host.datastore.name}]"),
        extraConfig=mark_options(Mark(place.site, place.node, offer.number, offer.disk_gib)),
        deviceChange=devices.new_nics(backings),
    )
    session.begin(host.folder.CreateVM_Task, spec, host.pool, host.ref)


def prepare(session: Session, number: int, guest: GuestSpec) -> tuple[str, ...]:
    """Put an instance and a personality on a VM that is off; returns remarks."""
    listed = session.listed()
    vm = vms.find(listed, number)
    if vm is None:
        vms.refuse_name(session.place, number, [other.name for other in listed.others])
        session.require_aside(number)
    else:
        vms.require_off(vm, session.place, "prepare")
    refuse_if_elsewhere(session, number, guest.instance, listed)
    vm = session.woken(number, vm)
    store, machine = session.store, guest.image.machine
    shape = shape_for(machine, len(vm.nics))
    parents = store.ensure_image(guest.image)
    seed = store.put_seed(number, guest.seed)
    with store.alone("instances"):
        disks = store.plan_instance(guest.instance, guest.image, parents)
        if session.place.are_copied:
            disks = store.copied(disks)
        mark = session.mark(vm, instance=guest.instance, image=guest.image.key, facts=guest.metadata)
        remarks = _give_instance(session, vm, _Given(shape, disks, seed, mark))
    own = kept_nics(vm.nics, machine.nic_models) if vm.is_staged else []
    return (*shape.remarks, *own, *remarks)


class _Given(NamedTuple):
    """What a VM is given."""

    shape: Shape
    disks: tuple[DiskFile, ...]
    seed: str
    mark: list[Any]


def _give_instance(session: Session, vm: vms.Vm, given: _Given) -> list[str]:
    """Put an instance on a VM; where the host makes no linked disks, as copies; returns remarks."""
    try:
        return _give_disks(session, vm, given)
    except vmodl.fault.NotSupported:
        copied = session.store.copied(given.disks)
        if copied == given.disks:
            raise
        remarks = _give_disks(session, vm, given._replace(disks=copied))
        return [*remarks, "the host makes no linked disks there; the instance is a whole copy of its image"]


def _give_disks(session: Session, vm: vms.Vm, given: _Given) -> list[str]:
    return _give(
        session,
        vm,
        guestId=given.shape.guest_id,
        firmware=given.shape.firmware,
        deviceChange=devices.with_instance(vm, given.shape, given.disks, given.seed),
        extraConfig=given.mark,
    )


def _give(session: Session, vm: vms.Vm, **changes: Any) -> list[str]:
    """Change a VM's configuration; for a guest that the host does not know it is said to be another."""
    try:
        session.reconfigure(vm, **changes)
    except (vmodl.fault.InvalidArgument, vim.fault.InvalidVmConfig) as fault:
        named = getattr(fault, "invalidProperty", None) or getattr(fault, "property", None) or ""
        if not str(named).endswith("guestId"):
            raise
        wanted = changes["guestId"]
        given = nearest_guest_id(wanted)
        session.reconfigure(vm, **{**changes, "guestId": given})
        return [f"the host does not know the guest {wanted}; the VM is configured for {given}"]
    return []


def start(session: Session, number: int) -> None:
    """Start a VM, brought back first if it is aside."""
    vm = session.look_up(number)
    # An off VM only: what is on is left alone.
    if vm is not None and vm.state == "poweredOn":
        return
    vm = session.woken(number, vm)
    session.attempt.begin()
    try:
        # The host is named, or a cluster that balances load would choose one.
        task = vm.ref.PowerOnVM_Task(session.host.ref)
        finish_start(session.endpoint, session.attempt, vm.ref, task, lambda: _is_single(session, vm))
    except vim.fault.InvalidPowerState as fault:
        if fault.existingState != fault.requestedState:
            raise


def _is_single(session: Session, vm: vms.Vm) -> bool:
    """Whether no other VM of the host has the same identity: a copy has, until the host knows it is one."""
    marked = (*session.listed().owned, *session.listed().others)
    return sum(other.identity == vm.identity for other in marked) == 1


def ask_guest(session: Session, number: int) -> None:
    """Ask the guest OS of a VM to shut down."""
    vm = session.look_up(number)
    if vm is None:
        session.require_aside(number)
    elif vm.state != "poweredOff":
        _ask(session, vm)


def _ask(session: Session, vm: vms.Vm) -> None:
    session.attempt.begin()
    try:
        vm.ref.ShutdownGuest()
    except vim.fault.ToolsUnavailable as fault:
        raise Refused(
            f"cannot {session.attempt.what}: its guest runs no VMware Tools",
            remedy="install open-vm-tools in the image; until then the power is cut",
        ) from fault
    except vim.fault.InvalidPowerState as fault:
        if fault.existingState != "poweredOff":
            raise


def stop(session: Session, number: int) -> None:
    """Cut the power of a VM."""
    vm = session.look_up(number)
    if vm is None:
        session.require_aside(number)
    elif vm.state != "poweredOff":
        session.switch(vm.ref.PowerOffVM_Task)


def retire(session: Session, number: int, discard: str | None) -> None:
    """Take everything off a VM that is off, and set it aside."""
    listed = session.listed()
    vm = vms.find(listed, number)
    if vm is None:
        vms.refuse_name(session.place, number, [other.name for other in listed.others])
    else:
        vms.require_off(vm, session.place, "retire")
    kept = session.require_aside(number) if vm is None else None
    if discard is not None:
        refuse_if_elsewhere(session, number, discard, listed)
    if vm is not None:
        session.reconfigure(vm, deviceChange=devices.without_instance(vm), extraConfig=session.mark(vm))
    session.store.drop_seed(number)
    if discard is not None:
        session.store.drop_instance(discard)
    if vm is not None:
        session.aside.move_away(vm)
    elif kept is not None:
        session.aside.finish_away(kept)


def remove(session: Session, number: int) -> None:
    """Remove a VM that is off with its instance; a staged one is given back instead."""
    listed = session.listed()
    vm = vms.find(listed, number)
    if vm is None:
        kept = session.aside.find(number)
        if kept is None:
            session.aside.drop(number)
            return
        vm = session.bring_back(number, kept)
    vms.require_off(vm, session.place, "remove")
    # VMware deletes with a VM whatever disks are on it, be they an image's: none may be left there.
    changes = devices.without_instance(vm)
    if changes:
        session.reconfigure(vm, deviceChange=changes)
    session.store.drop_seed(number)
    # The VM goes last: a removal that breaks off here is simply repeated, and nothing is left without a VM.
    if vm.instance is not None and other_user(number, vm.instance, listed) is None:
        session.store.drop_instance(vm.instance)
    if vm.is_staged:
        staged.give_back(session, vms.read_vm(session.endpoint, vm.ref))
    else:
        session.begin(vm.ref.Destroy_Task)
    session.aside.drop(number)
