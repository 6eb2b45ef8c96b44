"""VMs that a person staged on the host and handed over: taken over, and given back as they were.

Taking one over is one reconfiguration, and so is giving it back: there is nothing between.  What the VM was
is written into its own configuration, beside Metier's mark.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Any

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.drivers.hypervisor.vsphere import devices, vms
from metier.drivers.hypervisor.vsphere.configuration import Settings
from metier.drivers.hypervisor.vsphere.faults import translated
from metier.drivers.hypervisor.vsphere.mark import Mark, mark_options, no_mark
from metier.drivers.hypervisor.vsphere.packing import pack, unpack
from metier.drivers.hypervisor.vsphere.properties import read, read_listed
from metier.drivers.hypervisor.vsphere.session import Session
from metier.drivers.hypervisor.vsphere.upwards import path_of, upwards
from metier.drivers.hypervisor.vsphere.vmware import identity, plain, vim

_FORM = 1
_STATES = {
    "poweredOn": ("it is running", "shut its guest OS down"),
    "suspended": ("it is suspended", "resume it and shut its guest OS down"),
}
_flat = vim.vm.device.VirtualDisk.FlatVer2BackingInfo


@dataclass(slots=True)
class _Chosen:
    """What the settings hand over.

    Attributes:
        found: The VMs, each once, in the settings' order, by their ids.
        inside: The ids of those in the folder that is handed over.
    """

    found: dict[str, vms.Vm] = field(default_factory=dict)
    inside: frozenset[str] = frozenset()
    remarks: list[str] = field(default_factory=list)

    def add(self, vm: vms.Vm) -> None:
        self.found.setdefault(identity(vm.ref), vm)


def adopt(session: Session, settings: Settings, offered: Collection[int]) -> tuple[str, ...]:
    """Take over what the settings hand over and is not taken over yet; returns remarks."""
    if not settings.staged and not settings.staged_folder:
        return ()
    listed = session.listed()
    aside = session.aside.all([vm.number for vm in listed.owned])
    names = {vm.staged_name for vm in listed.owned} | {vm.staged for vm in aside}
    chosen = _chosen(session, settings, listed, names)
    taken = {vm.number for vm in listed.owned} | {vm.number for vm in aside} | set(offered)
    free = (number for number in count(1) if number not in taken)
    for ref, vm in chosen.found.items():
        folder = settings.staged_folder if ref in chosen.inside else ""
        try:
            # One that the host refuses is no reason to leave the others.
            with translated(session.attempt):
                _take_over(session, vm, free, folder)
        except (Unavailable, OutcomeUnknown):
            raise
        except DriverError as error:
            chosen.remarks.append(_remark(session, vm.name, error))
    return tuple(chosen.remarks)


def _remark(session: Session, name: str, error: DriverError) -> str:
    why = error.message.removeprefix(f"cannot {session.attempt.what}: ")
    remedy = f"; {error.remedy}" if error.remedy else ""
    return f"VM {name} on {session.place.node} is not taken over: {why}{remedy}"


# --- which ----------------------------------------------------------------------------------------


def _chosen(session: Session, settings: Settings, listed: vms.Listed, taken: set[str]) -> _Chosen:
    chosen = _Chosen()
    paths = _Paths(session)
    for name in settings.staged:
        if name not in taken and name.rpartition("/")[2] not in taken:
            _choose(session, chosen, name, listed, paths)
    if settings.staged_folder:
        inside = _inside(session, settings.staged_folder)
        if inside is None:
            where = "folder" if session.endpoint.is_vcenter else "resource pool"
            chosen.remarks.append(
                f"{session.place.node} has no {where} {settings.staged_folder}, whose VMs are handed over"
            )
        chosen.inside = inside or frozenset()
        for vm in sorted(listed.others, key=lambda one: (one.name, identity(one.ref))):
            if identity(vm.ref) in chosen.inside:
                chosen.add(vm)
    return chosen


def _choose(session: Session, chosen: _Chosen, name: str, listed: vms.Listed, paths: "_Paths") -> None:
    found = [vm for vm in listed.others if vm.name == name]
    if not found and "/" in name:
        found = [vm for vm in listed.others if paths.of(vm.ref) == name]
    if len(found) == 1:
        chosen.add(found[0])
    elif found:
        where = ", ".join(sorted(paths.of(vm.ref) for vm in found))
        chosen.remarks.append(
            f"{len(found)} VMs on {session.place.node} have the name {name}, and none is taken over: {where};"
            " rename one, or write the path"
        )
    else:
        chosen.remarks.append(f"{session.place.node} has no VM {name}, which is handed over")


class _Paths:
    """Paths of VMs in the inventory, below the folder of all VMs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(self, ref: Any) -> str:
        """Return a VM's path."""
        top = identity(self._session.host.folder)
        above = takewhile(lambda one: identity(one.ref) != top, upwards(self._session.endpoint, ref))
        return plain(path_of(list(above)))


def _inside(session: Session, path: str) -> frozenset[str] | None:
    """Return the ids of the VMs in the folder of a path, or in a resource pool; None if there is none."""
    has_folders = session.endpoint.is_vcenter
    at = session.host.folder if has_folders else session.host.pool
    kind, below = (vim.Folder, "childEntity") if has_folders else (vim.ResourcePool, "resourcePool")
    for word in path.split("/"):
        found = read_listed(session.endpoint, at, below, kind, "name")
        at = next((one.ref for one in found if plain(one.values.get("name")) == word), None)
        if at is None:
            return None
    members = read_listed(session.endpoint, at, below if has_folders else "vm", vim.VirtualMachine, "name")
    return frozenset(identity(one.ref) for one in members)


# --- taking over ----------------------------------------------------------------------------------


def _take_over(session: Session, vm: vms.Vm, free: Iterator[int], folder: str) -> None:
    values = read(session.endpoint, vm.ref, "config.guestId", "config.template", "snapshot")
    _require_fit(session, vm, values)
    disks = vm.of_kind(vim.vm.device.VirtualDisk)
    number, place = next(free), session.place
    off = [*disks, *vm.of_kind(vim.vm.device.VirtualCdrom)]
    mark = Mark(
        place.site,
        place.node,
        number,
        disk_gib=sum(int(disk.capacityInKB or 0) for disk in disks) >> 20,
        staged=vm.name,
        staged_folder=folder,
        was=_was(vm, values, off),
    )
    session.reconfigure(
        vm,
        instanceUuid=place.vm_id(place.node, number),
        deviceChange=devices.without(off),
        extraConfig=mark_options(mark),
    )


def _was(vm: vms.Vm, values: Mapping[str, Any], off: Collection[Any]) -> str:
    return json.dumps(
        {
            "form": _FORM,
            "uuid": vm.identity,
            "guest": str(values.get("config.guestId") or ""),
            "firmware": vm.firmware,
            "controllers": sorted(int(one.key) for one in devices.controllers(vm)),
            "devices": [pack(device) for device in off],
        },
        sort_keys=True,
        separators=(",", ":"),
    )


def _require_fit(session: Session, vm: vms.Vm, values: Mapping[str, Any]) -> None:
    """Raise Refused if a VM cannot be Metier's."""
    if values.get("config.template"):
        raise Refused("it is a template", remedy="make a VM of it")
    if vm.mark is not None:
        mine = vm.mark.site == session.place.site
        whose = f"the mark of {vm.mark.node} of this site" if mine else f"the mark of site {vm.mark.site}"
        raise Refused(f"it carries {whose}", remedy="give it back there, or remove its metier.* settings")
    if vm.state != "poweredOff":
        why, remedy = _STATES.get(vm.state, ("its state is not known", "look after it on the host"))
        raise Refused(why, remedy=remedy)
    if values.get("snapshot") is not None:
        raise Refused("it has snapshots", remedy="delete them: the disks are put together by that")
    for disk in vm.of_kind(vim.vm.device.VirtualDisk):
        if not isinstance(disk.backing, _flat) or disk.backing.parent is not None:
            raise Refused("one of its disks is not a file of its own", remedy="take that disk off the VM")


# --- giving back ----------------------------------------------------------------------------------


def give_back(session: Session, vm: vms.Vm) -> None:
    """Make a VM, which has no instance on it any more, what it was before it was taken over."""
    assert vm.mark is not None
    try:
        was = json.loads(vm.mark.was)
        own = [unpack(one) for one in was["devices"]]
        controllers = {int(key) for key in was["controllers"]}
        uuid, guest, firmware = (str(was[word]) for word in ("uuid", "guest", "firmware"))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Refused(
            f"cannot {session.attempt.what}: what {vm.name} was before it was handed over cannot be read from"
            " its setting metier.was",
            remedy="put its disks on by hand, and remove its metier.* settings",
        ) from error
    added = [one for one in devices.controllers(vm) if int(one.key) not in controllers]
    session.reconfigure(
        vm,
        instanceUuid=uuid,
        guestId=guest,
        firmware=firmware,
        deviceChange=[*devices.without_instance(vm), *devices.without(added), *devices.put_on(own)],
        extraConfig=no_mark(),
    )
