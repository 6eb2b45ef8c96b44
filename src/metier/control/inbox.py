"""The one way in to the control thread: whatever happens is put here, and wakes it."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from metier.control.matrix_sight import MatrixSight
from metier.control.observe import Sight
from metier.domain.actions import Work
from metier.domain.ids import NodeId
from metier.domain.image import Image
from metier.domain.job import Job
from metier.operations.registry import Caller, Operation
from metier.operations.registry import Outcome as Answer
from metier.planner.effects import Outcome


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's change, waiting for its answer."""

    operation: Operation
    arguments: Any
    caller: Caller
    reply: "Future[Answer]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Settled:
    """How a piece of work ended."""

    action_id: int
    action: Work
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A start that was given up is still at work: it may come true at any moment yet."""

    action: Work


@dataclass(frozen=True, slots=True)
class JobNews:
    """How far a job is, or how it ended; `image` is what it made."""

    job: Job
    image: Image | None = None


@dataclass(frozen=True, slots=True)
class Nudge:
    """Something may have changed on a host; carries no data."""

    host: NodeId


Message = Order | Settled | UnderWay | Sight | MatrixSight | JobNews | Nudge


class Inbox:
    """A queue that can be waited for until a moment.

    `real_s` says how many real seconds pass in so many of the clock's that tells the moments.
    """

    def __init__(self, real_s: Callable[[float], float] = float) -> None:
        self._real_s = real_s
        self._messages: deque[Message] = deque()
        self._condition = threading.Condition()
        self._closed = False

    def put(self, message: Message) -> bool:
        """Add a message and wake the control thread; False if nobody will take it any more."""
        with self._condition:
            if self._closed:
                return False
            self._messages.append(message)
            self._condition.notify()
            return True

    def take(self, now: datetime, until: datetime | None) -> list[Message]:
        """Return everything that is there, waiting for the first message until `until` at most."""
        with self._condition:
            if not self._messages and not self._closed:
                timeout_s = None if until is None else self._real_s(max(0.0, (until - now).total_seconds()))
                self._condition.wait(timeout_s)
            messages = list(self._messages)
            self._messages.clear()
            return messages

    def is_waiting(self) -> bool:
        """Say whether a message is there."""
        return bool(self._messages)

    def close(self) -> None:
        """Take nothing more, and wake the control thread for good."""
        with self._condition:
            self._closed = True
            self._condition.notify()
