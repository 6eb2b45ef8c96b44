"""Image disks become what the guest sees of them, in one pass and without a second copy."""

import io
import random
import struct
from collections.abc import Iterator
from typing import BinaryIO, cast

import pytest

from metier.drivers.formats.api import BLOCK_BYTES
from metier.drivers.formats.qcow2.stream import Layout, PieceStream
from metier.drivers.hypervisor.vsphere.qcow2 import Qcow2Stream, Unreadable


class Blocks:
    """A disk of a few blocks."""

    name = "disk"

    def __init__(self, capacity_bytes: int, content: dict[int, bytes]) -> None:
        self.capacity_bytes = capacity_bytes
        self.content = content

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        return ((n, block) for n, block in sorted(self.content.items()) if start <= n < stop)

    def stream(self) -> BinaryIO:
        layout = Layout(self.capacity_bytes, lambda: sorted(self.content))
        return cast(BinaryIO, PieceStream(layout.pieces(self), lambda: None))

    def flat(self) -> bytes:
        whole = bytearray(-(-self.capacity_bytes // BLOCK_BYTES) * BLOCK_BYTES)
        for number, block in self.content.items():
            whole[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES] = block
        return bytes(whole[: self.capacity_bytes])


def a_disk(seed: int, capacity_bytes: int) -> Blocks:
    chance = random.Random(seed)
    count = -(-capacity_bytes // BLOCK_BYTES)
    numbers = chance.sample(range(count), chance.randrange(count + 1))
    content = {number: chance.randbytes(BLOCK_BYTES) for number in numbers}
    last = capacity_bytes % BLOCK_BYTES
    if last and count - 1 in content:
        content[count - 1] = content[count - 1][:last].ljust(BLOCK_BYTES, b"\0")
    return Blocks(capacity_bytes, content)


@pytest.mark.parametrize("seed", range(8))
def test_what_the_matrix_streams_is_read_in_one_pass(seed: int) -> None:
    disk = a_disk(seed, 40 * BLOCK_BYTES + seed % 3 * 512)
    stream = Qcow2Stream(disk.stream())
    assert stream.capacity_bytes == disk.capacity_bytes
    assert b"".join(stream.pieces()) == disk.flat()


def test_tables_far_apart_are_followed() -> None:
    capacity = 3 * 8192 * BLOCK_BYTES  # three tables of the second level, the middle one missing
    disk = Blocks(capacity, {3: b"a" * BLOCK_BYTES, 2 * 8192 + 1: b"b" * BLOCK_BYTES})
    at = 0
    found = {}
    for piece in Qcow2Stream(disk.stream()).pieces():
        if piece.count(0) != len(piece):
            found[at] = piece
        at += len(piece)
    assert at == capacity
    assert found == {3 * BLOCK_BYTES: b"a" * BLOCK_BYTES, (2 * 8192 + 1) * BLOCK_BYTES: b"b" * BLOCK_BYTES}


def test_a_file_that_can_be_sought_in_may_be_in_any_order() -> None:
    disk = a_disk(1, 40 * BLOCK_BYTES)
    whole = bytearray(disk.stream().read())
    table = 2 * BLOCK_BYTES
    entries = list(struct.unpack_from(">40Q", whole, table))
    used = [n for n, entry in enumerate(entries) if entry]
    first, last = used[0], used[-1]
    entries[first], entries[last] = entries[last], entries[first]
    struct.pack_into(">40Q", whole, table, *entries)
    swapped = disk.content | {first: disk.content[last], last: disk.content[first]}
    stream = Qcow2Stream(io.BytesIO(whole))
    assert b"".join(stream.pieces()) == Blocks(disk.capacity_bytes, swapped).flat()


class Forward(io.RawIOBase):
    """A file that cannot be sought in."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(size)


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [
        (0, ">I", 0),  # another form
        (4, ">I", 9),  # another version
        (8, ">Q", 4096),  # a parent
        (20, ">I", 40),  # impossible clusters
        (32, ">I", 1),  # encryption
        (36, ">I", 1 << 30),  # a table of 8 GiB
        (40, ">Q", 0),  # a table where the header is, behind the reader's back
        (72, ">Q", 4),  # data in another file
    ],
)
def test_what_is_not_plain_is_not_read(at: int, form: str, value: int) -> None:
    whole = bytearray(a_disk(2, 40 * BLOCK_BYTES).stream().read())
    struct.pack_into(form, whole, at, value)
    with pytest.raises(Unreadable):
        list(Qcow2Stream(cast(BinaryIO, Forward(bytes(whole)))).pieces())


def test_a_file_that_ends_too_early_is_told() -> None:
    whole = a_disk(3, 40 * BLOCK_BYTES).stream().read()
    for length in (10, 100, BLOCK_BYTES + 1, len(whole) - 1):
        with pytest.raises(Unreadable):
            list(Qcow2Stream(io.BytesIO(whole[:length])).pieces())
