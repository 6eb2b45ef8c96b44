"""The header of a qcow2 disk, checked: what it is made of, and that it can be read at all."""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, Window, readable
from metier.drivers.formats.capacity import check_capacity

MAGIC = b"QFI\xfb"

_FIRST = struct.Struct(">4sIQIIQIIQQIIQ")


class _Fields(NamedTuple):
    magic: bytes
    version: int
    backing_at: int
    backing_bytes: int
    cluster_bits: int
    capacity: int
    encryption: int
    top_entries: int
    top_at: int
    counts_at: int
    counts_clusters: int
    snapshots: int
    snapshots_at: int


_MORE = struct.Struct(">QQQII")
_COMPRESSION_AT = 104
_LONGEST_NAME = 1023

_DIRTY, _CORRUPT, _EXTERNAL, _COMPRESSION, _EXTENDED = 1, 2, 4, 8, 16
_KNOWN = _DIRTY | _CORRUPT | _EXTERNAL | _COMPRESSION | _EXTENDED
_ENCRYPTIONS = {1: "AES", 2: "LUKS"}
_COMPRESSIONS = {0: "zlib", 1: "zstd"}

# As QEMU: enough for 2 EiB in the largest clusters, 4 PiB in ordinary ones, 128 GiB in the smallest.
_TOP_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says, checked against itself and the size of the file.

    Attributes:
        cluster_bits: A cluster has two to the power of this many bytes, 9 to 21.
        top_at: Where the table of the first level begins.
        is_extended: The tables of the second level say more than one thing of a cluster.
        compression: `zlib` or `zstd`.
        snapshots: How many the file holds besides its present content.
    """

    version: int
    capacity_bytes: int
    cluster_bits: int
    top_at: int
    is_extended: bool
    compression: str
    snapshots: int

    @property
    def cluster_bytes(self) -> int:
        """Return the size of a cluster."""
        return 1 << self.cluster_bits

    @property
    def entry_bytes(self) -> int:
        """Return the size of an entry of the second level."""
        return 16 if self.is_extended else 8

    @property
    def entries(self) -> int:
        """Return how many clusters a table of the second level speaks of."""
        return self.cluster_bytes // self.entry_bytes

    @property
    def top_entries(self) -> int:
        """Return how many tables of the second level the capacity takes."""
        return -(-self.capacity_bytes // (self.entries * self.cluster_bytes))


def read_header(window: Window, name: str, *, has_parent: bool, limits: Limits | None) -> Header:
    """Read and check a header.

    Args:
        window: The file.
        name: What messages call it.
        has_parent: Another disk was handed in for what this one lacks.
        limits: What is accepted; None for a disk of our own, which was within them once.

    Raises:
        Refusal: It is damaged, or of a form that is not taken in.
    """
    data = window.read(_COMPRESSION_AT + 8, 0)
    if len(data) < _FIRST.size or not data.startswith(MAGIC):
        raise _damaged(name, "it is no qcow2 disk, or was cut short")
    told = _Fields._make(_FIRST.unpack_from(data))
    if told.version not in (2, 3):
        raise Refusal(f"cannot use {name}: it is a qcow2 disk of the unknown version {told.version}")
    flags, length = _flags(data, told.version, name)
    _refuse_forms(name, flags, told.encryption)
    if told.backing_at and not has_parent:
        raise _child(window, name, told.backing_at, told.backing_bytes)
    is_extended = bool(flags & _EXTENDED)
    if not (14 if is_extended else 9) <= told.cluster_bits <= 21:
        size = f"2 to the power of {told.cluster_bits} bytes"
        raise _damaged(name, f"its clusters have the impossible size of {size}")
    check_capacity(name, told.capacity, limits or Limits(disk_bytes=told.capacity))
    header = Header(
        version=told.version,
        capacity_bytes=told.capacity,
        cluster_bits=told.cluster_bits,
        top_at=told.top_at,
        is_extended=is_extended,
        compression=_compression(data, flags, length, name),
        snapshots=told.snapshots,
    )
    _check_top(window, name, header, told.top_entries)
    return header


def _flags(data: bytes, version: int, name: str) -> tuple[int, int]:
    """Return what a reader must understand, and the header's length."""
    if version == 2:
        return 0, _FIRST.size
    if len(data) < _COMPRESSION_AT:
        raise _damaged(name, "it ends within its header")
    flags, _, _, _, length = _MORE.unpack_from(data, _FIRST.size)
    if length < _COMPRESSION_AT or length % 8:
        raise _damaged(name, f"its header has the impossible length {length}")
    return flags, length


def _refuse_forms(name: str, flags: int, encryption: int) -> None:
    if encryption:
        kind = _ENCRYPTIONS.get(encryption, "some unknown way")
        raise Refusal(
            f"cannot use {name}: it is encrypted ({kind})",
            remedy="decrypt it where its key is: qemu-img convert with --object secret",
        )
    if flags & _CORRUPT:
        raise Refusal(
            f"cannot use {name}: it is marked as corrupt",
            remedy=f"repair a copy of it, and look at what is left: qemu-img check -r all {name}",
        )
    if flags & _EXTERNAL:
        raise Refusal(
            f"cannot use {name}: its data are in another file",
            remedy=f"join them first: qemu-img convert -O qcow2 {name} joined.qcow2",
        )
    if flags & ~_KNOWN:
        raise Refusal(
            f"cannot use {name}: it needs features that are unknown here (bits {flags & ~_KNOWN:#x})",
            remedy=_convert(name),
        )


def _child(window: Window, name: str, at: int, size: int) -> Refusal:
    told = readable(window.read(min(size, _LONGEST_NAME), at))
    return Refusal(
        f"cannot use {name}: it holds only the difference to another disk, {told[:120]!r}",
        remedy=f"join them where both are: qemu-img convert -O qcow2 {name} joined.qcow2",
    )


def _check_top(window: Window, name: str, header: Header, entries: int) -> None:
    """Check the place of the first table before anything is allocated by the word of the header."""
    needed, cluster = header.top_entries, header.cluster_bytes
    if entries < needed:
        raise _damaged(name, f"its table has {entries} entries, and its size needs {needed}")
    if needed * 8 > _TOP_BYTES:
        raise Refusal(
            f"cannot use {name}: its clusters of {cluster} bytes are too small for its size",
            remedy=_convert(name),
        )
    if header.top_at % cluster or not header.top_at or header.top_at + needed * 8 > window.size_bytes:
        raise _damaged(name, "its table lies outside the file")


def _compression(data: bytes, flags: int, length: int, name: str) -> str:
    kind = data[_COMPRESSION_AT] if length > _COMPRESSION_AT and len(data) > _COMPRESSION_AT else 0
    if kind not in _COMPRESSIONS or bool(kind) != bool(flags & _COMPRESSION):
        raise Refusal(f"cannot use {name}: it is compressed in the unknown way {kind}", remedy=_convert(name))
    return _COMPRESSIONS[kind]


def _convert(name: str) -> str:
    return f"convert it where it came from: qemu-img convert -O qcow2 {name} converted.qcow2"


def _damaged(name: str, why: str) -> Refusal:
    return Refusal(f"cannot read {name}: {why}", remedy="copy or export it again")
