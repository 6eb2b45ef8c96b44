"""Disks written and read by qemu-img, to compare our readers with."""

import json
import random
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, BlockReader, Part, SourceDisk

MIB = 1 << 20


def some_data(size: int, seed: int = 1) -> bytes:
    """Return a disk of data and holes, with borders in the middle of blocks, and the last sector in use."""
    chance = random.Random(seed)
    found = bytearray(size)
    for at in range(0, size, MIB):
        piece = chance.randbytes(chance.choice((512, 4096, 200_192)))
        piece = (piece + bytes([seed % 255 + 1]) * 100_352)[: size - at]
        found[at : at + len(piece)] = piece
    found[-512:] = chance.randbytes(512)
    return bytes(found)


def written(folder: Path, content: bytes, form: str, *options: str, name: str = "") -> Path:
    """Return a disk of a form as QEMU calls it; `options` are words before it."""
    raw, disk = folder / "content.raw", folder / (name or f"disk.{form}")
    raw.write_bytes(content)
    command = ["qemu-img", "convert", *options, "-f", "raw", "-O", form]
    subprocess.run([*command, raw, disk], check=True, capture_output=True)
    raw.unlink()
    return disk


def all_of(disk: BlockReader) -> bytes:
    """Return all that a guest sees, by our reader, and check what it promises of blocks."""
    count = -(-disk.capacity_bytes // BLOCK_BYTES)
    whole, last = bytearray(count * BLOCK_BYTES), -1
    for number, block in disk.blocks(0, count + 5):
        assert last < number < count
        assert len(block) == BLOCK_BYTES
        whole[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES] = block
        last = number
    assert not any(whole[disk.capacity_bytes :]), "the last block is filled up with zeros"
    return bytes(whole[: disk.capacity_bytes])


def all_of_by_qemu(folder: Path, disk: SourceDisk) -> bytes:
    """Return what QEMU reads when it is given the words that our reader has for it."""
    view = disk.qemu()
    assert view is not None
    raw = folder / "by-qemu.raw"
    source = "json:" + json.dumps(view.node)
    subprocess.run(["qemu-img", "convert", "-O", "raw", source, raw], check=True, pass_fds=view.descriptors)
    found = raw.read_bytes()
    raw.unlink()
    return found


def check_same(folder: Path, disk: SourceDisk, wanted: bytes) -> None:
    """Check that our reader and QEMU see the same, that it needs no more room than told, and parts of it."""
    assert disk.capacity_bytes == len(wanted)
    gone_through: list[int] = []
    room = disk.room_bytes(gone_through.append)
    assert sum(gone_through) >= disk.capacity_bytes
    found = all_of(disk)
    assert found == wanted
    assert all_of_by_qemu(folder, disk) == wanted
    zero = bytes(BLOCK_BYTES)
    blocks = [
        at
        for at in range(0, len(wanted), BLOCK_BYTES)
        if wanted[at : at + BLOCK_BYTES] != zero[: len(wanted) - at]
    ]
    assert len(blocks) * BLOCK_BYTES <= room <= -(-len(wanted) // BLOCK_BYTES) * BLOCK_BYTES
    everything = dict(disk.blocks(0, len(wanted) // BLOCK_BYTES + 1))
    for start, stop in ((0, 1), (3, 17), (15, 16), (16, 33)):
        part = {number: block for number, block in everything.items() if start <= number < stop}
        assert dict(disk.blocks(start, stop)) == part


def read_or_refused(
    path: Path, data: bytes, opener: Callable[[Part], SourceDisk], most_bytes: int = 16 * MIB
) -> bytes | None:
    """Write a file and return its content as a disk; None if it is refused, by the one exception for that."""
    # A new file each time: a journalling file system brings one that is overwritten to the disk first.
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    try:
        with closing(opener(Part.whole(path))) as disk:
            if disk.capacity_bytes > most_bytes:
                return None
            disk.room_bytes(lambda _: None)
            return all_of(disk)
    except Refusal:
        return None
