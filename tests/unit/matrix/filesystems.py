"""Small disks with file systems on them, made by the tools of this machine."""

import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from metier.drivers.formats.api import Limits, Part
from metier.drivers.formats.raw import RawDisk
from metier.matrix.progress import Progress
from metier.matrix.storing import StoredFiles, keep

MIB = 1 << 20
START = 1 * MIB
"""Where the first partition begins."""

A_TIME = 1_600_000_000


def stored(raw: Path, folder: Path, similar: StoredFiles | None = None) -> StoredFiles:
    """Store a raw disk as a version does."""
    folder.mkdir(parents=True, exist_ok=True)
    files = StoredFiles(folder, 0)
    with closing(RawDisk(Part.whole(raw).open(), raw.name, Limits())) as source:
        keep(source, files, [] if similar is None else [similar], Progress(lambda *_: None))
    return files


def tree(folder: Path, content: Mapping[str, str | bytes]) -> Path:
    """Write files with these contents, all of one time."""
    for name, text in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        os.utime(path, (A_TIME, A_TIME))
    return folder


def ext4(path: Path, root: Path, size: int = 16 * MIB) -> Path:
    """Make an ext4 file system with what is in `root`."""
    path.write_bytes(b"")
    os.truncate(path, size)
    program = shutil.which("mkfs.ext4") or "/sbin/mkfs.ext4"
    command = [program, "-q", "-F", "-U", "6b9a7f0e-2f4e-4a52-9d0c-3b1f5a6c7d8e", "-d", str(root), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


def debugfs(path: Path, *commands: str) -> None:
    """Change an ext4 file system in place."""
    program = shutil.which("debugfs") or "/sbin/debugfs"
    subprocess.run(
        [program, "-w", "-f", "/dev/stdin", str(path)],
        input="\n".join(commands).encode(),
        check=True,
        capture_output=True,
        timeout=60,
    )


def fat(path: Path, root: Path, size: int = 16 * MIB) -> Path:
    """Make a FAT file system with what is in `root`."""
    path.write_bytes(b"")
    os.truncate(path, size)
    program = shutil.which("mkfs.vfat") or "/sbin/mkfs.vfat"
    subprocess.run([program, str(path)], check=True, capture_output=True, timeout=60)
    names = [str(entry) for entry in sorted(root.iterdir())]
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    subprocess.run(
        ["mcopy", "-s", "-m", "-i", str(path), *names, "::"],
        check=True,
        capture_output=True,
        timeout=60,
        env=environment,
    )
    return path


def partitioned(path: Path, *partitions: Path) -> Path:
    """Make a disk with an MBR and these partitions, one after the other."""
    table, at = b"", START
    with path.open("wb") as disk:
        for partition in partitions:
            size = partition.stat().st_size
            table += struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\0\2\0", at // 512, size // 512)
            disk.seek(at)
            disk.write(partition.read_bytes())
            at += size
        disk.truncate(at)
        disk.seek(446)
        disk.write(table.ljust(64, b"\0") + b"\x55\xaa")
    return path


def lvm(path: Path, content: Path) -> Path:
    """Make a physical volume of LVM with one logical volume in two segments, out of order on the disk."""
    extent = 1 * MIB
    size = content.stat().st_size
    extents = size // extent
    first = extents // 2
    text = _LVM_TEXT.format(
        extent=extent // 512,
        start=extent // 512,
        total=extents,
        first=first,
        rest=extents - first,
    ).encode()
    area, area_size = 4096, extent - 4096
    label = b"LABELONE" + struct.pack("<QII8s", 1, 0, 32, b"LVM2 001")
    header = b"u" * 32 + struct.pack("<Q", extent + size) + struct.pack("<QQQQ", extent, 0, 0, 0)
    header += struct.pack("<QQQQ", area, area_size, 0, 0)
    front = struct.pack("<I16sIQQ", 0, b" LVM2 x[5A%r0N*>", 1, area, area_size)
    front += struct.pack("<QQII", 512, len(text), 0, 0)
    data = content.read_bytes()
    with path.open("wb") as disk:
        disk.truncate(extent + size)
        for place, piece in ((512, label + header), (area, front), (area + 512, text)):
            disk.seek(place)
            disk.write(piece)
        disk.seek(extent)
        disk.write(data[first * extent :] + data[: first * extent])
    return path


_LVM_TEXT = """# made by a test
vg0 {{
id = "x"
extent_size = {extent}
status = ["READ", "WRITE"]
physical_volumes {{
pv0 {{
id = "y \\" {{"
pe_start = {start}
pe_count = {total}
}}
}}
logical_volumes {{
root {{
segment_count = 2
segment1 {{
start_extent = 0
extent_count = {first}
type = "striped"
stripe_count = 1
stripes = [
"pv0", {rest}
]
}}
segment2 {{
start_extent = {first}
extent_count = {rest}
type = "striped"
stripe_count = 1
stripes = [ "pv0", 0 ]
}}
}}
mirror {{
segment1 {{
start_extent = 0
extent_count = 1
type = "raid1"
}}
}}
}}
}}
"""

Make = Callable[[Path, Path], Path]
