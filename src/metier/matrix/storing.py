"""Stored disks: written by our own reader and writer, proved by QEMU's, and little where they are similar.

disk0.qcow2        the disk, or what it has beside its base
disk0.blocks       its index, of the whole content
disk0.base.qcow2   its base, if it has one: a link to a file that earlier versions have as well
disk0.base.blocks  the base's index
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from metier.domain.errors import Refusal
from metier.domain.image import Image
from metier.drivers.formats.api import (
    BLOCK_BYTES,
    ZERO_BLOCK,
    BlockReader,
    Part,
    QemuView,
    SourceDisk,
)
from metier.drivers.formats.qcow2.reader import Qcow2Disk
from metier.drivers.formats.qcow2.stream import Layout, PieceStream
from metier.drivers.formats.qcow2.writer import Qcow2Writer
from metier.drivers.formats.qemu_img import QemuImg
from metier.matrix.content import ContentDigest, content_digest
from metier.matrix.folders import sync
from metier.matrix.index import BlockIndex, record
from metier.matrix.progress import Progress
from metier.matrix.slices import in_slices, usable_cores

# Blocks that are written together.
_RUN = 16
# How many blocks are tried before a base is chosen, and what part of them must be alike.
_SAMPLE, _ALIKE = 128, 0.5
# Versions that are looked at for one.
_TRIED = 8
# Threads beyond the cores, for those that wait for the disk while others compute.
_WAITING = 2


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """The files of disk `number` in a version's folder."""

    folder: Path
    number: int

    @property
    def disk(self) -> Path:
        """Where the disk is."""
        return self.folder / f"disk{self.number}.qcow2"

    @property
    def index(self) -> Path:
        """Where its index is."""
        return self.folder / f"disk{self.number}.blocks"

    @property
    def base_disk(self) -> Path:
        """Where its base is, if it has one."""
        return self.folder / f"disk{self.number}.base.qcow2"

    @property
    def base_index(self) -> Path:
        """Where its base's index is."""
        return self.folder / f"disk{self.number}.base.blocks"

    @property
    def root(self) -> tuple[Path, Path]:
        """Disk and index that stand on nothing: its base's, or its own."""
        if self.base_disk.exists():
            return self.base_disk, self.base_index
        return self.disk, self.index

    def names(self) -> list[str]:
        """Return the names of the files that are there."""
        paths = (self.disk, self.index, self.base_disk, self.base_index)
        return [path.name for path in paths if path.exists()]

    @contextmanager
    def reader(self) -> Iterator[Qcow2Disk]:
        """Open the disk over its base.

        Raises:
            Refusal: It is damaged.
            OSError: It cannot be read.
        """
        with ExitStack() as stack:
            base = None
            if self.base_disk.exists():
                base = stack.enter_context(closing(_opened(self.base_disk)))
            yield stack.enter_context(closing(_opened(self.disk, base)))

    def index_digest(self, capacity_bytes: int) -> str:
        """Return the content's digest as the index has it: it vouches for the index, not for the disk."""
        digest = ContentDigest(capacity_bytes)
        with self.index.open("rb") as file:
            while records := file.read(1 << 20):
                digest.add(records)
        return str(digest)

    def stored_bytes(self) -> int:
        """Return the room that it takes by itself."""
        return sum(path.stat().st_blocks * 512 for path in (self.disk, self.index))


@dataclass(frozen=True, slots=True)
class PlainDisk:
    """A stored disk, as a host is sent it: by blocks, or as a plain qcow2 file.

    That is the stored file itself, or one put together while it is read.

    Attributes:
        digest: What its content must have.
    """

    files: StoredFiles
    digest: str

    @property
    def size_bytes(self) -> int:
        """Return the length of that file."""
        if not self.files.base_disk.exists():
            return self.files.disk.stat().st_size
        with self.files.reader() as disk, BlockIndex(self.files.index) as index:
            return Layout(disk.capacity_bytes, index.numbers).size_bytes

    def open(self) -> BinaryIO:
        """Open it from its beginning, to be read through once."""
        if not self.files.base_disk.exists():
            return self.files.disk.open("rb")
        with ExitStack() as stack:
            disk = stack.enter_context(self.files.reader())
            if self.files.index_digest(disk.capacity_bytes) != self.digest:
                raise Refusal(
                    f"cannot read {self.files.index.name}: it is damaged",
                    remedy="see what else is: `metier image verify NAME@VERSION`",
                )
            index = stack.enter_context(BlockIndex(self.files.index))
            pieces = Layout(disk.capacity_bytes, index.numbers).pieces(disk)
            return cast(BinaryIO, PieceStream(pieces, stack.pop_all().close))

    def reader(self) -> AbstractContextManager[BlockReader]:
        """Open what it holds, to be read by blocks; a base that it may have is read through."""
        return self.files.reader()


def stored_disks(folder: Path, image: Image) -> list[StoredFiles]:
    """Return the files of each disk of a version."""
    count = len(image.machine.disks) if image.machine else 0
    return [StoredFiles(folder, number) for number in range(count)]


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a disk: its digest, and the room it takes."""

    digest: str
    stored_bytes: int


def keep(source: SourceDisk, target: StoredFiles, similar: Sequence[StoredFiles], progress: Progress) -> Kept:
    """Write `source` as a stored disk, and prove that both hold the same.

    `similar` are stored disks of which one may serve as a base, the likeliest first.  It need
    not be sound: where it is not, the disk is written again without it.

    Raises:
        Refusal: The source is damaged, or what was written differs from it.
        OSError: The disk became full, and the like.
    """
    base = next((one for one in similar[:_TRIED] if _is_alike(source, one)), None)
    if base is not None:
        os.link(base.root[0], target.base_disk)
        os.link(base.root[1], target.base_index)
        digest = _write(source, target, progress)
        if _is_same(source, target, progress):
            return _sealed(target, digest)
        for path in (target.disk, target.index, target.base_disk, target.base_index):
            path.unlink()
    digest = _write(source, target, progress)
    if not _is_same(source, target, progress):
        raise Refusal(
            f"cannot publish {source.name}: read back, its content differs from what was given",
            code="content-differs",
            remedy="import it again; if it happens again, check the machine's memory and disks",
        )
    return _sealed(target, digest)


def _sealed(target: StoredFiles, digest: str) -> Kept:
    for path in (target.disk, target.index):
        path.chmod(0o444)
    return Kept(digest, target.stored_bytes())


def _is_alike(source: SourceDisk, similar: StoredFiles) -> bool:
    """Say whether enough of a sample of a base's blocks is in the source too."""
    try:
        with closing(_opened(similar.root[0])) as base, BlockIndex(similar.root[1]) as index:
            if base.capacity_bytes != source.capacity_bytes:
                return False
            sample = index.sample(_SAMPLE)
            same = sum(_digest_at(source, number) == digest for number, digest in sample)
            return bool(sample) and same >= _ALIKE * len(sample)
    except (Refusal, OSError):
        return False


def _digest_at(disk: BlockReader, number: int) -> bytes:
    block = next((block for _, block in disk.blocks(number, number + 1)), ZERO_BLOCK)
    return hashlib.sha256(block).digest()


def _write(source: SourceDisk, target: StoredFiles, progress: Progress) -> str:
    """Write disk and index, and return the digest of the content."""
    progress.begin("writing", source.capacity_bytes)
    digest, done = ContentDigest(source.capacity_bytes), 0
    with ExitStack() as stack:
        base = None
        if target.base_index.exists():
            base = stack.enter_context(BlockIndex(target.base_index))
        backing = target.base_disk.name if base is not None else ""
        writer = stack.enter_context(closing(Qcow2Writer(target.disk, source.capacity_bytes, backing)))
        index = stack.enter_context(target.index.open("xb"))
        copy = _copier(source, writer, base)
        for stop, records in in_slices(source.capacity_bytes, copy, usable_cores() + _WAITING):
            digest.add(records)
            index.write(records)
            writer.settle(stop)
            progress.advance((stop - done) * BLOCK_BYTES)
            done = stop
        writer.finish()
    return str(digest)


def _copier(source: SourceDisk, writer: Qcow2Writer, base: BlockIndex | None) -> Callable[[int, int], bytes]:
    """Return what copies a slice and returns its records; called by many threads."""

    def copy(start: int, stop: int) -> bytes:
        known = base.between(start, stop) if base is not None else {}
        records: list[bytes] = []
        run: list[bytes] = []
        at = start  # the block that would go on with the run
        for number, block in source.blocks(start, stop):
            if block == ZERO_BLOCK:
                continue
            digest = hashlib.sha256(block).digest()
            records.append(record(number, digest))
            is_new = known.pop(number, None) != digest
            if run and (number != at or not is_new or len(run) == _RUN):
                writer.put(at - len(run), run)
                run = []
            if is_new:
                run.append(block)
                at = number + 1
        if run:
            writer.put(at - len(run), run)
        for number in known:  # the base has something there, and this disk has not
            writer.put_zeros(number)
        return b"".join(records)

    return copy


def _is_same(source: SourceDisk, target: StoredFiles, progress: Progress) -> bool:
    """Bring the target to the disk, and have it read back from there, and compared, by QEMU.

    Where QEMU cannot read the source it is our own second reading, of the target alone, against
    a second reading of the source.
    """
    for path in (target.disk, target.index):
        sync(path, forget=True)
    progress.begin("comparing", source.capacity_bytes)
    theirs = source.qemu()
    with target.reader() as written:
        if theirs is not None:
            return QemuImg().is_same(theirs, _view(written), source.capacity_bytes, progress.reach)
        threads = usable_cores() + _WAITING
        found = content_digest(written, threads, lambda size: progress.advance(size // 2))
        return found == content_digest(source, threads, lambda size: progress.advance(size // 2))


def _view(disk: Qcow2Disk) -> QemuView:
    view = disk.qemu()
    assert view is not None
    return view


def _opened(path: Path, base: BlockReader | None = None) -> Qcow2Disk:
    window = Part.whole(path).open()
    try:
        return Qcow2Disk(window, path.name, base)
    except BaseException:  # whatever it is, no file may stay open
        window.close()
        raise
