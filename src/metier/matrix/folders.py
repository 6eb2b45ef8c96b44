"""The folders of the image matrix: what is published, and what is being made.

images/NAME/VERSION/   complete versions, put there by one rename
work/…/                all that is not complete, or is being removed
downloads/…/           what is fetched for imports; it outlives a restart
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from metier.domain.errors import NoSuchThing, Refusal, WrongUsage
from metier.domain.ids import ImageRef, plain_name

MANIFEST = "manifest.json"
DOWNLOADS = "downloads"


class Folders:
    """Makes, publishes and removes the folders below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = root / "images"
        self._work = root / "work"

    def version(self, ref: ImageRef) -> Path:
        """Return where a version is or would be published."""
        return self.images / plain_name(ref.name, "image") / plain_name(ref.version, "image version")

    def published(self, ref: ImageRef) -> Path:
        """Return the folder of a published version.

        Raises:
            NoSuchThing: It is not there.
        """
        folder = self.version(ref)
        if not (folder / MANIFEST).is_file():
            raise NoSuchThing(f"image {ref} is not in the image matrix")
        return folder

    def versions_of(self, name: str) -> list[Path]:
        """Return the folders of an image's versions, the one that was published last first."""
        versions = [path for path in _entries(self.images / name) if (path / MANIFEST).is_file()]
        return sorted(versions, key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def refuse_taken(self, ref: ImageRef) -> None:
        """Refuse a version that exists already."""
        if os.path.lexists(self.version(ref)):
            raise Refusal(
                f"cannot make image {ref}: that version exists already",
                remedy="take another version; a version's content never changes",
            )

    @contextlib.contextmanager
    def work(self, ref: ImageRef) -> Iterator[Path]:
        """Give a new folder to work in; it is gone afterwards, whatever happens."""
        self._work.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{ref}-", dir=self._work))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def publish(self, ready: Path, ref: ImageRef) -> None:
        """Make `ready`, a folder in work, version `ref` in one step, which outlives a power failure."""
        folder = self.version(ref)
        folder.parent.mkdir(parents=True, exist_ok=True)
        for path in (*ready.iterdir(), ready):
            sync(path)
        self.refuse_taken(ref)
        ready.rename(folder)
        for path in (folder.parent, self.images, self.root):
            sync(path)

    def taken_bytes(self, ref: ImageRef) -> tuple[int, int]:
        """Return what a version takes by itself, and what it shares with others."""
        own = shared = 0
        for path in _entries(self.version(ref)):
            status = path.lstat()
            if status.st_nlink > 1:
                shared += status.st_blocks * 512
            else:
                own += status.st_blocks * 512
        return own, shared

    def remove(self, ref: ImageRef) -> None:
        """Remove a version; it vanishes in one step, its bytes after that."""
        folder = self.version(ref)
        if not folder.is_dir():
            return
        with self.work(ref) as grave:
            folder.rename(grave / "removed")
            sync(folder.parent)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()  # unless it has other versions

    def sweep(self, known: Collection[ImageRef]) -> list[str]:
        """Remove unfinished work and the versions that are not known; return what was removed."""
        removed = []
        for path in _entries(self._work):
            _remove(path)
            removed.append(f"unfinished work {path.name}")
        wanted = {self.version(ref) for ref in known}
        for name in _entries(self.images):
            for folder in _entries(name):
                # Without a manifest it is not of our making: it is left alone.
                if folder not in wanted and (folder / MANIFEST).is_file():
                    self.remove(ImageRef(name.name, folder.name))
                    removed.append(f"image {name.name}@{folder.name}, which is not recorded")
            _remove_if_emptied(name)
        return removed


def sync(path: Path, *, forget: bool = False) -> None:
    """Make sure that a file or folder is on the disk itself.

    With `forget` the memory's copy of a file is given up, so that who reads it next reads the disk.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        if forget:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _remove_if_emptied(folder: Path) -> None:
    """Remove the folder of an image that has no version, as a kill before a publication leaves it."""
    with contextlib.suppress(WrongUsage, OSError):
        plain_name(folder.name, "image")
        folder.rmdir()


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
