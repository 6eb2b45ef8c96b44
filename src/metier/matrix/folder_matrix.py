"""The image matrix kept in a folder of this machine."""

import errno
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from metier.domain.errors import NoSpace, NoSuchThing, Refusal
from metier.domain.ids import ImageRef
from metier.domain.image import Disk, Image
from metier.drivers.formats.api import Limits
from metier.drivers.formats.qcow2 import Qcow2Disk
from metier.matrix.api import ImportOrder, Report
from metier.matrix.content import content_digest, usable_cores
from metier.matrix.folders import MANIFEST, Folders
from metier.matrix.importing import Importer, Step
from metier.matrix.manifest import manifest_faults
from metier.matrix.progress import Progress
from metier.matrix.space import Space


class FolderMatrix:
    """A `Matrix` below one folder, which must be on one file system.

    Args:
        root: The folder; made when first needed.
        limits: The most that is accepted from outside.
        space: Where room is measured; the file system of `root` by default.
        step: Told before each thing done to the disk, for tests that die there.
    """

    def __init__(
        self,
        root: Path,
        limits: Limits | None = None,
        space: Space | None = None,
        step: Step = lambda _: None,
    ) -> None:
        self._folders = Folders(root)
        self._importer = Importer(self._folders, space or Space(root), limits or Limits(), step)

    def import_image(self, order: ImportOrder, report: Report) -> Image:
        try:
            # A folder given as `.` has a name after this, for messages.
            named = replace(order, archive=order.archive.absolute())
            return self._importer.run(named, Progress(report))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                full = f"cannot import {order.archive.name}: the disk of the image matrix became full"
                raise NoSpace(full, remedy="free space there, then import again") from error
            why = error.strerror or error
            raise Refusal(f"cannot import {order.archive.name} into the image matrix: {why}") from error

    def folder(self, ref: ImageRef) -> Path:
        return self._folders.version(ref)

    def verify(self, image: Image, report: Report) -> Sequence[str]:
        if image.machine is None:
            return []
        try:
            folder = self._folders.published(image.ref)
        except NoSuchThing as error:
            return [error.message]
        faults = [*manifest_faults(folder, image), *_strangers(folder, image.machine.disks)]
        progress = Progress(report)
        for disk in image.machine.disks:
            faults += _disk_faults(folder / disk.file, disk, progress)
        return faults

    def delete(self, ref: ImageRef) -> None:
        self._folders.remove(ref)

    def sweep(self, known: Collection[ImageRef]) -> Sequence[str]:
        return self._folders.sweep(known)


def _strangers(folder: Path, disks: Sequence[Disk]) -> Sequence[str]:
    expected = {MANIFEST, *(disk.file for disk in disks)}
    return [
        f"{path.name} does not belong there" for path in sorted(folder.iterdir()) if path.name not in expected
    ]


def _disk_faults(path: Path, disk: Disk, progress: Progress) -> Sequence[str]:
    progress.begin("comparing", disk.capacity_bytes)
    try:
        with closing(Qcow2Disk(path)) as written:
            if written.capacity_bytes != disk.capacity_bytes:
                return [
                    f"{disk.file} has {written.capacity_bytes} bytes, and {disk.capacity_bytes} are recorded"
                ]
            found = content_digest(written, usable_cores(), progress.advance)
    except FileNotFoundError:
        return [f"{disk.file} is missing"]
    except OSError as error:
        return [f"{disk.file} cannot be read: {error.strerror or error}"]
    except Refusal as error:
        return [f"{disk.file} is damaged: {error.message}"]
    return [] if found == disk.digest else [f"{disk.file} differs from what was imported"]
