"""One call of a driver: its deadline, whether it may have changed anything, and the errors that follow."""

import threading
import time
from typing import ClassVar

from metier.domain.errors import DriverError, OutcomeUnknown, Unavailable


class Attempt:
    """What the work knows of the call it is done for; safe to use from several threads.

    Attributes:
        ANSWERING: What does not answer where a connection is lost, as people call it.
        what: The call in words: `start VM3 on host-1`.
        until: Its deadline, on the monotonic clock.
    """

    ANSWERING: ClassVar[str] = "host"

    def __init__(self, what: str, timeout_s: float) -> None:
        self.what = what
        self.until = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._begun = False

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(0.0, self.until - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether nothing more may be done: the deadline has passed."""
        return self.left_s == 0

    @property
    def has_begun(self) -> bool:
        """Whether something on the host may have been changed."""
        return self._begun

    def check(self) -> None:
        """Go on only while it is not over; raises the error of a missed deadline."""
        with self._lock:
            self._require_time()

    def begin(self) -> None:
        """Say that the next step changes the host; raises the error of a missed deadline if it is over."""
        with self._lock:
            self._require_time()
            self._begun = True

    def lost(self) -> DriverError:
        """Return the error for a connection that broke under the work."""
        if self._begun:
            return OutcomeUnknown(f"cannot tell whether to {self.what} worked: the host fell silent")
        return Unavailable(f"cannot {self.what}: the {self.ANSWERING} does not answer")

    def missed(self) -> DriverError:
        """Return the error for a deadline that passed."""
        limit = f"within {self._timeout_s:g} s"
        if self._begun:
            return OutcomeUnknown(f"cannot tell whether to {self.what} worked: no answer {limit}")
        return Unavailable(f"cannot {self.what}: the host gave no answer {limit}")

    def _require_time(self) -> None:
        if self.is_over:
            raise self.missed()
