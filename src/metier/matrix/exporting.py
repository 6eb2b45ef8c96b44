"""Writing a version to files for use elsewhere: whole, compared with what is stored, in one step."""

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metier.domain.errors import Refusal
from metier.domain.image import Image, Machine
from metier.drivers.formats.api import Part, QemuView, Window, in_words
from metier.drivers.formats.ovf_writer import PackedDisk, manifest_text, ovf_text
from metier.drivers.formats.qcow2.reader import Qcow2Disk
from metier.drivers.formats.qemu_img import QemuImg
from metier.matrix.folders import sync
from metier.matrix.progress import Progress
from metier.matrix.space import Space, free_bytes
from metier.matrix.storing import StoredFiles

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Form:
    """What a version can be written as.

    Attributes:
        driver: As QEMU calls the form of its disks.
        options: For QEMU, when it writes one.
        reading: More for QEMU, when it reads one.
        most_bytes: The largest disk that it can hold.
        is_package: All disks go into one file.
    """

    driver: str
    options: tuple[str, ...] = ()
    reading: Mapping[str, object] = field(default_factory=dict)
    most_bytes: int = 62 << 40
    is_package: bool = False


FORMS: Mapping[str, Form] = {
    "ova": Form("vmdk", ("subformat=streamOptimized", "adapter_type=lsilogic"), is_package=True),
    "qcow2": Form("qcow2", ("compat=1.1", "lazy_refcounts=off")),
    "vmdk": Form("vmdk", ("subformat=monolithicSparse", "adapter_type=lsilogic")),
    # The size as it is: without this it is rounded to whole cylinders.
    "vhd": Form(
        "vpc", ("subformat=dynamic", "force_size=on"), {"force_size_calc": "current_size"}, 2040 * _GIB
    ),
    "vhdx": Form("vhdx", ("subformat=dynamic",)),
    "raw": Form("raw"),
}

# Tables of the forms, for each byte of disk and for each disk: more than any of them takes.
_TABLES_PART, _TABLES_BYTES = 512, 16 << 20
_COPY_BYTES = 4 << 20
# What an OVF must say, where nothing is known.
_LEAST_MEMORY_MIB = 512
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK})


def export(
    image: Image,
    stored: Sequence[StoredFiles],
    form: str,
    target: Path,
    progress: Progress,
    free: Callable[[Path], int] = free_bytes,
) -> list[Path]:
    """Write a version to new files, at `target` or beside it, whole or not at all; return them.

    What a killed export to the same target left is removed first.

    Raises:
        Refusal: There is such a file, or the form cannot hold the image.
        NoSpace: There is not enough room.
        OSError: The files cannot be written.
    """
    if image.machine is None or form not in FORMS:
        raise Refusal(f"cannot export image {image.ref} as {form}", remedy=f"it can be: {', '.join(FORMS)}")
    targets = _targets(target, 1 if FORMS[form].is_package else len(stored))
    writing = _Writing(image, image.machine, FORMS[form], targets, progress)
    with _work_folder(target, targets) as work, contextlib.ExitStack() as stack:
        disks = [stack.enter_context(files.reader()) for files in stored]
        writing.prove_room(disks, Space(target.parent, free))
        ready = work / "ready"
        ready.mkdir()
        if writing.form.is_package:
            writing.package(disks, work, ready)
        else:
            writing.disks(disks, ready)
        progress.begin("publishing")
        _place(ready, targets)
    return targets


@dataclass(frozen=True, slots=True)
class _Writing:
    """One export under way."""

    image: Image
    machine: Machine
    form: Form
    targets: Sequence[Path]
    progress: Progress

    def prove_room(self, disks: Sequence[Qcow2Disk], space: Space) -> None:
        """Measure what the files can take at most, and prove that there is so much."""
        self.progress.begin("measuring", sum(disk.capacity_bytes for disk in disks))
        needs = []
        for disk in disks:
            if disk.capacity_bytes > self.form.most_bytes:
                raise Refusal(
                    f"cannot export image {self.image.ref}: its disk of {in_words(disk.capacity_bytes)} is "
                    f"larger than this form can be, {in_words(self.form.most_bytes)}",
                    remedy="export it as vhdx or qcow2",
                )
            tables = disk.capacity_bytes // _TABLES_PART + _TABLES_BYTES
            needs.append(disk.room_bytes(self.progress.advance) + tables)
        # Into a package disks are copied one by one, and then removed.
        copies = max(needs, default=0) if self.form.is_package else 0
        space.require(sum(needs) + copies, f"export image {self.image.ref}")

    def disks(self, disks: Sequence[Qcow2Disk], ready: Path) -> None:
        """Write every disk to a file of its own, called as its target."""
        for number, (disk, target) in enumerate(zip(disks, self.targets, strict=True), 1):
            path = ready / target.name
            self._write(disk, path, _counted("writing", number, len(disks)))
            sync(path, forget=True)
            self._compare(disk, Part.whole(path), _counted("comparing", number, len(disks)))

    def package(self, disks: Sequence[Qcow2Disk], work: Path, ready: Path) -> None:
        """Write all disks and their description into one file."""
        paths = [work / f"{self.image.ref.name}-disk{number}.vmdk" for number in range(1, len(disks) + 1)]
        for number, (disk, path) in enumerate(zip(disks, paths, strict=True), 1):
            self._write(disk, path, _counted("writing", number, len(disks)))
        ova = ready / self.targets[0].name
        parts = self._pack(ova, paths)
        sync(ova, forget=True)
        for number, (disk, part) in enumerate(zip(disks, parts, strict=True), 1):
            self._compare(disk, part, _counted("comparing", number, len(disks)))

    def _pack(self, ova: Path, paths: Sequence[Path]) -> list[Part]:
        """Write the package and return where the disks lie in it; their own files are then gone."""
        name = self.image.ref.name
        packed = [
            PackedDisk(path.name, path.stat().st_size, disk.capacity_bytes)
            for path, disk in zip(paths, self.machine.disks, strict=True)
        ]
        memory_mib = self.machine.memory_mib or self.image.requirements.memory_mib or _LEAST_MEMORY_MIB
        text = ovf_text(name, self.machine, packed, memory_mib).encode()
        digests = {f"{name}.ovf": hashlib.sha256(text).hexdigest()}
        self.progress.begin("packing", sum(disk.file_bytes for disk in packed))
        parts = []
        with ova.open("xb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            tar.addfile(self._member(f"{name}.ovf", len(text)), io.BytesIO(text))
            for path, disk in zip(paths, packed, strict=True):
                with path.open("rb") as content:
                    copy = _Copied(content, self.progress)
                    tar.addfile(self._member(disk.file, disk.file_bytes), copy)
                padded = -(-disk.file_bytes // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                parts.append(Part(ova, tar.offset - padded, disk.file_bytes))
                digests[disk.file] = copy.digest.hexdigest()
                path.unlink()
            # A manifest may be the last member: so every byte is read but once.
            lines = manifest_text(digests).encode()
            tar.addfile(self._member(f"{name}.mf", len(lines)), io.BytesIO(lines))
        return parts

    def _member(self, name: str, size: int) -> tarfile.TarInfo:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size, 0o644, int(self.image.created.timestamp())
        return member

    def _write(self, disk: Qcow2Disk, path: Path, step: str) -> None:
        capacity = disk.capacity_bytes
        self.progress.begin(step, capacity)

        def alive(part: float) -> None:
            self.progress.reach(int(part * capacity))
            self.progress.tell()

        QemuImg().convert(
            _view(disk), path, self.form.driver, capacity + _TABLES_BYTES, alive, self.form.options
        )

    def _compare(self, disk: Qcow2Disk, written: Part, step: str) -> None:
        """Have QEMU read back what it wrote, and compare it with what is stored."""
        self.progress.begin(step, disk.capacity_bytes)
        with contextlib.closing(written.open()) as window:
            view = self._written_view(window)
            if not QemuImg().is_same(view, _view(disk), disk.capacity_bytes, self.progress.reach):
                raise Refusal(
                    f"cannot export image {self.image.ref}: read back, it differs from what is stored",
                    code="content-differs",
                    remedy=f"see whether the image is whole: `metier image verify {self.image.ref} --wait`",
                )

    def _written_view(self, window: Window) -> QemuView:
        node = {"driver": self.form.driver, "read-only": True, "file": window.qemu(), **self.form.reading}
        if self.form.driver in ("qcow2", "vmdk"):
            node["backing"] = None
        return QemuView(node, (window.descriptor,))


class _Copied(io.RawIOBase):
    """A file that is copied elsewhere: tells how far it is, and its digest in the end."""

    def __init__(self, content: io.BufferedReader, progress: Progress) -> None:
        super().__init__()
        self._content, self._progress = content, progress
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._content.read(size)
        self.digest.update(data)
        self._progress.advance(len(data))
        return data


def _counted(verb: str, number: int, count: int) -> str:
    return f"{verb} disk {number} of {count}" if count > 1 else f"{verb} the disk"


def _view(disk: Qcow2Disk) -> QemuView:
    view = disk.qemu()
    assert view is not None  # ours stand on nothing but ours
    return view


def _targets(target: Path, count: int) -> list[Path]:
    """Return the names of the files to write."""
    if count == 1:
        return [target]
    return [target.with_name(f"{target.stem}-{number}{target.suffix}") for number in range(1, count + 1)]


@contextlib.contextmanager
def _work_folder(target: Path, targets: Sequence[Path]) -> Iterator[Path]:
    """Give a folder beside the target; it is gone afterwards, or when a later export goes there.

    Its lock tells whether somebody is at work in it still.
    """
    folder = target.with_name(f".{target.name}.metier-export")
    if not target.parent.is_dir():
        raise Refusal(f"cannot write {target}: there is no folder {target.parent}", remedy="make it first")
    _clear_abandoned(folder, targets)
    for path in targets:
        if os.path.lexists(path):
            raise _taken(path)
    folder.mkdir(mode=0o700)
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refusal(f"cannot write there: another export is at work in {folder.name}") from error
        yield
    finally:
        os.close(descriptor)


def _clear_abandoned(folder: Path, targets: Sequence[Path]) -> None:
    """Remove what a killed export left, and what it had put in its place already."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.geteuid():
        raise Refusal(f"cannot write there: {folder} is in the way, and not of our making", remedy="move it")
    with _locked(folder):
        for path in targets:
            made = folder / "ready" / path.name
            if made.is_file() and path.is_file() and made.samefile(path):
                path.unlink()
        shutil.rmtree(folder)


def _place(ready: Path, targets: Sequence[Path]) -> None:
    """Put finished files where they belong, replacing nothing: all of them, or none."""
    placed: list[Path] = []
    try:
        for path in targets:
            sync(ready / path.name)
            _link(ready / path.name, path)
            placed.append(path)
    except BaseException:  # whatever it is, half of an export is none
        for path in placed:
            path.unlink()
        raise
    sync(targets[0].parent)


def _link(made: Path, path: Path) -> None:
    try:
        os.link(made, path)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise _taken(path) from error
        made.rename(path)


def _taken(path: Path) -> Refusal:
    return Refusal(
        f"cannot write {path}: there is such a file", remedy="name another file, or move that one away"
    )
