"""Driver calls in virtual time: as bounded as the threads of `control/workers.py`, and as lost when given up.

A call is made when its time is over, not when it begins: what happens to the machine
meanwhile decides how it ends.
"""

from collections import deque
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from functools import partial

from metier.control.workers import Answer, Task, overdue
from metier.sim.clock import Agenda

Takes = Callable[[Task], float]
"""Says how many seconds a call takes."""


class VirtualWorkers:
    """A bounded pool in virtual time; keeps `control.crew.Pool`.

    Attributes:
        passed: Called just before each call is made, and again when it was made and nobody knows yet.
        submitted: Called with each task that is queued, before it is.
    """

    def __init__(
        self, answer: Answer, agenda: Agenda, takes: Takes, *, threads: int, per_endpoint: int
    ) -> None:
        self._answer, self._agenda, self._takes = answer, agenda, takes
        self._limit, self._per_endpoint = threads, per_endpoint
        self._queue: deque[Task] = deque()
        self._tasks: dict[Hashable, Task] = {}
        self._busy: dict[Hashable, int] = {}
        self._stuck: list[Hashable] = []
        self._hung: list[Hashable] = []
        self._running = 0
        self._ends: dict[int, tuple[Task, datetime, datetime]] = {}
        self._closed = False
        self.passed: Callable[[Task, bool], None] = lambda _task, _is_done: None
        self.submitted: Callable[[Task], None] = lambda _task: None

    def submit(self, task: Task) -> None:
        """Queue a task; one whose key is in flight is the same question, and gets the same answer."""
        if task.key not in self._tasks:
            self.submitted(task)
            self._tasks[task.key] = task
            self._queue.append(task)
            self._staff()

    def give_up(self, now: datetime) -> list[Task]:
        """Return the tasks whose deadline has passed, once each; their answers will be dropped."""
        late = overdue(self._tasks.values(), self._hung, now)
        for task in late:
            task.given_up = True
            del self._tasks[task.key]
            if task.running:
                self._running -= 1
                self._stuck.append(task.subject)
                self._hung.append(task.endpoint)
        self._staff()
        return late

    def is_stuck(self, subject: Hashable) -> bool:
        """Say whether a call that was given up is still at work on `subject`: it may yet change it."""
        return subject in self._stuck

    def in_flight(self) -> int:
        """Return how many tasks wait or run."""
        return len(self._tasks)

    def at_work(self) -> list[Task]:
        """Return the tasks whose calls were begun and have not come back, given up or not."""
        return [task for task in self._tasks.values() if task.running]

    def close(self) -> None:
        """Die: nothing more is begun, and no call that was begun is made any more."""
        self._closed = True
        self._queue.clear()

    def _staff(self) -> None:
        while self._running < self._limit and (task := self._take()) is not None:
            task.running = True
            self._running += 1
            self._busy[task.endpoint] = self._busy.get(task.endpoint, 0) + 1
            self._plan_end(task, self._agenda.clock.now())

    def _take(self) -> Task | None:
        for _ in range(len(self._queue)):
            task = self._queue.popleft()
            if task.given_up:
                continue
            if self._busy.get(task.endpoint, 0) < self._per_endpoint:
                return task
            self._queue.append(task)
        return None

    def reconsider(self, is_concerned: Callable[[Task], bool]) -> None:
        """Let calls that are under way come back earlier, as far as what held them up is gone."""
        for task, began, _ in list(self._ends.values()):
            if is_concerned(task):
                self._plan_end(task, began)

    def _plan_end(self, task: Task, began: datetime) -> None:
        end = began + timedelta(seconds=self._takes(task))
        known = self._ends.get(id(task))
        if known is None or end < known[2]:
            self._ends[id(task)] = (task, began, end)
            self._agenda.at(end, partial(self._end, task))

    def _end(self, task: Task) -> None:
        if self._closed or self._ends.pop(id(task), None) is None:
            return  # it died, or came back earlier
        self.passed(task, False)
        result = task.call()
        self.passed(task, True)
        self._busy[task.endpoint] -= 1
        if not self._busy[task.endpoint]:
            del self._busy[task.endpoint]
        if task.given_up:
            self._stuck.remove(task.subject)
            self._hung.remove(task.endpoint)
        else:
            self._running -= 1
            del self._tasks[task.key]
            self._answer(task.key, result)
        self._staff()
