"""Writes the description and the manifest of an OVF package.

Devices keep their names where a VMware product has them; such a package says that it is for VMware.
Others, virtio above all, go by the names that QEMU's friends read.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from metier.domain.image import Disk, Machine

_IDE, _SCSI, _NIC, _DISK, _STORAGE = 5, 6, 10, 17, 20

_SCSI_MODELS = {
    "": "lsilogic",
    "lsilogic": "lsilogic",
    "lsisas1068": "lsilogicsas",
    "vmpvscsi": "VirtualSCSI",
}
_NICS = {"e1000": "E1000", "e1000e": "E1000e", "vmxnet3": "VmxNet3", "pcnet": "PCNet32"}

# As VMware's BIOS looks for a disk to boot from.
_BUS_ORDER = ("scsi", "sata", "ide")
# Places on one controller; VMware keeps 7 of a SCSI controller for itself.
_PLACES: Mapping[str, Sequence[int]] = {
    "scsi": [place for place in range(16) if place != 7],
    "sata": range(30),
    "ide": range(2),
    "virtio": range(64),
}

_STREAM_OPTIMIZED = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" \
xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" \
xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" \
xmlns:vmw="http://www.vmware.com/schema/ovf">"""


class PackedDisk(NamedTuple):
    """A disk of the package: the bare name of its streamOptimized file, that file's size, and the disk's."""

    file: str
    file_bytes: int
    capacity_bytes: int


class _Item(NamedTuple):
    """One item of the hardware; `fields` are elements of the `rasd` namespace."""

    name: str
    kind: int
    fields: Mapping[str, object]


def ovf_text(name: str, machine: Machine, disks: Sequence[PackedDisk], memory_mib: int) -> str:
    """Return the description of a machine.

    Args:
        name: What the VM is called.
        machine: Its hardware.
        disks: One for each of `machine.disks`.
        memory_mib: What it gets; the description must name some.
    """
    lines = [_HEAD, " <References>"]
    lines += [
        f'  <File ovf:id="file{number}" ovf:href={quoteattr(disk.file)} ovf:size="{disk.file_bytes}"/>'
        for number, disk in enumerate(disks, 1)
    ]
    lines += [" </References>", " <DiskSection>", "  <Info>Virtual disks</Info>"]
    lines += [
        f'  <Disk ovf:diskId="disk{number}" ovf:fileRef="file{number}" ovf:capacity="{disk.capacity_bytes}" '
        f'ovf:capacityAllocationUnits="byte" ovf:format="{_STREAM_OPTIMIZED}"/>'
        for number, disk in enumerate(disks, 1)
    ]
    lines += [" </DiskSection>", " <NetworkSection>", "  <Info>Networks</Info>"]
    lines += ['  <Network ovf:name="default">', "   <Description>Any network</Description>", "  </Network>"]
    lines += [" </NetworkSection>", f" <VirtualSystem ovf:id={quoteattr(name)}>", "  <Info>A VM</Info>"]
    lines += [f"  <Name>{escape(name)}</Name>", *_system(machine), *_hardware(name, machine, memory_mib)]
    return "\n".join([*lines, " </VirtualSystem>", "</Envelope>", ""])


def manifest_text(digests: Mapping[str, str]) -> str:
    """Return the manifest: SHA-256 by file, in hex."""
    return "".join(f"SHA256({file})= {digest}\n" for file, digest in digests.items())


def is_for_vmware(machine: Machine) -> bool:
    """Say whether VMware has all of a machine's devices, and would boot from the same disk."""
    places = [_BUS_ORDER.index(disk.bus) for disk in machine.disks if disk.bus in _BUS_ORDER]
    has_disks = len(places) == len(machine.disks) and places == sorted(places)
    has_scsi = all(disk.controller in _SCSI_MODELS for disk in machine.disks if disk.bus == "scsi")
    return has_disks and has_scsi and all(model in _NICS for model in machine.nic_models)


def _system(machine: Machine) -> Iterator[str]:
    yield '  <OperatingSystemSection ovf:id="1">'
    yield "   <Info>The guest's system</Info>"
    if machine.guest_os:
        words = "".join(letter for letter in machine.guest_os if letter.isprintable())
        yield f"   <Description>{escape(words)}</Description>"
    yield "  </OperatingSystemSection>"


def _hardware(name: str, machine: Machine, memory_mib: int) -> Iterator[str]:
    yield "  <VirtualHardwareSection>"
    yield "   <Info>Virtual hardware</Info>"
    yield "   <System>"
    yield "    <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>"
    yield "    <vssd:InstanceID>0</vssd:InstanceID>"
    yield f"    <vssd:VirtualSystemIdentifier>{escape(name)}</vssd:VirtualSystemIdentifier>"
    kind = "vmx-10" if is_for_vmware(machine) else "qemu"
    yield f"    <vssd:VirtualSystemType>{kind}</vssd:VirtualSystemType>"
    yield "   </System>"
    for number, item in enumerate(_items(machine, memory_mib), 1):
        yield from _item_lines(number, item)
    if machine.firmware == "uefi":
        yield '   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>'
    yield "  </VirtualHardwareSection>"


def _items(machine: Machine, memory_mib: int) -> Iterator[_Item]:
    cpus = machine.cpus or 1
    yield _Item(f"{cpus} virtual CPUs", 3, {"AllocationUnits": "hertz * 10^6", "VirtualQuantity": cpus})
    memory = {"AllocationUnits": "byte * 2^20", "VirtualQuantity": memory_mib}
    yield _Item(f"{memory_mib} MiB of memory", 4, memory)
    yield from _disk_items(machine.disks)
    for number, model in enumerate(machine.nic_models, 1):
        fields = {
            "AutomaticAllocation": "true",
            "Connection": "default",
            "ResourceSubType": _NICS.get(model, model),
        }
        yield _Item(f"network interface {number}", _NIC, fields)


def _disk_items(disks: Sequence[Disk]) -> Iterator[_Item]:
    """Yield controllers, each with its disks behind it; their order is the order of the disks.

    Their own numbers are counted from 3 on, behind CPUs and memory.
    """
    number = parent = 2
    last, places = ("", ""), iter(range(0))
    for index, disk in enumerate(disks, 1):
        kind = (disk.bus, disk.controller if disk.bus == "scsi" else "")
        place = next(places, None) if kind == last else None
        if place is None:
            places, last = iter(_PLACES.get(disk.bus, range(1))), kind
            place = next(places)
            number += 1
            parent = number
            yield _controller(disk, parent)
        number += 1
        fields = {"AddressOnParent": place, "HostResource": f"ovf:/disk/disk{index}", "Parent": parent}
        yield _Item(f"disk {index}", _DISK, fields)


def _controller(disk: Disk, number: int) -> _Item:
    if disk.bus == "ide":
        return _Item(f"IDE controller {number}", _IDE, {"ResourceSubType": "PIIX4"})
    if disk.bus == "scsi":
        model = _SCSI_MODELS.get(disk.controller, disk.controller)
        return _Item(f"SCSI controller {number}", _SCSI, {"ResourceSubType": model})
    model = "AHCI" if disk.bus == "sata" else "virtio-blk"
    return _Item(f"{disk.bus} controller {number}", _STORAGE, {"ResourceSubType": model})


def _item_lines(number: int, item: _Item) -> Iterator[str]:
    """Yield an item; the schema wants its elements in the order of their names."""
    elements = {**item.fields, "ElementName": item.name, "InstanceID": number, "ResourceType": item.kind}
    yield "   <Item>"
    for key, value in sorted(elements.items()):
        yield f"    <rasd:{key}>{escape(str(value))}</rasd:{key}>"
    yield "   </Item>"
