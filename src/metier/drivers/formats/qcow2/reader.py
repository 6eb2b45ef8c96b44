"""Reads qcow2 disks by our own means: those from outside, and what Metier itself has stored."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Protocol, runtime_checkable

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, BlockReader, Limits, QemuView, Window
from metier.drivers.formats.qcow2.compression import Inflate, cluster_inflater
from metier.drivers.formats.qcow2.header import Header, read_header
from metier.drivers.formats.qcow2.tables import Tables

Inflated = Callable[[int], bytes]
"""Returns the content of a compressed cluster, given its entry."""


@runtime_checkable
class _Source(Protocol):
    """What a parent may be able to tell besides its content."""

    def room_bytes(self, advance: Callable[[int], None]) -> int: ...

    def qemu(self) -> QemuView | None: ...


class Qcow2Disk:
    """A qcow2 disk of version 2 or 3, a `SourceDisk`; it takes over `window`, not `parent`.

    What the guest sees is the disk's present content; snapshots inside it are left out.

    Args:
        window: The file.
        name: What messages call it.
        parent: What fills the places of which the file says nothing.  The parent that the
            file itself may name is never looked for; without one handed in it is refused.
        limits: What is accepted; None for a disk of our own.

    Raises:
        Refusal: It is damaged, or of a form that is not taken in; `window` is then closed.
    """

    form = "qcow2"

    def __init__(
        self, window: Window, name: str, parent: BlockReader | None = None, limits: Limits | None = None
    ) -> None:
        self.name = name
        self._window, self._parent = window, parent
        try:
            self.header = read_header(window, name, has_parent=parent is not None, limits=limits)
            self._inflate = _inflater(self.header, name)
            self._tables = Tables(window, name, self.header)
        except BaseException:  # whatever it is, no file may stay open
            self.close()
            raise
        self.capacity_bytes = self.header.capacity_bytes
        self._blocks = -(-self.capacity_bytes // BLOCK_BYTES)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what an operator should know of it, in sentences."""
        if not self.header.snapshots:
            return ()
        return (f"{self.name} holds {self.header.snapshots} snapshots, which were left out",)

    def close(self) -> None:
        """Close its file."""
        self._window.close()

    def qemu(self) -> QemuView | None:
        """Return how QEMU reads the same content; None where the parent has no such way."""
        node: dict[str, object] = {"driver": "qcow2", "read-only": True, "file": self._window.qemu()}
        if self._parent is None:
            return QemuView({**node, "backing": None}, (self._window.descriptor,))
        below = self._parent.qemu() if isinstance(self._parent, _Source) else None
        if below is None:
            return None
        return QemuView({**node, "backing": below.node}, (self._window.descriptor, *below.descriptors))

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Check all tables, and return the room that the data takes, the parent's too, at most."""
        room = self._tables.room_bytes(advance)
        if self._parent is not None:
            of_parent = self._parent.capacity_bytes
            if isinstance(self._parent, _Source):
                of_parent = self._parent.room_bytes(lambda _: None)
            room += of_parent
        return min(room, self._blocks * BLOCK_BYTES)

    def allocated(self, start: int, stop: int) -> Iterator[int]:
        """Yield the numbers of the blocks of which this very file says something, be it that they are zeros.

        All others are the parent's, or zeros if there is none.
        """
        return (number for number, _ in self._tables.blocks_in_use(start, min(stop, self._blocks)))

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks that may hold more than zeros, as `BlockReader` says."""
        stop = min(stop, self._blocks)
        # Neighbours may lie in one compressed cluster.
        inflated = lru_cache(maxsize=1)(self._inflated)
        if self._parent is not None:
            yield from self._over_parent(self._parent, start, stop, inflated)
            return
        for number, place in self._tables.blocks_in_use(start, stop):
            block = self._whole(number, place) if place else self._of_pieces(number, None, inflated)
            if block is not None:
                yield number, block

    def _over_parent(
        self, parent: BlockReader, start: int, stop: int, inflated: Inflated
    ) -> Iterator[tuple[int, bytes]]:
        own = self._tables.blocks_in_use(start, stop)
        mine, place = next(own, (stop, 0))
        for number, below in chain(parent.blocks(start, stop), ((stop, b""),)):
            while mine < number:
                yield from self._over(mine, place, None, inflated)
                mine, place = next(own, (stop, 0))
            if number == stop:
                return
            if mine == number:
                yield from self._over(mine, place, below, inflated)
                mine, place = next(own, (stop, 0))
            else:
                yield number, self._cut(number, below)

    def _over(
        self, number: int, place: int, below: bytes | None, inflated: Inflated
    ) -> Iterator[tuple[int, bytes]]:
        block = self._whole(number, place) if place else self._of_pieces(number, below, inflated)
        if block is not None:
            yield number, block

    def _cut(self, number: int, block: bytes) -> bytes:
        """Take away what a larger parent has behind the end."""
        wanted = self.capacity_bytes - number * BLOCK_BYTES
        return block if wanted >= BLOCK_BYTES else block[:wanted].ljust(BLOCK_BYTES, b"\0")

    def _whole(self, number: int, place: int) -> bytes:
        """Read a block that lies in the file as it is: all that Metier stores, most of what others write."""
        block = self._window.read(BLOCK_BYTES, place)
        wanted = min(BLOCK_BYTES, self.capacity_bytes - number * BLOCK_BYTES)
        if len(block) < wanted:
            raise self._damaged(f"it ends within the data at {number * BLOCK_BYTES}")
        return block if wanted == BLOCK_BYTES else block[:wanted].ljust(BLOCK_BYTES, b"\0")

    def _of_pieces(self, number: int, below: bytes | None, inflated: Inflated) -> bytes | None:
        """Put a block together out of clusters, or parts of them; None if nothing but zeros is there."""
        at = number * BLOCK_BYTES
        end = min(at + BLOCK_BYTES, self.capacity_bytes)
        pieces, begin, is_empty = [], at, True
        for run in self._tables.runs(at, end):
            if run.place >= 0:
                piece = self._plain(run.place, run.size, begin)
            elif run.is_compressed:
                within = begin % self.header.cluster_bytes
                piece = inflated(run.entry)[within : within + run.size]
            elif run.is_absent and below is not None:
                piece = below[begin - at : begin - at + run.size]
            else:
                pieces.append(bytes(run.size))
                begin += run.size
                continue
            is_empty = False
            pieces.append(piece)
            begin += run.size
        return None if is_empty else b"".join(pieces).ljust(BLOCK_BYTES, b"\0")

    def _plain(self, place: int, size: int, at: int) -> bytes:
        data = self._window.read(size, place)
        if len(data) < size:
            raise self._damaged(f"it ends within the data at {at}")
        return data

    def _inflated(self, entry: int) -> bytes:
        place, size = self._tables.compressed(entry)
        data = self._inflate(self._window.read(size, place), self.header.cluster_bytes)
        if data is None:
            raise self._damaged(f"its compressed data at {place} of the file are damaged")
        return data

    def _damaged(self, why: str) -> Refusal:
        return Refusal(f"cannot read {self.name}: {why}", remedy="copy or export it again")


def _inflater(header: Header, name: str) -> Inflate:
    found = cluster_inflater(header.compression)
    if found is None:
        raise Refusal(
            f"cannot use {name}: it is compressed by {header.compression}, and the Python package"
            " zstandard is not installed here",
            remedy=f"install it, or convert the disk: qemu-img convert -O qcow2 {name} converted.qcow2",
        )
    return found
