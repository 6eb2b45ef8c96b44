"""Virtual time: a clock that stands still until somebody moves it, and what is to happen when."""

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count


class VirtualClock:
    """Says what time the simulation has."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        """Return the simulation's moment, in UTC."""
        return self._moment

    def move(self, moment: datetime) -> None:
        """Let it be `moment`; time never goes back for those who only read it."""
        self._moment = moment


class SkewedClock:
    """The clock of one controller's machine, which may go wrong by a fixed time."""

    def __init__(self, clock: VirtualClock, skew: timedelta) -> None:
        self._clock, self.skew = clock, skew

    def now(self) -> datetime:
        """Return what that machine takes for the present moment, in UTC."""
        return self._clock.now() + self.skew


class Agenda:
    """What is to happen when; things due at one moment happen in the order in which they were put."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._number = count()
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []

    def at(self, moment: datetime, do: Callable[[], None]) -> None:
        """Do something at a moment, or as soon as possible if that is past."""
        heapq.heappush(self._heap, (max(moment, self.clock.now()), next(self._number), do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        self.at(self.clock.now() + timedelta(seconds=seconds), do)

    def next(self) -> datetime | None:
        """Return when the next thing is due."""
        return self._heap[0][0] if self._heap else None

    def take(self) -> Callable[[], None]:
        """Take out what is due next, and move the clock to its moment."""
        at, _, do = heapq.heappop(self._heap)
        self.clock.move(at)
        return do
