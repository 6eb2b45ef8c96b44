"""The two levels of tables that say where the clusters of a qcow2 disk are."""

import sys
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Window
from metier.drivers.formats.capacity import SECTOR_BYTES
from metier.drivers.formats.qcow2.header import Header

OFFSET = 0x00FFFFFFFFFFFE00
"""The bits of an entry that are the place of a cluster."""

_OWNED, _COMPRESSED, _ZEROS = 1 << 63, 1 << 62, 1
_PARTS = 32
_ALL_PARTS = (1 << _PARTS) - 1

# Deflate makes at most 1032 bytes out of one.
_LEAST_RATIO = 1032
# The smallest whole frame of the other compression.
_LEAST_FRAME = 8

# What a table is kept as: a table of the largest clusters has 2 MiB.
_CACHED_BYTES = 16 << 20

_NOTHING, _EMPTY, _SQUEEZED = -1, -2, -3


class Run(NamedTuple):
    """A stretch of guest data that is in one place.

    Attributes:
        place: Where it begins in the file; below zero if it is not there as it is.
        entry: What the table says of its cluster.
    """

    size: int
    place: int
    entry: int

    @property
    def is_absent(self) -> bool:
        """Return whether the file says nothing of it: it is the parent's."""
        return self.place == _NOTHING

    @property
    def is_compressed(self) -> bool:
        """Return whether it is part of a compressed cluster."""
        return self.place == _SQUEEZED


class Tables:
    """Looks places up; what it returns lies within the file and is aligned, or a Refusal is raised."""

    def __init__(self, window: Window, name: str, header: Header) -> None:
        self._window, self._name, self._header = window, name, header
        self._cluster = header.cluster_bytes
        self._span = header.entries * self._cluster
        # Anything but a whole cluster that lies where clusters may lie.
        self._odd = ~(_OWNED | OFFSET & ~(self._cluster - 1)) & 0xFFFFFFFFFFFFFFFF
        self._is_whole = self._cluster >= BLOCK_BYTES and not header.is_extended
        self._top = self._words(header.top_at, header.top_entries)
        cached = max(2, min(64, _CACHED_BYTES // self._cluster))
        self._table: Callable[[int], array[int]] = lru_cache(maxsize=cached)(self._read_table)
        size_bits = header.cluster_bits - 8
        self._squeezed_bits = 62 - size_bits
        self._squeezed_sectors = (1 << size_bits) - 1

    def compressed(self, entry: int) -> tuple[int, int]:
        """Return place and size, at most, of what a compressed cluster was compressed to."""
        place = entry & (1 << self._squeezed_bits) - 1
        sectors = (entry >> self._squeezed_bits & self._squeezed_sectors) + 1
        if place >= self._window.size_bytes:
            raise self._damaged("compressed data lie outside the file")
        return place, sectors * SECTOR_BYTES - place % SECTOR_BYTES

    def runs(self, at: int, end: int) -> Iterator[Run]:
        """Yield what is between two guest addresses in the same block, in order; neighbours are joined."""
        size = place = entry = 0
        step = self._cluster // _PARTS if self._header.is_extended else self._cluster
        while at < end:
            length = min(step - at % step, end - at)
            found, said = self._place(at)
            if size and found == (place + size if place >= 0 else place) != _SQUEEZED:
                size += length
            else:
                if size:
                    yield Run(size, place, entry)
                size, place, entry = length, found, said
            at += length
        if size:
            yield Run(size, place, entry)

    def _place(self, at: int) -> tuple[int, int]:
        """Return where a guest address is, and the entry of its cluster where that matters."""
        number, within = divmod(at, self._span)
        if not self._top[number]:
            return _NOTHING, 0
        index, within = divmod(within, self._cluster)
        if self._header.is_extended:
            entry, parts = self._table(number)[2 * index : 2 * index + 2]
        else:
            entry, parts = self._table(number)[index], 0
        if entry & _COMPRESSED:
            return _SQUEEZED, entry
        self._check(entry)
        place = (entry & OFFSET) + within if entry & OFFSET else 0
        if self._header.is_extended:
            return self._place_of_part(place, parts, within // (self._cluster // _PARTS)), 0
        if entry & _ZEROS:
            return _EMPTY, 0
        return place or _NOTHING, 0

    def _place_of_part(self, place: int, parts: int, part: int) -> int:
        if parts >> _PARTS & parts or (not place and parts & _ALL_PARTS):
            raise self._damaged("a table says two things of one place")
        if parts >> part & 1:
            return place
        return _EMPTY if parts >> _PARTS + part & 1 else _NOTHING

    def blocks_in_use(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the blocks, `start` ≤ number < `stop`, of which the file says something.

        With each comes the place where it lies whole and plain in the file, or 0 if it is in pieces or
        in need of some work; see `runs`.
        """
        number = start
        while number < stop:
            table = number * BLOCK_BYTES // self._span
            if self._span < BLOCK_BYTES:
                if any(self._top[table : table + BLOCK_BYTES // self._span]):
                    yield number, 0
                number += 1
                continue
            end = min((table + 1) * self._span // BLOCK_BYTES, stop)
            if self._top[table]:
                first = table * self._span // BLOCK_BYTES
                if self._is_whole:
                    yield from self._whole_blocks(self._table(table), first, number, end)
                else:
                    yield from self._blocks_of_parts(self._table(table), first, number, end)
            number = end

    def _whole_blocks(
        self, table: "array[int]", first: int, start: int, end: int
    ) -> Iterator[tuple[int, int]]:
        """Yield the same within one table, of clusters that hold one block or several."""
        per_cluster, odd = self._cluster // BLOCK_BYTES, self._odd
        for index in range((start - first) // per_cluster, -(-(end - first) // per_cluster)):
            entry = table[index]
            if not entry:
                continue
            begin = first + index * per_cluster
            place = 0 if entry & odd else entry & OFFSET
            if per_cluster == 1:
                yield begin, place
                continue
            for number in range(max(begin, start), min(begin + per_cluster, end)):
                yield number, place and place + (number - begin) * BLOCK_BYTES

    def _blocks_of_parts(
        self, table: "array[int]", first: int, start: int, end: int
    ) -> Iterator[tuple[int, int]]:
        """Yield the same within one table, of clusters that are smaller or have parts."""
        words = self._header.entry_bytes // 8
        for number in range(start, end):
            begin = (number - first) * BLOCK_BYTES // self._cluster * words
            if any(table[begin : begin + max(BLOCK_BYTES // self._cluster, 1) * words]):
                yield number, 0

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Check every entry, and return the room that the data takes in whole blocks, at most.

        `advance` gets guest bytes gone through.

        Raises:
            Refusal: A cluster lies outside the file, or there are more than the file can hold.
        """
        blocks = plain = squeezed = 0
        for number, top in enumerate(self._top):
            if top:
                table = self._table(number)
                found = self._counted(table, number * self._span)
                blocks, plain, squeezed = blocks + found[0], plain + found[1] + 1, squeezed + found[2]
                self._check_sum(plain, squeezed)
            advance(min(self._span, self._header.capacity_bytes - number * self._span))
        return blocks * BLOCK_BYTES

    def _check_sum(self, plain: int, squeezed: int) -> None:
        """Refuse more than the file can hold: many entries for one place would be a bomb."""
        zlib = self._header.compression == "zlib"
        least = max(self._cluster // _LEAST_RATIO, 1) if zlib else _LEAST_FRAME
        # The disk's last cluster need not be whole.
        if (plain - 1) * self._cluster + squeezed * least > self._window.size_bytes:
            raise self._damaged("its clusters overlap: it has no room for so many")

    def _counted(self, table: "array[int]", at: int) -> tuple[int, int, int]:
        """Return how many blocks a table's data touch, and how many clusters are plain and compressed."""
        entries = table[:: self._header.entry_bytes // 8]
        squeezed, is_odd = 0, False
        for entry in entries:
            if entry & self._odd:
                is_odd = True
                if entry & _COMPRESSED:
                    self.compressed(entry)
                    squeezed += 1
                else:
                    self._check(entry)
        if is_odd:
            used = [index for index, entry in enumerate(entries) if _has_data(entry)]
        else:
            used = [index for index, entry in enumerate(entries) if entry & OFFSET]
        self._check_end(entries, at)
        return self._blocks_of(used), len(used) - squeezed, squeezed

    def _blocks_of(self, used: list[int]) -> int:
        if self._cluster >= BLOCK_BYTES:
            return len(used) * (self._cluster // BLOCK_BYTES)
        per_block = BLOCK_BYTES // self._cluster
        return len({index // per_block for index in used})

    def _check_end(self, entries: "array[int]", at: int) -> None:
        """Refuse clusters that are not in the file as far as the guest sees them.

        Of extended clusters only the beginning is looked at here: parts that were never written need
        not be there.
        """
        size = self._window.size_bytes
        if max(map(OFFSET.__and__, entries)) + self._cluster <= size:
            return
        for index, entry in enumerate(entries):
            if entry & (_COMPRESSED | _ZEROS) or not entry & OFFSET:
                continue
            seen = min(self._cluster, self._header.capacity_bytes - at - index * self._cluster)
            if (entry & OFFSET) + (1 if self._header.is_extended else seen) > size:
                raise self._damaged(f"it ends before the data at {at + index * self._cluster}")

    def _check(self, entry: int) -> None:
        """Refuse an entry that is neither a place of a cluster, nor zeros, nor nothing."""
        odd = entry & self._odd
        if odd and (odd != _ZEROS or self._header.version < 3 or self._header.is_extended):
            raise self._damaged(f"a table has the impossible entry {entry:#018x}")

    def _read_table(self, number: int) -> "array[int]":
        top = self._top[number]
        if top & self._odd:
            raise self._damaged(f"its first table has the impossible entry {top:#018x}")
        return self._words(top & OFFSET, self._cluster // 8)

    def _words(self, at: int, count: int) -> "array[int]":
        if not at or at + 8 * count > self._window.size_bytes:
            raise self._damaged("a table lies outside the file")
        words = array("Q", self._window.read(8 * count, at))
        if len(words) < count:
            raise self._damaged("it ends within a table")
        if sys.byteorder == "little":
            words.byteswap()
        return words

    def _damaged(self, why: str) -> Refusal:
        return Refusal(f"cannot read {self._name}: {why}", remedy="copy or export it again")


def _has_data(entry: int) -> bool:
    return bool(entry & _COMPRESSED) or (bool(entry & OFFSET) and not entry & _ZEROS)
