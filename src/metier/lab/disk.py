"""A bootable disk file, made without root, loop devices or mounts.

One FAT partition behind a classic boot record: SYSLINUX starts it under BIOS;
where systemd-boot is installed, it starts the same disk under UEFI too.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

from metier.lab.commands import run
from metier.lab.errors import LabError

SECTOR = 512
MIB = 1024 * 1024
PARTITION_START = MIB
LARGEST_PARTITION = 255 * MIB

# FAT16 as an EFI system partition; firmware of both kinds accepts it when it is marked active.
PARTITION_TYPE = 0xEF
ACTIVE = 0x80

BOOT_LABEL = "METIERBOOT"
MBR_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
UEFI_LOADER = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")


def partition_bytes(disk_bytes: int) -> int:
    """Return the size of the disk's one partition: all of a small disk, the start of a big one."""
    return min(disk_bytes - PARTITION_START, LARGEST_PARTITION)


def partition_table(disk_bytes: int) -> bytes:
    """Return the last 66 bytes of the boot record, which describe the disk's one partition."""
    # Cylinder, head and sector of 1023/254/63: "beyond what these can say, use the block numbers".
    beyond = b"\xfe\xff\xff"
    start, sectors = PARTITION_START // SECTOR, partition_bytes(disk_bytes) // SECTOR
    entry = struct.pack("<B3sB3sII", ACTIVE, beyond, PARTITION_TYPE, beyond, start, sectors)
    return entry + bytes(48) + b"\x55\xaa"


def boot_record(code: bytes, disk_bytes: int) -> bytes:
    """Return the first sector of the disk.

    Raises:
        LabError: The boot code leaves no room for the partition table.
    """
    if len(code) > 440:
        raise LabError(f"cannot use the boot code: it has {len(code)} bytes, a boot record holds 440")
    return code.ljust(446, b"\0") + partition_table(disk_bytes)


def syslinux_config(kernel_arguments: str) -> str:
    """Return the configuration with which SYSLINUX boots at once and silently."""
    lines = (
        "DEFAULT guest",
        "PROMPT 0",
        "TIMEOUT 0",
        "LABEL guest",
        "  LINUX /vmlinuz",
        "  INITRD /initrd.gz",
        f"  APPEND {kernel_arguments}",
    )
    return "\n".join(lines) + "\n"


def uefi_files(kernel_arguments: str) -> dict[str, bytes]:
    """Return what the disk needs besides to boot under UEFI; nothing where systemd-boot is missing."""
    if not UEFI_LOADER.exists():
        return {}
    entry = f"title guest\nlinux /vmlinuz\ninitrd /initrd.gz\noptions {kernel_arguments}\n"
    return {
        "EFI/BOOT/BOOTX64.EFI": UEFI_LOADER.read_bytes(),
        "loader/loader.conf": b"timeout 0\ndefault guest\n",
        "loader/entries/guest.conf": entry.encode(),
    }


def build_disk(disk: Path, files: Mapping[str, bytes], *, size_mib: int, scratch: Path) -> None:
    """Write a bootable raw disk that holds `files`.

    Args:
        disk: Where to write it; replaced if it exists.
        files: Content by path in the partition.
        size_mib: Size of the disk in MiB.
        scratch: An existing folder for the files on their way into the disk.

    Raises:
        LabError: A tool is missing or failed, for example because the files do not fit.
    """
    if not MBR_CODE.exists():
        message = f"cannot make the guest's disk bootable: {MBR_CODE} is missing"
        raise LabError(
            message, code="lab-program-missing", remedy="install it: apt-get install syslinux-common"
        )
    disk_bytes = size_mib * MIB
    with disk.open("wb") as raw:
        raw.write(boot_record(MBR_CODE.read_bytes(), disk_bytes))
        raw.truncate(disk_bytes)
    make_file_system(disk, disk_bytes)
    copy_files(disk, files, scratch)
    run(["syslinux", "--install", "--offset", str(PARTITION_START), disk])


def make_file_system(disk: Path, disk_bytes: int) -> None:
    """Format the partition."""
    start = str(PARTITION_START // SECTOR)
    blocks = str(partition_bytes(disk_bytes) // 1024)
    geometry = ["-h", start, "--offset", start, "-g", "255/63"]
    run(["mkfs.vfat", "-F", "16", "-n", BOOT_LABEL, *geometry, disk, blocks])


def copy_files(disk: Path, files: Mapping[str, bytes], scratch: Path) -> None:
    """Copy `files` into the partition."""
    partition = f"{disk}@@{PARTITION_START}"
    folders = sorted({str(parent) for path in files for parent in list(Path(path).parents)[:-1]})
    if folders:
        run(["mmd", "-i", partition, *(f"::/{folder}" for folder in folders)])
    for path, data in files.items():
        on_its_way = scratch / "copying"
        on_its_way.write_bytes(data)
        run(["mcopy", "-i", partition, on_its_way, f"::/{path}"])
        on_its_way.unlink()
