"""A controller in virtual time: the real rounds and a stored Fleet, over a simulated world.

It does in one thread what `control/loop.py` does with many: a second passes, work that
was begun ends, questions that were asked are answered, and `run_round` decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from metier.control.alerts import AlertBook
from metier.control.inbox import Inbox, Message, Order, Settled
from metier.control.jobs import JobThread
from metier.control.observe import Probe, Question, Schedule, Sight
from metier.control.recovery import take_over
from metier.control.round import Memory, Round, run_round, touched_nodes
from metier.domain.actions import Work
from metier.domain.errors import MetierError, NoSuchThing
from metier.domain.fleet import Draft
from metier.domain.ids import ImageRef
from metier.domain.image import Image
from metier.domain.job import JobState
from metier.domain.plan import Plan, Waiting
from metier.drivers.hypervisor.api import VmReport
from metier.matrix.api import ImportOrder, Report
from metier.operations.registry import Caller, Operation, Outcome, Row, View
from metier.planner.foresee import foresee
from metier.planner.incremental import Planner
from metier.sim.world import World
from tests.builders import an_image
from tests.scenarios.records import MemoryStore

TICK = timedelta(seconds=1)
WORK_ENDS = timedelta(seconds=0.5)
LOOKS_END = timedelta(seconds=0.75)


@dataclass(slots=True)
class VirtualClock:
    """Says what time the story has."""

    moment: datetime

    def now(self) -> datetime:
        """Return the story's moment."""
        return self.moment


class PaperMatrix:
    """An image matrix that believes every archive."""

    def import_image(self, order: ImportOrder, report: Report) -> Image:
        """Return an image with what the order says of it."""
        report("unpacking", 0, None)
        least = order.minimum_memory_mib or 256
        return an_image(
            str(order.ref),
            type=order.type,
            created=order.created,
            requirements=replace(order.requirements, memory_mib=least),
            startup_s=order.startup_s,
            collectors=order.collectors,
            source=order.archive.name,
        )

    def folder(self, ref: ImageRef) -> Path:
        """Return where nothing is."""
        return Path(str(ref))

    def verify(self, image: Image, report: Report) -> Sequence[str]:
        """Find nothing wrong."""
        return []

    def delete(self, ref: ImageRef) -> None:
        """Have nothing to delete."""

    def sweep(self, known: Any) -> Sequence[str]:
        """Have nothing to sweep."""
        return []


class VirtualController:
    """Keeps `Controller`; time passes only when it is told so.

    Attributes:
        rounds: How many there were.
        in_flight: Work that was begun and that the world has not done yet.
        watchers: Called in every round, `True` once it is stored and `False` just before.
    """

    def __init__(self, store: MemoryStore, world: World, now: datetime) -> None:
        self.store, self.world, self.clock = store, world, VirtualClock(now)
        epoch = store.hold("the story")
        self.fleet = take_over(store, store.load(), now)
        self.rounds = 0
        self.watchers: list[Callable[[bool], None]] = []
        self.in_flight: list[tuple[int, Work]] = []
        self.last = Round(self.fleet, Plan(), {})
        self._memory = Memory(Planner(epoch), AlertBook(self.fleet))
        self._schedule = Schedule()
        self._schedule.follow(self.fleet, self.fleet.nodes, now)
        self._asked: list[Question] = []
        self._inbox = Inbox()
        self._matrix = PaperMatrix()
        self._wake: datetime | None = now

    # --- the Controller protocol ------------------------------------------------

    def view(self) -> View:
        """Return the last finished round."""
        waiting: dict[str, list[Waiting]] = {}
        for one in self.last.plan.waiting:
            waiting.setdefault(one.subject, []).append(one)
        frozen = {subject: tuple(waits) for subject, waits in waiting.items()}
        return View(self.fleet, self.last.plan, frozen, self.clock.now(), self)

    def change(self, operation: Operation, arguments: Any, caller: Caller) -> Outcome:
        """Carry out a change in a round of its own."""
        order = Order(operation, arguments, caller)
        self._inbox.put(order)
        self._round([], self.clock.now())
        return order.reply.result(0)

    def preview(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Outcome, Plan]:
        """Return what a change would answer, and what would follow."""
        assert operation.change is not None
        draft = self.fleet.edit()
        answer = operation.change(draft, arguments, caller)
        return answer, foresee(draft.freeze(), self.clock.now())

    def wait_for_change(self, generation: int, timeout_s: float) -> int:
        """Return at once: whoever waits lets time pass himself."""
        return self.fleet.generation

    def journal(self, *, after: int, limit: int, subject: str | None, newest: bool) -> Sequence[Row]:
        """Return journal entries as event rows."""
        ask = self.store.journal_tail(limit=limit, subject=subject)
        entries = ask if newest else self.store.journal(after=after, limit=limit, subject=subject)
        return [
            {
                "id": e.id,
                "at": e.at.isoformat(),
                "kind": e.kind,
                "subject": e.subject,
                "message": e.message,
                "by": e.by,
            }
            for e in entries
        ]

    def console(self, node: str) -> str:
        """Refuse: nothing here has a console."""
        raise NoSuchThing(f"{node} has no console in a story")

    # --- time ---------------------------------------------------------------------

    def tick(self) -> None:
        """Let a second pass: work and looks end, and a round follows if anything gives cause."""
        before = self.clock.now()
        messages: list[Message] = [*self.end_work(before + WORK_ENDS), *self._answers(before + LOOKS_END)]
        self.clock.moment = now = before + TICK
        due = [moment for moment in (self._wake, self._schedule.next_due()) if moment is not None]
        if messages or any(moment <= now for moment in due):
            self._round(messages, now)

    def end_work(self, now: datetime) -> list[Settled]:
        """Let the world do what was begun; returns how it went."""
        flying, self.in_flight = self.in_flight, []
        nodes = self.fleet.nodes
        return [
            Settled(number, action, self.world.carry_out(nodes[action.node], action, now))
            for number, action in flying
            if action.node in nodes
        ]

    def _answers(self, now: datetime) -> list[Sight]:
        shown = self.fleet.edit()
        self.world.show(shown, now)
        asked, self._asked = self._asked, []
        return [_sight(question, shown, now) for question in asked if question.node in shown.nodes]

    def _round(self, messages: Sequence[Message], now: datetime) -> None:
        messages = [*messages, *self._inbox.take(now, now)]
        result = run_round(self.fleet, messages, self._memory, now)
        self.rounds += 1
        self._tell_watchers(is_stored=False)
        self.store.save(result.changes, result.fleet.generation, result.entries)
        self._adopt(result, messages, now)
        self._tell_watchers(is_stored=True)

    def _tell_watchers(self, *, is_stored: bool) -> None:
        for watch in self.watchers:
            watch(is_stored)

    def _adopt(self, result: Round, messages: Sequence[Message], now: datetime) -> None:
        self.fleet, self.last, self._wake = result.fleet, result, result.wake
        self.in_flight += result.begun
        self._work_off_jobs()
        for message in messages:
            if isinstance(message, Sight):
                self._schedule.answered(message.question, now)
        self._schedule.follow(self.fleet, touched_nodes(self.fleet, result.changes), now)
        for host in result.nudged:
            self._schedule.at_once(Question(Probe.VMS, host), now)
            self._schedule.at_once(Question(Probe.POWER, host), now)
        self._asked += self._schedule.take_due(now)
        for order, answer in result.replies:
            if isinstance(answer, MetierError):
                order.reply.set_exception(answer)
            else:
                order.reply.set_result(answer)

    def _work_off_jobs(self) -> None:
        """Do queued jobs at once, in this thread; what they tell is in the next round."""
        for job in self.fleet.jobs.values():
            if job.state is JobState.QUEUED:
                JobThread(job, self.fleet, self._inbox, self._matrix, self.clock).run()
                self._wake = self.clock.now()


def _sight(question: Question, shown: Draft, now: datetime) -> Sight:
    """Return what the world shows to one question."""
    seen = shown.seen(question.node)
    match question.probe:
        case Probe.POWER:
            return Sight(question, now, error=seen.power_error, power=seen.power)
        case Probe.VMS if not seen.vmm_reachable:
            return Sight(question, now, error=seen.vmm_error)
        case Probe.VMS:
            return Sight(question, now, report=VmReport(seen.vms or (), seen.foreign_running))
        case Probe.CHECKS:
            return Sight(question, now, checks=seen.checks)
