"""Sparse extents: the header, the tables of grains, and the grains, deflated or not."""

import struct
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Window
from metier.drivers.formats.inflate import DAMAGED, inflater
from metier.drivers.formats.vmdk.descriptor import SECTOR_BYTES

MAGIC = b"KDMV"
HEADER_BYTES = 512

_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
_NEWLINES = b"\n \r\n"
_AT_END = 0xFFFFFFFFFFFFFFFF
_ZEROED_GRAINS, _COMPRESSED = 1 << 2, 1 << 16
_DEFLATE = 1
_ENTRIES = 512
_MARKER = struct.Struct("<QI")

# Read ahead with a grain's marker, so that most grains of ordinary data take one read.
_GUESS_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Header:
    """The numbers in a sparse extent's header, checked against each other.

    Attributes:
        sectors: Capacity.
        grain_bytes: What one table entry stands for.
        descriptor_at: Where the embedded descriptor begins, and `descriptor_bytes` its room; 0 if none.
        directory_at: Where the directory of grain tables begins.
    """

    sectors: int
    grain_bytes: int
    descriptor_at: int
    descriptor_bytes: int
    directory_at: int
    is_compressed: bool
    has_zeroed_grains: bool

    @property
    def grains(self) -> int:
        """Return how many grains the capacity takes."""
        return -(-self.sectors * SECTOR_BYTES // self.grain_bytes)

    @property
    def tables(self) -> int:
        """Return how many grain tables the capacity takes."""
        return -(-self.grains // _ENTRIES)


def read_header(window: Window, file: str) -> Header:
    """Read the header of a sparse extent, and its copy at the end where that is the valid one.

    Raises:
        Refusal: Damaged or cut short, or of a form that does not exist.
    """
    first = _header(window.read(HEADER_BYTES, 0), file)
    if first is not None:
        return first
    # A streamed disk knows its directory only when all is written: the footer precedes the end marker.
    at = window.size_bytes - 2 * SECTOR_BYTES
    footer = _header(window.read(HEADER_BYTES, at), file) if at >= HEADER_BYTES else None
    if footer is None:
        raise Refusal(
            f"cannot read {file}: it lacks its end, where a streamed disk keeps its directory",
            remedy="copy or export it again",
        )
    return footer


def _header(data: bytes, file: str) -> Header | None:
    """Return what a header says; None if there is none, or if it says that the directory is at the end."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        if data[:4] == MAGIC:
            raise Refusal(f"cannot read {file}: it ends within its header", remedy="copy or export it again")
        return None
    (_, version, flags, sectors, grain, text_at, text_size, entries, _, directory, _, _, newlines, method) = (
        _HEADER.unpack_from(data)
    )
    if newlines != _NEWLINES and newlines != bytes(4):
        raise Refusal(f"cannot read {file}: its line ends were changed, as by a transfer in text mode")
    is_compressed = bool(flags & _COMPRESSED)
    problem = _objection(version, sectors, grain, entries, method if is_compressed else None)
    if problem:
        raise Refusal(f"cannot read {file}: its header has {problem}")
    if directory == _AT_END:
        return None
    if max(text_at, text_size, directory) >= 1 << 54 or not directory:
        raise Refusal(f"cannot read {file}: its header points outside the file")
    return Header(
        sectors=sectors,
        grain_bytes=grain * SECTOR_BYTES,
        descriptor_at=text_at * SECTOR_BYTES,
        descriptor_bytes=text_size * SECTOR_BYTES,
        directory_at=directory * SECTOR_BYTES,
        is_compressed=is_compressed,
        has_zeroed_grains=bool(flags & _ZEROED_GRAINS),
    )


def _objection(version: int, sectors: int, grain: int, entries: int, method: int | None) -> str:
    if not 1 <= version <= 3:
        return f"the unknown version {version}"
    if not 0 < sectors < 1 << 54:
        return f"an impossible capacity of {sectors} sectors"
    if grain & (grain - 1) or not 8 <= grain <= 2048:
        return f"an impossible grain of {grain} sectors"
    if entries != _ENTRIES:
        return f"grain tables of {entries} entries, where every product writes {_ENTRIES}"
    if method not in (None, _DEFLATE):
        return f"the unknown compression {method}"
    return ""


class SparseExtent:
    """The content of a sparse extent."""

    def __init__(self, window: Window, header: Header, file: str) -> None:
        self.name = file
        self.size_bytes = header.sectors * SECTOR_BYTES
        self.grain_bytes = header.grain_bytes
        self._window = window
        self._header = header
        self._file_bytes = window.size_bytes
        self._directory = self._words(header.directory_at, header.tables, "its directory")
        # Neighbours are asked for one after the other; a table spans 32 MiB of guest data.
        self._table: Callable[[int], array[int]] = lru_cache(maxsize=64)(self._read_table)
        self._table_span = _ENTRIES * header.grain_bytes

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Walk all tables and return the room that the data takes in whole blocks.

        `advance` gets guest bytes gone through.

        Raises:
            Refusal: A grain lies outside the file, or more grains than the file can hold.
        """
        grains = 0
        for number in range(len(self._directory)):
            if self._directory[number]:
                grains += self._count(self._table(number), number)
                least = grains * (SECTOR_BYTES if self._header.is_compressed else self.grain_bytes)
                if least > self._file_bytes:
                    raise Refusal(f"cannot read {self.name}: its grains overlap: it has no room for so many")
            advance(self._table_span)
        # A small grain may be alone in its block; an extent may begin and end within one.
        return grains * max(self.grain_bytes, BLOCK_BYTES) + 2 * BLOCK_BYTES

    def next_data(self, at: int) -> int:
        """Return the first place from `at` on where a grain may be."""
        number = at // self._table_span
        if number >= len(self._directory) or self._directory[number]:
            return at
        while number < len(self._directory) and not self._directory[number]:
            number += 1
        return number * self._table_span

    def read(self, at: int, size: int) -> bytes | None:
        """Return the bytes from `at` on, which must lie within the extent; None if they are all zeros."""
        number, within = divmod(at, self.grain_bytes)
        if within + size <= self.grain_bytes:
            grain = self._grain(number)
            if grain is None or size == self.grain_bytes:
                return grain
            return grain[within : within + size]
        pieces, is_empty = [], True
        while size:
            number, within = divmod(at, self.grain_bytes)
            length = min(size, self.grain_bytes - within)
            grain = self._grain(number)
            is_empty = is_empty and grain is None
            pieces.append(bytes(length) if grain is None else grain[within : within + length])
            at, size = at + length, size - length
        return None if is_empty else b"".join(pieces)

    def _grain(self, number: int) -> bytes | None:
        table, entry = divmod(number, _ENTRIES)
        if not self._directory[table]:
            return None
        sector = self._table(table)[entry]
        if sector == 0 or (sector == 1 and self._header.has_zeroed_grains):
            return None
        if self._header.is_compressed:
            return self._inflated(number, sector * SECTOR_BYTES)
        return self._plain(number, sector * SECTOR_BYTES)

    def _plain(self, number: int, at: int) -> bytes:
        data = self._window.read(self.grain_bytes, at)
        if len(data) < self.grain_bytes:
            # The last grain may end with the disk.
            wanted = min(self.grain_bytes, self.size_bytes - number * self.grain_bytes)
            if len(data) < wanted:
                raise self._cut_short(f"within the data at {number * self.grain_bytes}")
            data = data.ljust(self.grain_bytes, b"\0")
        return data

    def _inflated(self, number: int, at: int) -> bytes:
        head = self._window.read(_MARKER.size + _GUESS_BYTES, at)
        if len(head) < _MARKER.size:
            raise self._cut_short(f"within the data at {number * self.grain_bytes}")
        sector, size = _MARKER.unpack_from(head)
        if (
            sector * SECTOR_BYTES != number * self.grain_bytes
            or not 0 < size <= 2 * self.grain_bytes + SECTOR_BYTES
        ):
            raise self._damaged(number)
        end = _MARKER.size + size
        if len(head) < end:
            head += self._window.read(end - len(head), at + len(head))
        if len(head) < end:
            raise self._cut_short(f"within the data at {number * self.grain_bytes}")
        engine = inflater()
        try:
            data = engine.decompress(head[_MARKER.size : end], self.grain_bytes + 1)
        except DAMAGED as error:
            raise self._damaged(number) from error
        wanted = min(self.grain_bytes, self.size_bytes - number * self.grain_bytes)
        if not engine.eof or not wanted <= len(data) <= self.grain_bytes:
            raise self._damaged(number)
        return data.ljust(self.grain_bytes, b"\0")

    def _read_table(self, number: int) -> "array[int]":
        return self._words(self._directory[number] * SECTOR_BYTES, _ENTRIES, f"its grain table {number}")

    def _words(self, at: int, count: int, what: str) -> "array[int]":
        # Checked before anything is allocated by the word of the header.
        if at + 4 * count > self._file_bytes:
            raise self._cut_short(f"before {what}")
        words = array("I", self._window.read(4 * count, at))
        if sys.byteorder == "big":
            words.byteswap()
        if len(words) < count:
            raise self._cut_short(f"within {what}")
        return words

    def _count(self, table: "array[int]", number: int) -> int:
        """Return how many grains a table has, after checking that all lie within the file."""
        unused = table.count(0) + (table.count(1) if self._header.has_zeroed_grains else 0)
        room = self.grain_bytes if not self._header.is_compressed else _MARKER.size
        if unused < len(table) and max(table) * SECTOR_BYTES + room > self._file_bytes:
            self._check_end(table, number)
        return len(table) - unused

    def _check_end(self, table: "array[int]", number: int) -> None:
        """Refuse grains past the end; the disk's last one may be shorter than a grain."""
        for entry, sector in enumerate(table):
            grain = number * _ENTRIES + entry
            size = min(self.grain_bytes, self.size_bytes - grain * self.grain_bytes)
            room = _MARKER.size if self._header.is_compressed else max(size, 0)
            if sector > 1 and sector * SECTOR_BYTES + room > self._file_bytes:
                raise self._cut_short(f"before the data at {grain * self.grain_bytes}")

    def _cut_short(self, where: str) -> Refusal:
        return Refusal(f"cannot read {self.name}: it ends {where}", remedy="copy or export it again")

    def _damaged(self, number: int) -> Refusal:
        at = number * self.grain_bytes
        return Refusal(
            f"cannot read {self.name}: the data at {at} is damaged", remedy="copy or export it again"
        )
