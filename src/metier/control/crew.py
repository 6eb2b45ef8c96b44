"""The threads that carry work out and look around, and what is done about those that do not come back."""

from collections.abc import Hashable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from metier.control.execute import execute
from metier.control.inbox import Inbox, Message, Settled, UnderWay
from metier.control.observe import TIMEOUT_S, Question, ask, gave_up
from metier.control.tools import Tools
from metier.control.transfers import Tracking, untracked
from metier.control.workers import Answer, Task, Workers
from metier.control.world import Clock
from metier.domain.actions import StartGuest, Work
from metier.domain.fleet import Fleet
from metier.planner.effects import DEADLINES_S, UNSURE_START_S, Failed

THREADS = 32
"""Enough for many slow devices at once; each hung one costs at most its endpoint's share."""

HANDS_PER_ENDPOINT = 4
"""Hosts do a few things at once well, and many at once badly."""

EYES_PER_QUESTION = 2
"""One look that was given up and hangs still must not keep the next from being tried."""

CHECK_DEADLINES = timedelta(seconds=1)
"""How often deadlines are looked at while something is in flight."""


TOLD_EVERY = timedelta(seconds=UNSURE_START_S / 3)
"""How often it is told that a start which was given up hangs on: well within what one is thought to take."""


class Pool(Protocol):
    """Where calls are made: `Workers`, or in a simulation virtual time."""

    def submit(self, task: Task) -> None:
        """Queue a task; its key must not be in flight already."""

    def give_up(self, now: datetime) -> list[Task]:
        """Return the tasks whose deadline has passed, once each; their answers will be dropped."""

    def is_stuck(self, subject: Hashable) -> bool:
        """Say whether a call that was given up is still at work on `subject`: it may yet change it."""

    def in_flight(self) -> int:
        """Return how many tasks wait or run."""

    def close(self) -> None:
        """Begin no further task."""


class MakePool(Protocol):
    """Makes a pool that calls `answer` once per task, unless `give_up` reported it first."""

    def __call__(self, answer: Answer, /, *, threads: int, per_endpoint: int) -> Pool:
        """Return a pool of so many calls at once, in all and for each endpoint."""


class Crew:
    """Work and looks in flight; their results go to the inbox."""

    def __init__(
        self,
        inbox: Inbox,
        tools: Tools,
        clock: Clock,
        make_pool: MakePool = Workers,
        tracking: Tracking = untracked,
    ) -> None:
        self._inbox, self._tools, self._clock, self._tracking = inbox, tools, clock, tracking
        self._works: dict[Hashable, Work] = {}
        self._lost_starts: list[Work] = []
        self._told = clock.now()
        self._questions: dict[Hashable, Question] = {}
        self._hands = make_pool(self._done, threads=THREADS, per_endpoint=HANDS_PER_ENDPOINT)
        self._eyes = make_pool(self._seen, threads=THREADS, per_endpoint=EYES_PER_QUESTION)

    def carry_out(self, action_id: int, action: Work, fleet: Fleet) -> None:
        """Begin an action that was recorded as pending under `action_id`.

        While an earlier one that was given up is still at work on the node, nothing else is
        begun there: it could undo what comes after it.
        """
        if self._hands.is_stuck(action.node):
            reason = f"an earlier order to {action.node} was given up and is still under way"
            self._inbox.put(Settled(action_id, action, Failed(reason)))
            return
        node = fleet.nodes[action.node]
        limit = timedelta(seconds=DEADLINES_S[type(action)])
        deadline = self._clock.now() + limit
        self._works[action_id] = action
        endpoint = node.host or node.name
        call = partial(execute, action, fleet, self._tools, self._tracking)
        what = type(action).__name__
        task = Task(action_id, endpoint, call, deadline, subject=node.name, what=what, limit=limit)
        self._hands.submit(task)

    def look(self, question: Question, fleet: Fleet) -> None:
        """Put a question to its driver."""
        tools, clock = self._tools, self._clock
        limit = timedelta(seconds=2 * TIMEOUT_S)
        deadline = clock.now() + limit
        self._questions[question] = question
        call = partial(ask, question, fleet, tools, clock)
        self._eyes.submit(Task(question, question, call, deadline, what=question.probe, limit=limit))

    def give_up(self, now: datetime) -> list[Message]:
        """Return, for everything past its deadline, what has to be taken for granted."""
        messages: list[Message] = []
        for task in self._hands.give_up(now):
            action = self._works.pop(task.key)
            assert isinstance(task.key, int)
            reason = f"no answer within {DEADLINES_S[type(action)]} s"
            if not task.running:
                reason = f"it was not begun within {DEADLINES_S[type(action)]} s: earlier calls there hang"
            messages.append(Settled(task.key, action, Failed(reason, unsure=task.running)))
            if task.running and isinstance(action, StartGuest):
                self._lost_starts.append(action)
        messages += [gave_up(self._questions.pop(task.key), now) for task in self._eyes.give_up(now)]
        return messages + self._still_under_way(now)

    def _still_under_way(self, now: datetime) -> list[Message]:
        """Return, now and then, which starts that were given up have not come back yet."""
        self._lost_starts = [action for action in self._lost_starts if self._hands.is_stuck(action.node)]
        if now - self._told < TOLD_EVERY:
            return []
        self._told = now
        return [UnderWay(action) for action in self._lost_starts]

    def next_look(self, now: datetime) -> datetime | None:
        """Return when deadlines should be looked at; None while nothing is in flight."""
        busy = self._hands.in_flight() or self._eyes.in_flight() or self._lost_starts
        return now + CHECK_DEADLINES if busy else None

    def in_flight(self) -> int:
        """Return how many actions are being carried out."""
        return self._hands.in_flight()

    def close(self) -> None:
        """Begin nothing more."""
        self._hands.close()
        self._eyes.close()

    def _done(self, key: Hashable, outcome: Any) -> None:
        assert isinstance(key, int)
        self._inbox.put(Settled(key, self._works.pop(key), outcome))

    def _seen(self, key: Hashable, sight: Any) -> None:
        self._questions.pop(key)
        self._inbox.put(sight)
