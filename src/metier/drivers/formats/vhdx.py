"""VHDX disks, as Hyper-V and QEMU write them."""

import struct
import sys
from array import array
from contextlib import ExitStack
from typing import NamedTuple
from uuid import UUID

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, SourceDisk, Window
from metier.drivers.formats.capacity import SECTOR_BYTES, check_capacity
from metier.drivers.formats.tabled import MOST_PIECES, Table, TabledDisk, check_places

MAGIC = b"vhdxfile"

KIB, MIB = 1 << 10, 1 << 20
_HEADERS_AT, _HEADER_BYTES = (64 * KIB, 128 * KIB), 4 * KIB
_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_REGIONS_AT, _REGION_TABLE_BYTES = (192 * KIB, 256 * KIB), 64 * KIB
_REGION_TABLE, _REGION = struct.Struct("<4sII4x"), struct.Struct("<16sQII")
_METADATA_TABLE, _METADATA_TABLE_BYTES = struct.Struct("<8s2xH20x"), 64 * KIB
_ITEM = struct.Struct("<16sIII4x")
_MOST_ENTRIES = 2047
_REQUIRED = 1
_ITEM_REQUIRED, _ITEM_BY_USER = 4, 1

_BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
_LOGICAL_SECTOR = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f").bytes_le
_PHYSICAL_SECTOR = UUID("cda348c7-445d-4471-9cc9-e9885251c556").bytes_le
_DISK_ID = UUID("beca12ab-b2e6-4523-93ef-c309e000c746").bytes_le
_PARENT = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
_KNOWN_ITEMS = (_FILE_PARAMETERS, _DISK_SIZE, _LOGICAL_SECTOR, _PHYSICAL_SECTOR, _DISK_ID, _PARENT)

_HAS_PARENT = 2
_PRESENT = 6
# Not present, undefined, zeros, and unmapped in the two numbers that it had: nothing to be read.
_EMPTY = (0, 1, 2, 3, 5)
_STATE, _PLACE = 0x7, ~((1 << 20) - 1)
_SECTORS_OF_A_CHUNK = 1 << 23

_AGAIN = "copy or export it again"


class _Region(NamedTuple):
    at: int
    size: int


class _Parameters(NamedTuple):
    capacity_bytes: int
    piece_bytes: int


def open_vhdx(window: Window, name: str, limits: Limits) -> SourceDisk:
    """Open a VHDX disk; it takes over `window`, and closes it where it is refused.

    Raises:
        Refusal: It is damaged, cut short, too large, the difference to another disk, or was
            not closed cleanly.
    """
    with ExitStack() as stack:
        stack.callback(window.close)
        table = _Reader(window, name).table(limits)
        stack.pop_all()
    return TabledDisk(window, name, "vhdx", table, {"driver": "vhdx"})


class _Reader:
    """Reads what is around the content."""

    def __init__(self, window: Window, name: str) -> None:
        self._window, self._name = window, name

    def table(self, limits: Limits) -> Table:
        """Check everything, and return where the content lies."""
        self._check_header()
        regions = self._regions()
        if _BAT not in regions or _METADATA not in regions:
            raise self._damaged("its list of regions lacks one that every VHDX has")
        found = self._parameters(regions[_METADATA])
        check_capacity(self._name, found.capacity_bytes, limits)
        table = Table(found.capacity_bytes, found.piece_bytes, self._places(regions[_BAT], found))
        check_places(self._name, table, self._window.size_bytes)
        return table

    def _check_header(self) -> None:
        """Check the header that is current: the valid one with the higher number."""
        if not self._read(len(MAGIC), 0) == MAGIC:
            raise self._damaged("it is no VHDX disk")
        headers = []
        for at in _HEADERS_AT:
            data = self._window.read(_HEADER_BYTES, at)
            if len(data) == _HEADER_BYTES and data.startswith(b"head") and is_sound(data):
                headers.append(_HEADER.unpack_from(data))
        if not headers:
            raise self._damaged("neither of its headers is whole")
        _, _, _, _, _, log, log_version, version, _, _ = max(headers, key=lambda header: header[2])
        if version != 1 or log_version != 0:
            raise Refusal(f"cannot use {self._name}: it is of the unknown version {version}.{log_version}")
        if any(log):
            raise Refusal(
                f"cannot use {self._name}: it was not closed cleanly: writes wait in its log",
                remedy="start and stop its VM once on its host, or let QEMU do them:"
                f" qemu-img check -r all -f vhdx {self._name}",
            )

    def _regions(self) -> dict[bytes, _Region]:
        for at in _REGIONS_AT:
            data = self._window.read(_REGION_TABLE_BYTES, at)
            if len(data) == _REGION_TABLE_BYTES and data.startswith(b"regi") and is_sound(data):
                return self._regions_of(data)
        raise self._damaged("neither of its lists of regions is whole")

    def _regions_of(self, data: bytes) -> dict[bytes, _Region]:
        _, _, count = _REGION_TABLE.unpack_from(data)
        if count > _MOST_ENTRIES:
            raise self._damaged(f"its list of regions has {count} entries")
        regions: dict[bytes, _Region] = {}
        for number in range(count):
            kind, at, size, flags = _REGION.unpack_from(data, _REGION_TABLE.size + number * _REGION.size)
            if kind not in (_BAT, _METADATA):
                if flags & _REQUIRED:
                    raise Refusal(
                        f"cannot use {self._name}: it needs the unknown feature {UUID(bytes_le=kind)}",
                        remedy=self._convert(),
                    )
                continue
            if at % MIB or at < MIB or not size or at + size > self._window.size_bytes or kind in regions:
                raise self._damaged("a region lies outside the file")
            regions[kind] = _Region(at, size)
        return regions

    def _parameters(self, region: _Region) -> _Parameters:
        items = self._items(region)
        piece, flags = struct.unpack("<II", self._item(items, _FILE_PARAMETERS, 8))
        (capacity,) = struct.unpack("<Q", self._item(items, _DISK_SIZE, 8))
        (sector,) = struct.unpack("<I", self._item(items, _LOGICAL_SECTOR, 4))
        if flags & _HAS_PARENT or _PARENT in items:
            raise Refusal(
                f"cannot use {self._name}: it holds only the difference to its parent disk",
                remedy="delete the VM's checkpoints in Hyper-V, or merge the disks by `Edit Disk` there",
            )
        if sector != SECTOR_BYTES:
            raise Refusal(
                f"cannot use {self._name}: it has sectors of {sector} bytes, and the disks of nodes have"
                f" sectors of {SECTOR_BYTES}",
                remedy="convert it on its host: Convert-VHD, then Set-VHD -PhysicalSectorSizeBytes 512",
            )
        if piece & (piece - 1) or not MIB <= piece <= 256 * MIB:
            raise self._damaged(f"it is in blocks of {piece} bytes, which no product writes")
        return _Parameters(capacity, piece)

    def _items(self, region: _Region) -> dict[bytes, _Region]:
        """Return where the known items of the metadata lie."""
        data = self._read(min(_METADATA_TABLE_BYTES, region.size), region.at)
        if len(data) < _METADATA_TABLE_BYTES or not data.startswith(b"metadata"):
            raise self._damaged("its metadata are not where its list of regions says")
        _, count = _METADATA_TABLE.unpack_from(data)
        if count > _MOST_ENTRIES:
            raise self._damaged(f"its metadata have {count} entries")
        items: dict[bytes, _Region] = {}
        for number in range(count):
            kind, at, size, flags = _ITEM.unpack_from(data, _METADATA_TABLE.size + number * _ITEM.size)
            if flags & _ITEM_BY_USER or kind not in _KNOWN_ITEMS:
                if flags & _ITEM_REQUIRED:
                    raise Refusal(
                        f"cannot use {self._name}: it needs the unknown feature {UUID(bytes_le=kind)}",
                        remedy=self._convert(),
                    )
                continue
            if at < _METADATA_TABLE_BYTES or at + size > region.size or kind in items:
                raise self._damaged("one of its metadata lies outside of them")
            items[kind] = _Region(region.at + at, size)
        return items

    def _item(self, items: dict[bytes, _Region], kind: bytes, size: int) -> bytes:
        if kind not in items or items[kind].size < size:
            raise self._damaged("it lacks one of the metadata that every VHDX has")
        return self._read(size, items[kind].at)

    def _places(self, region: _Region, found: _Parameters) -> "array[int]":
        pieces = -(-found.capacity_bytes // found.piece_bytes)
        # After every so many entries for data stands one for a bitmap that only a child has.
        ratio = _SECTORS_OF_A_CHUNK * SECTOR_BYTES // found.piece_bytes
        count = pieces + (pieces - 1) // ratio
        if pieces > MOST_PIECES or count * 8 > region.size:
            raise self._damaged(f"its table has no room for {pieces} blocks")
        entries = array("Q", self._read(count * 8, region.at))
        if sys.byteorder == "big":
            entries.byteswap()
        del entries[ratio :: ratio + 1]
        return array("Q", map(self._place, entries))

    def _place(self, entry: int) -> int:
        state, place = entry & _STATE, entry & _PLACE
        if state in _EMPTY:
            return 0
        if state != _PRESENT or place < MIB:
            raise self._damaged(f"its table has a block of the impossible state {state}")
        return place

    def _read(self, size: int, at: int) -> bytes:
        data = self._window.read(size, at)
        if len(data) < size:
            raise self._damaged(f"it ends before {at + size}")
        return data

    def _damaged(self, why: str) -> Refusal:
        return Refusal(f"cannot read {self._name}: {why}", remedy=_AGAIN)

    def _convert(self) -> str:
        return f"convert it where it came from: qemu-img convert -f vhdx -O qcow2 {self._name} disk.qcow2"


def is_sound(data: bytes) -> bool:
    """Return whether the checksum in a header or a list of regions is right."""
    return crc32c(data[:4] + bytes(4) + data[8:]) == int.from_bytes(data[4:8], "little")


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _crc_table()
