"""The threads that carry work out and look around, and what is done about those that do not come back."""

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Any

from metier.control.execute import execute
from metier.control.inbox import Inbox, Message, Settled
from metier.control.observe import TIMEOUT_S, Question, ask, gave_up
from metier.control.tools import Tools
from metier.control.workers import Task, Workers
from metier.control.world import Clock
from metier.domain.actions import Work
from metier.domain.fleet import Fleet
from metier.planner.effects import DEADLINES_S, Failed

THREADS = 32
"""Enough for many slow devices at once; each hung one costs at most its endpoint's share."""

CHECK_DEADLINES = timedelta(seconds=1)
"""How often deadlines are looked at while something is in flight."""


class Crew:
    """Work and looks in flight; their results go to the inbox."""

    def __init__(self, inbox: Inbox, tools: Tools, clock: Clock) -> None:
        self._inbox, self._tools, self._clock = inbox, tools, clock
        self._works: dict[Hashable, Work] = {}
        self._questions: dict[Hashable, Question] = {}
        self._hands = Workers(self._done, threads=THREADS)
        self._eyes = Workers(self._seen, threads=THREADS, per_endpoint=2)

    def carry_out(self, action_id: int, action: Work, fleet: Fleet) -> None:
        """Begin an action that was recorded as pending under `action_id`.

        While an earlier one that was given up is still at work on the node, nothing else is
        begun there: it could undo what comes after it.
        """
        if self._hands.is_stuck(action.node):
            reason = f"an earlier order to {action.node} was given up and is still under way"
            self._inbox.put(Settled(action_id, action, Failed(reason)))
            return
        tools = self._tools
        node = fleet.nodes[action.node]
        deadline = self._clock.now() + timedelta(seconds=DEADLINES_S[type(action)])
        self._works[action_id] = action
        endpoint = node.host or node.name
        self._hands.submit(
            Task(action_id, endpoint, lambda: execute(action, fleet, tools), deadline, subject=node.name)
        )

    def look(self, question: Question, fleet: Fleet) -> None:
        """Put a question to its driver."""
        tools, clock = self._tools, self._clock
        deadline = clock.now() + timedelta(seconds=2 * TIMEOUT_S)
        self._questions[question] = question
        self._eyes.submit(Task(question, question, lambda: ask(question, fleet, tools, clock), deadline))

    def give_up(self, now: datetime) -> list[Message]:
        """Return, for everything past its deadline, what has to be taken for granted."""
        messages: list[Message] = []
        for task in self._hands.give_up(now):
            action = self._works.pop(task.key)
            assert isinstance(task.key, int)
            reason = f"no answer within {DEADLINES_S[type(action)]} s"
            messages.append(Settled(task.key, action, Failed(reason, unsure=True)))
        return messages + [gave_up(self._questions.pop(task.key), now) for task in self._eyes.give_up(now)]

    def next_look(self, now: datetime) -> datetime | None:
        """Return when deadlines should be looked at; None while nothing is in flight."""
        busy = self._hands.in_flight() or self._eyes.in_flight()
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
