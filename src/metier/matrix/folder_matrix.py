"""The image matrix kept in folders of this machine."""

import contextlib
import errno
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from metier.domain.errors import NoSpace, NoSuchThing, Refusal
from metier.domain.ids import ImageRef
from metier.domain.image import Disk, Image
from metier.drivers.formats.api import Limits
from metier.matrix import fetching
from metier.matrix.api import CaptureOrder, Fetch, FolderSpace, ImportOrder, Report, StoredDisk, Usage
from metier.matrix.capturing import Capturer
from metier.matrix.content import content_digest
from metier.matrix.difference import Stored, difference
from metier.matrix.exporting import export
from metier.matrix.file_list import FileFilter
from metier.matrix.folders import DOWNLOADS, MANIFEST, Folders
from metier.matrix.importing import Importer, Publication, Publisher, Step
from metier.matrix.manifest import manifest_faults
from metier.matrix.progress import Progress
from metier.matrix.roots import Roots
from metier.matrix.slices import usable_cores
from metier.matrix.space import Space, total_bytes
from metier.matrix.storing import PlainDisk, StoredFiles, stored_disks

# The lists of a million files each take about this.
_LISTS_BYTES = 512 << 20


class FolderMatrix:
    """A `Matrix` in one or more folders, each of which must be on one file system.

    A version lies in one of them.  A new one goes where its newest sibling lies, so that they can
    share what they have alike, and where that lacks room, to where there is most.

    Args:
        root: The first folder; made when first needed.
        limits: The most that is accepted from outside.
        space: Where room is measured; the file system of each folder by default.
        step: Told before each thing done to the disk, for tests that die there.
        others: More folders; they must exist, and one that is not mounted is left alone.
    """

    def __init__(
        self,
        root: Path,
        limits: Limits | None = None,
        space: Space | None = None,
        step: Step = lambda _: None,
        others: Sequence[Path] = (),
    ) -> None:
        self._roots = Roots.of(root, others)
        self._limits, self._step = limits or Limits(), step
        self._space = space or Space(root)

    def inspect(self, order: ImportOrder, report: Report) -> dict[str, object]:
        with _told_in_full(f"look at {order.location}"):
            publisher = Publisher(self._roots.first, self._space, self._step)
            return Importer(publisher, self._limits).inspect(order, Progress(report))

    def import_image(self, order: ImportOrder, report: Report) -> Image:
        def run(publisher: Publisher) -> Image:
            return Importer(publisher, self._limits).run(order, Progress(report))

        with _told_in_full(f"import image {order.ref}"):
            return self._publish(order.ref, order.ref.name, run)

    def capture_image(self, order: CaptureOrder, fetch: Fetch, report: Report) -> Image:
        with _told_in_full(f"capture image {order.ref}"):
            parent = self._roots.published(order.parent.ref)

            def run(publisher: Publisher) -> Image:
                return Capturer(publisher, self._limits).run(order, parent, fetch, Progress(report))

            return self._publish(order.ref, order.parent.ref.name, run)

    def export_image(self, image: Image, form: str, target: Path, report: Report) -> Sequence[Path]:
        with _told_in_full(f"export image {image.ref}"):
            folder = self._roots.published(image.ref)
            return export(image, stored_disks(folder, image), form, target, Progress(report))

    def disks(self, image: Image) -> tuple[StoredDisk, ...]:
        stored = stored_disks(self._roots.published(image.ref), image)
        digests = [disk.digest for disk in image.machine.disks] if image.machine else []
        return tuple(PlainDisk(files, digest) for files, digest in zip(stored, digests, strict=True))

    def verify(self, image: Image, report: Report) -> Sequence[str]:
        if image.machine is None:
            return []
        try:
            folder = self._roots.published(image.ref)
        except NoSuchThing as error:
            return [error.message]
        stored = stored_disks(folder, image)
        faults = [*manifest_faults(folder, image), *_strangers(folder, stored)]
        progress = Progress(report)
        for files, disk in zip(stored, image.machine.disks, strict=True):
            faults += _disk_faults(files, disk, progress)
        return faults

    def delete(self, ref: ImageRef) -> None:
        with _told_in_full(f"remove the files of image {ref}"):
            found = False
            for folders in self._roots.present():
                found = found or folders.version(ref).is_dir()
                folders.remove(ref)
            if not found:
                self._roots.refuse_missing(f"cannot remove the files of image {ref}")

    def diff(
        self,
        before: Image,
        after: Image,
        report: Report,
        *,
        files: bool = True,
        below: str = "",
        show_all: bool = False,
    ) -> dict[str, object]:
        """Return what changed from one version to another, JSON-ready.

        Their `files` are compared too, where they can be read: those `below` a folder of the
        guest's, or all.  With `show_all` not just the first of the changed ones are shown.

        Raises:
            Refusal: A version cannot be read.
            NoSpace: There is no room for the lists of their files.
        """
        with _told_in_full(f"compare {before.ref} with {after.ref}"):
            pair = [
                Stored(image, stored_disks(self._roots.published(image.ref), image))
                for image in (before, after)
            ]
            first = self._roots.first
            self._space_of(first).require(_LISTS_BYTES, f"compare the files of {after.ref}")
            with first.work(after.ref) as work:
                wanted = FileFilter(files, below, show_all)
                return difference(pair[0], pair[1], wanted, Progress(report), work)

    def usage(self, known: Collection[ImageRef]) -> Usage:
        own, shared = {}, {}
        present = list(self._roots.present())
        for ref in known:
            for folders in present:
                if folders.version(ref).is_dir():
                    own[ref], shared[ref] = folders.taken_bytes(ref)
        there = {folders.root for folders in present}
        return Usage(
            tuple(self._measured(one.root, one.root in there) for one in self._roots.every()), own, shared
        )

    def sweep(self, known: Collection[ImageRef], awaited: Collection[ImageRef] = ()) -> Sequence[str]:
        removed: list[str] = []
        for folders in self._roots.present():
            removed += folders.sweep(known)
            removed += fetching.sweep(folders.root / DOWNLOADS, awaited)
        return removed

    def _space_of(self, folders: Folders) -> Space:
        return Space(folders.root, self._space.free, self._space.ledger)

    def _measured(self, root: Path, is_there: bool) -> FolderSpace:
        """Measure a folder; one that is not mounted has a size of nothing."""
        if not is_there:
            return FolderSpace(str(root), 0, 0)
        return FolderSpace(str(root), total_bytes(root), self._space.free(root))

    def _publish(self, ref: ImageRef, sibling: str, run: Callable[[Publisher], Image]) -> Image:
        """Make a new version where its siblings lie, or where there is most room if there is not enough."""
        for folders in self._roots.present():
            folders.refuse_taken(ref)
        best, roomiest = self._home(sibling)
        try:
            return run(_RootPublisher(best, self._space_of(best), self._step))
        except NoSpace:
            if roomiest is best:
                raise
        return run(_RootPublisher(roomiest, self._space_of(roomiest), self._step))

    def _home(self, sibling: str) -> tuple[Folders, Folders]:
        """Return the folder to try first, and the one with the most room."""
        roomiest = max(self._roots.present(), key=lambda folders: self._space.free(folders.root))
        best = self._roots.newest_sibling(sibling) or roomiest
        if best.root == roomiest.root:
            return roomiest, roomiest
        return best, roomiest


class _RootPublisher(Publisher):
    """Publishes into one folder, where only what lies there too is shared: links cross no file systems."""

    def publish(self, wanted: Publication, work: Path, progress: Progress) -> Image:
        near = [folder for folder in wanted.similar if folder.is_relative_to(self.folders.root)]
        return super().publish(replace(wanted, similar=near), work, progress)


@contextlib.contextmanager
def _told_in_full(what: str) -> Iterator[None]:
    """Turn what the disk of the matrix says into errors of the domain."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            full = f"cannot {what}: the disk of the image matrix became full"
            raise NoSpace(full, remedy="free space there, then try again") from error
        raise Refusal(f"cannot {what}: {error.strerror or error}") from error


def _strangers(folder: Path, stored: Sequence[StoredFiles]) -> Sequence[str]:
    expected = {MANIFEST, *(name for files in stored for name in files.names())}
    return [
        f"{path.name} does not belong there" for path in sorted(folder.iterdir()) if path.name not in expected
    ]


def _disk_faults(files: StoredFiles, disk: Disk, progress: Progress) -> Sequence[str]:
    progress.begin("comparing", disk.capacity_bytes)
    try:
        with files.reader() as written:
            if written.capacity_bytes != disk.capacity_bytes:
                return [
                    f"{disk.file} has {written.capacity_bytes} bytes, and {disk.capacity_bytes} are recorded"
                ]
            found = content_digest(written, usable_cores(), progress.advance)
            if files.index.exists() and files.index_digest(disk.capacity_bytes) != disk.digest:
                return [f"{files.index.name} differs from what was imported"]
    except FileNotFoundError:
        return [f"{disk.file} is missing"]
    except OSError as error:
        return [f"{disk.file} cannot be read: {error.strerror or error}"]
    except Refusal as error:
        return [f"{disk.file} is damaged: {error.message}"]
    return [] if found == disk.digest else [f"{disk.file} differs from what was imported"]
