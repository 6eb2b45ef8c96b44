"""Looks ahead: the production loop, in virtual time, on a sketch of the site as it is.

Nothing is broken on purpose: whatever is started works.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from metier.control.observe import CALM_S
from metier.control.round import Round
from metier.control.services import Foresee
from metier.control.world import RunningClock
from metier.domain import actions as act
from metier.domain.fleet import Fleet, Kind
from metier.domain.forecast import Duration, Forecast, Foreseen
from metier.domain.ids import NodeId, natural
from metier.domain.job import FINAL
from metier.domain.lifecycle import Event, Lifecycle
from metier.domain.node import Node
from metier.domain.plan import Waiting
from metier.domain.timing import Activity, TimingId, subject_of
from metier.planner.effects import moved
from metier.planner.timings import ACTIVITIES
from metier.sim.clock import Agenda, VirtualClock
from metier.sim.controller import step
from metier.sim.foreseer import Foreseer
from metier.sim.outages import Outages
from metier.sim.pace import whole
from metier.sim.sketch import Sketch

LONGEST_S = 24 * 3600.0
"""What would take longer than a day is not foreseen."""

MOST_TURNS = 4000
"""A look ahead ends after so many rounds: it runs beside the control thread and must not go on for ever."""

QUIET = timedelta(seconds=30)
"""Rest is so long without work or decisions: longer than looks that make a usual tier's member failed."""

PATIENCE = timedelta(minutes=15)
"""So long after the last thing that was done the deadlines of nodes on their way are waited for."""

TRIES = 3
"""Work that was in vain so often in a row on a node is no progress when it is tried again."""

MOST_REAL_S = 5.0
"""A running controller's look ahead is broken off after so many real seconds: it slows the control thread."""

_ON_THE_WAY = frozenset(
    {
        Lifecycle.INVENTORYING,
        Lifecycle.PREPARING,
        Lifecycle.PREPARED,
        Lifecycle.BOOTING,
        Lifecycle.STARTING,
        Lifecycle.STOPPING,
    }
)


def forecast(
    fleet: Fleet,
    now: datetime,
    *,
    longest_s: float = LONGEST_S,
    most_turns: int = MOST_TURNS,
    is_enough: Callable[[], bool] = lambda: False,
) -> Forecast:
    """Return all that follows from `fleet` at `now`, until nothing is to be done and nothing under way.

    Nothing is touched, and the same fleet and moment give the same forecast.  What needs
    nothing but time, such as switching off a node once it was idle for long, is not foreseen.
    If it is broken off, it tells what follows up to there, and a note says so.

    Args:
        fleet: What is wanted, known and decided.
        now: The moment from which times are counted.
        longest_s: How far to look, in seconds.
        most_turns: How many rounds of the loop to look at.
        is_enough: Asked before each round whether to break off.
    """
    begun = _with_nothing_in_flight(fleet, now)
    agenda = Agenda(VirtualClock(now))
    controller = Foreseer(begun, Sketch(begun, agenda.clock), agenda)
    log = _Log(controller, begun, now)
    end = now + timedelta(seconds=longest_s)
    is_over = _run(controller, log, end, lambda: controller.engine.rounds >= most_turns or is_enough())
    broken_off = () if is_over else (_broken_off(log.seconds(agenda.clock.now())),)
    return Forecast(
        actions=tuple(log.actions),
        waiting=_waiting(controller.engine.last),
        dips=log.outages.dips(),
        displaced=log.outages.displaced(),
        durations=_durations(fleet, log),
        seconds=log.seconds(log.last),
        notes=(*_jobs_at_work(fleet), *broken_off),
    )


def forecast_within(clock: RunningClock, real_s: float = MOST_REAL_S) -> Foresee:
    """Return what foresees as far as it can in so many real seconds."""

    def foresee(fleet: Fleet, now: datetime) -> Forecast:
        began = clock.now()

        def is_enough() -> bool:
            return clock.real_s((clock.now() - began).total_seconds()) >= real_s

        return forecast(fleet, now, is_enough=is_enough)

    return foresee


def _with_nothing_in_flight(fleet: Fleet, now: datetime) -> Fleet:
    """Return a fleet in which calls under way were not made yet: they are made first thing.

    Jobs are left out: nobody knows how long one takes.
    """
    draft = fleet.edit()
    for job in fleet.jobs.values():
        if job.state not in FINAL:
            draft.put(Kind.JOB, job.id, None)
    for node in fleet.nodes.values():
        is_starting = node.pending is not None and node.pending.action == act.StartGuest.__name__
        if is_starting and node.lifecycle is Lifecycle.BOOTING:
            # A controller that starts anew has to doubt whether the VM was started; here it was not.
            draft.put_node(moved(node, Event.UNSURE, now, pending=None))
    return draft.freeze()


def _run(controller: Foreseer, log: "_Log", end: datetime, is_enough: Callable[[], bool]) -> bool:
    """Let time pass until there is rest; False if it was broken off before."""
    while not is_enough():
        if not controller.busy() and controller.next_event() > log.rest_at() and not log.has_to_wait():
            return True
        if not step(controller.agenda, [controller], end):
            return False
        log.look()
    return False


class _Tries(NamedTuple):
    """How often the same was tried on a node that came no further."""

    work: type[act.Work]
    since: datetime | None
    times: int


class _Log:
    """What a look ahead has shown so far.

    Attributes:
        last: When something was last decided or done.
        timed: What took time.
    """

    def __init__(self, controller: Foreseer, fleet: Fleet, now: datetime) -> None:
        self.actions: list[Foreseen] = []
        self.timed: dict[TimingId, None] = {}
        self.outages = Outages(fleet)
        self.last = self._began = self._deadline = now
        self._controller = controller
        self._tries: dict[NodeId, _Tries] = {}
        self._is_at_work = False
        looks = max((tier.failure_threshold for tier in fleet.tiers.values()), default=0) + 1
        self._quiet = min(PATIENCE, max(QUIET, looks * timedelta(seconds=CALM_S + 1)))
        controller.watchers.append(self._note)

    def seconds(self, moment: datetime) -> float:
        """Return how long after the beginning a moment is."""
        return round((moment - self._began).total_seconds(), 1)

    def look(self) -> None:
        """Take note of work that has ended."""
        if self._is_at_work and not self._controller.busy():
            self._is_at_work, self.last = False, self._now()

    def rest_at(self) -> datetime:
        """Return when there is rest, if nothing happens before."""
        sketch = self._controller.datacentre
        assert isinstance(sketch, Sketch)
        return max(self.last, sketch.until, self._deadline) + self._quiet

    def has_to_wait(self) -> bool:
        """Say whether a node on its way has a deadline to come, and wait for it."""
        wakes = self._controller.engine.last.plan.wake
        latest = self.last + PATIENCE
        coming = [at for at, name in wakes if self._deadline < at <= latest and self._is_on_its_way(name)]
        self._deadline = min(coming, default=self._deadline)
        return bool(coming)

    def _is_on_its_way(self, name: str) -> bool:
        fleet = self._controller.fleet
        node = fleet.nodes.get(NodeId(name))
        if node is None or node.lifecycle not in _ON_THE_WAY:
            return False
        is_given_up = node.retry is not None and node.retry.attempts >= TRIES
        return not is_given_up and (node.name not in self._tries or self._tries[node.name].times <= TRIES)

    def _note(self, before: Fleet, finished: Round) -> None:
        at_s = self.seconds(self._now())
        for action in finished.plan.actions:
            was, node = before.nodes.get(action.node), finished.fleet.nodes.get(action.node)
            if was is not None and isinstance(action, act.Work) and self._is_in_vain(action, was):
                continue
            self.last = self._now()
            self.actions.append(Foreseen(action, at_s))
            running = before.stopwatches.get(action.node)
            if running is not None and was is not None:  # it ends what was begun before, maybe before now
                self._time(running.activity, was)
            if isinstance(action, act.Work) and node is not None:
                self._is_at_work = True
                self._time(ACTIVITIES[type(action)], node)
        self.outages.follow(finished, at_s)

    def _is_in_vain(self, action: act.Work, was: Node) -> bool:
        """Say whether the same was tried often enough, and the node is as it was before."""
        known = self._tries.get(was.name)
        tries = _Tries(type(action), was.since, 1)
        if known is not None and known[:2] == tries[:2]:
            tries = tries._replace(times=known.times + 1)
        self._tries[was.name] = tries
        return tries.times > TRIES

    def _time(self, activity: Activity, node: Node) -> None:
        subject = subject_of(activity, node)
        if subject is not None:
            self.timed[TimingId(activity, subject)] = None

    def _now(self) -> datetime:
        return self._controller.agenda.clock.now()


def _durations(fleet: Fleet, log: _Log) -> tuple[Duration, ...]:
    found = [whole(fleet, activity, subject) for activity, subject in log.timed]
    return tuple(sorted(found, key=lambda one: (-one.seconds, one.activity, natural(one.subject))))


def _waiting(last: Round) -> tuple[Waiting, ...]:
    rejected = [finding for finding in last.plan.findings if finding.code == "plan-rejected"]
    return (*last.plan.waiting, *(Waiting(one.subject, one.message, one.code) for one in rejected))


def _jobs_at_work(fleet: Fleet) -> list[str]:
    return [
        f"job {job.id}, {job.kind} of {job.subject}, is not foreseen: how long it takes is not known"
        for job in sorted(fleet.jobs.values(), key=lambda job: job.id)
        if job.state not in FINAL
    ]


def _broken_off(seconds: float) -> str:
    return f"it was not looked further than {seconds:.0f} s ahead: there is no rest before"
