"""The digest of a disk's content: the same in every form of disk, and quick where the disk is empty."""

import hashlib
from collections.abc import Callable

from metier.drivers.formats.api import BLOCK_BYTES, ZERO_BLOCK, BlockReader
from metier.matrix.index import record
from metier.matrix.slices import in_slices

SCHEME = "sha256-64k"


class ContentDigest:
    """SHA-256 over the capacity and, for each block of 64 KiB that is not all zeros, its index record.

    So it can be computed by many threads, and a hole costs nothing.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._total = hashlib.sha256(capacity_bytes.to_bytes(8, "big"))

    def add(self, records: bytes) -> None:
        """Take in the records that follow."""
        self._total.update(records)

    def __str__(self) -> str:
        return f"{SCHEME}:{self._total.hexdigest()}"


def content_digest(disk: BlockReader, threads: int, advance: Callable[[int], None]) -> str:
    """Return the digest of what a guest sees of `disk`, as `sha256-64k:…`.

    `threads` read and hash.  `advance` is called in this thread with guest bytes
    gone through; what it raises ends the work.
    """

    def records(start: int, stop: int) -> bytes:
        blocks = ((number, block) for number, block in disk.blocks(start, stop) if block != ZERO_BLOCK)
        return b"".join(record(number, hashlib.sha256(block).digest()) for number, block in blocks)

    total, done = ContentDigest(disk.capacity_bytes), 0
    for stop, found in in_slices(disk.capacity_bytes, records, threads):
        total.add(found)
        advance((stop - done) * BLOCK_BYTES)
        done = stop
    return str(total)
