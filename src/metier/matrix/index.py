"""The index of a stored disk: number and SHA-256 of every block that is not zeros, in order."""

import mmap
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

RECORD_BYTES = 8 + 32


def record(number: int, digest: bytes) -> bytes:
    """Return one entry: the block's number, the highest byte first, and its digest."""
    return number.to_bytes(8, "big") + digest


class BlockIndex:
    """An index file, opened for reading; a context manager.

    Several threads may read at once.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            # An empty file cannot be mapped.
            self._data: mmap.mmap | bytes = (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
            )
        self._count = size // RECORD_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._data, mmap.mmap):
            self._data.close()

    def __len__(self) -> int:
        return self._count

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of all blocks."""
        for place in range(self._count):
            yield self._number(place)

    def between(self, start: int, stop: int) -> dict[int, bytes]:
        """Return the digests of the blocks in `start` ≤ number < `stop`, by number."""
        found = {}
        place = self._first(start)
        while place < self._count and (number := self._number(place)) < stop:
            found[number] = self._digest(place)
            place += 1
        return found

    def sample(self, most: int) -> list[tuple[int, bytes]]:
        """Return number and digest of up to `most` blocks, evenly out of all."""
        step = max(1, -(-self._count // most))
        return [(self._number(place), self._digest(place)) for place in range(0, self._count, step)]

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and digest of all blocks."""
        for place in range(self._count):
            yield self._number(place), self._digest(place)

    def _first(self, start: int) -> int:
        """Return the place of the first block from `start` on."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._number(middle) < start:
                low = middle + 1
            else:
                high = middle
        return low

    def _number(self, place: int) -> int:
        at = place * RECORD_BYTES
        return int.from_bytes(self._data[at : at + 8], "big")

    def _digest(self, place: int) -> bytes:
        at = place * RECORD_BYTES + 8
        return bytes(self._data[at : at + 32])
