"""What an `ova.xml` means: the machine that its guest expects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.machine import MOST_CPUS, MOST_MEMORY_MIB, DiskFound, MachineFound, bounded
from metier.drivers.formats.xva.values import Record, number, parse_values, record, text, texts

_MIB = 1 << 20
_MOST_BYTES = 1 << 62

# What Xen's own emulation shows to a guest that has no drivers for Xen.
_IDE_DISKS = 4


@dataclass(frozen=True, slots=True)
class Guest:
    """A Xen guest.

    Attributes:
        machine: The `file` of each disk is the reference under which its pieces lie in the archive.
        is_paravirtual: It needs Xen to start, unless its disk can be booted by a PC's firmware as well.
    """

    name: str
    machine: MachineFound
    is_paravirtual: bool


class _Attached(NamedTuple):
    place: int
    device: Record
    reference: str
    disk: Record


def guest_of(data: bytes, file: str) -> Guest:
    """Read the one guest of an `ova.xml`.

    Raises:
        Refusal: There is none, or several, or none with a disk.
    """
    objects = list(_objects(parse_values(data, file)))
    vm = _the_vm(objects, file)
    known = {reference: each for _, reference, each in objects}
    remarks: list[str] = []
    is_paravirtual = _is_paravirtual(vm)
    firmware = "uefi" if text(record(vm, "HVM_boot_params"), "firmware").lower() == "uefi" else "bios"
    attached = sorted(_disks(vm, known, file, remarks), key=lambda each: each.place)
    if not attached:
        raise Refusal(f"cannot use {file}: it gives the guest no hard disk")
    disks = [
        DiskFound(
            text(each.device, "device")[:60] or f"disk {each.place}",
            each.reference,
            _bus(place, firmware, is_paravirtual=is_paravirtual),
            "",
            _capacity(each.disk, file),
        )
        for place, each in enumerate(attached)
    ]
    remarks += _remarks(vm, disks, is_paravirtual=is_paravirtual)
    machine = MachineFound(
        disks=tuple(disks),
        firmware=firmware,
        nic_models=_nics(vm, known, is_paravirtual=is_paravirtual),
        memory_mib=_bounded(-(-number(vm, "memory_static_max") // _MIB), MOST_MEMORY_MIB, "memory", file),
        cpus=_bounded(number(vm, "VCPUs_max"), MOST_CPUS, "number of CPUs", file),
        guest_os=_guest_os(vm),
        remarks=bounded(remarks),
    )
    return Guest(text(vm, "name_label")[:120], machine, is_paravirtual)


def _objects(root: Record) -> Iterator[tuple[str, str, Record]]:
    """Yield class, reference and record of each object."""
    found = root.get("objects")
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict):
            yield text(each, "class"), text(each, "id"), record(each, "snapshot")


def _the_vm(objects: list[tuple[str, str, Record]], file: str) -> Record:
    guests = [
        each
        for kind, _, each in objects
        if kind == "VM" and not each.get("is_a_snapshot") and not each.get("is_control_domain")
    ]
    if len(guests) > 1:
        names = ", ".join(text(guest, "name_label")[:60] for guest in guests[:5])
        raise Refusal(
            f"cannot import {file}: it describes {len(guests)} VMs: {names}",
            remedy="export each VM by itself: xe vm-export vm=NAME filename=NAME.xva",
        )
    if not guests:
        raise Refusal(f"cannot import {file}: it describes no VM")
    return guests[0]


def _is_paravirtual(vm: Record) -> bool:
    kind = text(vm, "domain_type")
    if kind in ("hvm", "pv", "pv_in_pvh", "pvh"):
        return kind != "hvm"
    return not text(vm, "HVM_boot_policy")


def _disks(vm: Record, known: Mapping[str, Record], file: str, remarks: list[str]) -> Iterator[_Attached]:
    for reference in texts(vm, "VBDs"):
        device = known.get(reference, {})
        if text(device, "type").lower() != "disk" or device.get("empty") is True:
            continue  # a CD drive
        held = text(device, "VDI")
        if held not in known:
            raise Refusal(f"cannot use {file}: the disk {held[:60]!r} of the guest is not described")
        if text(device, "mode").upper() == "RO":
            remarks.append(f"the disk {text(device, 'device')[:20]} was read-only under Xen; here it is not")
        yield _Attached(number(device, "userdevice"), device, held, known[held])


def _capacity(disk: Record, file: str) -> int:
    capacity = number(disk, "virtual_size")
    if not capacity or capacity % 512 or capacity > _MOST_BYTES:
        raise Refusal(f"cannot use {file}: it gives a disk the impossible size {capacity}")
    return capacity


def _bus(place: int, firmware: str, *, is_paravirtual: bool) -> str:
    if is_paravirtual:
        return "virtio"
    return "ide" if firmware == "bios" and place < _IDE_DISKS else "sata"


def _nics(vm: Record, known: Mapping[str, Record], *, is_paravirtual: bool) -> tuple[str, ...]:
    cards = [known[reference] for reference in texts(vm, "VIFs") if reference in known]
    if is_paravirtual:
        return ("virtio",) * len(cards)
    emulated = "e1000" if text(record(vm, "platform"), "nic_type").lower() == "e1000" else "rtl8139"
    return (emulated,) * len(cards)


def _bounded(value: int, most: int, what: str, file: str) -> int:
    if value > most:
        raise Refusal(f"cannot use {file}: its {what} is {value}, and must be a number from 0 to {most}")
    return value


def _remarks(vm: Record, disks: list[DiskFound], *, is_paravirtual: bool) -> Iterator[str]:
    if is_paravirtual:
        yield (
            "it was paravirtualised under Xen: whether its kernel starts without Xen, on virtio disks and"
            " cards, only a start can tell"
        )
    else:
        yield (
            f"Xen's disks (xvd…) are offered as the {disks[0].bus.upper()} disks that Xen emulates;"
            " a guest with virtio drivers is quicker with --bus virtio"
        )
    platform = record(vm, "platform")
    if text(platform, "secureboot").lower() == "true":
        yield "UEFI Secure Boot is switched off"
    if text(platform, "vtpm").lower() == "true" or texts(vm, "VTPMs"):
        yield "the virtual TPM is left out: what the guest sealed with it stays sealed"
    if text(vm, "power_state").lower() == "suspended":
        yield "the guest was suspended: it starts from its disks as after a power failure"
    if texts(vm, "VGPUs") or texts(vm, "attached_PCIs"):
        yield "its graphics cards and other passed-through devices are left out"


def _guest_os(vm: Record) -> str:
    told = text(record(vm, "last_booted_record"), "reference_label") or text(vm, "reference_label")
    return told[:128]
