"""Disks that keep their content in large pieces, each placed in the file by one table."""

from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, QemuView, Window

MOST_PIECES = 1 << 23
"""What a table may have at most, for the memory it takes: 8 TiB in a VHDX's smallest pieces."""


class Table(NamedTuple):
    """Where a disk's pieces lie in its file, every place checked by `check_places`.

    Attributes:
        capacity_bytes: The size that the guest sees.
        piece_bytes: What one entry stands for: a power of two, at least `BLOCK_BYTES`.
        places: Where the content of each piece begins in the file; 0 for a piece of zeros.
    """

    capacity_bytes: int
    piece_bytes: int
    places: "array[int]"


Accepts = Callable[[int, int, bytes], bool]
"""Given where a piece begins in the file, where in it a block begins, and the block."""


class TabledDisk:
    """The content of such a disk, a `SourceDisk`; it takes over `window`.

    Args:
        window: The file.
        name: What messages call it.
        form: What it is in.
        table: Where its content lies.
        words: QEMU's words for that form, besides those for the file.
        accepts: Looks at each block before it is taken, where the form says more of it.
    """

    def __init__(
        self,
        window: Window,
        name: str,
        form: str,
        table: Table,
        words: Mapping[str, object],
        accepts: Accepts | None = None,
    ) -> None:
        self.name, self.form = name, form
        self.capacity_bytes = table.capacity_bytes
        self._window, self._table, self._words = window, table, words
        self._accepts = accepts

    def close(self) -> None:
        """Close its file."""
        self._window.close()

    def qemu(self) -> QemuView:
        """Return how QEMU reads the same content."""
        node = {**self._words, "read-only": True, "file": self._window.qemu()}
        return QemuView(node, (self._window.descriptor,))

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Return the room that the data takes in whole blocks; the table was checked when it was read."""
        used = len(self._table.places) - self._table.places.count(0)
        advance(self.capacity_bytes)
        blocks = -(-self.capacity_bytes // BLOCK_BYTES)
        return min(used * self._table.piece_bytes, blocks * BLOCK_BYTES)

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks of the pieces that are there, as `BlockReader` says."""
        per_piece = self._table.piece_bytes // BLOCK_BYTES
        places = self._table.places
        number, stop = start, min(stop, -(-self.capacity_bytes // BLOCK_BYTES))
        while number < stop:
            piece, within = divmod(number, per_piece)
            if places[piece]:
                yield number, self._block(number, places[piece], within * BLOCK_BYTES)
                number += 1
            else:
                number = (piece + 1) * per_piece

    def _block(self, number: int, place: int, within: int) -> bytes:
        wanted = min(BLOCK_BYTES, self.capacity_bytes - number * BLOCK_BYTES)
        data = self._window.read(wanted, place + within)
        at = number * BLOCK_BYTES
        if len(data) < wanted:
            raise Refusal(
                f"cannot read {self.name}: it ends within the data at {at}", remedy="copy or export it again"
            )
        if self._accepts is not None and not self._accepts(place, within, data):
            raise Refusal(
                f"cannot read {self.name}: the data at {at} is marked as unused, and is not empty",
                remedy="copy it once with the program that wrote it, then import the copy",
            )
        return data.ljust(BLOCK_BYTES, b"\0")


def check_places(name: str, table: Table, file_bytes: int) -> None:
    """Refuse a table that leads outside the file, or to more data than the file can hold.

    Raises:
        Refusal: The file is damaged or cut short.
    """
    places, piece = table.places, table.piece_bytes
    furthest = max(places, default=0)
    if furthest and furthest + piece > file_bytes:
        # What the guest cannot see of the last piece need not be there.
        for number, place in enumerate(places):
            seen = min(piece, table.capacity_bytes - number * piece)
            if place and place + seen > file_bytes:
                raise Refusal(
                    f"cannot read {name}: it ends before the data at {number * piece}",
                    remedy="copy or export it again",
                )
    if (len(places) - places.count(0) - 1) * piece > file_bytes:
        raise Refusal(f"cannot read {name}: its data overlaps: it has no room for so much")
