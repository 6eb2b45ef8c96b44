"""Writes files with holes where there is nothing but zeros."""

import errno
import os
from collections.abc import Iterator

from metier.drivers.formats.api import BLOCK_BYTES, ZERO_BLOCK


def write_sparsely(descriptor: int, piece: bytes, at: int) -> None:
    """Write `piece` at offset `at` of a new file, leaving out whole blocks of zeros."""
    start = done = 0
    while done < len(piece):
        end = min(len(piece), done + BLOCK_BYTES)
        if piece[done:end] == ZERO_BLOCK[: end - done]:
            _write_all(descriptor, piece[start:done], at + start)
            start = end
        done = end
    _write_all(descriptor, piece[start:] if start else piece, at + start)


def data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the parts of a file that are no holes, as far as its file system can tell."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
            end = os.lseek(descriptor, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole is left
            begin, end = at, size
        yield begin, min(end, size)
        at = end


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
