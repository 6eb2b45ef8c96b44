"""Disks whose content lies in the file as the guest sees it."""

from collections.abc import Callable, Iterator, Mapping

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Limits, QemuView, Window
from metier.drivers.formats.capacity import check_capacity


class RawDisk:
    """The first bytes of a file, a `SourceDisk`; holes of the file are not read.

    It takes over `window`, and closes it even where it is refused.

    Args:
        window: The file.
        name: What messages call it.
        capacity_bytes: How many of its bytes are the disk's; None for all.
        limits: What is accepted.
        form: What it is in: `raw`, or what keeps a flat disk in its own way.
        words: QEMU's words for that form, besides those for the file.

    Raises:
        Refusal: Its size is none that a disk can have, or the file is shorter.
    """

    def __init__(
        self,
        window: Window,
        name: str,
        limits: Limits,
        capacity_bytes: int | None = None,
        form: str = "raw",
        words: Mapping[str, object] | None = None,
    ) -> None:
        self.name, self.form = name, form
        self.capacity_bytes = window.size_bytes if capacity_bytes is None else capacity_bytes
        self._window = window
        self._words = {"driver": "raw"} if words is None else words
        try:
            check_capacity(name, self.capacity_bytes, limits)
            if window.size_bytes < self.capacity_bytes:
                raise self._cut_short(window.size_bytes)
        except BaseException:  # whatever it is, no file may stay open
            self.close()
            raise

    def close(self) -> None:
        """Close its file."""
        self._window.close()

    def qemu(self) -> QemuView:
        """Return how QEMU reads the same content."""
        node = {**self._words, "read-only": True, "file": self._window.qemu()}
        return QemuView(node, (self._window.descriptor,))

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Return the room that the data takes in whole blocks, as `SourceDisk` says."""
        total = at = 0
        while (begin := self._next_data(at)) < self.capacity_bytes:
            first = begin // BLOCK_BYTES
            end = min(self._window.next_hole(begin), self.capacity_bytes)
            # Whole blocks only, so that one of many small stretches is counted once.
            end = min(-(-max(end, begin + 1) // BLOCK_BYTES) * BLOCK_BYTES, self.capacity_bytes)
            total += -(-end // BLOCK_BYTES) - first
            advance(end - at)
            at = end
        advance(self.capacity_bytes - at)
        return total * BLOCK_BYTES

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks that are not in holes, as `BlockReader` says."""
        at, end = start * BLOCK_BYTES, min(stop * BLOCK_BYTES, self.capacity_bytes)
        while at < end:
            at = self._next_data(at) // BLOCK_BYTES * BLOCK_BYTES
            if at >= end:
                return
            # A file system is asked once for each stretch of data, not for each block.
            until = min(max(self._window.next_hole(at), at + 1), end)
            while at < until:
                yield at // BLOCK_BYTES, self._block(at)
                at += BLOCK_BYTES

    def _next_data(self, at: int) -> int:
        return max(self._window.next_data(at), at)

    def _block(self, at: int) -> bytes:
        wanted = min(BLOCK_BYTES, self.capacity_bytes - at)
        data = self._window.read(wanted, at)
        if len(data) < wanted:
            raise self._cut_short(at + len(data))
        return data.ljust(BLOCK_BYTES, b"\0")

    def _cut_short(self, found: int) -> Refusal:
        return Refusal(
            f"cannot read {self.name}: it ends after {found} of {self.capacity_bytes} bytes",
            remedy="copy or export it again",
        )
