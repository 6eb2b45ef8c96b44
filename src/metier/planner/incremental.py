"""Plans round after round, looking again only at what a change or the time could have changed."""

import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

from metier.domain.allocation import shortage
from metier.domain.fleet import Changes, Fleet, Kind
from metier.domain.ids import NodeId, TierId
from metier.domain.plan import Plan
from metier.planner.plan import compose, decide
from metier.planner.reach import Reach
from metier.planner.work import EVERYTHING, SITE, Said, Scope, Subject, Work

MOST = 0.5
"""A change that concerns more than this share of all nodes is planned as a whole: that is quicker."""


_OUTDATED = 1000
"""So many outdated moments may lie in the heap beside twice the current ones before it is cleaned."""


AGAIN = timedelta(seconds=0.05)
"""A plan that did something is followed by another this soon, for what its own actions made possible."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of planning decided, and all that stands said.

    Attributes:
        work: The finished planning: `work.fleet` is the Draft with every action begun (its
            `changes` are what to store), `work.actions` those actions in order.
        plan: Those actions, with what this and earlier rounds say of every subject.
    """

    work: Work
    plan: Plan


class Planner:
    """Plans in rounds and remembers what was said of what did not change.

    The caller hands over every fleet it goes on with, and what changed in it since the
    fleet of the last round (`Draft.changes`, merged; the planner's own actions, as in
    `Round.work.fleet.changes`, need not be repeated).  A round gives exactly what a full
    plan of the same fleet at the same moment would.

    Whoever does not go on with `Round.work.fleet` (a rejected plan, a fleet loaded anew)
    passes `changes=None` the next time, which plans everything.
    """

    def __init__(self, epoch: int = 0, *, most: float = MOST) -> None:
        self._epoch = epoch
        self._most = most
        self._memory = _Memory()
        self._last: Fleet | None = None
        self._ahead: Reach | None = None
        self._hungry: set[TierId] = set()
        self._promised: dict[NodeId, TierId] = {}
        self._again: datetime | None = None

    @property
    def wake(self) -> datetime | None:
        """The earliest moment to plan again though nothing changes from outside; None for never."""
        return min(filter(None, (self._again, self._memory.wake())), default=None)

    def plan(self, fleet: Fleet, now: datetime, changes: Changes | None) -> Round:
        """Plan what `changes` and the time since the last round can have affected.

        `changes` holds the new record by kind and key since the last round's fleet; None
        stands for everything.
        """
        if changes is None or self._last is None:
            self._promised = {n.name: n.promised for n in fleet.nodes.values() if n.promised is not None}
            reach = Reach(fleet, fleet, everything=True)
        else:
            reach = self._reach(self._last, fleet, changes, now)
        work, ahead = self._settle_scope(fleet, now, reach)
        self._remember(work, ahead)
        self._again = now + AGAIN if work.actions else None
        return Round(work, self._memory.plan(work))

    def _reach(self, last: Fleet, fleet: Fleet, changes: Changes, now: datetime) -> Reach:
        """Return what is concerned by what changed, by what the last plan did, and by the time."""
        self._note_promises(fleet, changes)
        reach = Reach(last, fleet, self._hungry, frozenset(self._promised.values()))
        reach.follow(changes)
        if self._ahead is not None:
            reach.join(self._ahead)
        for subject in self._memory.due(now):
            if subject.node is not None:
                reach.nodes.add(subject.node)
            elif subject.tier is not None:
                reach.tiers.add(subject.tier)
            else:
                reach.site = True
        return reach

    def _settle_scope(self, fleet: Fleet, now: datetime, reach: Reach) -> tuple[Work, Reach]:
        """Plan, and again with a larger scope as long as the plan's own actions concern more."""
        while True:
            scope = self._scope(fleet, reach)
            work = decide(fleet, now, scope, self._epoch)
            ahead = Reach(fleet, work.fleet, self._hungry, frozenset(self._promised.values()))
            ahead.follow(work.fleet.changes)
            ahead.nodes.update(action.node for action in work.actions)
            if scope is EVERYTHING or reach.covers(ahead):
                return work, ahead
            reach.join(ahead)

    def _scope(self, fleet: Fleet, reach: Reach) -> Scope:
        if reach.everything or len(reach.nodes) > self._most * len(fleet.nodes):
            return EVERYTHING
        return Scope(frozenset(reach.tiers), frozenset(reach.nodes), reach.site)

    def _remember(self, work: Work, ahead: Reach) -> None:
        self._memory.replace(work)
        self._note_promises(work.fleet, work.fleet.changes)
        looked_at = work.fleet.tiers if work.scope.tiers is None else work.scope.tiers
        self._hungry.difference_update(list(self._hungry) if work.scope.tiers is None else looked_at)
        for name in looked_at:
            tier = work.fleet.tiers.get(name)
            # A roll-out looks at free nodes too, and at whether anything can be started on hosts.
            if tier is not None and (tier.rollout or shortage(work.fleet, tier, tier.target) > 0):
                self._hungry.add(name)
        self._ahead = ahead
        self._last = work.fleet.freeze()

    def _note_promises(self, fleet: Fleet, changes: Changes) -> None:
        for name in changes.get(Kind.NODE, ()):
            node = fleet.nodes.get(name)
            if node is not None and node.promised is not None:
                self._promised[name] = node.promised
            else:
                self._promised.pop(name, None)


class _Memory:
    """What rounds have said so far, by subject, and when to look at each subject again."""

    def __init__(self) -> None:
        self._said: dict[Subject, Said] = {}
        self._of_node: dict[NodeId, list[Subject]] = {}
        self._of_tier: dict[TierId, Subject] = {}
        self._heap: list[tuple[datetime, int, Subject]] = []
        self._numbers = count()
        self._standing: Plan | None = None

    def wake(self) -> datetime | None:
        """Return the earliest moment at which a subject asked to be looked at again."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: datetime) -> list[Subject]:
        """Take out the subjects whose moment has come."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._is_current(entry):
                due.append(entry[2])
        return due

    def replace(self, work: Work) -> None:
        """Forget what was said of all that `work` looked at, and take what it says instead."""
        if work.scope is EVERYTHING:
            self._forget_all()
        else:
            self._forget(work.scope)
        for subject, said in work.said.items():
            self._learn(subject, said)
        if len(self._heap) > 2 * len(self._said) + _OUTDATED:
            # Made anew from what stands: a subject that said the same moment often is there once.
            wakes = ((said.wake, subject) for subject, said in self._said.items())
            self._heap = [(wake, next(self._numbers), subject) for wake, subject in wakes if wake is not None]
            heapq.heapify(self._heap)

    def plan(self, work: Work) -> Plan:
        """Return the actions of `work` with all that stands said."""
        if self._standing is None:
            self._standing = compose((), self._said)
        standing = self._standing
        return Plan(tuple(work.actions), standing.waiting, standing.findings, standing.wake)

    def _forget_all(self) -> None:
        for table in (self._said, self._of_node, self._of_tier):
            table.clear()
        self._heap.clear()
        self._standing = None

    def _forget(self, scope: Scope) -> None:
        for node in scope.nodes or ():
            for subject in self._of_node.pop(node, ()):
                self._drop(subject)
        for tier in scope.tiers or ():
            if tier in self._of_tier:
                self._drop(self._of_tier.pop(tier))
        if scope.site and SITE in self._said:
            self._drop(SITE)

    def _drop(self, subject: Subject) -> None:
        del self._said[subject]
        self._standing = None

    def _learn(self, subject: Subject, said: Said) -> None:
        self._said[subject] = said
        self._standing = None
        if subject.node is not None:
            self._of_node.setdefault(subject.node, []).append(subject)
        elif subject.tier is not None:
            self._of_tier[subject.tier] = subject
        if said.wake is not None:
            heapq.heappush(self._heap, (said.wake, next(self._numbers), subject))

    def _is_current(self, entry: tuple[datetime, int, Subject]) -> bool:
        said = self._said.get(entry[2])
        return said is not None and said.wake == entry[0]
