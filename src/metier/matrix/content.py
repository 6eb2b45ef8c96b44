"""The digest of a disk's content: the same in every form of disk, and quick where the disk is empty."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from metier.drivers.formats.api import BLOCK_BYTES, ZERO_BLOCK, BlockReader

SCHEME = "sha256-64k"

# Blocks that one thread does at a time: at least 16 MiB, so that many threads find work in a small disk
# too, and more in a large one, so that 8 TiB of nothing are gone through in seconds.
_LEAST_SLICE = 256
_SLICES = 32_768


def content_digest(disk: BlockReader, threads: int, advance: Callable[[int], None]) -> str:
    """Return the digest of what a guest sees of `disk`, as `sha256-64k:…`.

    It is SHA-256 over the capacity and, for each block of 64 KiB that is not all
    zeros, its number and SHA-256; numbers take eight bytes, the highest first.  So
    it can be computed by many threads, and a hole costs nothing.

    `threads` of them read and hash.  `advance` is called in this thread with guest bytes
    gone through; what it raises ends the work.
    """
    total = hashlib.sha256(disk.capacity_bytes.to_bytes(8, "big"))
    blocks = -(-disk.capacity_bytes // BLOCK_BYTES)
    size = max(_LEAST_SLICE, blocks // _SLICES)
    pool = ThreadPoolExecutor(threads, "digest")
    try:
        for records in _in_order(pool, disk, range(0, blocks, size), size, ahead=2 * threads):
            total.update(records)
            advance(size * BLOCK_BYTES)
    finally:
        pool.shutdown(cancel_futures=True)
    return f"{SCHEME}:{total.hexdigest()}"


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _in_order(
    pool: ThreadPoolExecutor, disk: BlockReader, starts: Iterable[int], size: int, ahead: int
) -> Iterator[bytes]:
    """Yield the records of all slices in order, with at most `ahead` of them under way."""
    under_way: deque[Future[bytes]] = deque()
    for start in starts:
        under_way.append(pool.submit(_records, disk, start, size))
        if len(under_way) > ahead:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _records(disk: BlockReader, start: int, size: int) -> bytes:
    records = []
    for number, block in disk.blocks(start, start + size):
        if block != ZERO_BLOCK:
            records.append(number.to_bytes(8, "big") + hashlib.sha256(block).digest())
    return b"".join(records)
