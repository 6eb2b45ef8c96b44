"""One call of the driver: a deadline that the caller can rely on, though libvirt itself blocks.

The work runs in a thread of its own.  When the time is up the caller leaves with
an error, and the work stops at its next step: what it has not begun by then, it
never begins.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from metier.domain.errors import Unavailable
from metier.drivers.hypervisor import attempt
from metier.drivers.hypervisor.api import Progress

T = TypeVar("T")

# Each abandoned call holds a thread and a request at the host, which takes five at once by default;
# keepalive ends a dead host's calls within half a minute, so more than this is a host that is truly stuck.
MAX_ABANDONED = 8
# How many pieces of progress the work may be ahead of the caller: enough that neither waits for each step.
_MAX_UNHEARD = 4


class Attempt(attempt.Attempt):
    """What the work knows of the call it is done for; safe to use from both threads.

    Attributes:
        what: The call in words: `start VM3 of host-1`.
    """

    ANSWERING = "host's libvirt"

    def __init__(self, what: str, timeout_s: float) -> None:
        super().__init__(what, timeout_s)
        self._given_up = False
        self._gate: threading.Semaphore | None = None
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._room = threading.Semaphore(_MAX_UNHEARD)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        return self._given_up or super().is_over

    @contextmanager
    def turn(self, gate: threading.Semaphore) -> Iterator[None]:
        """Hold one of the places behind a gate; raises Unavailable if none gets free before the deadline."""
        if not gate.acquire(timeout=self.left_s):
            raise Unavailable(f"cannot {self.what}: the host is still busy with earlier calls")
        self._gate = gate
        try:
            yield
        finally:
            if self._gate is not None:
                self._gate.release()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Leave the place to others meanwhile: for what takes long and asks nothing of the host."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.release()
        try:
            yield
        finally:
            # Without a place the deadline has passed, and the next step is not begun.
            if gate is not None and gate.acquire(timeout=self.left_s):
                self._gate = gate

    def tell(self, done: int, total: int) -> None:
        """Pass progress on to the caller's thread; waits while that is far behind."""
        self._room.acquire(timeout=self.left_s)
        self.check()
        self._news.put(("progress", (done, total)))

    def run(self, work: Callable[["Attempt"], Any]) -> None:
        """Do the work in this thread and hand its end to the one that waits."""
        try:
            self._news.put(("done", work(self)))
        except BaseException as error:  # it is raised again in the caller's thread
            self._news.put(("failed", error))

    def wait(self, progress: Progress | None) -> Any:
        """Return what the work returned, or leave at the deadline; `progress` is called from this thread."""
        try:
            while True:
                kind, news = self._news.get(timeout=self.left_s)
                if kind == "done":
                    return news
                if kind == "failed":
                    raise news
                if progress is not None:
                    progress(*news)
                self._room.release()
        except queue.Empty:
            with self._lock:
                self._given_up = True
                raise self.missed() from None
        finally:
            self._given_up = True
            self._room.release()


class Attempts:
    """Runs calls, each in a daemon thread of its own, and knows how many were abandoned."""

    def __init__(self) -> None:
        self._abandoned: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def run(
        self,
        what: str,
        work: Callable[[Attempt], T],
        *,
        timeout_s: float,
        progress: Progress | None = None,
    ) -> T:
        """Do `work` and return its result, or leave at the deadline.

        Raises:
            Unavailable: The deadline passed before anything was begun, or too many earlier calls hang.
            OutcomeUnknown: The deadline passed after something was begun.
        """
        hanging = self._still_hanging()
        if hanging >= MAX_ABANDONED:
            raise Unavailable(f"cannot {what}: {hanging} earlier calls to this host still hang")
        call = Attempt(what, timeout_s)
        thread = threading.Thread(target=call.run, args=(work,), name=f"libvirt: {what}", daemon=True)
        thread.start()
        try:
            result: T = call.wait(progress)
        except BaseException:  # a cancelled caller leaves the work behind as a late one does
            with self._lock:
                self._abandoned.add(thread)
            raise
        return result

    def _still_hanging(self) -> int:
        with self._lock:
            self._abandoned = {thread for thread in self._abandoned if thread.is_alive()}
            return len(self._abandoned)
