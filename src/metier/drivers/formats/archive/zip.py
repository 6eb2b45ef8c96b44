"""Zip archives, by their central directory; every word of it is checked before it is used."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Window, readable
from metier.drivers.formats.archive.stream import CHUNK_BYTES, truncated
from metier.drivers.formats.inflate import DAMAGED, RAW, inflater

MAGIC = b"PK\x03\x04"
STORED, DEFLATED = 0, 8

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")

# Ten thousand members with long names and every extra field that tools write take some 2 MiB.
_DIRECTORY_BYTES = 64 << 20

# Deflate cannot do better than 1,032 to 1.
_BEST_RATIO = 1032

_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_PATCH = 1 << 5
_ZIP64 = 0x0001
_UNIX, _FOLDER_BIT = 3, 0x10
_KINDS = {
    0o120000: "a symbolic link",
    0o020000: "a character device",
    0o060000: "a block device",
    0o010000: "a fifo",
    0o140000: "a socket",
}
_METHODS = {
    1: "shrink",
    6: "implode",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "zstd",
    95: "xz",
    98: "PPMd",
}

_AGAIN = "copy or make the archive again, with: zip NAME.zip *.vm*"


class _Directory(NamedTuple):
    """Where the central directory is, and how many members it has."""

    at: int
    size: int
    members: int


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One member.

    Attributes:
        at: Where its data begins.
        packed_size: How long its data is in the archive; `size` when it is unpacked.
    """

    name: str
    is_folder: bool
    method: int
    crc: int
    at: int
    packed_size: int
    size: int

    def refuse_method(self, archive: str) -> None:
        """Refuse a member that is packed by anything but deflate.

        Raises:
            Refusal: It is.
        """
        if self.method not in (STORED, DEFLATED):
            word = _METHODS.get(self.method, f"method {self.method}")
            raise Refusal(
                f"cannot read {archive}: its member {self.name!r} is packed by {word}, which is unknown here",
                remedy="unpack it, and import the folder",
            )

    def pieces(self, window: Window, archive: str) -> Iterator[bytes]:
        """Yield what a deflated member unpacks to, exactly `size` bytes; checks the checksum.

        Raises:
            Refusal: It is damaged.
        """
        engine, crc, left = inflater(RAW), 0, self.size
        for data in _packed(window, self.at, self.packed_size):
            rest = data
            while rest and not engine.eof:
                try:
                    # One byte more than is left shows that there is more.
                    piece = engine.decompress(rest, min(CHUNK_BYTES, left + 1))
                except DAMAGED as error:
                    raise self._damaged(archive) from error
                rest = engine.unconsumed_tail
                left, crc = left - len(piece), zlib.crc32(piece, crc)
                if left < 0:
                    raise self._damaged(archive)
                yield piece
        if left or crc != self.crc or not engine.eof:
            raise self._damaged(archive)

    def _damaged(self, archive: str) -> Refusal:
        return Refusal(f"cannot read {archive}: its member {self.name!r} is damaged", remedy=_AGAIN)


class ZipReader:
    """Reads the directory of the archive `name` in `window`."""

    def __init__(self, window: Window, name: str, most_members: int) -> None:
        self._window = window
        self._name = name
        self._most_members = most_members

    def members(self) -> list[ZipMember]:
        """Return the members in the order in which they lie in the archive.

        Raises:
            Refusal: It is damaged, encrypted, of several volumes, or says two things at once.
        """
        directory = self._directory()
        if directory.members > self._most_members:
            most = f"{self._most_members} members, which is the limit"
            raise Refusal(f"cannot read {self._name}: it has more than {most}")
        found, begins = [], []
        for data, name in self._entries(directory):
            member, begin = self._member(data, name, directory.at)
            found.append(member)
            begins.append((begin, member.at + member.packed_size, member.name))
        for one, other in pairwise(sorted(begins)):
            if one[1] > other[0]:
                raise self._refusal(f"its members {one[2]!r} and {other[2]!r} overlap")
        return sorted(found, key=lambda member: member.at)

    def _directory(self) -> _Directory:
        """Find the directory by the archive's last words, which must be the only such."""
        at, tail = self._tail()
        found = []
        place = tail.find(b"PK\x05\x06")
        while place >= 0:
            if place + _END.size <= len(tail):
                end = _END.unpack_from(tail, place)
                if place + _END.size + end[7] == len(tail):
                    found.append((at + place, end))
            place = tail.find(b"PK\x05\x06", place + 1)
        if not found:
            raise truncated(self._name, "it has no zip directory at its end")
        if len(found) > 1:
            raise self._refusal("it has two ends, so it can be read in two ways")
        end_at, (_, disk, first_disk, here, members, size, begin, _) = found[0]
        if self._is_zip64(end_at):
            return self._directory64(end_at)
        if (disk, first_disk) != (0, 0) or here != members:
            raise self._refusal("it is one of several volumes")
        return self._placed(_Directory(begin, size, members), end_at)

    def _tail(self) -> tuple[int, bytes]:
        at = max(self._window.size_bytes - _END.size - 0xFFFF, 0)
        return at, self._window.read(_END.size + 0xFFFF, at)

    def _is_zip64(self, end_at: int) -> bool:
        return end_at >= _LOCATOR.size and self._window.read(4, end_at - _LOCATOR.size) == b"PK\x06\x07"

    def _directory64(self, end_at: int) -> _Directory:
        locator_at = end_at - _LOCATOR.size
        _, disk, at, disks = _LOCATOR.unpack(self._window.read(_LOCATOR.size, locator_at))
        data = self._window.read(_END64.size, at) if at <= locator_at - _END64.size else b""
        if len(data) < _END64.size or data[:4] != b"PK\x06\x06":
            raise self._refusal("its zip64 directory is not where it says")
        (_, length, _, _, this, first_disk, here, members, size, begin) = _END64.unpack(data)
        if at + 12 + length != locator_at:
            raise self._refusal("its zip64 directory is not where it says")
        if (disk, this, first_disk) != (0, 0, 0) or disks > 1 or here != members:
            raise self._refusal("it is one of several volumes")
        return self._placed(_Directory(begin, size, members), at)

    def _placed(self, directory: _Directory, end_at: int) -> _Directory:
        """Refuse a directory that does not end where its end says: junk before the archive moves it."""
        if directory.at + directory.size != end_at:
            raise self._refusal("its directory is not where it says: something was put before or into it")
        if directory.size > _DIRECTORY_BYTES or directory.members * _ENTRY.size > directory.size:
            raise self._refusal("its directory has an impossible size")
        return directory

    def _entries(self, directory: _Directory) -> Iterator[tuple[bytes, bytes]]:
        """Yield the fixed part of each entry with its extra field behind it, and its name."""
        data, at = self._window.read(directory.size, directory.at), 0
        for _ in range(directory.members):
            fixed = data[at : at + _ENTRY.size]
            if len(fixed) < _ENTRY.size or fixed[:4] != b"PK\x01\x02":
                raise self._refusal("its directory is damaged")
            name_size, extra_size, comment_size = struct.unpack_from("<3H", fixed, 28)
            at += _ENTRY.size
            name, extra = data[at : at + name_size], data[at + name_size : at + name_size + extra_size]
            at += name_size + extra_size + comment_size
            if at > len(data):
                raise self._refusal("its directory is damaged")
            yield fixed + extra, name
        if at != len(data):
            raise self._refusal("its directory holds more than its members")

    def _member(self, data: bytes, raw_name: bytes, directory_at: int) -> tuple[ZipMember, int]:
        """Return a member, and where its local header begins."""
        (_, made_by, _, flags, method, _, _, crc, packed, size, _, _, _, disk, _, attributes, begin) = (
            _ENTRY.unpack_from(data)
        )
        name = readable(raw_name)
        if made_by >> 8 != _UNIX and "/" not in name:
            name = name.replace("\\", "/")  # some tools on Windows write it so
        self._refuse_flags(flags, name)
        kind = attributes >> 16 & 0o170000
        if kind in _KINDS:
            raise self._refusal(
                f"its member {name!r} is {_KINDS[kind]}", "pack it again without links and devices"
            )
        size, packed, begin = self._large(data[_ENTRY.size :], name, size, packed, begin)
        if disk not in (0, 0xFFFF):
            raise self._refusal("it is one of several volumes")
        self._refuse_sizes(method, packed, size, name)
        is_folder = name.endswith("/") or (kind == 0 and bool(attributes & _FOLDER_BIT))
        at = self._data_at(begin, raw_name, flags, method, name)
        if at + packed > directory_at:
            raise truncated(self._name, f"its member {name!r} reaches into its directory")
        return ZipMember(name, is_folder, method, crc, at, packed, size), begin

    def _refuse_flags(self, flags: int, name: str) -> None:
        if flags & _ENCRYPTED:
            raise self._refusal(f"its member {name!r} is encrypted", "unpack it, and import the folder")
        if flags & _PATCH:
            raise self._refusal(f"its member {name!r} is a patch to something else")

    def _refuse_sizes(self, method: int, packed: int, size: int, name: str) -> None:
        most = packed * _BEST_RATIO + 1024
        if (method == STORED and packed != size) or (method == DEFLATED and size > most):
            raise self._refusal(f"its member {name!r} claims an impossible size")

    def _large(self, extra: bytes, name: str, size: int, packed: int, begin: int) -> tuple[int, int, int]:
        """Return sizes and place, out of the zip64 field where the entry refers to it."""
        values = [size, packed, begin]
        if 0xFFFFFFFF not in values:
            return size, packed, begin
        field, at = _zip64_field(extra), 0
        for number, value in enumerate(values):
            if value == 0xFFFFFFFF:
                if field is None or at + 8 > len(field):
                    raise self._refusal(f"its member {name!r} has no size")
                values[number] = int.from_bytes(field[at : at + 8], "little")
                at += 8
        if max(values) >= 1 << 62:
            raise self._refusal(f"its member {name!r} claims an impossible size")
        return values[0], values[1], values[2]

    def _data_at(self, begin: int, raw_name: bytes, flags: int, method: int, name: str) -> int:
        """Return where a member's data begins, after checking that its own header says the same."""
        data = self._window.read(_LOCAL.size + len(raw_name), begin)
        if len(data) < _LOCAL.size + len(raw_name) or data[:4] != MAGIC:
            raise self._refusal(f"its member {name!r} is not where its directory says")
        (_, _, own_flags, own_method, _, _, _, _, _, name_size, extra_size) = _LOCAL.unpack_from(data)
        own_name = data[_LOCAL.size :]
        if name_size != len(raw_name) or own_name != raw_name or own_method != method:
            raise self._refusal(f"its member {name!r} is called or packed otherwise in its directory")
        if own_flags & _ENCRYPTED != flags & _ENCRYPTED:
            raise self._refusal(f"its member {name!r} is encrypted", "unpack it, and import the folder")
        return begin + _LOCAL.size + int(name_size) + int(extra_size)

    def _refusal(self, why: str, remedy: str = _AGAIN) -> Refusal:
        return Refusal(f"cannot read {self._name}: {why}", remedy=remedy)


def _packed(window: Window, at: int, size: int) -> Iterator[bytes]:
    end = at + size
    while at < end and (data := window.read(min(CHUNK_BYTES, end - at), at)):
        yield data
        at += len(data)


def _zip64_field(extra: bytes) -> bytes | None:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return None
