"""Flat extents: guest data as it is."""

import errno
import os
from collections.abc import Callable

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES


class FlatExtent:
    """The content of a flat extent: `size` bytes of a file from `offset` on."""

    def __init__(self, descriptor: int, file: str, offset: int, size: int) -> None:
        self.size_bytes = size
        self._descriptor = descriptor
        self._file = file
        self._offset = offset
        found = os.fstat(descriptor).st_size
        if found < offset + size:
            raise Refusal(
                f"cannot read {file}: it has {found} bytes, and its descriptor says {offset + size}",
                remedy="copy or export it again",
            )

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Return the room that the data takes in whole blocks; `advance` gets guest bytes gone through."""
        total = at = 0
        while (begin := self.next_data(at)) < self.size_bytes:
            end = self._seek(begin, os.SEEK_HOLE)
            total += end - begin + 2 * BLOCK_BYTES
            advance(end - at)
            at = end
        advance(self.size_bytes - at)
        return total

    def next_data(self, at: int) -> int:
        """Return the first place from `at` on that is not in a hole."""
        return self._seek(at, os.SEEK_DATA)

    def read(self, at: int, size: int) -> bytes | None:
        """Return the bytes from `at` on, which must lie within the extent."""
        data = os.pread(self._descriptor, size, self._offset + at)
        if len(data) < size:
            raise Refusal(f"cannot read {self._file}: it became shorter while it was read")
        return data

    def _seek(self, at: int, whence: int) -> int:
        try:
            found = os.lseek(self._descriptor, self._offset + at, whence) - self._offset
        except OSError as error:
            if error.errno == errno.ENXIO:
                return self.size_bytes  # nothing but a hole is left
            found = at if whence == os.SEEK_DATA else self.size_bytes  # a file system that cannot tell
        return min(found, self.size_bytes)
