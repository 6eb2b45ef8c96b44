"""Small real archives of VMware VMs, and the pieces to build hostile ones from."""

import io
import random
import struct
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metier.domain.ids import ImageRef
from metier.domain.image import ImageType
from metier.matrix.api import Answers, ImportOrder

SUBFORMATS = (
    "monolithicSparse",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "twoGbMaxExtentFlat",
    "streamOptimized",
)
MIB = 1 << 20
CREATED = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
REF = ImageRef("w2k", "1")


def vmx_text(*disks: str, **settings: str) -> str:
    """Return a `.vmx` with its disks on a SATA bus; `settings` has dots for double underscores."""
    values = {".encoding": "UTF-8", "config.version": "8", "guestOS": "other3xlinux-64", "memsize": "256"}
    values |= {"sata0.present": "TRUE"}
    for number, disk in enumerate(disks):
        values |= {f"sata0:{number}.present": "TRUE", f"sata0:{number}.fileName": disk}
    values |= {key.replace("__", "."): value for key, value in settings.items()}
    return "".join(f'{key} = "{value}"\n' for key, value in values.items())


def raw_content(size: int = 5 * MIB, seed: int = 1) -> bytes:
    """Return a disk of some data and some holes, the last bytes in use."""
    chance = random.Random(seed)
    content = bytearray(size)
    for at in range(0, size, MIB):
        piece = chance.randbytes(chance.choice((512, 4096, 200_000)))[: size - at]
        content[at : at + len(piece)] = piece
    content[-512:] = chance.randbytes(512)
    return bytes(content)


def write_vmdk(folder: Path, content: bytes, subformat: str, name: str = "disk.vmdk") -> None:
    """Write a disk with qemu-img in one of VMware's forms."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "content.raw"
    raw.write_bytes(content)
    command = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        f"subformat={subformat}",
        raw,
        folder / name,
    ]
    subprocess.run(command, check=True)
    raw.unlink()


def vm_files(folder: Path, subformat: str = "monolithicSparse", size: int = 5 * MIB) -> dict[str, bytes]:
    """Return the files of a VM with one disk, by name; `folder` is used to make them."""
    write_vmdk(folder, raw_content(size), subformat)
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return {"web.vmx": vmx_text("disk.vmdk").encode(), **files}


def pack(archive: Path, files: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    """Pack files as `tar -zcvf` does."""
    return pack_members(archive, ((member(name, len(data)), data) for name, data in files.items()), mode)


def pack_members(archive: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    """Pack members of any kind."""
    options: dict[str, Any] = {"compresslevel": 1} if mode == "w:gz" else {}
    with tarfile.open(archive, mode, **options) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return archive


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """Return a member's header."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info


def order(location: Path | str, ref: ImageRef = REF, **changes: Any) -> ImportOrder:
    """Return an order to import something; `changes` are fields of the order or of its answers."""
    answers = {name: changes.pop(name) for name in _ANSWERS & changes.keys()}
    return ImportOrder(
        ref, str(location), CREATED, Answers(type=answers.pop("type", ImageType.LINUX), **answers), **changes
    )


_ANSWERS = {field.name for field in fields(Answers)}


def published(root: Path, ref: ImageRef = REF) -> Path:
    """Return where a version is or would be in a matrix below `root`."""
    return root / "images" / ref.name / ref.version


def descriptor(*extents: str, create_type: str = "twoGbMaxExtentSparse", extra: str = "") -> bytes:
    """Return a descriptor of these extent lines."""
    lines = ["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff"]
    lines += [f'createType="{create_type}"', extra, "", "# Extent description", *extents, ""]
    return "\n".join(lines).encode()


def sparse_header(
    sectors: int,
    *,
    grain: int = 128,
    directory: int = 1,
    text_at: int = 0,
    text_size: int = 0,
    flags: int = 3,
    entries: int = 512,
    version: int = 1,
    method: int = 0,
) -> bytes:
    """Return the header of a sparse extent, in 512 bytes."""
    packed = struct.pack(
        "<4sIIQQQQIQQQB4sH",
        b"KDMV",
        version,
        flags,
        sectors,
        grain,
        text_at,
        text_size,
        entries,
        0,
        directory,
        0,
        0,
        b"\n \r\n",
        method,
    )
    return packed.ljust(512, b"\0")


def sparse_extent(sectors: int, grains: Mapping[int, bytes], **header: int) -> bytes:
    """Return an ESX-like sparse extent without descriptor: header, directory, tables, then the grains."""
    grain_bytes = header.get("grain", 128) * 512
    tables = -(-sectors * 512 // (grain_bytes * 512))
    directory_sectors = -(-tables * 4 // 512)
    first_table = 1 + directory_sectors
    data_at = first_table + 4 * tables
    directory = struct.pack(f"<{tables}I", *(first_table + 4 * number for number in range(tables)))
    entries, data = [0] * (512 * tables), b""
    for number, content in sorted(grains.items()):
        entries[number] = data_at + len(data) // 512
        data += content.ljust(grain_bytes, b"\0")
    table = struct.pack(f"<{len(entries)}I", *entries)
    return sparse_header(sectors, **header) + directory.ljust(512 * directory_sectors, b"\0") + table + data
