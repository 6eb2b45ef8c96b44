"""VHD disks, as Virtual PC, Hyper-V, Azure and Xen write them: of fixed size, or growing with their data."""

import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Limits, SourceDisk, Window
from metier.drivers.formats.capacity import SECTOR_BYTES, check_capacity
from metier.drivers.formats.raw import RawDisk
from metier.drivers.formats.tabled import MOST_PIECES, Table, TabledDisk, check_places

MAGIC = b"conectix"

_FOOTER = struct.Struct(">8sIIQ4s4sI4sQQ4sII16sB")
_FOOTER_BYTES = 512
_HEADER = struct.Struct(">8sQQIIII")
_HEADER_MAGIC, _HEADER_BYTES = b"cxsparse", 1024
_CHECKSUM_AT = {_FOOTER_BYTES: 64, _HEADER_BYTES: 36}
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_UNUSED = 0xFFFFFFFF
_LARGEST_PIECE = 256 << 20

# The size is what the footer says; QEMU would else take the geometry's from some writers.
_WORDS = {"driver": "vpc", "force_size_calc": "current_size"}

_ALL_USED = b"\xff" * (BLOCK_BYTES // SECTOR_BYTES // 8)


class Footer(NamedTuple):
    """What a footer says that is needed here."""

    kind: int
    capacity_bytes: int
    header_at: int


class _Marks:
    """The bit for each sector of a piece, kept before the piece: whether it was ever written.

    Products differ in whether they look at it.  So data that is there and marked as unused would
    be one thing to the guest before, and another after.
    """

    def __init__(self, window: Window, size_bytes: int) -> None:
        self._window, self._size = window, size_bytes
        self._marks = lru_cache(maxsize=16)(self._read)

    def accept(self, place: int, within: int, block: bytes) -> bool:
        """Return whether all sectors that are marked as unused are zeros."""
        first = within // SECTOR_BYTES // 8
        marks = self._marks(place)[first : first + len(_ALL_USED)]
        if marks == _ALL_USED:
            return True
        return not any(
            any(block[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES])
            for sector in range(-(-len(block) // SECTOR_BYTES))
            if not marks[sector // 8] & (0x80 >> sector % 8)
        )

    def _read(self, place: int) -> bytes:
        return self._window.read(self._size, place - self._size)


def find_footer(window: Window) -> bytes:
    """Return the footer at the end of a file, which has 511 bytes in the oldest; empty if there is none."""
    at = _footer_at(window)
    footer = window.read(_FOOTER_BYTES, at) if at >= 0 else b""
    return footer.ljust(_FOOTER_BYTES, b"\0") if footer.startswith(MAGIC) else b""


def _footer_at(window: Window) -> int:
    return (window.size_bytes - 1) // SECTOR_BYTES * SECTOR_BYTES


def open_vhd(window: Window, name: str, limits: Limits) -> SourceDisk:
    """Open a VHD disk; it takes over `window`, and closes it where it is refused.

    Raises:
        Refusal: It is damaged, cut short, too large, or the difference to another disk.
    """
    with _closed_on_error(window):
        footer = _footer(window, name)
        if footer.kind == _DIFFERENCING:
            raise Refusal(
                f"cannot use {name}: it holds only the difference to its parent disk",
                remedy="merge them first: in Hyper-V by `Edit Disk`, in Xen by `vhd-util coalesce`, or"
                f" beside its parent by `qemu-img convert -O vhdx {name} merged.vhdx`",
            )
        check_capacity(name, footer.capacity_bytes, limits)
        if footer.kind == _FIXED:
            if footer.capacity_bytes > _footer_at(window):
                raise _damaged(name, f"it ends before {footer.capacity_bytes} bytes, which its footer says")
            return RawDisk(window, name, limits, footer.capacity_bytes, "vhd", _WORDS)
        if footer.kind != _DYNAMIC:
            raise Refusal(f"cannot use {name}: it is of the unknown type {footer.kind}")
        return _growing(window, name, footer)


@contextmanager
def _closed_on_error(window: Window) -> Iterator[None]:
    try:
        yield
    except BaseException:  # whatever it is, no file may stay open
        window.close()
        raise


def _footer(window: Window, name: str) -> Footer:
    """Read the footer, and its copy at the beginning of a growing disk; one is enough for that."""
    last = _parsed(find_footer(window))
    first = _parsed(window.read(_FOOTER_BYTES, 0))
    if last is not None and last.kind == _FIXED:
        # What is at the beginning is the guest's, whatever it looks like.
        return last
    if first is None or first.kind == _FIXED:
        raise Refusal(
            f"cannot read {name}: its footer is missing or damaged: it was cut short",
            remedy="copy or export it again",
        )
    if last is not None and first != last:
        raise Refusal(
            f"cannot read {name}: its footer and the copy of it differ",
            remedy="attach it once to the product that wrote it, which mends it, then copy it again",
        )
    return first


def _parsed(data: bytes) -> Footer | None:
    """Return what a footer says; None if it is none, or damaged."""
    if len(data) < _FOOTER_BYTES or not data.startswith(MAGIC):
        return None
    _, _, version, header_at, _, _, _, _, _, capacity, _, kind, checksum, _, _ = _FOOTER.unpack_from(data)
    if checksum != checksum_of(data) or version >> 16 != 1:
        return None
    return Footer(kind, capacity, header_at)


def checksum_of(data: bytes) -> int:
    """Return the checksum of a footer (512 bytes) or a header (1024), whatever stands in its place."""
    at = _CHECKSUM_AT[len(data)]
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF


def _growing(window: Window, name: str, footer: Footer) -> TabledDisk:
    header = window.read(_HEADER_BYTES, footer.header_at)
    if len(header) < _HEADER_BYTES or not header.startswith(_HEADER_MAGIC):
        raise _damaged(name, "its header is not where its footer says")
    _, _, table_at, _, entries, piece, checksum = _HEADER.unpack_from(header)
    if checksum != checksum_of(header):
        raise _damaged(name, "the checksum of its header is wrong")
    if piece & (piece - 1) or not BLOCK_BYTES <= piece <= _LARGEST_PIECE:
        raise Refusal(f"cannot use {name}: it is in blocks of {piece} bytes, which no product writes")
    wanted = -(-footer.capacity_bytes // piece)
    if not wanted <= entries or wanted > MOST_PIECES:
        raise _damaged(name, f"its table has {entries} entries, and its size needs {wanted}")
    bitmap = -(-piece // SECTOR_BYTES // 8 // SECTOR_BYTES) * SECTOR_BYTES
    places = _places(window, name, table_at, wanted, bitmap)
    table = Table(footer.capacity_bytes, piece, places)
    check_places(name, table, window.size_bytes)
    return TabledDisk(window, name, "vhd", table, _WORDS, _Marks(window, bitmap).accept)


def _places(window: Window, name: str, at: int, count: int, bitmap: int) -> "array[int]":
    # Checked before anything is allocated by the word of the header.
    if at + 4 * count > window.size_bytes:
        raise _damaged(name, "its table lies outside the file")
    entries = array("I", window.read(4 * count, at))
    if len(entries) < count:
        raise _damaged(name, "it ends within its table")
    if sys.byteorder == "little":
        entries.byteswap()
    return array("Q", (0 if entry == _UNUSED else entry * SECTOR_BYTES + bitmap for entry in entries))


def _damaged(name: str, why: str) -> Refusal:
    return Refusal(f"cannot read {name}: {why}", remedy="copy or export it again")
