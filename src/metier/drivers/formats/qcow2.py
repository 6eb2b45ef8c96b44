"""Reads plain qcow2 disks by our own means, to check what QEMU has written."""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES

_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_CLUSTER_BITS = 16
_ENTRIES = BLOCK_BYTES // 8
_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED, _ZEROED = 1 << 62, 1
_KNOWN_FLAGS = 0


def most_bytes(data_bytes: int, capacity_bytes: int) -> int:
    """Return what a qcow2 disk takes at most that holds `data_bytes` in whole blocks."""
    data = -(-data_bytes // BLOCK_BYTES)
    tables = min(-(-capacity_bytes // (BLOCK_BYTES * _ENTRIES)), data)
    top = -(-capacity_bytes // (BLOCK_BYTES * _ENTRIES)) * 8 // BLOCK_BYTES + 1
    # Reference counts of two bytes per cluster, for themselves too, and their directory; the header.
    counts = (data + tables + top) * 2 // BLOCK_BYTES + 2
    return (data + tables + top + counts + 2) * BLOCK_BYTES


class Qcow2Disk:
    """A qcow2 disk as Metier publishes them, a `BlockReader`; `close` it after use.

    That is: version 3, clusters of 64 KiB, no backing file, no compression, no snapshots.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._stack = ExitStack()
        self._descriptor = self._stack.enter_context(path.open("rb", buffering=0)).fileno()
        self._file_bytes = os.fstat(self._descriptor).st_size
        try:
            self.capacity_bytes, self._tables = self._read_header()
        except BaseException:  # whatever it is, no file may stay open
            self.close()
            raise
        self._table: Callable[[int], tuple[int, ...]] = lru_cache(maxsize=16)(self._read_table)

    def close(self) -> None:
        """Close its file."""
        self._stack.close()

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks that may hold more than zeros, as `BlockReader` says."""
        stop = min(stop, -(-self.capacity_bytes // BLOCK_BYTES))
        number = start
        while number < stop:
            table, entry = divmod(number, _ENTRIES)
            if not self._tables[table] & _OFFSET:
                number = (table + 1) * _ENTRIES
                continue
            block = self._cluster(number, self._table(table)[entry])
            if block is not None:
                yield number, block
            number += 1

    def _cluster(self, number: int, entry: int) -> bytes | None:
        if entry & _COMPRESSED:
            raise self._damaged(f"cluster {number} is compressed")
        if not entry & _OFFSET or entry & _ZEROED:
            return None
        data = os.pread(self._descriptor, BLOCK_BYTES, entry & _OFFSET)
        wanted = min(BLOCK_BYTES, self.capacity_bytes - number * BLOCK_BYTES)
        if len(data) < wanted:
            raise self._damaged(f"it ends within cluster {number}")
        return data[:wanted].ljust(BLOCK_BYTES, b"\0")

    def _read_header(self) -> tuple[int, tuple[int, ...]]:
        data = os.pread(self._descriptor, _HEADER.size, 0)
        if len(data) < _HEADER.size or data[:4] != b"QFI\xfb":
            raise self._damaged("it is no qcow2 disk")
        (
            _,
            version,
            backing,
            _,
            bits,
            capacity,
            crypt,
            entries,
            at,
            _,
            _,
            snapshots,
            _,
            flags,
            _,
            _,
            _,
            _,
        ) = _HEADER.unpack(data)
        if (version, backing, bits, crypt, snapshots, flags) != (3, 0, _CLUSTER_BITS, 0, 0, _KNOWN_FLAGS):
            raise self._damaged("it is not of the form in which images are published")
        if entries < -(-capacity // (BLOCK_BYTES * _ENTRIES)) or at + 8 * entries > self._file_bytes:
            raise self._damaged("its table lies outside the file")
        return capacity, self._words(at, entries)

    def _read_table(self, number: int) -> tuple[int, ...]:
        return self._words(self._tables[number] & _OFFSET, _ENTRIES)

    def _words(self, at: int, count: int) -> tuple[int, ...]:
        data = os.pread(self._descriptor, 8 * count, at)
        if len(data) < 8 * count:
            raise self._damaged("a table lies outside the file")
        return struct.unpack(f">{count}Q", data)

    def _damaged(self, why: str) -> Refusal:
        return Refusal(
            f"cannot read {self.name}: {why}", remedy="delete this image version and import it again"
        )
