"""Looks that need not be put, because they would tell nothing new.

A look that told nothing new is not put again and again: it is *parked*, and put again when it would
have been, once something may have changed.  So a calm day costs nothing, and nothing that the loop
decides is another thing, or comes at another time, than if every look were put.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from metier.control.observe import Probe, Question
from metier.domain.ids import NodeId

Refresh = Callable[[list[tuple[Question, datetime]]], None]
"""Gives what was seen by some looks the age that it has."""

Ask = Callable[[Question, datetime], None]
"""Has the loop put a question at a moment, or before."""


@dataclass(slots=True)
class Parked:
    """A look that told nothing new.

    Attributes:
        asked: When it was asked.
        call_s: How long the call took, in seconds.
        pause_s: How long the loop would have waited for the next one, in seconds.
        told: The last look that was told of; the one that was put is number 0.
    """

    question: Question
    asked: datetime
    call_s: float
    pause_s: float
    told: int = -1

    def number(self, moment: datetime) -> int:
        """Return how many looks would have been put and come back by a moment, after the one that was."""
        return max(0, (moment - self.asked - self._call) // self._period)

    def asked_at(self, number: int) -> datetime:
        """Return when the look of a number would be asked."""
        return self.asked + number * self._period

    def back_at(self, number: int) -> datetime:
        """Return when it would come back."""
        return self.asked_at(number) + self._call

    @property
    def _call(self) -> timedelta:
        return timedelta(seconds=self.call_s)

    @property
    def _period(self) -> timedelta:
        return self._call + timedelta(seconds=self.pause_s)


class CarPark:
    """The looks that are parked, by what they look at.

    Before one is put again, `refresh` is told when it would have been put last: what was seen
    then was what was seen before, and only its age is another one.
    """

    def __init__(self, now: Callable[[], datetime], ask: Ask, refresh: Refresh) -> None:
        self._now, self._ask, self._refresh = now, ask, refresh
        self._parked: dict[Question, Parked] = {}
        self._by_host: dict[NodeId, dict[Question, Parked]] = {}
        self._host_of: dict[Question, NodeId] = {}

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, parked: Parked, host: NodeId) -> None:
        """Keep a look at a machine, or at what runs on it."""
        self._parked[parked.question] = parked
        self._by_host.setdefault(host, {})[parked.question] = parked
        self._host_of[parked.question] = host

    def leave(self, question: Question) -> timedelta:
        """Keep a look no longer; returns how long it would be under way by now, zero if it were not."""
        parked = self._parked.get(question)
        if parked is None:
            return timedelta()
        self._catch_up([parked])
        del self._parked[question]
        host = self._host_of.pop(question)
        del self._by_host[host][question]
        if not self._by_host[host]:
            del self._by_host[host]
        now = self._now()
        return max(timedelta(), now - parked.asked_at(parked.number(now) + 1))

    def wake(self, question: Question) -> None:
        """Look again at one thing, at its next usual moment."""
        parked = self._parked.get(question)
        if parked is not None:
            self._wake([parked])

    def wake_machine(self, host: NodeId) -> None:
        """Look again at a machine and all that runs on it, each at its next usual moment."""
        self._wake(self._by_host.get(host, {}).values())

    def wake_machines(self) -> None:
        """Look again at every machine, but at nothing that runs there."""
        self._wake([parked for parked in self._parked.values() if parked.question.probe is not Probe.CHECKS])

    def _wake(self, these: Iterable[Parked]) -> None:
        here, now = list(these), self._now()
        self._catch_up(here)
        for parked in here:
            # One that would be under way now comes back later, and sees what is then.
            self._ask(parked.question, parked.asked_at(parked.number(now) + 1))

    def _catch_up(self, these: Iterable[Parked]) -> None:
        now, looks = self._now(), []
        for parked in these:
            number = parked.number(now)
            if number > parked.told:
                parked.told = number
                looks.append((parked.question, parked.back_at(number)))
        if looks:
            self._refresh(looks)
