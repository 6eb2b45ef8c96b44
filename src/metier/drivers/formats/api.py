"""What every format promises: bounds on what it accepts, and disks read block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

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


class BlockReader(Protocol):
    """A disk's content as the guest sees it."""

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
