"""Work on a disk in slices: by many threads, its results in order, and few of them under way."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from metier.drivers.formats.api import BLOCK_BYTES

T = TypeVar("T")

# Blocks that one thread does at a time: at least 4 MiB, so that many threads find work in a small disk
# too, and more in a large one, so that 8 TiB of nothing are gone through in seconds.
_LEAST_SLICE = 64
_SLICES = 32_768
_MOST_THREADS = 16


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def in_slices(capacity_bytes: int, work: Callable[[int, int], T], threads: int) -> Iterator[tuple[int, T]]:
    """Call `work` with the first and the end block of each slice of a disk, in threads.

    Yields for each slice, in order, its end block and what `work` returned.  What it raises
    comes through, and nothing more is begun.
    """
    blocks = -(-capacity_bytes // BLOCK_BYTES)
    size = max(_LEAST_SLICE, blocks // _SLICES)
    threads = min(threads, _MOST_THREADS)
    pool = ThreadPoolExecutor(threads, "slices")
    under_way: deque[tuple[int, Future[T]]] = deque()
    try:
        for start in range(0, blocks, size):
            stop = min(start + size, blocks)
            under_way.append((stop, pool.submit(work, start, stop)))
            if len(under_way) > 2 * threads:
                end, future = under_way.popleft()
                yield end, future.result()
        while under_way:
            end, future = under_way.popleft()
            yield end, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
