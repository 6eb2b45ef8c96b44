"""One disk: from a VMDK to a qcow2 that was read back and compared."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.domain.errors import Refusal
from metier.drivers.formats.qcow2 import Qcow2Disk
from metier.drivers.formats.qemu_img import QemuImg
from metier.drivers.formats.vmdk import VmdkDisk
from metier.matrix.content import content_digest, usable_cores
from metier.matrix.folders import sync
from metier.matrix.progress import Progress

# How often the wait for the source's digest lets the caller cancel.
_LOOK_S = 0.1


# Threads beyond the cores, for those that wait for the disk while others compute.
_READERS_WAITING = 4


class _Stopped(Exception):
    """The conversion ended, so the source need not be read any further."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A finished disk: what the guest sees of it, and what it takes."""

    digest: str
    stored_bytes: int


def convert(disk: VmdkDisk, descriptor: Path, target: Path, needed: int, progress: Progress) -> Converted:
    """Write `disk` into the new qcow2 disk `target`, and prove that both hold the same.

    QEMU reads the VMDK and writes the qcow2; meanwhile our own reader takes the digest
    of the VMDK, and another of our own that of the finished qcow2.  The two ways
    have no code in common, so a fault of either shows.

    `descriptor` is of our own writing, for QEMU, next to the extents; `needed` is the room
    that was measured for the target, in bytes.

    Raises:
        Refusal: The VMDK is damaged, or the two differ.
        NoSpace: The disk became full.
    """
    stopped = threading.Event()

    def go_on(_: int) -> None:
        if stopped.is_set():
            raise _Stopped

    with ThreadPoolExecutor(1, "source-digest") as pool:
        source = pool.submit(content_digest, disk, max(usable_cores() - 1, 1), go_on)
        try:
            progress.begin("converting", needed)
            QemuImg().convert(descriptor, target, needed, _alive(source, needed, progress))
            _wait(source, progress)
        finally:
            stopped.set()
    _compare(target, source.result(), disk, progress)
    return Converted(source.result(), _stored_bytes(target))


def _alive(source: "Future[str]", needed: int, progress: Progress) -> Callable[[float], None]:
    def look(part: float) -> None:
        if source.done() and (error := source.exception()) is not None:
            raise error  # a damaged disk need not be converted to its end
        progress.reach(int(part * needed))
        progress.tell()

    return look


def _wait(source: "Future[Any]", progress: Progress) -> None:
    while True:
        try:
            source.result(_LOOK_S)
        except TimeoutError:
            progress.tell()
        else:
            return


def _compare(target: Path, wanted: str, disk: VmdkDisk, progress: Progress) -> None:
    """Bring the target to the disk, and read it back from there and not from memory."""
    progress.begin("comparing", disk.capacity_bytes)
    with ThreadPoolExecutor(1, "sync") as pool:
        _wait(pool.submit(sync, target, forget=True), progress)
    with closing(Qcow2Disk(target)) as written:
        found = content_digest(written, usable_cores() + _READERS_WAITING, progress.advance)
    if found != wanted:
        raise Refusal(
            f"cannot publish {disk.name}: read back, its content differs from the archive's",
            code="content-differs",
            remedy="import it again; if it happens again, check the machine's memory and disks",
        )


def _stored_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512
