"""Writing qcow2 disks, and putting them together while they are read: QEMU must find them good."""

import io
import json
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.drivers.formats.api import BLOCK_BYTES, Limits, Part
from metier.drivers.formats.qcow2.stream import Layout, PieceStream
from metier.drivers.formats.qcow2.writer import ENTRIES, Counts, Qcow2Writer
from metier.drivers.formats.raw import RawDisk

GIB = 1 << 30


@dataclass(frozen=True)
class Blocks:
    """A disk of these blocks, a `BlockReader`."""

    capacity_bytes: int
    content: dict[int, bytes]
    name: str = "blocks"

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        yield from (
            (number, self.content[number]) for number in sorted(self.content) if start <= number < stop
        )


def some_blocks(numbers: list[int], seed: int = 1) -> dict[int, bytes]:
    chance = random.Random(seed)
    return {number: chance.randbytes(BLOCK_BYTES) for number in sorted(numbers)}


def written(path: Path, disk: Blocks, backing: str = "", zeros: tuple[int, ...] = ()) -> Path:
    writer = Qcow2Writer(path, disk.capacity_bytes, backing)
    for number, block in disk.content.items():
        writer.put(number, [block])
    for number in zeros:
        writer.put_zeros(number)
    writer.finish()
    writer.close()
    return path


def check(path: Path) -> None:
    """Have QEMU look for anything wrong: leaks, overlaps, references to nowhere."""
    done = subprocess.run(
        ["qemu-img", "check", "--output=json", path], capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (found.get("corruptions", 0), found.get("leaks", 0), found["check-errors"]) == (0, 0, 0)


def content_of(path: Path, tmp_path: Path) -> dict[int, bytes]:
    """Return the blocks that QEMU reads, by number, without those of zeros."""
    raw = tmp_path / f"{path.stem}.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True)
    with closing(RawDisk(Part.whole(raw).open(), "read.raw", Limits())) as disk:
        blocks = disk.blocks(0, disk.capacity_bytes // BLOCK_BYTES + 1)
        return {number: block for number, block in blocks if any(block)}


@pytest.mark.parametrize("capacity", [512, BLOCK_BYTES, 5 * BLOCK_BYTES + 512, 600 << 20, 3 * GIB])
def test_what_is_written_is_what_qemu_reads(tmp_path: Path, capacity: int) -> None:
    last = -(-capacity // BLOCK_BYTES) - 1
    content = some_blocks(sorted({0, last // 2, last}))
    content[last] = content[last][: capacity - last * BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0")
    path = written(tmp_path / "disk.qcow2", Blocks(capacity, content))
    check(path)
    assert content_of(path, tmp_path) == content


def test_an_empty_disk_is_a_disk(tmp_path: Path) -> None:
    path = written(tmp_path / "disk.qcow2", Blocks(GIB, {}))
    check(path)
    assert content_of(path, tmp_path) == {}
    assert path.stat().st_size <= 6 * BLOCK_BYTES


def test_many_threads_write_one_disk(tmp_path: Path) -> None:
    content = some_blocks(list(range(0, 3000, 3)))
    writer = Qcow2Writer(tmp_path / "disk.qcow2", GIB)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: writer.put(item[0], [item[1]]), content.items()))
    writer.finish()
    writer.close()
    check(tmp_path / "disk.qcow2")
    assert content_of(tmp_path / "disk.qcow2", tmp_path) == content


def test_tables_that_are_settled_early_are_written_once(tmp_path: Path) -> None:
    disk = Blocks(4 * GIB, some_blocks([1, ENTRIES - 1, ENTRIES, 2 * ENTRIES + 7, 5 * ENTRIES]))
    writer = Qcow2Writer(tmp_path / "disk.qcow2", disk.capacity_bytes)
    for number, block in disk.content.items():
        writer.put(number, [block])
        writer.settle(number)
    writer.finish()
    writer.close()
    check(tmp_path / "disk.qcow2")
    assert content_of(tmp_path / "disk.qcow2", tmp_path) == disk.content


def test_a_child_hides_what_its_base_has(tmp_path: Path) -> None:
    base = Blocks(GIB, some_blocks([1, 2, 3, ENTRIES + 1]))
    written(tmp_path / "base.qcow2", base)
    more = some_blocks([2, 900], seed=2)
    child = written(tmp_path / "disk.qcow2", Blocks(GIB, more), "base.qcow2", zeros=(3,))
    check(child)
    wanted = base.content | more
    del wanted[3]
    assert content_of(child, tmp_path) == wanted


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40_000_000), st.integers(1, 2_000_000))
def test_counts_count_themselves(first: int, others: int) -> None:
    counts = Counts(first, others)
    total = others + counts.clusters
    assert (counts.clusters - counts.table_clusters) * BLOCK_BYTES // 2 >= total
    assert counts.table_clusters * BLOCK_BYTES // 8 >= counts.clusters - counts.table_clusters


@pytest.mark.parametrize("numbers", [[], [0], [0, 1, 2, ENTRIES - 1, ENTRIES, 3 * ENTRIES + 5]])
def test_a_stream_is_the_same_disk_of_the_length_it_told(tmp_path: Path, numbers: list[int]) -> None:
    disk = Blocks(3 * GIB, some_blocks(numbers))
    layout = Layout(disk.capacity_bytes, lambda: iter(numbers))
    released: list[bool] = []
    path = tmp_path / "disk.qcow2"
    with PieceStream(layout.pieces(disk), lambda: released.append(True)) as stream:
        path.write_bytes(io.BufferedReader(stream).read())
    assert path.stat().st_size == layout.size_bytes
    assert released == [True]
    check(path)
    assert content_of(path, tmp_path) == disk.content
