"""The only sources of what cannot be repeated: the clock, passed in so that the simulator can own it."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the loop gets its time from."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        return datetime.now(UTC)
