"""What every format promises: bounds on what it accepts, and disks read block by block."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from metier.domain.errors import Refusal

BLOCK_BYTES = 64 * 1024
"""What disks are compared by: the grain of a VMDK and the cluster of a qcow2."""

ZERO_BLOCK = bytes(BLOCK_BYTES)

_TIB = 1 << 40


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is accepted from outside.

    Attributes:
        members: Members of an archive, wanted or not.
        archive_bytes: What an archive may unpack to, in all.
        disks: Disks of one machine; vSphere allows 256.
        disk_bytes: What the guest sees of one disk.  Newer hosted products write up to 8 TiB and
            vSphere up to 62; but QEMU looks at every 64 KiB of a claim, if only to find it empty,
            and takes a minute for 2 TiB.  Raise it for a disk that is really larger.
        extents: Files of one disk; 8 TiB in extents of 2047 MiB are 4,098.
        vmx_bytes: A machine's configuration file.
        descriptor_bytes: A disk's descriptor; QEMU reads no more either.
    """

    members: int = 10_000
    archive_bytes: int = 16 * _TIB
    disks: int = 256
    disk_bytes: int = 2 * _TIB
    extents: int = 4_200
    vmx_bytes: int = 1 << 20
    descriptor_bytes: int = (1 << 20) - 1


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a plain file: a file by itself, or a member of an archive where it lies."""

    path: Path
    offset: int
    size: int

    @classmethod
    def whole(cls, path: Path) -> "Part":
        """Return all of a file."""
        return cls(path, 0, path.stat().st_size)

    def open(self) -> "Window":
        """Open it for reading; the caller closes it.

        Raises:
            Refusal: It is a link or no plain file, or became shorter.
            OSError: It cannot be opened.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Refusal(f"cannot read {self.path.name}: it is no plain file")
            if status.st_size < self.offset + self.size:
                raise Refusal(f"cannot read {self.path.name}: it became shorter while it was read")
        except BaseException:  # whatever it is, no file may stay open
            os.close(descriptor)
            raise
        return Window(descriptor, self.offset, self.size)


class Window:
    """An open `Part`; places in it count from its own beginning.  Several threads may read at once."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self.descriptor, self.offset, self.size_bytes = descriptor, offset, size

    def close(self) -> None:
        """Close the file; once more does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def read(self, size: int, at: int) -> bytes:
        """Return up to `size` bytes from `at` on: fewer at the end, none beyond it."""
        size = min(size, self.size_bytes - at)
        return os.pread(self.descriptor, size, self.offset + at) if size > 0 else b""

    def next_data(self, at: int) -> int:
        """Return the first place from `at` on that is not in a hole of the file."""
        return self._seek(at, os.SEEK_DATA)

    def next_hole(self, at: int) -> int:
        """Return the first place from `at` on that is in a hole of the file, or the end."""
        return self._seek(at, os.SEEK_HOLE)

    def qemu(self) -> Mapping[str, object]:
        """Return QEMU's words for these bytes; `descriptor` must be passed on to its process."""
        file = {"driver": "file", "filename": f"/proc/self/fd/{self.descriptor}", "read-only": True}
        if self.offset == 0 and self.size_bytes == os.fstat(self.descriptor).st_size:
            return file
        return {
            "driver": "raw",
            "offset": self.offset,
            "size": self.size_bytes,
            "read-only": True,
            "file": file,
        }

    def _seek(self, at: int, whence: int) -> int:
        try:
            found = os.lseek(self.descriptor, self.offset + at, whence) - self.offset
        except OSError as error:
            if error.errno == errno.ENXIO:
                return self.size_bytes  # nothing but a hole is left
            found = at if whence == os.SEEK_DATA else self.size_bytes  # a file system that cannot tell
        return min(found, self.size_bytes)


@dataclass(frozen=True, slots=True)
class QemuView:
    """How QEMU is to read the very bytes that one of our readers reads.

    Attributes:
        node: QEMU's words for the disk, with every driver named and nothing left to be guessed:
            `{"driver": "vpc", "file": …}`.
        descriptors: Open files that `node` names as `/proc/self/fd/N`.
    """

    node: Mapping[str, object]
    descriptors: tuple[int, ...]


class BlockReader(Protocol):
    """A disk's content as the guest sees it."""

    @property
    def name(self) -> str:
        """Return what messages call it."""

    @property
    def capacity_bytes(self) -> int:
        """Return the size that the guest sees."""

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield number and content of the blocks in `start` ≤ number < `stop`, in order.

        Each block is `BLOCK_BYTES` long, the last one filled up with zeros.  A block that
        is left out holds zeros only; one that is yielded may.  Several threads may
        read at the same time.

        Raises:
            Refusal: The file is damaged; the message says where.
        """


class SourceDisk(BlockReader, Protocol):
    """A disk from outside: opened, and checked to be of a form that can be taken in."""

    form: str
    """What it is in: `vmdk`, `qcow2`, `raw`, `vhd`, `vhdx`, `xva`."""

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        """Check all tables, and return the room that the data takes in whole blocks, at most.

        `advance` gets guest bytes gone through.

        Raises:
            Refusal: The file is damaged or cut short, or would be larger than it can be.
        """

    def qemu(self) -> QemuView | None:
        """Return how QEMU reads the same content by its own means; None where it has none."""

    def close(self) -> None:
        """Close its files."""


def readable(raw: bytes) -> str:
    """Return a file's name as text that can be stored and shown everywhere.

    Names are UTF-8 today; older products wrote what the system of their day spoke.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def in_words(size_bytes: int) -> str:
    """Return a size as people write it: `1.5 GiB`."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
