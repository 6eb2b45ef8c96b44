"""What is being copied to which host now: kept in memory alone, for people who wait for it."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta

from metier.control.world import Clock
from metier.domain.ids import ImageRef, NodeId
from metier.domain.transfer import Transfer
from metier.drivers.hypervisor.api import Progress

RATE_OVER = timedelta(seconds=10)
"""Its speed is that of the last so many seconds: long enough to be steady, short enough to be news."""

_MARK_EVERY = timedelta(seconds=1)

Tracking = Callable[[NodeId, NodeId, ImageRef], AbstractContextManager[Progress]]
"""Told the node, its host and the image; what it gives is to be called with bytes done and bytes in all."""


class Transfers:
    """Every copy under way; safe to use from many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[NodeId, _Running] = {}

    @contextmanager
    def track(self, node: NodeId, host: NodeId, image: ImageRef) -> Iterator[Progress]:
        """Follow one copy from its first byte until this ends, however it ends; keeps `Tracking`."""
        running = _Running(node, host, image, self._clock.now())
        with self._lock:
            self._running[node] = running

        def progress(done: int, total: int) -> None:
            with self._lock:
                running.reach(done, total, self._clock.now())

        try:
            yield progress
        finally:
            with self._lock:
                if self._running.get(node) is running:
                    del self._running[node]

    def under_way(self) -> Mapping[NodeId, Transfer]:
        """Return what is being copied now, by the node that waits for it; what is there whole is not."""
        now = self._clock.now()
        with self._lock:
            running = list(self._running.values())
            return {one.node: one.as_seen(now) for one in running if one.done < one.total}


class _Running:
    """One copy; `marks` are how far it was when, in the last seconds."""

    def __init__(self, node: NodeId, host: NodeId, image: ImageRef, since: datetime) -> None:
        self.node, self.host, self.image, self.since = node, host, image, since
        self.done = self.total = 0
        self.marks: deque[tuple[datetime, int]] = deque()

    def reach(self, done: int, total: int, now: datetime) -> None:
        """Take note of how far it is."""
        self.done, self.total = max(done, 0), total
        if not self.marks or now - self.marks[-1][0] >= _MARK_EVERY:
            self.marks.append((now, self.done))
        while len(self.marks) > 2 and now - self.marks[1][0] >= RATE_OVER:
            self.marks.popleft()

    def as_seen(self, now: datetime) -> Transfer:
        """Return how far it is; its speed sinks while nothing comes."""
        at, was = self.marks[0]
        elapsed_s = (now - at).total_seconds()
        rate = max(self.done - was, 0) / elapsed_s if elapsed_s > 0 else 0.0
        return Transfer(self.node, self.host, self.image, self.since, self.done, self.total, rate)


@contextmanager
def untracked(_node: NodeId, _host: NodeId, _image: ImageRef) -> Iterator[Progress]:
    """Follow nothing; keeps `Tracking`."""
    yield lambda _done, _total: None
