"""Answers about single VMs, kept while nothing was heard of a change, so that a report need not ask again.

Not every change is told: memory set for the next start is not.  So an answer is
forgotten after a while as well, and whoever acts on a VM asks it anew.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from metier.drivers.hypervisor.libvirt.events import Line

T = TypeVar("T")


class _Answer(NamedTuple):
    """What was answered, how much had been heard of the VM before, and when it is forgotten."""

    value: Any
    heard: int
    until: float


class Recall(Generic[T]):
    """One kind of answer by VM; safe to use from many threads.

    Args:
        line: Tells of changes; where it cannot, nothing is kept.
        lifetime_s: How long an answer stands without news, in seconds.
    """

    def __init__(self, line: Line, lifetime_s: float) -> None:
        self._line = line
        self._lifetime_s = lifetime_s
        self._answers: dict[str, _Answer] = {}
        self._lock = threading.Lock()

    def get(self, guest: str, ask: Callable[[], T]) -> T:
        """Return the answer about VM `guest` (its UUID), asking if it is not known or may be old."""
        heard, now = self._line.heard(guest), time.monotonic()
        with self._lock:
            known = self._answers.get(guest)
        if known is not None and known.heard == heard and now < known.until:
            value: T = known.value
            return value
        value = ask()
        if self._line.tells:
            with self._lock:
                self._answers[guest] = _Answer(value, heard, now + self._lifetime_s)
        return value

    def forget(self, guest: str) -> None:
        """Ask anew next time: our own change may be told later than it is done."""
        with self._lock:
            self._answers.pop(guest, None)
