"""Flat extents: guest data as it is."""

from collections.abc import Callable

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Window


class FlatExtent:
    """The content of a flat extent: `size` bytes of a file from `offset` on."""

    def __init__(self, window: Window, file: str, offset: int, size: int) -> None:
        self.size_bytes = size
        self._window = window
        self._file = file
        self._offset = offset
        found = window.size_bytes
        if found < offset + size:
            raise Refusal(
                f"cannot read {file}: it has {found} bytes, and its descriptor says {offset + size}",
                remedy="copy or export it again",
            )

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Return the room that the data takes in whole blocks; `advance` gets guest bytes gone through."""
        total = at = 0
        while (begin := self.next_data(at)) < self.size_bytes:
            end = min(self._window.next_hole(self._offset + begin) - self._offset, self.size_bytes)
            total += end - begin + 2 * BLOCK_BYTES
            advance(end - at)
            at = end
        advance(self.size_bytes - at)
        return total

    def next_data(self, at: int) -> int:
        """Return the first place from `at` on that is not in a hole."""
        return min(self._window.next_data(self._offset + at) - self._offset, self.size_bytes)

    def read(self, at: int, size: int) -> bytes | None:
        """Return the bytes from `at` on, which must lie within the extent."""
        data = self._window.read(size, self._offset + at)
        if len(data) < size:
            raise Refusal(f"cannot read {self._file}: it became shorter while it was read")
        return data
