"""A disk inside an export of XenServer: its pieces, where they lie in the archive."""

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, QemuView, Window

PIECE_BYTES = 1 << 20
_BLOCKS_PER_PIECE = PIECE_BYTES // BLOCK_BYTES
_SHA1_BYTES = 20

_NO_SUM = bytes(_SHA1_BYTES)


class Pieces:
    """Which pieces of a disk there are, in order, and where; some 40 bytes of memory for each."""

    def __init__(self) -> None:
        self.numbers = array("Q")
        self.places = array("Q")
        self.sizes = array("L")
        self._sums = bytearray()

    def add(self, number: int, at: int, size: int) -> None:
        """Add the next piece; numbers rise."""
        self.numbers.append(number)
        self.places.append(at)
        self.sizes.append(size)
        self._sums += _NO_SUM

    def set_sum(self, digest: bytes) -> None:
        """Keep the SHA-1 of the last piece."""
        self._sums[-_SHA1_BYTES:] = digest

    def sum_of(self, index: int) -> bytes | None:
        """Return the SHA-1 that a piece must have; None if nobody said."""
        found = bytes(self._sums[index * _SHA1_BYTES : (index + 1) * _SHA1_BYTES])
        return None if found == _NO_SUM else found

    def __len__(self) -> int:
        return len(self.numbers)


class XvaDisk:
    """A disk of an export, a `SourceDisk`; what is read is checked against the archive's SHA-1 sums."""

    form = "xva"

    def __init__(self, name: str, capacity_bytes: int, pieces: Pieces, window: Window) -> None:
        self.name = name
        self.capacity_bytes = capacity_bytes
        self._pieces = pieces
        self._window = window

    def close(self) -> None:
        self._window.close()

    def qemu(self) -> QemuView | None:
        """Return None: QEMU has no reader for it."""
        return None

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Check that each piece lies within the disk and is of a size that it may have."""
        at = 0
        for number, size in zip(self._pieces.numbers, self._pieces.sizes, strict=True):
            begin = number * PIECE_BYTES
            if begin >= self.capacity_bytes:
                raise self._refusal(number, f"lies outside the disk, which has {self.capacity_bytes} bytes")
            if size not in (0, min(PIECE_BYTES, self.capacity_bytes - begin)):
                raise self._refusal(number, f"has {size} bytes, and can only have 1 MiB or end with the disk")
            advance(begin - at)
            at = begin
        advance(self.capacity_bytes - at)
        return sum(size + BLOCK_BYTES - 1 for size in self._pieces.sizes if size)

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks of the pieces there are, as `BlockReader` says."""
        stop = min(stop, -(-self.capacity_bytes // BLOCK_BYTES))
        index = bisect_left(self._pieces.numbers, start // _BLOCKS_PER_PIECE)
        while index < len(self._pieces):
            first = self._pieces.numbers[index] * _BLOCKS_PER_PIECE
            if first >= stop:
                return
            if self._pieces.sizes[index]:
                data = self._read(index)
                count = -(-len(data) // BLOCK_BYTES)
                for number in range(max(first, start), min(first + count, stop)):
                    block = data[(number - first) * BLOCK_BYTES : (number - first + 1) * BLOCK_BYTES]
                    yield number, block.ljust(BLOCK_BYTES, b"\0")
            index += 1

    def _read(self, index: int) -> bytes:
        data = self._window.read(self._pieces.sizes[index], self._pieces.places[index])
        wanted = self._pieces.sum_of(index)
        if len(data) < self._pieces.sizes[index]:
            raise self._refusal(self._pieces.numbers[index], "became shorter while it was read")
        if wanted is not None and hashlib.sha1(data, usedforsecurity=False).digest() != wanted:
            raise self._refusal(self._pieces.numbers[index], "does not have the checksum that it must have")
        return data

    def _refusal(self, number: int, why: str) -> Refusal:
        return Refusal(
            f"cannot read {self.name}: piece {number:08} {why}",
            remedy="copy or export it again: xe vm-export",
        )
