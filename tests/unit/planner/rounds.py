"""The planner against a simulated data centre, round after round: what tests of planning are told in.

The real loop has threads, a store and a clock; here a round is a plain step: work ends,
everything is looked at, the planner plans, the checker judges.  Calls and looks are the
production ones.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from metier.control.execute import execute
from metier.control.observe import Probe, Question, ask, record
from metier.control.tools import Tools
from metier.domain import actions as act
from metier.domain.effective import collectors
from metier.domain.errors import Bug
from metier.domain.fleet import Changes, Draft, Fleet
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.plan import Plan
from metier.planner.check import check
from metier.planner.effects import Failed, Outcome, recover, settle
from metier.planner.incremental import Planner, Round
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import SimDrivers, accept
from metier.sim.hypervisor import seed_for
from metier.sim.matrix import SimMatrix

STEP_S = 2
"""Seconds from one round to the next."""

_JUDGED = (Lifecycle.STARTING, Lifecycle.RUNNING, Lifecycle.FAILED)


@dataclass(slots=True)
class InFlight:
    """Work that a driver is doing, and the round in which it ends."""

    action: act.Work
    ends: int


class Rounds:
    """A fleet, its data centre and the loop between them.

    Attributes:
        fleet: As the last round left it.
        last: The last round's plan.
        trace: Every action and outcome so far, one line each.
        sick: Machines that fail the tests they are put to.
    """

    def __init__(self, fleet: Fleet, now: datetime) -> None:
        self.fleet = fleet
        self.clock = VirtualClock(now)
        self.datacentre = DataCentre(self.clock)
        self.last = Plan()
        self.trace: list[str] = []
        self.number = 0
        self.in_flight: list[InFlight] = []
        self.sick: set[NodeId] = set()
        self._planner = Planner(most=1.0)
        self._changes: Changes | None = None
        self._tools = Tools(SimDrivers(self.datacentre), SimMatrix(), seed_for, accept)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def later(self, seconds: float) -> None:
        """Let time pass without a round."""
        self.clock.move(self.now + timedelta(seconds=seconds))

    def edit(self, change: Callable[[Draft], object]) -> None:
        """Let an operator or a test change the fleet between two rounds."""
        draft = self.fleet.edit()
        change(draft)
        self._adopt(draft)

    def round(self, *, takes: Callable[[act.Work], int] = lambda _work: 1) -> Plan:
        """Go round once; work that begins ends so many rounds later.

        Raises:
            Bug: The checker found something in the plan.
        """
        self.number += 1
        self.later(STEP_S / 2)
        self._end_work()
        self.later(STEP_S / 2)
        self.edit(self._look)
        planned = self._planner.plan(self.fleet, self.now, self._changes)
        self._judge(planned)
        self.trace += [f"{self.number}: {_name(a)} {a.node} [{a.rule}] {a.why}" for a in planned.plan.actions]
        self.fleet = planned.work.fleet.freeze()
        self._changes = {}
        self.last = planned.plan
        begun = [action for action in planned.plan.actions if isinstance(action, act.Work)]
        self.in_flight += [InFlight(action, self.number + takes(action)) for action in begun]
        return planned.plan

    def rest(self, *, rounds: int = 200, quiet: int = 8) -> Plan:
        """Go round until `quiet` rounds in a row had nothing to do; raises Bug if that takes too long."""
        still = 0
        for _ in range(rounds):
            busy = bool(self.round().actions) or bool(self.in_flight)
            still = 0 if busy else still + 1
            if still == quiet:
                return self.last
        raise Bug(f"not at rest after {rounds} rounds; the last plan: {self.last}")

    def restart(self, *, lost: Callable[[act.Work], bool]) -> None:
        """Kill the controller and start it again; work in flight was done unless `lost` says otherwise."""
        for flying in self.in_flight:
            if flying.action.node in self.fleet.nodes and not lost(flying.action):
                self._do(flying.action)
        self.in_flight.clear()
        draft = self.fleet.edit()
        for node in list(draft.nodes.values()):
            if node.pending is not None:
                recover(draft, node, self.now)
        self.fleet = draft.freeze()
        self._planner = Planner(1, most=1.0)
        self._changes = None

    def _judge(self, planned: Round) -> None:
        sentences = check(self.fleet, planned.work.actions, planned.work.fleet)
        if sentences:
            raise Bug(f"round {self.number}: {'; '.join(sentences)}")

    def _do(self, action: act.Work) -> Outcome:
        if isinstance(action, act.DiagnoseNode):
            node = self.fleet.nodes[action.node]
            if (node.host or node.name) in self.sick:
                return Failed("it did not pass its tests", final=True)
        return execute(action, self.fleet, self._tools)

    def _end_work(self) -> None:
        due = [flying for flying in self.in_flight if flying.ends <= self.number]
        self.in_flight = [flying for flying in self.in_flight if flying.ends > self.number]
        draft = self.fleet.edit()
        for flying in due:
            action = flying.action
            if action.node not in draft.nodes:
                continue
            outcome = self._do(action)
            if isinstance(outcome, Failed):
                self.trace.append(f"{self.number}: {_name(action)} {action.node} failed: {outcome.reason}")
            settle(draft, action, outcome, self.now)
        self._adopt(draft)

    def _look(self, draft: Draft) -> None:
        fleet = draft.freeze()
        for question in self._questions(fleet):
            sight = ask(question, fleet, self._tools, self.clock)
            record(draft, replace(sight, at=self.now))
            # The planner is to look again at whatever was looked at: its own laws decide what follows.
            draft.put_observed(question.node, draft.seen(question.node))

    def _questions(self, fleet: Fleet) -> Iterable[Question]:
        for name in self.datacentre.machines:
            node = fleet.nodes.get(name)
            if node is not None and node.power is not None:
                yield Question(Probe.POWER, name)
            if node is not None and node.vmm is not None:
                yield Question(Probe.VMS, name)
        for tier, members in fleet.tier_members.items():
            for name in members.values() if collectors(fleet, fleet.tiers[tier]) else ():
                if fleet.nodes[name].is_virtual and fleet.nodes[name].lifecycle in _JUDGED:
                    yield Question(Probe.CHECKS, name)

    def _adopt(self, draft: Draft) -> None:
        self.fleet = draft.freeze()
        if self._changes is not None:
            for kind, records in draft.changes.items():
                self._changes.setdefault(kind, {}).update(records)


def _name(action: act.Action) -> str:
    return type(action).__name__
