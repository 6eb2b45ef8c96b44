"""Driver calls in virtual time: as bounded as the threads of `control/workers.py`, and as lost when given up.

A call is made when its time is over, not when it begins: what happens to the machine
meanwhile decides how it ends.

A look that told nothing new is not put again and again: it is *parked*, and looked again at the
next moment at which it would have been, once something may have changed.  So a calm day costs nothing.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import ceil, floor

from metier.control.observe import Question
from metier.control.workers import Answer, Task, overdue
from metier.domain.ids import NodeId
from metier.sim.clock import Agenda

Takes = Callable[[Task], float]
"""Says how many seconds a call takes."""


class VirtualWorkers:
    """A bounded pool in virtual time; keeps `control.crew.Pool`.

    Attributes:
        passed: Called just before each call is made, and again when it was made and nobody knows yet.
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

    def submit(self, task: Task) -> None:
        """Queue a task; one whose key is in flight is the same question, and gets the same answer."""
        if task.key not in self._tasks:
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


Refresh = Callable[[list[tuple[Question, datetime]]], None]


@dataclass(slots=True)
class Parked:
    """A look that told nothing new.

    Attributes:
        asked: When it was asked.
        call_s: How long the call took, in seconds.
        pause_s: How long the loop would have waited for the next one.
        wakes: When it is going to be looked again, if that is known.
    """

    question: Question
    asked: datetime
    call_s: float
    pause_s: float
    wakes: datetime | None = None

    def next_look(self, now: datetime) -> datetime:
        """Return the first moment, not before `now`, at which it would have been looked again."""
        period_s = self.call_s + self.pause_s
        periods = max(1, ceil((now - self.asked).total_seconds() / period_s - 1e-9))
        return self.asked + periods * timedelta(seconds=period_s)

    def last_look(self, now: datetime) -> datetime:
        """Return the last moment, not after `now`, at which a look would have come back."""
        period_s = self.call_s + self.pause_s
        since_s = (now - self.asked).total_seconds() - self.call_s
        periods = max(0, floor(since_s / period_s + 1e-9))
        return self.asked + timedelta(seconds=periods * period_s + self.call_s)


class CarPark:
    """The looks that are parked, by what they look at.

    Before one is put again, `refresh` is told when it would have been put last: what was seen
    then was what was seen before, and only its age is another one.
    """

    def __init__(self, agenda: Agenda, look: Callable[[Question], None], refresh: Refresh) -> None:
        self._agenda, self._look, self._refresh = agenda, look, refresh
        self._parked: dict[Question, Parked] = {}
        self._by_host: dict[NodeId, dict[Question, Parked]] = {}
        self._host_of: dict[Question, NodeId] = {}

    def park(self, parked: Parked, host: NodeId) -> None:
        """Keep a look at a machine, or at what runs on it."""
        self._parked[parked.question] = parked
        self._by_host.setdefault(host, {})[parked.question] = parked
        self._host_of[parked.question] = host

    def wake_machine(self, host: NodeId, at: datetime) -> None:
        """Look again at a machine and all that runs on it, each at its next usual moment from `at` on."""
        here = list(self._by_host.get(host, {}).values())
        if here:
            now = self._agenda.clock.now()
            self._refresh([(parked.question, parked.last_look(now)) for parked in here])
        for parked in here:
            self._wake(parked, parked.next_look(at))

    def wake_all(self) -> None:
        """Look again at everything, each at its next usual moment."""
        for host in list(self._by_host):
            self.wake_machine(host, self._agenda.clock.now())

    def wake(self, question: Question, pause_s: float | None, *, at_once: bool = False) -> None:
        """Look again at one thing: at its next usual moment, or now, also if the loop's pause changed."""
        parked = self._parked.get(question)
        if parked is not None:
            now = self._agenda.clock.now()
            is_urgent = at_once or pause_s != parked.pause_s
            self._refresh([(question, parked.last_look(now))])
            self._wake(parked, now if is_urgent else parked.next_look(now))

    def __len__(self) -> int:
        return len(self._parked)

    def _wake(self, parked: Parked, moment: datetime) -> None:
        if parked.wakes is None or moment < parked.wakes:
            parked.wakes = moment
            self._agenda.at(moment, partial(self._fetch, parked))

    def _fetch(self, parked: Parked) -> None:
        question = parked.question
        if self._parked.get(question) is parked:  # else an earlier wake was first
            del self._parked[question]
            host = self._host_of.pop(question)
            del self._by_host[host][question]
            if not self._by_host[host]:
                del self._by_host[host]
            self._look(question)
