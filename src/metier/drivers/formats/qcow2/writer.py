"""Writes qcow2 disks: many threads put blocks, one thread keeps the tables."""

import os
import struct
import threading
from array import array
from collections.abc import Sequence
from pathlib import Path

from metier.drivers.formats.api import BLOCK_BYTES

ENTRIES = BLOCK_BYTES // 8
"""Blocks that one table of the second level speaks of."""

_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_MAGIC, _VERSION, _CLUSTER_BITS, _COUNT_ORDER = b"QFI\xfb", 3, 16, 4
_BACKING_FORMAT = 0xE2792ACA
# The cluster belongs to this disk alone, and may be written in place.
_OWNED, _ZEROED = 1 << 63, 1
_COUNTS = BLOCK_BYTES // 2
# What is brought to the disk at a time, this far behind what is being written.
_STRETCH_BYTES = 16 << 20


def tables_for(capacity_bytes: int) -> int:
    """Return how many tables of the second level a disk has, written or not."""
    return -(-capacity_bytes // (BLOCK_BYTES * ENTRIES))


def clusters_of(size_bytes: int) -> int:
    """Return how many clusters hold so many bytes."""
    return -(-size_bytes // BLOCK_BYTES)


def header(capacity_bytes: int, first_table_at: int, counts: "Counts", backing: str = "") -> bytes:
    """Return the first cluster of a disk.

    Args:
        capacity_bytes: Size that the guest sees.
        first_table_at: Where the table of the first level begins.
        counts: Where the reference counts are.
        backing: Name of a qcow2 file that holds what this one lacks; relative to it.
    """
    extensions = b""
    if backing:
        extensions += struct.pack(">II", _BACKING_FORMAT, 5) + b"qcow2\0\0\0"
    extensions += bytes(8)
    name = backing.encode()
    name_at = _HEADER.size + len(extensions) if name else 0
    packed = _HEADER.pack(
        _MAGIC,
        _VERSION,
        name_at,
        len(name),
        _CLUSTER_BITS,
        capacity_bytes,
        0,
        tables_for(capacity_bytes),
        first_table_at,
        counts.table_at,
        counts.table_clusters,
        0,
        0,
        0,
        0,
        0,
        _COUNT_ORDER,
        _HEADER.size,
    )
    return (packed + extensions + name).ljust(BLOCK_BYTES, b"\0")


class Counts:
    """The reference counts of a file in which each cluster is used exactly once.

    They lie together, from cluster `first` on, and count themselves too.

    Args:
        first: Their first cluster.
        others: How many clusters the file has besides, before or after them.
    """

    def __init__(self, first: int, others: int) -> None:
        self._first = first
        blocks = table = 0
        while True:
            total = others + blocks + table
            wanted = -(-total // _COUNTS), clusters_of(-(-total // _COUNTS) * 8)
            if wanted == (blocks, table):
                break
            blocks, table = wanted
        self._total, self._blocks, self.table_clusters = total, blocks, table

    @property
    def table_at(self) -> int:
        """Return where their directory begins."""
        return self._first * BLOCK_BYTES

    @property
    def clusters(self) -> int:
        """Return how many clusters they take."""
        return self._blocks + self.table_clusters

    def pieces(self) -> "list[bytes]":
        """Return them as one piece per cluster."""
        begin = self._first + self.table_clusters
        directory = [number * BLOCK_BYTES for number in range(begin, begin + self._blocks)]
        packed = struct.pack(f">{len(directory)}Q", *directory).ljust(
            self.table_clusters * BLOCK_BYTES, b"\0"
        )
        pieces = [packed[at : at + BLOCK_BYTES] for at in range(0, len(packed), BLOCK_BYTES)]
        for number in range(self._blocks):
            used = min(self._total - number * _COUNTS, _COUNTS)
            pieces.append((b"\0\1" * used).ljust(BLOCK_BYTES, b"\0"))
        return pieces


class Qcow2Writer:
    """A new qcow2 disk, version 3, clusters of 64 KiB; `close` it after use.

    It is no disk before `finish`.

    Args:
        path: Does not exist yet.
        capacity_bytes: Size that the guest sees.
        backing: As `header` takes it.
    """

    def __init__(self, path: Path, capacity_bytes: int, backing: str = "") -> None:
        self._capacity, self._backing = capacity_bytes, backing
        self._file = path.open("xb", buffering=0)
        self._tables_at = 1
        self._next = 1 + clusters_of(tables_for(capacity_bytes) * 8)
        self._first_level = array("Q", bytes(8 * tables_for(capacity_bytes)))
        self._open: dict[int, array[int]] = {}
        self._begun = 0  # up to here the file is on its way to the disk
        self._lock = threading.Lock()

    def put(self, number: int, blocks: Sequence[bytes]) -> None:
        """Write blocks of `BLOCK_BYTES` from block `number` on; from any thread."""
        with self._lock:
            cluster = self._next
            self._next += len(blocks)
            for place in range(len(blocks)):
                self._enter(number + place, (cluster + place) * BLOCK_BYTES | _OWNED)
            due = self._take_stretch()
        _write_all(self._file.fileno(), blocks, cluster * BLOCK_BYTES)
        if due is not None:
            # Brought to the disk while more is being made, and its memory given back: else all of it is
            # waited for at the end, and takes the memory of others until then.
            os.posix_fadvise(self._file.fileno(), due, _STRETCH_BYTES, os.POSIX_FADV_DONTNEED)

    def put_zeros(self, number: int) -> None:
        """Have a block be zeros whatever the backing file holds there; from any thread."""
        with self._lock:
            self._enter(number, _ZEROED)

    def settle(self, stop: int) -> None:
        """Write out the tables of all blocks below `stop`, of which no more come."""
        with self._lock:
            complete = sorted(table for table in self._open if (table + 1) * ENTRIES <= stop)
            for number in complete:
                self._first_level[number] = self._append(_words(self._open.pop(number))) | _OWNED

    def finish(self) -> None:
        """Write what makes it a disk."""
        self.settle((len(self._first_level) + 1) * ENTRIES)
        descriptor = self._file.fileno()
        _write_all(descriptor, [_words(self._first_level)], self._tables_at * BLOCK_BYTES)
        counts = Counts(self._next, self._next)
        _write_all(descriptor, counts.pieces(), counts.table_at)
        # The last cluster of the first level may have an end that was never written.
        os.ftruncate(descriptor, (self._next + counts.clusters) * BLOCK_BYTES)
        first = header(self._capacity, self._tables_at * BLOCK_BYTES, counts, self._backing)
        _write_all(descriptor, [first], 0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take_stretch(self) -> int | None:
        """Return where a stretch begins that was written for the most part; None while there is none."""
        begin = self._begun
        if self._next * BLOCK_BYTES - begin < 2 * _STRETCH_BYTES:
            return None
        self._begun += _STRETCH_BYTES
        return begin

    def _enter(self, number: int, entry: int) -> None:
        table, place = divmod(number, ENTRIES)
        entries = self._open.get(table)
        if entries is None:
            entries = self._open[table] = array("Q", bytes(BLOCK_BYTES))
        entries[place] = entry

    def _append(self, cluster: bytes) -> int:
        at = self._next * BLOCK_BYTES
        self._next += 1
        _write_all(self._file.fileno(), [cluster], at)
        return at


def _words(table: "array[int]") -> bytes:
    return struct.pack(f">{len(table)}Q", *table)


def _write_all(descriptor: int, pieces: Sequence[bytes], at: int) -> None:
    total = sum(len(piece) for piece in pieces)
    written = os.pwritev(descriptor, pieces, at)
    if written < total:  # a disk that is about to be full, or a signal
        rest = memoryview(b"".join(pieces))[written:]
        while rest:
            at_rest = at + total - len(rest)
            rest = rest[os.pwrite(descriptor, rest, at_rest) :]
