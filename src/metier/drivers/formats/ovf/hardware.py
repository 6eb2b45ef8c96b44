"""The hardware items of an OVF description."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.machine import (
    BUS_LOGIC,
    FLEXIBLE,
    LSI_LOGIC,
    MOST_CPUS,
    MOST_MEMORY_MIB,
    SRIOV,
    VMXNET,
    VMXNET2,
    DiskFound,
    MachineFound,
    Model,
    unknown_controller,
    unknown_nic,
)
from metier.drivers.formats.markup import Element
from metier.drivers.formats.ovf.units import bytes_in, whole_number

Disks = Mapping[str, tuple[str, int, bool]]
"""By the path under which hardware names it: a disk's file, its size, and whether it is packed."""

_MIB = 1 << 20

# CIM's numbers of kinds of device.
_OTHER, _CPU, _MEMORY, _IDE, _SCSI, _NIC, _DISK, _STORAGE = "1", "3", "4", "5", "6", "10", "17", "20"
_LOGICAL_DISK = "31"
# Floppy, CD and DVD drives; serial and parallel ports, USB, graphics and sound: there, or not needed.
_QUIET = ("14", "15", "16", "21", "22", "23", "24", "35")

_SCSI_MODELS = {
    "": LSI_LOGIC,
    "lsilogic": LSI_LOGIC,
    "lsilogicsas": Model("lsisas1068"),
    "virtualscsi": Model("vmpvscsi"),
    "buslogic": BUS_LOGIC,
    "virtio-scsi": Model("virtio-scsi"),
    "virtioscsi": Model("virtio-scsi"),
}
_NVME = ("vmware.nvme.controller", "nvme", "nvmecontroller")

_NICS = {
    "e1000": Model("e1000"),
    "e1000e": Model("e1000e"),
    "vmxnet3": Model("vmxnet3"),
    "vmware.vmxnet3": Model("vmxnet3"),
    "pcnet32": Model("pcnet"),
    "pcnet": Model("pcnet"),
    "flexible": FLEXIBLE,
    "vmxnet": VMXNET,
    "vmxnet2": VMXNET2,
    "sriov": SRIOV,
    "virtio": Model("virtio"),
    "virtio-net": Model("virtio"),
    "virtio-net-pci": Model("virtio"),
    "rtl8139": Model("rtl8139"),
}
# A card that no product names: VMware's and VirtualBox's own default of the day.
_DEFAULT_NIC = Model("e1000")

# As VMware's BIOS looks for a disk to boot from; other products' packages keep the order of the file.
_BUS_ORDER = ("scsi", "sata", "ide", "virtio")

_HOST_RESOURCE = re.compile(r"(?:ovf:/{0,2})?(?P<path>/(?:disk|file)/[^/]{1,256})")


class _Controller(NamedTuple):
    bus: str
    model: Model
    place: int


@dataclass(slots=True)
class _Hardware:
    """The items of one machine, by kind."""

    file: str
    items: list[Element]
    remarks: list[str]
    controllers: dict[str, _Controller] = field(default_factory=dict)

    def of(self, *kinds: str) -> Iterator[Element]:
        return (item for item in self.items if item.text_of("ResourceType") in kinds)


def hardware_of(section: Element, kind: str, disks: Disks, file: str, remarks: list[str]) -> MachineFound:
    """Read a hardware section; `kind` is the machine's, such as `vmx-10`; adds to `remarks`.

    Raises:
        Refusal: It has no hard disk, or one that the package does not hold.
    """
    names = ("Item", "StorageItem", "EthernetPortItem")
    hardware = _Hardware(file, [child for child in section.children if child.name in names], remarks)
    hardware.controllers.update(_controllers(hardware))
    found = tuple(_disks(hardware, disks, by_bus="vmx-" in kind.lower()))
    if not found:
        raise Refusal(f"cannot use {file}: it gives the VM no hard disk")
    _remark_rest(hardware)
    return MachineFound(
        disks=found,
        firmware="bios",
        nic_models=tuple(_nics(hardware)),
        memory_mib=_memory_mib(hardware),
        cpus=_sum(hardware, _CPU, MOST_CPUS, lambda _: 1),
        guest_os="",
        remarks=(),
    )


def _memory_mib(hardware: _Hardware) -> int:
    def unit(item: Element) -> int:
        words = item.text_of("AllocationUnits")
        return bytes_in(words, hardware.file) if words else _MIB

    return _sum(hardware, _MEMORY, MOST_MEMORY_MIB * _MIB, unit) // _MIB


def _sum(hardware: _Hardware, kind: str, most: int, unit: Callable[[Element], int]) -> int:
    total = 0
    for item in hardware.of(kind):
        what = "a quantity of memory" if kind == _MEMORY else "a number of CPUs"
        total += whole_number(item.text_of("VirtualQuantity"), what, hardware.file, most) * unit(item)
    if total > most:
        raise Refusal(f"cannot use {hardware.file}: it wants {total} of what there is {most} of at most")
    return total


def _identity(item: Element) -> str:
    return item.text_of("InstanceID") or item.text_of("InstanceId")


def _label(item: Element) -> str:
    return (item.text_of("ElementName") or item.text_of("Caption") or f"item {_identity(item)}")[:60]


def _controllers(hardware: _Hardware) -> Iterator[tuple[str, _Controller]]:
    for place, item in enumerate(hardware.of(_IDE, _SCSI, _STORAGE)):
        kind, word = item.text_of("ResourceType"), item.text_of("ResourceSubType").lower()
        bus, model = _bus(kind, word)
        if model.remark:
            hardware.remarks.append(f"{_label(item)} {model.remark}")
        yield _identity(item), _Controller(bus, model, place)


def _bus(kind: str, word: str) -> tuple[str, Model]:
    if kind == _IDE:
        return "ide", Model("")
    if word in _NVME:
        return "sata", Model("", "is an NVMe controller; its disks are offered as SATA disks")
    if kind == _SCSI or word in ("virtioscsi", "virtio-scsi"):
        return "scsi", _SCSI_MODELS.get(word) or unknown_controller(word)
    if word in ("virtio", "virtio-blk"):
        return "virtio", Model("")
    if "ahci" in word or "sata" in word or not word:
        return "sata", Model("")
    return "sata", Model("", f"is of the unknown model {word[:40]!r}; SATA takes its place")


def _disks(hardware: _Hardware, disks: Disks, *, by_bus: bool) -> Iterator[DiskFound]:
    """Yield the hard disks in the order in which the guest boots from them."""
    items = list(hardware.of(_DISK, _LOGICAL_DISK))
    order = sorted(
        range(len(items)), key=lambda number: _rank(hardware, items[number], number, by_bus=by_bus)
    )
    taken: dict[str, str] = {}
    for number in order:
        item = items[number]
        path = _path(hardware, item)
        if path is None:
            continue
        if path not in disks:
            raise Refusal(
                f"cannot use {hardware.file}: {_label(item)} names the disk {path!r}, which is not there"
            )
        if path in taken:
            raise Refusal(f"cannot use {hardware.file}: {_label(item)} and {taken[path]} name the same disk")
        taken[path] = _label(item)
        yield _disk(hardware, item, disks[path])


def _disk(hardware: _Hardware, item: Element, held: tuple[str, int, bool]) -> DiskFound:
    file, capacity, is_gzip = held
    controller = hardware.controllers.get(item.text_of("Parent"))
    if controller is None:
        hardware.remarks.append(f"{_label(item)} is on no controller; it is offered as a SATA disk")
        return DiskFound(_label(item), file, "sata", "", capacity, is_gzip)
    return DiskFound(_label(item), file, controller.bus, controller.model.model, capacity, is_gzip)


def _rank(hardware: _Hardware, item: Element, number: int, *, by_bus: bool) -> tuple[int, int, int, int]:
    controller = hardware.controllers.get(item.text_of("Parent"))
    unit = whole_number(item.text_of("AddressOnParent"), "a place on a controller", hardware.file, 1 << 20)
    if controller is None:
        return (len(_BUS_ORDER), 0, unit, number)
    return (_BUS_ORDER.index(controller.bus) if by_bus else 0, controller.place, unit, number)


def _path(hardware: _Hardware, item: Element) -> str | None:
    """Return the disk that an item names; None for one that is to be made at deployment."""
    text = item.text_of("HostResource")
    if not text:
        hardware.remarks.append(f"{_label(item)} has no disk in the package, and is left out")
        return None
    match = _HOST_RESOURCE.fullmatch(text) if len(text) < 1024 else None
    if match is None:
        raise Refusal(
            f"cannot use {hardware.file}: {_label(item)} names {text[:80]!r}, which is no disk of the package"
        )
    return match["path"]


def _nics(hardware: _Hardware) -> Iterator[str]:
    for item in hardware.of(_NIC):
        words = item.text_of("ResourceSubType").lower().split()
        known = [_NICS[word] for word in words if word in _NICS]
        model = known[0] if known else unknown_nic(words[0]) if words else _DEFAULT_NIC
        if model.remark:
            hardware.remarks.append(f"{_label(item)} {model.remark}")
        if item.text_of("Address"):
            hardware.remarks.append(
                f"{_label(item)} has a fixed MAC address, which is not kept: each node gets its own"
            )
        if item.text_of("AutomaticAllocation").lower() == "false":
            hardware.remarks.append(f"{_label(item)} starts disconnected; here it is connected")
        yield model.model


def _remark_rest(hardware: _Hardware) -> None:
    known = (_CPU, _MEMORY, _IDE, _SCSI, _NIC, _DISK, _STORAGE, _LOGICAL_DISK, *_QUIET)
    for item in hardware.items:
        kind, word = item.text_of("ResourceType"), item.text_of("ResourceSubType").lower()
        if kind in known or (
            kind == _OTHER and word in ("vmware.vmci", "vmware.keyboard", "vmware.pointing")
        ):
            continue
        hardware.remarks.append(f"{_label(item)} has no counterpart and is left out")
