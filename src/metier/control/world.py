"""The only sources of what cannot be repeated: the clock, passed in so that the simulator can own it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where the loop gets its time from."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""


class RunningClock(Clock, Protocol):
    """A clock that goes on by itself, so that its moments can be waited for."""

    def real_s(self, seconds: float) -> float:
        """Return how many real seconds pass in so many of this clock's."""


def wall_time() -> datetime:
    """Return what the machine takes for the present moment, in UTC; it may jump."""
    return datetime.now(UTC)


class SteadyClock:
    """Goes on from a moment, evenly, as many times faster than real time as is said.

    Args:
        start: What it shows first, in UTC.
        speed: Its seconds in each real one; above 0.
        steady: Real seconds since any moment, which never jump.
    """

    def __init__(
        self, start: datetime, speed: float = 1.0, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._start, self._speed, self._steady = start, speed, steady
        self._began_s = steady()

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        return self._start + timedelta(seconds=(self._steady() - self._began_s) * self._speed)

    def real_s(self, seconds: float) -> float:
        """Return how many real seconds pass in so many of this clock's."""
        return seconds / self._speed


class SystemClock(SteadyClock):
    """The machine's own time when this began, and since then what has really passed.

    The machine's clock may be set while the controller runs, by an operator or a time
    service.  A step back would keep every deadline and every look waiting, a step forward
    would make all of them due at once: so a step is not followed until the next start.
    Slow corrections are, for they go into what has really passed as well.
    """

    def __init__(
        self, wall: Callable[[], datetime] = wall_time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(wall(), 1.0, steady)
