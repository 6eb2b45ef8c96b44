"""Turns a plain qcow2 file, read once from its beginning, into what the guest sees of it.

Everything is found by reading forward, so that an image needs no second copy on
the controller: that asks for tables ahead of data and data in the guest's order,
which is how the matrix streams them.  A file that can be sought in may be in any order.
"""

import struct
import sys
from array import array
from collections.abc import Iterator
from typing import BinaryIO

_HEADER = struct.Struct(">4sIQIIQIIQ24xQ")
_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED, _ZEROS = 1 << 62, 1
# What is handed on at a time where nothing but zeros is.
_RUN_BYTES = 1 << 20
# 62 TiB in clusters of 64 KiB are 126,976 tables; a header that says more lies.
_MOST_TABLES = 1 << 17


class Unreadable(Exception):
    """A disk of the image matrix is not what it should be."""


class Qcow2Stream:
    """A plain qcow2 file without parent, compression, encryption or data file of its own.

    Raises:
        Unreadable: It is no such file; reading on may raise it too.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at, self._can_seek = file, 0, file.seekable()
        magic, version, backing, _, bits, size, crypt, entries, top_at, features = _HEADER.unpack(
            self._read(_HEADER.size)
        )
        odd = backing or crypt or (version == 3 and features)
        if magic != b"QFI\xfb" or version not in (2, 3) or odd or not 9 <= bits <= 21:
            raise Unreadable("it is not the plain qcow2 file it should be")
        self.capacity_bytes: int = size
        self._cluster = 1 << bits
        if entries > _MOST_TABLES:
            raise Unreadable("its header cannot be true")
        self._seek(top_at)
        top = self._words(entries)
        self._tables = {number: self._table(at & _OFFSET) for number, at in enumerate(top) if at & _OFFSET}

    def pieces(self) -> Iterator[bytes]:
        """Yield all that the guest sees, from the beginning to the end, in pieces of at most 2 MiB."""
        per_table = self._cluster // 8
        zeros = 0
        for number in range(-(-self.capacity_bytes // self._cluster)):
            table = self._tables.get(number // per_table)
            entry = table[number % per_table] if table else 0
            size = min(self._cluster, self.capacity_bytes - number * self._cluster)
            if entry & _COMPRESSED:
                raise Unreadable("it is compressed, which it should not be")
            if not entry & _OFFSET or entry & _ZEROS:
                zeros += size
                if zeros >= _RUN_BYTES:
                    yield bytes(zeros)
                    zeros = 0
                continue
            if zeros:
                yield bytes(zeros)
                zeros = 0
            self._seek(entry & _OFFSET)
            yield self._read(size)
        if zeros:
            yield bytes(zeros)

    def _table(self, at: int) -> "array[int]":
        self._seek(at)
        return self._words(self._cluster // 8)

    def _words(self, count: int) -> "array[int]":
        words = array("Q", self._read(8 * count))
        if sys.byteorder == "little":
            words.byteswap()
        return words

    def _seek(self, at: int) -> None:
        if self._can_seek:
            self._file.seek(at)
        elif at < self._at:
            raise Unreadable("its parts are not in the order of a stream")
        else:
            self._read(at - self._at)
        self._at = at

    def _read(self, size: int) -> bytes:
        pieces = []
        while size:
            try:
                piece = self._file.read(min(size, _RUN_BYTES))
            except OSError as error:
                raise Unreadable("it cannot be read on") from error
            if not piece:
                raise Unreadable("it ends too early")
            pieces.append(piece)
            size -= len(piece)
            self._at += len(piece)
        return b"".join(pieces)
