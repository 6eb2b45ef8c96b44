"""A disk without a description: which one it is, and what machine to put around it."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace

from metier.domain.errors import Refusal
from metier.domain.image import ImageType
from metier.drivers.formats.api import Part, SourceDisk
from metier.drivers.formats.machine import DiskFound, MachineFound
from metier.drivers.formats.vmdk.descriptor import MAGIC as DESCRIPTOR_MAGIC
from metier.matrix.api import Hints

_BOOT_SIGNATURE, _BOOT_CODE_BYTES = b"\x55\xaa", 446
_GPT, _GPT_AT = b"EFI PART", 512

# Linux has virtio drivers since 2007; of anything else nobody knows, and these have drivers everywhere.
_KNOWN_DRIVERS = {ImageType.LINUX: ("virtio", "virtio")}
_OLD_DRIVERS = ("sata", "e1000")

_FIRMWARES = {"bios": "BIOS", "uefi": "UEFI"}


def sole_disk(archive: str, files: Mapping[str, Part]) -> str:
    """Return the name of the one disk among `files`; a VMDK may consist of several.

    Raises:
        Refusal: There is none, or several, and nothing says what belongs together.
    """
    descriptors = [name for name, part in files.items() if _is_descriptor(part)]
    is_one_vmdk = len(descriptors) == 1 and all(name.lower().endswith(".vmdk") for name in files)
    heads = descriptors if is_one_vmdk else sorted(files)
    if len(heads) == 1:
        return heads[0]
    if not heads:
        raise Refusal(
            f"cannot import {archive}: it holds no .vmx, no .ovf and no disk",
            remedy="pack all files of the VM from inside its folder: tar -zcvf NAME.tgz *.vm*",
        )
    names = ", ".join(heads[:5])
    raise Refusal(
        f"cannot import {archive}: it holds several disks and no description of a VM: {names}",
        remedy="add the VM's .vmx or .ovf, or import one disk by itself",
    )


def machine_around(disk: SourceDisk, image_type: ImageType, hints: Hints) -> MachineFound:
    """Return a machine for a disk of which nothing else is known, and say what was assumed.

    Raises:
        Refusal: The disk's first blocks cannot be read.
    """
    bus, nic = _KNOWN_DRIVERS.get(image_type, _OLD_DRIVERS)
    firmware = hints.firmware or ("uefi" if _starts_by_uefi_alone(disk) else "bios")
    assumed = [
        word
        for given, word in (
            (hints.firmware, _FIRMWARES.get(firmware, firmware)),
            (hints.bus, f"a disk on {bus}"),
            (hints.nic_model, f"a network card {nic}"),
        )
        if not given
    ]
    remarks = (f"it comes without a description: {', '.join(assumed)} assumed",) if assumed else ()
    return MachineFound(
        disks=(DiskFound(disk.name, disk.name, bus),),
        firmware=firmware,
        nic_models=(nic,),
        memory_mib=0,
        cpus=0,
        guest_os="",
        remarks=remarks,
    )


def hinted(machine: MachineFound, hints: Hints) -> MachineFound:
    """Return a machine with what the operator says in place of what its description says."""
    disks = machine.disks
    if hints.bus:
        disks = tuple(
            disk._replace(bus=hints.bus, controller=disk.controller if hints.bus == disk.bus else "")
            for disk in disks
        )
    nics = machine.nic_models
    if hints.nic_model:
        nics = (hints.nic_model,) * len(nics)
    return replace(
        machine,
        disks=disks,
        nic_models=nics,
        firmware=hints.firmware or machine.firmware,
        memory_mib=hints.memory_mib or machine.memory_mib,
        cpus=hints.cpus or machine.cpus,
    )


def _is_descriptor(part: Part) -> bool:
    """Tell whether a file is the text that says which extents a VMDK consists of."""
    with closing(part.open()) as window:
        return window.read(len(DESCRIPTOR_MAGIC), 0) == DESCRIPTOR_MAGIC


def _starts_by_uefi_alone(disk: SourceDisk) -> bool:
    """Tell whether a disk has a partition table for UEFI and nothing that a BIOS could start."""
    first = next((block for number, block in disk.blocks(0, 1) if number == 0), b"")
    has_boot_code = first[510:512] == _BOOT_SIGNATURE and any(first[:_BOOT_CODE_BYTES])
    return first[_GPT_AT : _GPT_AT + len(_GPT)] == _GPT and not has_boot_code
