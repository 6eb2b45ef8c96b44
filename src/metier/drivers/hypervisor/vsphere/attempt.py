"""One call of the driver, and whoever else has to wait for it or may end it.

The work runs in the caller's thread.  All that it waits for are sockets, and
`wire.Deadlines` shuts those whose deadline has passed, so that no server can
hold a call longer, however slowly it answers.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from metier.domain.errors import DriverError, Unavailable
from metier.drivers.hypervisor import attempt
from metier.drivers.hypervisor.api import Progress


class Attempt(attempt.Attempt):
    """What the work knows of the call it is done for.

    Attributes:
        account: Name by which the server knows who calls.
        until: Its deadline, on the monotonic clock; changed by `wire.DEADLINES` and here only.
        is_ended: It was ended from another thread, by `wire.DEADLINES`.
        ticket: What `wire.DEADLINES` knows the call under way by; 0 if there was none.
    """

    def __init__(
        self, what: str, timeout_s: float, progress: Progress | None = None, account: str = ""
    ) -> None:
        super().__init__(what, timeout_s)
        self.account = account
        self.ticket = 0
        self.is_ended = False
        self._progress = progress

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return 0.0 if self.is_ended else super().left_s

    def restart(self) -> None:
        """Begin the time anew: for a wait that goes on as long as the server answers."""
        self.until = time.monotonic() + self._timeout_s

    def tell(self, done: int, total: int) -> None:
        """Pass progress on to the caller."""
        self.check()
        if self._progress is not None:
            self._progress(done, total)

    @contextmanager
    def alone(self, lock: threading.Lock, busy_with: str) -> Iterator[None]:
        """Hold a lock; raises Unavailable if it does not get free before the deadline."""
        if not lock.acquire(timeout=self.left_s):
            raise Unavailable(f"cannot {self.what}: {busy_with}")
        try:
            yield
        finally:
            lock.release()

    def lost(self) -> DriverError:
        """Return the error for a connection that broke under the work, or was shut at its deadline."""
        return self.missed() if self.is_over else super().lost()
