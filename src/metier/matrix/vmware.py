"""Which files of an archive make the VM: its configuration, and the disks it names."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits
from metier.drivers.formats.vmdk import VmdkDisk, open_disk
from metier.drivers.formats.vmdk.disk import find
from metier.drivers.formats.vmx import VmxDisk, VmxMachine, machine_of, parse_vmx

Files = Mapping[str, Path]
"""Where the members of an archive are, by bare name."""

_REMEDY = "pack all files of the VM from inside its folder: tar -zcvf NAME.tgz *.vm*"
_XEN_REMEDY = "a Xen guest comes in by cccapture on an image host, which this version does not have"


def is_wanted(archive: str, name: str) -> bool:
    """Tell whether a member is one that a VM is made of.

    Raises:
        Refusal: It shows that this is an export of a Xen guest (R-IMAGE-4).
    """
    lowered = name.lower()
    if lowered in ("ova.xml", "xenvm.xml") or lowered.endswith((".xva", ".xfrm")):
        raise Refusal(
            f"cannot import {archive}: it holds {name}, so it is a Xen guest image, which -r does not take",
            remedy=_XEN_REMEDY,
        )
    return lowered.endswith((".vmx", ".vmdk"))


def read_machine(archive: str, files: Files, left_out: Collection[str], limits: Limits) -> VmxMachine:
    """Read the one `.vmx` of an archive.

    Raises:
        Refusal: There is none, or more than one, or it describes no VM that can be imported.
    """
    names = sorted(name for name in files if name.lower().endswith(".vmx"))
    if len(names) > 1:
        raise Refusal(
            f"cannot import {archive}: it holds {len(names)} VMs: {', '.join(names[:5])}",
            remedy="pack each VM into an archive of its own",
        )
    if not names:
        raise _no_vmx(archive, left_out)
    machine = machine_of(parse_vmx(files[names[0]].read_bytes(), names[0]))
    if len(machine.disks) > limits.disks:
        raise Refusal(
            f"cannot import {archive}: the VM has more than {limits.disks} disks, which is the limit"
        )
    return machine


def open_disks(archive: str, machine: VmxMachine, files: Files, limits: Limits) -> Iterator[VmdkDisk]:
    """Open the disks of a machine, in its order; the caller closes them.

    Raises:
        Refusal: One is missing, cannot be imported, or shares a file with another.
    """
    taken: set[Path] = set()
    for wanted in machine.disks:
        disk = open_disk(_member(archive, wanted, files), files, limits)
        yield disk
        if not taken.isdisjoint(disk.paths):
            raise Refusal(f"cannot import {archive}: {disk.name} shares a file with another disk")
        taken.update(disk.paths)


def archive_remarks(left_out: Collection[str], files: Files, disks: Sequence[VmdkDisk]) -> list[str]:
    """Say what the archive holds that is not taken over."""
    remarks = []
    suspended = sorted(name for name in left_out if name.lower().endswith((".vmss", ".vmem")))
    if suspended:
        remarks.append(
            f"{suspended[0]} is a suspended VM's memory: it starts from its disks as after a power failure"
        )
    locked = sorted(name for name in left_out if ".lck" in name.lower())
    if locked:
        remarks.append(f"{locked[0]} shows that the VM ran while it was packed, or had crashed")
    used = {path for disk in disks for path in disk.paths} | {files[disk.name] for disk in disks}
    unused = sorted(
        name for name, path in files.items() if path not in used and name.lower().endswith(".vmdk")
    )
    if unused:
        more = f" and {len(unused) - 5} more" if len(unused) > 5 else ""
        remarks.append(f"the VM does not use {', '.join(unused[:5])}{more}")
    return remarks


def _member(archive: str, wanted: VmxDisk, files: Files) -> str:
    path = find(files, wanted.file)
    if path is None:
        raise Refusal(
            f"cannot import {archive}: the disk {wanted.file!r} of {wanted.slot} is not in it", remedy=_REMEDY
        )
    return next(name for name, held in files.items() if held == path)


def _no_vmx(archive: str, left_out: Collection[str]) -> Refusal:
    lowered = sorted(name.lower() for name in left_out)
    if any(name.endswith(".ovf") for name in lowered):
        return Refusal(
            f"cannot import {archive}: it is an OVF package, and holds no .vmx",
            remedy="turn it into a .vmx with VMware's ovftool (ovftool NAME.ova NAME.vmx), and pack that",
        )
    if any(name.endswith(".cfg") for name in lowered):
        return Refusal(
            f"cannot import {archive}: it holds a .cfg and no .vmx: a Xen guest, which -r does not take",
            remedy=_XEN_REMEDY,
        )
    return Refusal(f"cannot import {archive}: it holds no .vmx", remedy=_REMEDY)
