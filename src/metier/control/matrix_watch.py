"""Measures the image matrix now and then, in a thread of its own: a file system on a network may hang."""

import threading
from collections.abc import Callable

import structlog

from metier.control.inbox import Inbox
from metier.control.matrix_sight import LowSpace, MatrixSight
from metier.control.world import Clock
from metier.domain.errors import MetierError, chain
from metier.domain.fleet import Changes, Fleet, Kind
from metier.domain.job import FINAL
from metier.matrix.api import Matrix

PAUSE_S = 60.0
"""Seconds between two measurements: an import fills a disk in minutes, not in seconds."""

log = structlog.get_logger()


class MatrixWatch:
    """Tells the loop every minute how much room the image matrix has.

    A measurement that hangs keeps the next one from being begun; that it is overdue is seen by
    whoever looks at the age of the last one.

    Args:
        fleet: Returns the last finished snapshot.
        pause: Waits for the next time, or until the event is set.
    """

    def __init__(
        self,
        matrix: Matrix,
        fleet: Callable[[], Fleet],
        inbox: Inbox,
        clock: Clock,
        low: LowSpace,
        pause: Callable[[threading.Event], object] = lambda woken: woken.wait(PAUSE_S),
    ) -> None:
        self._matrix, self._fleet, self._inbox, self._clock, self._low = matrix, fleet, inbox, clock, low
        self._pause = pause
        self._woken, self._ended = threading.Event(), False
        self._last = MatrixSight(clock.now(), low=low)
        self._thread = threading.Thread(target=self._run, name="metier-matrix", daemon=True)

    def start(self) -> None:
        """Begin to measure."""
        # What comes first is that nothing is known yet: from then on the first measurement can be overdue.
        self._inbox.put(self._last)
        self._thread.start()

    def close(self) -> None:
        """Begin no further measurement; one that hangs is left to its thread."""
        self._ended = True
        self._woken.set()

    def look_after(self, changes: Changes) -> None:
        """Measure at once if what a round changed may have changed what lies in the matrix."""
        jobs = changes.get(Kind.JOB, {}).values()
        if Kind.IMAGE in changes or any(job is not None and job.state in FINAL for job in jobs):
            self._woken.set()

    @property
    def is_woken(self) -> bool:
        """Whether it measures again without waiting out its pause."""
        return self._woken.is_set()

    def last(self) -> MatrixSight:
        """Return the last measurement."""
        return self._last

    def measure(self) -> MatrixSight:
        """Measure now, blocking."""
        at = self._clock.now()
        try:
            usage = self._matrix.usage(self._fleet().images)
        except MetierError as error:
            return MatrixSight(at, error=chain(error), low=self._low)
        except OSError as error:
            return MatrixSight(at, error=error.strerror or str(error), low=self._low)
        except Exception as error:  # a bug in measuring must not end it for good
            log.exception("image matrix not measured")
            return MatrixSight(at, error=f"internal error: {chain(error)}", low=self._low)
        return MatrixSight(at, usage, low=self._low)

    def _run(self) -> None:
        while not self._ended:
            self._woken.clear()
            self._last = self.measure()
            if not self._inbox.put(self._last):
                return
            self._pause(self._woken)
