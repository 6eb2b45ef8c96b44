"""Descriptions and exports as other products write them, and the means to open them."""

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from metier.domain.image import ImageType
from metier.drivers.formats.api import BLOCK_BYTES, BlockReader, Limits
from metier.matrix.api import Answers, ImportOrder
from metier.matrix.package import Package, open_package
from metier.matrix.progress import Progress
from metier.matrix.space import Space
from tests.unit.matrix.archives import CREATED, MIB, REF, member


def opened(path: Path, into: Path, **changes: Any) -> Package:
    """Open a package; `into` is made."""
    into.mkdir(parents=True)
    image_type = changes.pop("type", ImageType.LINUX)
    limits = changes.pop("limits", Limits())
    order = ImportOrder(REF, str(path), CREATED, Answers(type=image_type), **changes)
    return open_package(order, path, into, limits, Space(into), Progress(lambda *_: None))


def contents(package: Package) -> list[bytes]:
    """Return what the guest sees of each disk, and close the package."""
    with package:
        return [content(disk) for disk in package.disks]


def content(disk: BlockReader) -> bytes:
    whole = bytearray(-(-disk.capacity_bytes // BLOCK_BYTES) * BLOCK_BYTES)
    for number, block in disk.blocks(0, len(whole) // BLOCK_BYTES):
        whole[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES] = block
    return bytes(whole[: disk.capacity_bytes])


NAMESPACES = (
    'xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"'
    ' xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"'
    ' xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"'
    ' xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:vbox="http://www.virtualbox.org/ovf/machine"'
)


def item(kind: int, number: int, **words: str) -> str:
    """Return a hardware item; `words` are its further elements."""
    elements = {"ElementName": f"device {number}", "InstanceID": str(number), "ResourceType": str(kind)}
    inner = "".join(f"<rasd:{key}>{value}</rasd:{key}>" for key, value in (elements | words).items())
    return f"<Item>{inner}</Item>"


HARDWARE = (
    item(3, 1, VirtualQuantity="2", AllocationUnits="hertz * 10^6"),
    item(4, 2, VirtualQuantity="1024", AllocationUnits="byte * 2^20"),
    item(6, 3, ResourceSubType="VirtualSCSI", Address="0"),
    item(10, 5, ResourceSubType="VmxNet3", Connection="VM Network"),
    item(15, 6, Parent="3", AddressOnParent="7", HostResource=""),
)


def ovf(
    files: Sequence[str] = ("disk.vmdk",),
    *,
    kind: str = "vmx-10",
    hardware: Sequence[str] = HARDWARE,
    capacity: str = "5",
    units: str = "byte * 2^20",
    attributes: str = "",
    more: str = "",
) -> bytes:
    """Return the description of a VM with these disks on the controller of instance 3."""
    references = "".join(
        f'<File ovf:id="f{n}" ovf:href="{name}" {attributes}/>' for n, name in enumerate(files)
    )
    disks = "".join(
        f'<Disk ovf:diskId="d{n}" ovf:fileRef="f{n}" ovf:capacity="{capacity}"'
        f' ovf:capacityAllocationUnits="{units}"/>'
        for n, _ in enumerate(files)
    )
    places = "".join(
        item(17, 100 + n, Parent="3", AddressOnParent=str(n), HostResource=f"ovf:/disk/d{n}")
        for n, _ in enumerate(files)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope {NAMESPACES}>
  <References>{references}</References>
  <DiskSection><Info>disks</Info>{disks}</DiskSection>
  <VirtualSystem ovf:id="web">
    <Name>web</Name>
    <OperatingSystemSection ovf:id="94" vmw:osType="ubuntu64Guest"/>
    <VirtualHardwareSection>
      <System><vssd:VirtualSystemType>{kind}</vssd:VirtualSystemType></System>
      {"".join(hardware)}{places}{more}
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
""".encode()


def value(thing: object) -> str:
    """Return a thing as an XML-RPC value, as XenServer writes them."""
    if isinstance(thing, Mapping):
        members = "".join(f"<member><name>{k}</name>{value(v)}</member>" for k, v in thing.items())
        return f"<value><struct>{members}</struct></value>"
    if isinstance(thing, list):
        return f"<value><array><data>{''.join(map(value, thing))}</data></array></value>"
    if isinstance(thing, bool):
        return f"<value><boolean>{int(thing)}</boolean></value>"
    return f"<value>{thing}</value>"


def xen_objects(size: int, *, vm: Mapping[str, object] | None = None) -> list[dict[str, object]]:
    """Return the objects of a guest with one disk of `size` bytes, a CD drive and a card."""
    guest: dict[str, object] = {
        "name_label": "web", "is_a_snapshot": False, "is_control_domain": False,
        "HVM_boot_policy": "BIOS order", "HVM_boot_params": {"order": "dc"},
        "memory_static_max": str(512 * MIB),
        "VCPUs_max": "2", "VBDs": ["Ref:1", "Ref:2"], "VIFs": ["Ref:4"], "platform": {"acpi": "1"},
    }  # fmt: skip
    disk = {"type": "Disk", "VDI": "Ref:3", "userdevice": "0", "device": "xvda", "mode": "RW", "empty": False}
    drive = {"type": "CD", "VDI": "OpaqueRef:NULL", "userdevice": "3", "empty": True}
    return [
        {"class": "VM", "id": "Ref:0", "snapshot": {**guest, **(vm or {})}},
        {"class": "VBD", "id": "Ref:1", "snapshot": disk},
        {"class": "VBD", "id": "Ref:2", "snapshot": drive},
        {"class": "VDI", "id": "Ref:3", "snapshot": {"virtual_size": str(size), "name_label": "root"}},
        {"class": "VIF", "id": "Ref:4", "snapshot": {"device": "0", "MAC": "00:16:3e:00:00:01"}},
    ]


def ova_xml(objects: Sequence[Mapping[str, object]]) -> bytes:
    version = {"hostname": "xen", "export_vsn": "2"}
    return ("<?xml version='1.0'?>" + value({"version": version, "objects": list(objects)})).encode()


def xva_members(data: bytes, *, sums: str = "checksum", name: str = "Ref:3") -> dict[str, bytes]:
    """Return the members that hold a disk: pieces of zeros are left out but for the first and last."""
    members = {}
    pieces = [data[at : at + MIB] for at in range(0, len(data), MIB)]
    for number, piece in enumerate(pieces):
        if any(piece) or number in (0, len(pieces) - 1):
            members[f"{name}/{number:08}"] = piece
            if sums:
                members[f"{name}/{number:08}.{sums}"] = (
                    hashlib.sha1(piece, usedforsecurity=False).hexdigest().encode()
                )
    return members


def pack_plain(path: Path, files: Mapping[str, bytes]) -> Path:
    """Pack files into a tar archive that is not compressed, as OVA and XVA are."""
    with ExitStack() as stack:
        tar = stack.enter_context(tarfile.open(path, "w", format=tarfile.USTAR_FORMAT))
        for name, data in files.items():
            tar.addfile(member(name, len(data)), io.BytesIO(data))
    return path
