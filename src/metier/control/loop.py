"""The control thread: observe, plan, check, store, execute, again; woken by time or by a message."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import structlog

from metier.control.alerts import AlertBook
from metier.control.crew import Crew
from metier.control.inbox import Inbox, Message, Nudge, Order
from metier.control.jobs import Jobs
from metier.control.observe import Probe, Question, Schedule, Sight
from metier.control.recovery import take_over
from metier.control.round import Memory, Round, run_round, touched_nodes
from metier.control.services import LoopServices
from metier.control.tools import Tools
from metier.control.world import Clock
from metier.domain.errors import MetierError, Refusal, chain
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import NodeId
from metier.domain.plan import Plan, Waiting
from metier.operations.registry import Caller, Operation, View
from metier.operations.registry import Outcome as Answer
from metier.planner.foresee import foresee
from metier.planner.incremental import Planner
from metier.store.api import Store

LONGEST_SLEEP = timedelta(seconds=60)
"""Even when nothing is due the loop looks at its deadlines this often."""

STORE_PAUSE = timedelta(seconds=2)
"""After a failed save the loop waits this long before it tries again."""

CHANGE_TIMEOUT_S = 60.0
"""How long an operator's change may wait for the control thread before it is called lost."""

HOLD_LOST = "hold-lost"
"""Code of a store's refusal to a controller that another one has replaced."""

JOURNAL_KEPT = 1_000_000
"""Entries: months of a busy site in some 200 MB."""

TRIM_EVERY = timedelta(hours=1)

log = structlog.get_logger()


class Loop:
    """One controller's control loop.  It owns the Fleet; everybody else reads its last view."""

    def __init__(
        self,
        store: Store,
        tools: Tools,
        clock: Clock,
        *,
        holder: str,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Become the store's writer, drop what an earlier run had in flight, and get ready to run.

        `lost` is called, once and from the control thread, when another controller took the
        store over: this one then does nothing more and should end.

        Raises:
            Refusal: Another controller holds the store.
        """
        self._store, self._tools, self._clock = store, tools, clock
        epoch = store.hold(holder)
        self._fleet = _taken_over(store, tools, clock)
        self._inbox = Inbox()
        self._crew = Crew(self._inbox, tools, clock)
        self._jobs = Jobs(self._inbox, tools.matrix, clock)
        self._schedule = Schedule()
        self._memory = Memory(Planner(epoch), AlertBook(self._fleet))
        self._services = LoopServices(store, tools, self.fleet)
        self._view = self._make_view(Plan())
        self._changed = threading.Condition()
        self._lost = lost
        self._trimmed_at = clock.now()
        self._stopping = False
        self._rounds = 0
        self._round_s = 0.0
        self._thread = threading.Thread(target=self._run, name="metier-control", daemon=True)

    # --- the Controller protocol: called from any thread ---

    def start(self) -> None:
        """Begin the rounds."""
        self._tools.drivers.notify(self._nudge)
        self._thread.start()

    def stop(self) -> None:
        """End after the round at hand; work in flight is left to the next run, which looks first."""
        self._stopping = True
        self._inbox.close()
        self._thread.join()
        now = self._clock.now()
        _turn_away(self._inbox.take(now, now))
        with self._changed:
            self._changed.notify_all()
        self._jobs.close()
        self._crew.close()
        self._tools.drivers.close()
        self._store.close()

    def is_ready(self) -> bool:
        """Say whether a round was finished, and the loop still runs."""
        return self._rounds > 0 and self._thread.is_alive()

    def figures(self) -> Mapping[str, float]:
        """Return what the loop measured of itself."""
        return {"rounds": self._rounds, "round_seconds": self._round_s, "in_flight": self._crew.in_flight()}

    def fleet(self) -> Fleet:
        """Return the last finished snapshot."""
        return self._fleet

    def view(self) -> View:
        """Return the last finished round."""
        return self._view

    def change(self, operation: Operation, arguments: Any, caller: Caller) -> Answer:
        """Carry out a change and return once it is stored; raises MetierError, and then nothing changed."""
        self._rehearse(operation, arguments, caller)
        order = Order(operation, arguments, caller, Future())
        if not self._inbox.put(order):
            raise _ended()
        try:
            return order.reply.result(CHANGE_TIMEOUT_S)
        except TimeoutError as error:
            remedy = "look at the controller's log; see whether the change was made before you repeat it"
            raise Refusal(
                "the control loop did not answer in time", code="no-answer", remedy=remedy
            ) from error

    def preview(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Answer, Plan]:
        """Return what a change would answer, and all that would follow from it; changes nothing."""
        draft, answer = self._rehearse(operation, arguments, caller)
        return answer, foresee(draft.freeze(), self._clock.now())

    def wait_for_change(self, generation: int, timeout_s: float) -> int:
        """Return the Fleet's generation once it differs from `generation`, or at the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: self._fleet.generation != generation or self._stopping, timeout_s)
        return self._fleet.generation

    def _rehearse(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Draft, Answer]:
        """Make a change on a draft that is thrown away; in the caller's thread, for it may ask outside."""
        assert operation.change is not None
        fleet = self._fleet
        draft = fleet.edit()
        answer = operation.change(draft, arguments, caller)
        self._tools.validate(fleet, draft.changes)
        return draft, answer

    def _nudge(self, host: NodeId) -> None:
        self._inbox.put(Nudge(host))

    # --- the control thread ---

    def _run(self) -> None:
        self._schedule.follow(self._fleet, self._fleet.nodes, self._clock.now())
        kept: list[Message] = []
        wake: datetime | None = self._clock.now()
        is_stored = True
        while True:
            now = self._clock.now()
            moments = [wake, self._schedule.next_due(), self._crew.next_look(now), now + LONGEST_SLEEP]
            # What was due when a round could not be stored is due still: then only the pause counts.
            until = min(moment for moment in (moments if is_stored else moments[:1]) if moment is not None)
            messages = kept + self._inbox.take(now, until)
            if self._stopping:
                _turn_away(messages)
                return
            now = self._clock.now()
            messages += self._crew.give_up(now)
            finished = self._round(messages, now)
            self._rounds += 1
            self._round_s = (self._clock.now() - now).total_seconds()
            is_stored = finished is not None
            wake = finished.wake if finished else now + STORE_PAUSE
            kept = [] if finished else [message for message in messages if not isinstance(message, Order)]

    def _round(self, messages: Sequence[Message], now: datetime) -> Round | None:
        """Run one round; None when it could not be stored, and then nothing of it happened."""
        result = run_round(self._fleet, messages, self._memory, now)
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

    def _not_stored(self, messages: Sequence[Message], error: MetierError) -> None:
        log.error("round not stored", error=chain(error))
        self._memory = Memory(self._memory.planner, AlertBook(self._fleet))
        for message in messages:
            if isinstance(message, Order):
                message.reply.set_exception(error)
        if error.code == HOLD_LOST:
            self._stopping = True
            self._inbox.close()
            self._lost()

    def _trim(self, now: datetime) -> None:
        if now - self._trimmed_at >= TRIM_EVERY:
            self._trimmed_at = now
            try:
                self._store.trim(JOURNAL_KEPT)
            except MetierError as error:  # the round itself is stored; an hour later is soon enough
                log.warning("journal not trimmed", error=chain(error))

    def _adopt(self, result: Round, messages: Sequence[Message], now: datetime) -> None:
        before, self._fleet = self._fleet, result.fleet
        self._view = self._make_view(result.plan)
        for action_id, action in result.begun:
            self._crew.carry_out(action_id, action, self._fleet)
        self._jobs.follow(self._fleet)
        self._look(result, messages, now)
        for name in touched_nodes(before, result.changes):
            if name not in self._fleet.nodes:
                self._tools.drivers.forget(name)
        with self._changed:
            self._changed.notify_all()
        for order, answer in result.replies:
            if isinstance(answer, MetierError):
                order.reply.set_exception(answer)
            else:
                order.reply.set_result(answer)

    def _look(self, result: Round, messages: Sequence[Message], now: datetime) -> None:
        for message in messages:
            if isinstance(message, Sight):
                self._schedule.answered(message.question, now)
        self._schedule.follow(self._fleet, touched_nodes(self._fleet, result.changes), now)
        for host in result.nudged:
            self._schedule.at_once(Question(Probe.VMS, host), now)
            self._schedule.at_once(Question(Probe.POWER, host), now)
        for question in self._schedule.take_due(now):
            self._crew.look(question, self._fleet)

    def _make_view(self, plan: Plan) -> View:
        waiting: dict[str, list[Waiting]] = {}
        for one in plan.waiting:
            waiting.setdefault(one.subject, []).append(one)
        frozen = {subject: tuple(waits) for subject, waits in waiting.items()}
        return View(self._fleet, plan, frozen, self._clock.now(), self._services)


def _turn_away(messages: Sequence[Message]) -> None:
    for message in messages:
        if isinstance(message, Order):
            message.reply.set_exception(_ended())


def _ended() -> Refusal:
    return Refusal("the controller is stopping", remedy="try again when it runs")


def _taken_over(store: Store, tools: Tools, clock: Clock) -> Fleet:
    fleet = store.load()
    return take_over(store, fleet, clock.now(), tools.matrix.sweep(fleet.images))
