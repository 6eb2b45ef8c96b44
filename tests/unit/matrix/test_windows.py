"""Windows VMs as VMware has them: from the archive to what libvirt is told.

The `.vmx` files are written after those that VMware Workstation and vSphere make for these
guests.  Windows itself is not here: the disks hold an NTFS file system and nothing that starts.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from metier.domain.image import Image, ImageType
from metier.drivers.hypervisor.libvirt.shape import Shape, shape_for
from metier.matrix.folder_matrix import FolderMatrix
from tests.unit.matrix import archives

W2K = """\
config.version = "7"
virtualHW.version = "3"
scsi0.present = "TRUE"
memsize = "256"
ide0:0.present = "TRUE"
ide0:0.fileName = "disk.vmdk"
ide1:0.present = "TRUE"
ide1:0.fileName = "auto detect"
ide1:0.deviceType = "cdrom-raw"
floppy0.fileName = "A:"
ethernet0.present = "TRUE"
ethernet0.connectionType = "bridged"
displayName = "w2k"
guestOS = "win2000Serv"
"""
W2003 = """\
.encoding = "windows-1252"
config.version = "8"
virtualHW.version = "4"
scsi0.present = "TRUE"
scsi0.virtualDev = "lsilogic"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "disk.vmdk"
memsize = "384"
ide1:0.present = "TRUE"
ide1:0.deviceType = "cdrom-image"
ide1:0.fileName = "windows.iso"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vmxnet"
guestOS = "winNetStandard"
"""
W2019 = """\
.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "14"
numvcpus = "2"
memSize = "4096"
firmware = "efi"
guestOS = "windows2019srv-64"
scsi0.virtualDev = "lsisas1068"
scsi0.present = "TRUE"
scsi0:0.deviceType = "scsi-hardDisk"
scsi0:0.fileName = "disk.vmdk"
scsi0:0.present = "TRUE"
sata0.present = "TRUE"
sata0:0.deviceType = "cdrom-image"
sata0:0.fileName = "windows.iso"
sata0:0.present = "TRUE"
ethernet0.virtualDev = "e1000e"
ethernet0.present = "TRUE"
usb_xhci.present = "TRUE"
"""

# What QEMU 7 on Debian 12 offers to machines of type pc.
OFFERED = {
    "bus": {"ide", "scsi", "virtio", "sata"},
    "scsi": {"lsilogic", "lsisas1068", "vmpvscsi", "virtio-scsi"},
    "nic": {"e1000", "e1000e", "rtl8139", "virtio", "vmxnet3", "pcnet"},
}


def an_ntfs_disk(size: int = 8 * archives.MIB) -> bytes:
    """Return the disk of a small NTFS volume; one that merely says so where no mkntfs is."""
    return b"\xeb\x52\x90NTFS    ".ljust(512, b"\0") + archives.raw_content(size - 512)


def imported(tmp_path: Path, vmx: str, content: bytes) -> Image:
    archives.write_vmdk(tmp_path / "vm", content, "monolithicSparse")
    files = {"w.vmx": vmx.encode(), "disk.vmdk": (tmp_path / "vm/disk.vmdk").read_bytes()}
    packed = archives.pack(tmp_path / "w.tgz", files)
    order = archives.order(packed, type=ImageType.WINDOWS)
    return FolderMatrix(tmp_path / "matrix").import_image(order, lambda *_: None)


def shape_of(image: Image) -> Shape:
    assert image.machine is not None
    return shape_for(image.machine, 1, lambda _, kind, model: model in OFFERED[kind], has_uefi=True)


@pytest.mark.parametrize(
    ("vmx", "bus", "nic", "firmware", "remarks"),
    [
        (W2K, "ide", "pcnet", "bios", ""),
        (W2003, "ide", "pcnet", "bios", "bus scsi (lsilogic)"),
        (W2019, "sata", "e1000e", "uefi", "UEFI here does not start from a lsisas1068 controller"),
    ],
    ids=["w2k", "2003", "2019"],
)
def test_a_windows_vm_gets_devices_that_it_has_drivers_for(
    tmp_path: Path, vmx: str, bus: str, nic: str, firmware: str, remarks: str
) -> None:
    """S43, P19."""
    image = imported(tmp_path, vmx, an_ntfs_disk())
    assert (image.type, image.form) == (ImageType.WINDOWS, "vmdk")
    shape = shape_of(image)
    assert (shape.disks[0].bus, shape.nics, shape.firmware) == (bus, (nic,), firmware)
    assert (shape.cdrom.bus, shape.local_time, shape.has_tablet) == ("ide", True, True)
    assert remarks in "; ".join(shape.remarks)


@pytest.mark.skipif(shutil.which("mkntfs") is None, reason="mkntfs is not installed")
def test_a_real_ntfs_volume_is_kept_byte_for_byte(tmp_path: Path) -> None:
    volume = tmp_path / "volume.raw"
    with volume.open("wb") as file:
        file.truncate(16 * archives.MIB)
    subprocess.run(["mkntfs", "-F", "-Q", "-L", "w2k", volume], check=True, capture_output=True)
    image = imported(tmp_path, W2K, volume.read_bytes())
    assert image.machine is not None
    published = archives.published(tmp_path / "matrix") / image.machine.disks[0].file
    subprocess.run(["qemu-img", "convert", "-O", "raw", published, tmp_path / "back.raw"], check=True)
    assert (tmp_path / "back.raw").read_bytes() == volume.read_bytes()
