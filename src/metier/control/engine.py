"""The control loop without its thread: one controller's state, and one turn of it.

A thread turns it in production, the simulator turns it in virtual time; neither can be
told from in here.  One turn takes what arrived, gives up what is late, runs a round, stores
it, begins what was decided, and asks what is due.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from metier.control.alerts import AlertBook
from metier.control.image_jobs import awaited_images
from metier.control.inbox import Message, Order
from metier.control.observe import Probe, Question, Schedule, Sight
from metier.control.recovery import take_over
from metier.control.round import Memory, Round, run_round, touched_nodes
from metier.control.sealing import Sealer
from metier.control.tools import Tools
from metier.control.world import Clock
from metier.domain.actions import Work
from metier.domain.errors import MetierError, Refusal, chain
from metier.domain.fleet import Draft, Fleet
from metier.domain.plan import Plan, Waiting
from metier.operations.registry import Caller, Operation, Services, View
from metier.operations.registry import Outcome as Answer
from metier.planner.incremental import Planner
from metier.store.api import Store

LONGEST_SLEEP = timedelta(seconds=60)
"""Even when nothing is due the loop looks at its deadlines this often."""

STORE_PAUSE = timedelta(seconds=2)
"""After a failed save the loop waits this long before it tries again."""

HOLD_LOST = "hold-lost"
"""Code of a store's refusal to a controller that another one has replaced."""

JOURNAL_KEPT = 1_000_000
"""Entries: months of a busy site in some 200 MB."""

TRIM_EVERY = timedelta(hours=1)

log = structlog.get_logger()


class Crew(Protocol):
    """Whoever carries work out and looks around; results come by the inbox."""

    def carry_out(self, action_id: int, action: Work, fleet: Fleet) -> None:
        """Begin an action that was recorded as pending under `action_id`."""

    def look(self, question: Question, fleet: Fleet) -> None:
        """Put a question to its driver."""

    def give_up(self, now: datetime) -> list[Message]:
        """Return, for everything past its deadline, what has to be taken for granted."""

    def next_look(self, now: datetime) -> datetime | None:
        """Return when deadlines should be looked at; None while nothing is in flight."""


class Desk(Protocol):
    """Whoever works off jobs."""

    def follow(self, fleet: Fleet) -> None:
        """Begin queued jobs while there is room, and pass cancel requests on."""


class Engine:
    """One controller's control loop, turned by its owner and by nobody else at the same time.

    Attributes:
        fleet: The last finished snapshot.
        last: The last finished round.
        rounds: How many rounds were run.
        is_lost: Another controller took the store over; this one must do nothing more.
    """

    def __init__(
        self, store: Store, tools: Tools, clock: Clock, crew: Crew, jobs: Desk, *, holder: str
    ) -> None:
        """Become the store's writer and drop what an earlier run had in flight.

        Raises:
            Refusal: Another controller holds the store.
        """
        self._store, self._tools, self._clock, self._crew, self._jobs = store, tools, clock, crew, jobs
        self._sealer = Sealer(tools.vault, tools.secrets)
        now = clock.now()
        epoch = store.hold(holder)
        fleet = store.load()
        self.fleet = take_over(store, fleet, now, tools.matrix.sweep(fleet.images, awaited_images(fleet)))
        self.last = Round(self.fleet, Plan(), {})
        self.rounds = 0
        self.is_lost = False
        self._memory = Memory(Planner(epoch), AlertBook(self.fleet))
        self._schedule = Schedule()
        self._schedule.follow(self.fleet, self.fleet.nodes, now)
        self._kept: list[Message] = []
        self._wake: datetime | None = now
        self._is_stored = True
        self._trimmed_at = now

    def next_turn(self, now: datetime) -> datetime:
        """Return when to turn at the latest, if nothing arrives before."""
        moments = [self._wake, self._schedule.next_due(), self._crew.next_look(now), now + LONGEST_SLEEP]
        # What was due when a round could not be stored is due still: then only the pause counts.
        return min(moment for moment in (moments if self._is_stored else moments[:1]) if moment is not None)

    def turn(self, arrived: Sequence[Message], now: datetime) -> Round | None:
        """Take what arrived and do what follows; None if it could not be stored, and then nothing was done.

        What arrived is kept for the next turn in that case, but for orders: those are answered.
        """
        messages = [*self._kept, *arrived, *self._crew.give_up(now)]
        finished = self._round(messages, now)
        self.rounds += 1
        self._is_stored = finished is not None
        self._wake = finished.wake if finished else now + STORE_PAUSE
        self._kept = [] if finished else [message for message in messages if not isinstance(message, Order)]
        return finished

    def rehearse(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Draft, Answer]:
        """Make a change on a draft that is thrown away; from any thread, for it may ask outside.

        Raises:
            MetierError: The change is refused.
        """
        change = self._sealer.sealing(operation).change
        assert change is not None
        fleet = self.fleet
        draft = fleet.edit()
        answer = change(draft, arguments, caller)
        self._tools.validate(fleet, draft.changes)
        return draft, answer

    def pause_of(self, question: Question) -> float | None:
        """Return how many seconds pass between two looks; None if it is not looked at."""
        return self._schedule.pause_of(question)

    def let_rest(self, question: Question) -> bool:
        """Take a question for answered, and ask it when `look_at` says; False if it is due again already."""
        return self._schedule.let_rest(question)

    def look_at(self, question: Question, moment: datetime) -> None:
        """Put a question at a moment, or before; nothing happens if it is not looked at."""
        self._schedule.at_once(question, moment)

    def _round(self, messages: Sequence[Message], now: datetime) -> Round | None:
        result = run_round(self.fleet, [self._sealing(message) for message in messages], self._memory, now)
        if result.changes or result.entries:
            try:
                self._store.save(result.changes, result.fleet.generation, result.entries)
            except MetierError as error:
                self._not_stored(messages, error)
                return None
            except Exception as error:  # the loop must not end while the API goes on answering
                log.exception("round not stored")
                self._not_stored(messages, Refusal(f"internal error: {chain(error)}", code="internal"))
                return None
            self._trim(now)
        self._adopt(result, messages, now)
        return result

    def _sealing(self, message: Message) -> Message:
        """Return an order that records no secret in clear; other messages as they are."""
        if not isinstance(message, Order):
            return message
        return replace(message, operation=self._sealer.sealing(message.operation))

    def _not_stored(self, messages: Sequence[Message], error: MetierError) -> None:
        log.error("round not stored", error=chain(error))
        # What was planned did not happen: plan everything anew from what is stored.  The planner
        # stays, for its action ids must not come twice.
        before = self._memory
        self._memory = Memory(before.planner, AlertBook(self.fleet), sight=before.sight, room=before.room)
        for message in messages:
            if isinstance(message, Order):
                message.reply.set_exception(error)
        self.is_lost = self.is_lost or error.code == HOLD_LOST

    def _trim(self, now: datetime) -> None:
        if now - self._trimmed_at >= TRIM_EVERY:
            self._trimmed_at = now
            try:
                self._store.trim(JOURNAL_KEPT)
            except MetierError as error:  # the round itself is stored; an hour later is soon enough
                log.warning("journal not trimmed", error=chain(error))

    def _adopt(self, result: Round, messages: Sequence[Message], now: datetime) -> None:
        before, self.fleet, self.last = self.fleet, result.fleet, result
        for action_id, action in result.begun:
            self._crew.carry_out(action_id, action, self.fleet)
        self._jobs.follow(self.fleet)
        self._look(result, messages, now)
        for name in touched_nodes(before, result.changes):
            if name not in self.fleet.nodes:
                self._tools.drivers.forget(name)

    def _look(self, result: Round, messages: Sequence[Message], now: datetime) -> None:
        for message in messages:
            if isinstance(message, Sight):
                self._schedule.answered(message.question, now)
        self._schedule.follow(self.fleet, touched_nodes(self.fleet, result.changes), now)
        for host in result.nudged:
            self._schedule.at_once(Question(Probe.VMS, host), now)
            self._schedule.at_once(Question(Probe.POWER, host), now)
        for question in self._schedule.take_due(now):
            self._crew.look(question, self.fleet)


def answer_orders(result: Round) -> None:
    """Tell those who gave orders how they went; after the round is to be seen."""
    for order, answer in result.replies:
        if isinstance(answer, MetierError):
            order.reply.set_exception(answer)
        else:
            order.reply.set_result(answer)


def turn_away(messages: Iterable[Message]) -> None:
    """Refuse the orders among `messages`, for the controller ends."""
    for message in messages:
        if isinstance(message, Order):
            message.reply.set_exception(ended())


def ended() -> Refusal:
    """Return what an order meets that nobody will take any more."""
    return Refusal("the controller is stopping", remedy="try again when it runs")


def view_of(fleet: Fleet, plan: Plan, now: datetime, services: Services) -> View:
    """Return what readers see of a finished round."""
    waiting: dict[str, list[Waiting]] = {}
    for one in plan.waiting:
        waiting.setdefault(one.subject, []).append(one)
    return View(fleet, plan, {subject: tuple(waits) for subject, waits in waiting.items()}, now, services)
