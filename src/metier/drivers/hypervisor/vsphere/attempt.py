"""One call of the driver: its deadline, and whether it may have changed anything.

The work runs in the caller's thread.  All that it waits for are sockets, and
`wire.Deadlines` shuts those whose deadline has passed, so that no server can
hold a call longer, however slowly it answers.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from metier.domain.errors import DriverError, OutcomeUnknown, Unavailable
from metier.drivers.hypervisor.api import Progress


class Attempt:
    """What the work knows of the call it is done for.

    Attributes:
        what: The call in words: `start VM3 of esx-1`.
        until: Its deadline, on the monotonic clock; changed by `wire.DEADLINES` and here only.
        is_ended: It was ended from another thread, by `wire.DEADLINES`.
        ticket: What `wire.DEADLINES` knows the call under way by; 0 if there was none.
    """

    def __init__(self, what: str, timeout_s: float, progress: Progress | None = None) -> None:
        self.what = what
        self.until = time.monotonic() + timeout_s
        self.ticket = 0
        self.is_ended = False
        self._timeout_s = timeout_s
        self._progress = progress
        self._begun = False

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return 0.0 if self.is_ended else max(0.0, self.until - time.monotonic())

    def restart(self) -> None:
        """Begin the time anew: for a wait that goes on as long as the server answers."""
        self.until = time.monotonic() + self._timeout_s

    @property
    def has_begun(self) -> bool:
        """Whether something on the host may have been changed."""
        return self._begun

    def check(self) -> None:
        """Go on only before the deadline; raises the error of a missed one."""
        if self.left_s == 0:
            raise self.missed()

    def begin(self) -> None:
        """Say that the next step changes the host; raises after the deadline."""
        self.check()
        self._begun = True

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
        """Return the error for a connection that broke under the work."""
        if self.left_s == 0:
            return self.missed()
        if self._begun:
            return OutcomeUnknown(f"cannot tell whether to {self.what} worked: the host fell silent")
        return Unavailable(f"cannot {self.what}: the host does not answer")

    def missed(self) -> DriverError:
        """Return the error for a deadline that passed."""
        limit = f"within {self._timeout_s:g} s"
        if self._begun:
            return OutcomeUnknown(f"cannot tell whether to {self.what} worked: no answer {limit}")
        return Unavailable(f"cannot {self.what}: the host gave no answer {limit}")
