"""What the image measurements are made on: a disk as systems leave it, in every form."""

import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

_VMX = """config.version = "8"
guestOS = "other3xlinux-64"
memsize = "256"
sata0.present = "TRUE"
sata0:0.present = "TRUE"
sata0:0.fileName = "disk.vmdk"
"""

_OVF = """<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
<References><File ovf:id="f1" ovf:href="disk.vmdk"/></References>
<DiskSection><Info/><Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="{capacity}"/></DiskSection>
<VirtualSystem ovf:id="vm"><Info/><VirtualHardwareSection><Info/>
<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
<rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
<Item><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
<rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
<rasd:VirtualQuantity>256</rasd:VirtualQuantity></Item>
<Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>20</rasd:ResourceType><rasd:Address>0</rasd:Address>
<rasd:ResourceSubType>AHCI</rasd:ResourceSubType></Item>
<Item><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType><rasd:Parent>3</rasd:Parent>
<rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/d1</rasd:HostResource></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>
"""


class Case(NamedTuple):
    """One form of an import.

    Attributes:
        name: What the row is called.
        file: What is imported, by name; the measurements make it in a folder of theirs.
        form: As QEMU calls the disk that is in it.
        unpack: A command that brings the disk out of it, run in an empty folder; empty where it is one.
        disk: What that disk is called.
        make: Makes the file, in a folder, out of a raw disk.
    """

    name: str
    file: str
    form: str
    unpack: Sequence[str]
    disk: str
    make: Callable[[Path, Path], None]


def write_disk(path: Path, data_mib: int, disk_mib: int, seed: int = 5) -> None:
    """Write a disk as systems leave them: runs of data, a third of it incompressible, between holes."""
    chance = random.Random(seed)
    words = [chance.randbytes(chance.randint(3, 12)).hex().encode() for _ in range(4000)]
    with path.open("wb") as file:
        for number in range(data_mib):
            file.seek((number * disk_mib // data_mib) << 20)
            if number % 3 == 0:
                file.write(chance.randbytes(1 << 20))
            else:
                file.write(b" ".join(chance.choices(words, k=1 << 17))[: 1 << 20])
        file.truncate(disk_mib << 20)


def convert(raw: Path, target: Path, form: str, *options: str) -> None:
    """Write a raw disk in another form."""
    extra = ["-c"] if "compressed" in options else []
    words = ",".join(option for option in options if option != "compressed")
    extra += ["-o", words] if words else []
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", form, *extra, raw, target], check=True)


def _tgz(subformat: str) -> Case:
    def make(folder: Path, raw: Path) -> None:
        home = folder / "vm"
        home.mkdir()
        convert(raw, home / "disk.vmdk", "vmdk", f"subformat={subformat}")
        (home / "vm.vmx").write_text(_VMX)
        names = sorted(path.name for path in home.iterdir())
        subprocess.run(["tar", "-zcf", folder / f"{subformat}.tgz", *names], cwd=home, check=True)
        shutil.rmtree(home)

    name = f"{subformat}.tgz"
    return Case(f"tgz of {subformat}", name, "vmdk", ("tar", "xzf"), "disk.vmdk", make)


def _bare(name: str, form: str, suffix: str, *options: str) -> Case:
    def make(folder: Path, raw: Path) -> None:
        convert(raw, folder / f"disk.{suffix}", form, *options)

    return Case(name, f"disk.{suffix}", form, (), f"disk.{suffix}", make)


def _make_ova(folder: Path, raw: Path) -> None:
    disk = folder / "disk.vmdk"
    convert(raw, disk, "vmdk", "subformat=streamOptimized")
    (folder / "vm.ovf").write_text(_OVF.format(capacity=raw.stat().st_size))
    subprocess.run(["tar", "-cf", "vm.ova", "vm.ovf", "disk.vmdk"], cwd=folder, check=True)
    disk.unlink()
    (folder / "vm.ovf").unlink()


_SUBFORMATS = ("monolithicSparse", "twoGbMaxExtentSparse", "monolithicFlat", "streamOptimized")

CASES = (
    *(
        _tgz(form)
        for form in ("monolithicSparse", "twoGbMaxExtentSparse", "monolithicFlat", "streamOptimized")
    ),
    Case("ova", "vm.ova", "vmdk", ("tar", "xf"), "disk.vmdk", _make_ova),
    _bare("vmdk streamOptimized", "vmdk", "vmdk", "subformat=streamOptimized"),
    _bare("vmdk monolithicSparse", "vmdk", "vmdk", "subformat=monolithicSparse"),
    _bare("qcow2", "qcow2", "qcow2"),
    _bare("qcow2 compressed", "qcow2", "qcow2", "compressed"),
    _bare("raw", "raw", "raw"),
    _bare("vhd dynamic", "vpc", "vhd", "subformat=dynamic", "force_size=on"),
    _bare("vhdx dynamic", "vhdx", "vhdx", "subformat=dynamic"),
)
