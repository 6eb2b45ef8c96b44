"""Threads for blocking driver calls: bounded, each call with a deadline, a few at a time per endpoint.

A call that outlives its deadline is given up: its thread is left to it and
replaced, its answer is dropped when it comes, and the caller is told that the
outcome is unknown.  So a hung device costs threads up to its own limit, never the loop.
"""

import threading
from collections import deque
from collections.abc import Callable, Container, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(slots=True)
class Task:
    """One call.

    Attributes:
        key: What it is, for the answer.
        endpoint: What it talks to.
        deadline: When it is given up; it moves on while the call waits for its turn.
        limit: How long the call may take once it was begun.
        subject: What it changes there, if anything.
        what: What is done, in the word that `actions.py` or a probe has for it.
    """

    key: Hashable
    endpoint: Hashable
    call: Callable[[], Any]
    deadline: datetime
    subject: Hashable = None
    what: str = ""
    limit: timedelta = timedelta()
    given_up: bool = False
    running: bool = False


Answer = Callable[[Hashable, Any], None]
"""Called from a worker thread with the task's key and what its call returned."""


def overdue(tasks: Iterable[Task], hung: Container[Hashable], now: datetime) -> list[Task]:
    """Return the tasks whose time is over; that of a call begins when the call does.

    Those that wait for an endpoint whose calls hang wait no longer than they would take.
    """
    late = []
    for task in tasks:
        if not task.running and task.endpoint not in hung:
            task.deadline = max(task.deadline, now + task.limit)
        elif task.deadline <= now:
            late.append(task)
    return late


class Workers:
    """A bounded pool.  `answer` is called once per task, unless `give_up` reported it first."""

    def __init__(self, answer: Answer, *, threads: int = 32, per_endpoint: int = 4) -> None:
        self._answer = answer
        self._limit = threads
        self._per_endpoint = per_endpoint
        self._lock = threading.Condition()
        self._queue: deque[Task] = deque()
        self._tasks: dict[Hashable, Task] = {}
        self._busy: dict[Hashable, int] = {}
        self._stuck: list[Hashable] = []
        self._hung: list[Hashable] = []
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, task: Task) -> None:
        """Queue a task; its key must not be in flight already."""
        with self._lock:
            self._tasks[task.key] = task
            self._queue.append(task)
            self._staff()

    def give_up(self, now: datetime) -> list[Task]:
        """Return the tasks whose deadline has passed, once each; their answers will be dropped."""
        with self._lock:
            late = overdue(self._tasks.values(), self._hung, now)
            for task in late:
                task.given_up = True
                del self._tasks[task.key]
                if task.running:
                    self._threads -= 1
                    self._stuck.append(task.subject)
                    self._hung.append(task.endpoint)
            self._staff()
            return late

    def is_stuck(self, subject: Hashable) -> bool:
        """Say whether a call that was given up is still at work on `subject`: it may yet change it."""
        with self._lock:
            return subject in self._stuck

    def in_flight(self) -> int:
        """Return how many tasks wait or run."""
        with self._lock:
            return len(self._tasks)

    def close(self) -> None:
        """Begin no further task; threads end as their calls return."""
        with self._lock:
            self._closed = True
            self._queue.clear()
            self._lock.notify_all()

    def _staff(self) -> None:
        """Have somebody look at the queue; a thread that was woken counts as idle until it runs."""
        if len(self._queue) > self._idle and self._threads < self._limit and not self._closed:
            self._threads += 1
            threading.Thread(target=self._work, name="metier-worker", daemon=True).start()
        self._lock.notify()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            result = task.call()
            with self._lock:
                self._release(task)
                if task.given_up:
                    self._stuck.remove(task.subject)
                    self._hung.remove(task.endpoint)
                    return
                self._tasks.pop(task.key, None)
            self._answer(task.key, result)

    def _next(self) -> Task | None:
        with self._lock:
            while not self._closed:
                task = self._take()
                if task is not None:
                    return task
                self._idle += 1
                self._lock.wait()
                self._idle -= 1
            return None

    def _take(self) -> Task | None:
        for _ in range(len(self._queue)):
            task = self._queue.popleft()
            if task.given_up:
                continue
            if self._busy.get(task.endpoint, 0) < self._per_endpoint:
                self._busy[task.endpoint] = self._busy.get(task.endpoint, 0) + 1
                task.running = True
                return task
            self._queue.append(task)
        return None

    def _release(self, task: Task) -> None:
        self._busy[task.endpoint] -= 1
        if not self._busy[task.endpoint]:
            del self._busy[task.endpoint]
        self._staff()
