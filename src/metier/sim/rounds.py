"""The planner against a simulated world, round after round: what tests of planning are told in.

The real loop has threads, a store and drivers; here a round is a plain step: work ends,
the world is looked at, the planner plans, the checker judges.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from metier.domain import actions as act
from metier.domain.errors import Bug
from metier.domain.fleet import Changes, Draft, Fleet
from metier.domain.plan import Plan
from metier.planner.check import check
from metier.planner.effects import Failed, Outcome, recover, settle
from metier.planner.incremental import Planner, Round
from metier.sim.world import World

STEP_S = 2
"""Seconds from one round to the next."""

Carry = Callable[[act.Work, Callable[[], Outcome]], Outcome]
"""Decides how one piece of work ends; calling the second argument does it in the world."""


Watcher = Callable[["Rounds", Round], None]


@dataclass(slots=True)
class InFlight:
    """Work that a driver is doing, and the round in which it ends."""

    action: act.Work
    ends: int


class Rounds:
    """A fleet, its world and the loop between them.

    Attributes:
        fleet: As the last round left it.
        last: The last round's plan.
        trace: Every action and outcome so far, one line each.
        watchers: Called with every plan before it is gone on with; `fleet` is still what was planned from.
    """

    def __init__(self, fleet: Fleet, world: World, now: datetime, *, most: float = 1.0) -> None:
        self.fleet = fleet
        self.world = world
        self.now = now
        self.last = Plan()
        self.trace: list[str] = []
        self.number = 0
        self.in_flight: list[InFlight] = []
        self._epoch = 0
        self._most = most
        self._planner = Planner(most=most)
        self.watchers: list[Watcher] = []
        self._changes: Changes | None = None

    def edit(self, change: Callable[[Draft], object]) -> None:
        """Let an operator or a test change the fleet between two rounds."""
        draft = self.fleet.edit()
        change(draft)
        self._adopt(draft)

    def round(self, *, takes: Callable[[act.Work], int] | None = None, carry: Carry | None = None) -> Plan:
        """Go round once.

        Args:
            takes: In how many rounds a piece of work ends; one, if not given.
            carry: Decides how it ends.

        Raises:
            Bug: The checker found something in the plan; the message has its sentences.
        """
        self.number += 1
        self.now += timedelta(seconds=STEP_S / 2)
        self._end_work(carry)
        self.now += timedelta(seconds=STEP_S / 2)
        self.edit(lambda draft: self.world.show(draft, self.now))
        planned = self._planner.plan(self.fleet, self.now, self._changes)
        sentences = check(self.fleet, planned.work.actions, planned.work.fleet)
        if sentences:
            raise Bug(f"round {self.number}: {'; '.join(sentences)}")
        for watch in self.watchers:
            watch(self, planned)
        self._note(planned.plan.actions)
        self.fleet = planned.work.fleet.freeze()
        self._changes = {}
        self.last = planned.plan
        for action in planned.plan.actions:
            if isinstance(action, act.Work):
                self.in_flight.append(InFlight(action, self.number + (takes(action) if takes else 1)))
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
            node = self.fleet.nodes.get(flying.action.node)
            if node is not None and not lost(flying.action):
                self.world.carry_out(node, flying.action, self.now)
        self.in_flight.clear()
        draft = self.fleet.edit()
        for node in list(draft.nodes.values()):
            if node.pending is not None:
                recover(draft, node, self.now)
        self.fleet = draft.freeze()
        self._epoch += 1
        self._planner = Planner(self._epoch, most=self._most)
        self._changes = None
        self.trace.append(f"{self.number}: the controller restarts")

    def _end_work(self, carry: Carry | None) -> None:
        due = [flying for flying in self.in_flight if flying.ends <= self.number]
        self.in_flight = [flying for flying in self.in_flight if flying.ends > self.number]
        draft = self.fleet.edit()
        for flying in due:
            action, node = flying.action, draft.nodes.get(flying.action.node)
            if node is None:
                continue

            def do(action: act.Work = action) -> Outcome:
                return self.world.carry_out(draft.nodes[action.node], action, self.now)

            outcome = carry(action, do) if carry is not None else do()
            if isinstance(outcome, Failed):
                self.trace.append(f"{self.number}: {_name(action)} {action.node} failed: {outcome.reason}")
            settle(draft, action, outcome, self.now)
        self._adopt(draft)

    def _adopt(self, draft: Draft) -> None:
        self.fleet = draft.freeze()
        if self._changes is not None:
            for kind, records in draft.changes.items():
                self._changes.setdefault(kind, {}).update(records)

    def _note(self, actions: Iterable[act.Action]) -> None:
        self.trace += [f"{self.number}: {_name(a)} {a.node} [{a.rule}] {a.why}" for a in actions]


def _name(action: act.Action) -> str:
    return type(action).__name__
