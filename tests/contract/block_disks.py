"""Disks of the image matrix that are read by blocks, with content made of their names."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

from metier.domain.image import Disk, Machine
from metier.drivers.formats.api import BLOCK_BYTES, BlockReader
from metier.drivers.hypervisor.api import ImageSource

DISK_BYTES = 3 << 20
BAD_SECTOR = OSError(5, "Input/output error")


@dataclass(frozen=True, slots=True)
class Blocks:
    """A disk of the matrix: every second block holds something, made of its name.

    Attributes:
        broken_at: From this block on it cannot be read.
    """

    name: str
    capacity_bytes: int = DISK_BYTES
    size_bytes: int = DISK_BYTES
    broken_at: int = 1 << 30
    error: Exception = BAD_SECTOR

    def open(self) -> BinaryIO:
        raise NotImplementedError

    @contextmanager
    def reader(self) -> Iterator[BlockReader]:
        if self.broken_at < 0:
            raise self.error
        yield self

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        for number in range(start, min(stop, -(-self.capacity_bytes // BLOCK_BYTES))):
            if number >= self.broken_at:
                raise self.error
            if number % 2 == 0:
                yield number, self.block(number)

    def block(self, number: int) -> bytes:
        seed = hashlib.sha256(f"{self.name} {number}".encode()).digest()
        return seed * (BLOCK_BYTES // len(seed))

    def content(self) -> bytes:
        """Return what the guest sees."""
        blocks = dict(Blocks.blocks(replace(self, broken_at=1 << 30), 0, 1 << 20))
        count = -(-self.capacity_bytes // BLOCK_BYTES)
        whole = b"".join(blocks.get(number, bytes(BLOCK_BYTES)) for number in range(count))
        return whole[: self.capacity_bytes]


def image_of(*disks: Blocks, key: str = "web-1") -> ImageSource:
    machine = Machine(
        tuple(
            Disk(f"disk{number}.qcow2", disk.capacity_bytes, disk.size_bytes, f"sha256-64k:{disk.name}")
            for number, disk in enumerate(disks)
        )
    )
    return ImageSource(key, machine, disks)
