"""Packing a disk as the VMware archive that operators bring: `tar -zcvf name.tgz *.vm*`."""

import tarfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args

from metier.lab.commands import run
from metier.lab.errors import LabError
from metier.lab.vmx import SCSI_BUSES, VmwareMachine, companion_files, vmx_text

Subformat = Literal[
    "monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"
]
SUBFORMATS: tuple[Subformat, ...] = get_args(Subformat)

# What the manual's `tar` command takes along.
ARCHIVED = "*.vm*"

# As `tar -z`; higher levels take much longer and gain little.
COMPRESSION_LEVEL = 6


def pack_archive(
    disk: Path,
    folder: Path,
    machine: VmwareMachine,
    *,
    subformat: Subformat = "monolithicSparse",
) -> Path:
    """Write a VMware machine's folder for `disk` and pack it; return the archive.

    Args:
        disk: A raw disk; it is only read.
        folder: Where `<name>/`, the machine's folder, and `<name>.tgz` are written.
        machine: What the `.vmx` file says.
        subformat: How the disk is laid out in `.vmdk` files.

    Raises:
        LabError: The disk cannot be converted.
    """
    home = folder / machine.name
    write_machine(disk, home, machine, subformat=subformat)
    return tar_machine(home, folder / f"{machine.name}.tgz")


def write_machine(disk: Path, home: Path, machine: VmwareMachine, *, subformat: Subformat) -> None:
    """Write the folder that a VMware product would keep for the machine.

    Args:
        disk: A raw disk; it is only read.
        home: The machine's folder; made if missing.
        machine: What the `.vmx` file says.
        subformat: How the disk is laid out in `.vmdk` files.

    Raises:
        LabError: The disk cannot be converted.
    """
    home.mkdir(parents=True, exist_ok=True)
    disk_file = f"{machine.name}.vmdk"
    adapter = "lsilogic" if machine.disk_bus in SCSI_BUSES else "ide"
    options = f"subformat={subformat},adapter_type={adapter}"
    run(
        ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, disk, home / disk_file],
        timeout_s=600,
    )
    (home / f"{machine.name}.vmx").write_text(vmx_text(machine, disk_file))
    for name, text in companion_files(machine).items():
        (home / name).write_text(text)


def tar_machine(home: Path, archive: Path) -> Path:
    """Pack the files of `home` that the manual's command would take, under their bare names.

    Raises:
        LabError: There are none.
    """
    members = sorted(path for path in home.iterdir() if fnmatchcase(path.name, ARCHIVED))
    if not members:
        raise LabError(f"cannot pack {home}: it holds no file like {ARCHIVED}")
    with tarfile.open(archive, "w:gz", compresslevel=COMPRESSION_LEVEL) as tar:
        for path in members:
            tar.add(path, arcname=path.name)
    return archive
