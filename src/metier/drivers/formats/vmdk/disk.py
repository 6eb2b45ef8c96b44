"""A VMware disk, opened and checked: one content out of one or many extents."""

import os
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from itertools import accumulate

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Limits, Part, QemuView, Window, in_words
from metier.drivers.formats.vmdk import descriptor as text
from metier.drivers.formats.vmdk.descriptor import (
    SECTOR_BYTES,
    Descriptor,
    ExtentLine,
    canonical,
    parse_descriptor,
)
from metier.drivers.formats.vmdk.flat import FlatExtent
from metier.drivers.formats.vmdk.sparse import HEADER_BYTES, MAGIC, Header, SparseExtent, read_header

_STRANGERS = (
    (b"QFI\xfb", "a qcow2 disk"),
    (b"conectix", "a VHD disk"),
    (b"vhdxfile", "a VHDX disk"),
    (b"<<< ", "a VirtualBox disk"),
    (b"\x7fELF", "a program"),
)

_FLAT, _SPARSE = "FLAT", "SPARSE"

_VMDK: Mapping[str, object] = {"driver": "vmdk", "backing": None, "read-only": True}


class VmdkDisk:
    """A checked disk, a `SourceDisk`; `close` it after use (`contextlib.closing`).

    Attributes:
        parts: What it consists of, its descriptor among them.
    """

    form = "vmdk"

    def __init__(self, name: str, limits: Limits) -> None:
        self.name = name
        self.create_type = ""
        self.capacity_bytes = 0
        self._limits = limits
        self._files = ExitStack()
        self._extents: list[SparseExtent | FlatExtent] = []
        self._lines: list[ExtentLine] = []
        self._starts: list[int] = []
        self._windows: list[Window] = []
        self._describes_itself = False
        self._words: int | None = None
        self.parts: list[Part] = []

    def close(self) -> None:
        """Close its files."""
        self._files.close()

    def qemu(self) -> QemuView:
        """Return how QEMU reads the disk: its one sparse file, or extents named by words of our own."""
        if self._describes_itself:
            window = self._windows[0]
            return QemuView({**_VMDK, "file": window.qemu()}, (window.descriptor,))
        if self._words is None:
            self._words = self._files.enter_context(_in_memory(canonical(self._lines)))
        words = {"driver": "file", "filename": f"/proc/self/fd/{self._words}", "read-only": True}
        node = {**_VMDK, "file": words, **dict(self._displaced())}
        return QemuView(node, (self._words, *(window.descriptor for window in self._windows)))

    def _displaced(self) -> Iterator[tuple[str, object]]:
        """Yield where an extent lies in its file, for those that are not all of it.

        They have no `file`: QEMU takes its name out of the descriptor.
        """
        for number, window in enumerate(self._windows):
            if window.offset or window.size_bytes != os.fstat(window.descriptor).st_size:
                place = {"driver": "raw", "offset": window.offset, "size": window.size_bytes}
                yield f"extents.{number}", place

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Check all tables and return the room that the data takes in whole blocks.

        `advance` gets guest bytes gone through.

        Raises:
            Refusal: A file is damaged or cut short.
        """
        found = sum(extent.room_bytes(advance) for extent in self._extents)
        return min(found, self.capacity_bytes + BLOCK_BYTES)

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks that may hold more than zeros, as `BlockReader` says."""
        at, end = start * BLOCK_BYTES, min(stop * BLOCK_BYTES, self.capacity_bytes)
        while at < end:
            at = max(at, self._next_data(at) // BLOCK_BYTES * BLOCK_BYTES)
            if at >= end:
                return
            block = self._block(at)
            if block is not None:
                yield at // BLOCK_BYTES, block
            at += BLOCK_BYTES

    def _next_data(self, at: int) -> int:
        number = bisect_right(self._starts, at) - 1
        while number < len(self._extents):
            extent, start = self._extents[number], self._starts[number]
            found = extent.next_data(max(at - start, 0))
            if found < extent.size_bytes:
                return start + found
            number += 1
        return self.capacity_bytes

    def _block(self, at: int) -> bytes | None:
        number = bisect_right(self._starts, at) - 1
        extent, within = self._extents[number], at - self._starts[number]
        if within + BLOCK_BYTES <= extent.size_bytes:
            return extent.read(within, BLOCK_BYTES)
        return self._block_of_pieces(at, min(at + BLOCK_BYTES, self.capacity_bytes))

    def _block_of_pieces(self, at: int, end: int) -> bytes:
        pieces = []
        while at < end:
            number = bisect_right(self._starts, at) - 1
            extent, within = self._extents[number], at - self._starts[number]
            size = min(end - at, extent.size_bytes - within)
            piece = extent.read(within, size)
            pieces.append(bytes(size) if piece is None else piece)
            at += size
        return b"".join(pieces).ljust(BLOCK_BYTES, b"\0")

    def open_all(self, parts: Mapping[str, Part]) -> None:
        """Open the descriptor and every extent it names out of `parts`; called once, by `open_disk`."""
        window = self._open(parts[self.name])
        first = window.read(HEADER_BYTES, 0)
        if first.startswith(MAGIC):
            header = read_header(window, self.name)
            self._refuse_capacity(header.sectors * SECTOR_BYTES)
            self._check_embedded(window, header)
            self._describes_itself = True
            self._add_sparse(window, header)
        else:
            told = self._separate(window, first)
            self.create_type = told.create_type
            self._refuse_capacity(told.capacity_bytes)
            for line in told.extents:
                self._refuse_overhang()
                self._add_extent(line, parts)
        self._starts = [0, *accumulate(extent.size_bytes for extent in self._extents)][:-1]
        self.capacity_bytes = sum(extent.size_bytes for extent in self._extents)

    def _separate(self, window: Window, first: bytes) -> Descriptor:
        if not first.lstrip().lower().startswith(text.MAGIC.lower()):
            raise self._stranger(first)
        size, most = window.size_bytes, self._limits.descriptor_bytes
        if size > most:
            raise Refusal(f"cannot use {self.name}: its descriptor has {size} bytes, the limit is {most}")
        return parse_descriptor(window.read(most, 0), self.name, self._limits.extents)

    def _check_embedded(self, window: Window, header: Header) -> None:
        """Check the descriptor inside a disk of one file: it must speak of this file alone."""
        size = header.descriptor_bytes
        if not size or size > self._limits.descriptor_bytes:
            raise Refusal(
                f"cannot use {self.name}: it is an extent of a larger disk, or has no descriptor",
                remedy="the .vmx must name the disk's descriptor, not one of its extents",
            )
        told = parse_descriptor(window.read(size, header.descriptor_at), self.name, self._limits.extents)
        if len(told.extents) != 1 or told.extents[0].kind != _SPARSE:
            raise Refusal(f"cannot use {self.name}: the descriptor inside it names other files")
        self._refuse_difference(told.extents[0].sectors, header, self.name)
        self.create_type = told.create_type

    def _add_extent(self, line: ExtentLine, parts: Mapping[str, Part]) -> None:
        part = find(parts, line.file)
        if part is None:
            raise Refusal(
                f"cannot use {self.name}: its extent {line.file!r} is not in the archive",
                remedy="pack all files of the VM: tar -zcvf NAME.tgz *.vm*",
            )
        window = self._open(part)
        if line.kind == _FLAT:
            extent = FlatExtent(window, line.file, line.offset_bytes, line.sectors * SECTOR_BYTES)
            self._add(extent, window, line)
            return
        first = window.read(HEADER_BYTES, 0)
        if not first.startswith(MAGIC):
            raise self._stranger(first, line.file)
        header = read_header(window, line.file)
        self._refuse_difference(line.sectors, header, line.file)
        self._add_sparse(window, header, line.file)

    def _refuse_overhang(self) -> None:
        """Refuse a further extent after one whose last grain is cut off.

        VMware writes no such disk, and QEMU reads the rest of that grain where the next extent begins.
        """
        last = self._extents[-1] if self._extents else None
        if isinstance(last, SparseExtent) and last.size_bytes % last.grain_bytes:
            raise Refusal(f"cannot use {self.name}: its extent {last.name!r} ends within a grain")

    def _add_sparse(self, window: Window, header: Header, name: str = "") -> None:
        extent = SparseExtent(window, header, name or self.name)
        self._add(extent, window, ExtentLine(_SPARSE, header.sectors, ""))

    def _add(self, extent: SparseExtent | FlatExtent, window: Window, line: ExtentLine) -> None:
        self._extents.append(extent)
        self._windows.append(window)
        # The very file that is open: nothing can take its place between our look and QEMU's.
        self._lines.append(line._replace(file=f"/proc/self/fd/{window.descriptor}"))

    def _open(self, part: Part) -> Window:
        window = self._files.enter_context(closing(part.open()))
        self.parts.append(part)
        return window

    def _refuse_capacity(self, capacity: int) -> None:
        most = self._limits.disk_bytes
        if capacity > most:
            raise Refusal(
                f"cannot use {self.name}: it claims {in_words(capacity)}, the limit is {in_words(most)}",
                remedy="shrink the disk before you export it; this version takes none that is larger",
            )

    def _refuse_difference(self, sectors: int, header: Header, file: str) -> None:
        if sectors != header.sectors:
            raise Refusal(
                f"cannot use {self.name}: its descriptor gives {file} {sectors} sectors,"
                f" and the header there says {header.sectors}"
            )

    def _stranger(self, first: bytes, file: str = "") -> Refusal:
        name = file or self.name
        if first.startswith(b"COWD"):
            return Refusal(
                f"cannot use {name}: it is a redo log of a VMFS", remedy=text.EXPORT.format(file=self.name)
            )
        what = next(
            (kind for magic, kind in _STRANGERS if first.startswith(magic)), "no VMDK, whatever its name says"
        )
        return Refusal(f"cannot use {name}: it is {what}", remedy="pack the disk in VMware's own format")


@contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    """Keep a small file that has no name, and yield its descriptor."""
    descriptor = os.memfd_create("descriptor")
    try:
        os.pwrite(descriptor, content, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def open_disk(name: str, parts: Mapping[str, Part], limits: Limits) -> VmdkDisk:
    """Open the disk that member `name` describes; `parts` has every member by its bare name.

    Raises:
        Refusal: It is no VMware disk that can be imported; the message says why.
        OSError: A file cannot be opened.
    """
    disk = VmdkDisk(name, limits)
    try:
        disk.open_all(parts)
    except BaseException:  # whatever it is, no file may stay open
        disk.close()
        raise
    return disk


def find(parts: Mapping[str, Part], name: str) -> Part | None:
    """Return the part of a name; where case or the spelling of accents differ, the only one that does so."""
    if name in parts:
        return parts[name]
    alike = [part for key, part in parts.items() if _folded(key) == _folded(name)]
    return alike[0] if len(alike) == 1 else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
