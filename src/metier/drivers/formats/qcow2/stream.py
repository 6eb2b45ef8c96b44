"""A plain qcow2 file that exists only while it is read: put together from blocks that lie elsewhere."""

import io
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from metier.drivers.formats.api import BLOCK_BYTES, BlockReader
from metier.drivers.formats.qcow2.writer import ENTRIES, Counts, clusters_of, header, tables_for

_OWNED = 1 << 63
# Blocks that are asked for at a time: neighbours are quicker together.
_RUN = 256


class Layout:
    """Where everything lies in the file.

    Args:
        capacity_bytes: Size that the guest sees.
        numbers: Called for the numbers of the blocks that are not zeros, in order; more than once.
    """

    def __init__(self, capacity_bytes: int, numbers: Callable[[], Iterable[int]]) -> None:
        self.capacity_bytes, self.numbers = capacity_bytes, numbers
        self._tables = 0
        self._blocks = 0
        self._used = bytearray(tables_for(capacity_bytes))
        for number in numbers():
            self._blocks += 1
            self._used[number // ENTRIES] = 1
        self._tables = sum(self._used)
        first_level = clusters_of(len(self._used) * 8)
        self._counts = Counts(1 + first_level + self._tables, 1 + first_level + self._tables + self._blocks)
        self._first_table = 1 + first_level
        self._data = self._first_table + self._tables + self._counts.clusters

    @property
    def size_bytes(self) -> int:
        """Return the length of the file."""
        return (self._data + self._blocks) * BLOCK_BYTES

    def pieces(self, disk: BlockReader) -> Iterator[bytes]:
        """Yield the whole file, piece by piece."""
        yield header(self.capacity_bytes, BLOCK_BYTES, self._counts)
        yield self._first_level()
        yield from self._second_level()
        yield from self._counts.pieces()
        yield from self._content(disk)

    def _first_level(self) -> bytes:
        entries, table = [], self._first_table
        for used in self._used:
            entries.append((table * BLOCK_BYTES | _OWNED) if used else 0)
            table += used
        return struct.pack(f">{len(entries)}Q", *entries).ljust((self._first_table - 1) * BLOCK_BYTES, b"\0")

    def _second_level(self) -> Iterator[bytes]:
        cluster = self._data
        for _, numbers in groupby(self.numbers(), key=lambda number: number // ENTRIES):
            entries = [0] * ENTRIES
            for number in numbers:
                entries[number % ENTRIES] = cluster * BLOCK_BYTES | _OWNED
                cluster += 1
            yield struct.pack(f">{ENTRIES}Q", *entries)

    def _content(self, disk: BlockReader) -> Iterator[bytes]:
        for _, group in groupby(self.numbers(), key=lambda number: number // _RUN):
            wanted = list(group)
            found = dict(disk.blocks(wanted[0], wanted[-1] + 1))
            for number in wanted:
                yield found.get(number, bytes(BLOCK_BYTES))


class PieceStream(io.RawIOBase):
    """A file to be read once from its beginning, out of pieces that are made as it is read.

    Args:
        pieces: Its content.
        release: Called once when it is closed.
    """

    def __init__(self, pieces: Iterator[bytes], release: Callable[[], None]) -> None:
        super().__init__()
        self._pieces, self._release = pieces, release
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]  # as RawIOBase does
        """Fill a buffer as far as the next piece goes; 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        taken = min(len(buffer), len(self._rest))
        memoryview(buffer).cast("B")[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        return taken

    def close(self) -> None:
        """Let go of what it is made of."""
        if not self.closed:
            self._release()
        super().close()
