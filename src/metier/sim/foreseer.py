"""The controller that looks ahead: what was just seen need not be looked at, and calls take what they took.

Only nodes are looked at that are on their way, or that something happens to.
"""

from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta

from metier.control.crew import Pool
from metier.control.observe import CALM_S, Probe, Question
from metier.control.workers import Answer, Task
from metier.domain.fleet import Changes, Fleet
from metier.domain.ids import NodeId
from metier.domain.node import Node
from metier.domain.observation import Health, Observed
from metier.domain.tier import Fence
from metier.sim.clock import Agenda
from metier.sim.controller import SimController
from metier.sim.matrix import SimMatrix
from metier.sim.pace import SHORTEST_S, call_s, pace_of
from metier.sim.parking import Parked
from metier.sim.sketch import Sketch
from metier.store.api import Entry
from metier.store.memory import MemoryStore


class Scratch(MemoryStore):
    """A store that begins with a fleet and keeps nothing."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet

    def load(self) -> Fleet:
        return self._fleet

    def save(self, changes: Changes, generation: int, entries: Sequence[Entry]) -> None:
        pass


class Foreseer(SimController):
    """A controller that goes on from `fleet` as if it had run before.

    Calls that are under way there are begun anew, and take what is left of their time.
    """

    def __init__(self, fleet: Fleet, sketch: Sketch, agenda: Agenda) -> None:
        self._known = fleet
        self._began = agenda.clock.now()
        self._under_way = {
            (node.name, node.pending.action): node.pending.since
            for node in fleet.nodes.values()
            if node.pending is not None
        }
        self._must_search = is_guest_missing(fleet)
        matrix = SimMatrix()
        matrix.published = set(fleet.images)
        super().__init__(Scratch(fleet), sketch, agenda, matrix, pace=pace_of(fleet))

    def next_event(self) -> datetime:
        """Return when the next thing happens."""
        due = self.agenda.next()
        turn = self.next_turn()
        return turn if due is None else min(due, turn)

    # --- calls ----------------------------------------------------------------------

    def _make_pool(self, answer: Answer, *, threads: int, per_endpoint: int) -> Pool:
        is_eyes = bool(self._pools)
        pool = super()._make_pool(answer, threads=threads, per_endpoint=per_endpoint)
        return _Eyes(pool, self._spares) if is_eyes else pool

    def _takes(self, task: Task) -> float:
        node = self.fleet.nodes.get(NodeId(str(task.subject)))
        seconds = None if node is None else call_s(self._known, task.what, node)
        if node is None or seconds is None:
            return super()._takes(task)
        since = self._under_way.pop((node.name, task.what), self._began)
        return max(SHORTEST_S, seconds - (self._began - since).total_seconds())

    # --- looks ----------------------------------------------------------------------

    def _spares(self, question: Question) -> bool:
        """Spare the first look at a node at rest; else see that there is a machine to look at."""
        node = self.fleet.nodes.get(question.node)
        if node is None:
            return False
        place = node.host or node.name
        if self.engine.rounds == 0 and not self._must_search:
            seen_at = self._seen_at(question.probe, node)
            if seen_at is not None and self.engine.let_rest(question):
                call_s = self.pace.call_s[question.probe]
                self._park.park(Parked(question, seen_at, call_s, CALM_S), place)
                return True
        self.datacentre.machine(place)
        return False

    def _seen_at(self, probe: Probe, node: Node) -> datetime | None:
        """Return when a node at rest was last looked at; None if another look could tell more."""
        fleet, seen = self.fleet, self.fleet.seen(node.name)
        at = _ANSWERED[probe](seen)
        if at is None or self.engine.pause_of(Question(probe, node.name)) != CALM_S:
            return None
        parts = (node, *fleet.virtual_nodes(node.name)) if probe is Probe.VMS else (node,)
        if any(_changed_since(part, at) for part in parts):
            return None
        if node.name in fleet.fenced_by or (node.host or node.name) in fleet.fenced_by:
            return None
        now = self.clock.now()
        # What was seen long ago, as in a file, is taken as seen now: else its next looks were overdue.
        return min(at, now) if now - at < timedelta(seconds=2 * CALM_S) else now


class _Eyes:
    """A pool to which only the looks come that cannot be spared."""

    def __init__(self, pool: Pool, spares: Callable[[Question], bool]) -> None:
        self._pool, self._spares = pool, spares

    def submit(self, task: Task) -> None:
        assert isinstance(task.key, Question)
        if not self._spares(task.key):
            self._pool.submit(task)

    def give_up(self, now: datetime) -> list[Task]:
        return self._pool.give_up(now)

    def is_stuck(self, subject: Hashable) -> bool:
        return self._pool.is_stuck(subject)

    def in_flight(self) -> int:
        return self._pool.in_flight()

    def close(self) -> None:
        self._pool.close()


def _power_answered(seen: Observed) -> datetime | None:
    return seen.power_at


def _vms_answered(seen: Observed) -> datetime | None:
    return seen.vmm_at if seen.vmm_reachable else None


def _checks_answered(seen: Observed) -> datetime | None:
    return seen.health_at if seen.health is Health.NORMAL else None


_ANSWERED: dict[Probe, Callable[[Observed], datetime | None]] = {
    Probe.POWER: _power_answered,
    Probe.VMS: _vms_answered,
    Probe.CHECKS: _checks_answered,
}


def _changed_since(node: Node, moment: datetime) -> bool:
    return any(at is not None and at >= moment for at in (node.since, node.started_at, node.staged_at))


def is_guest_missing(fleet: Fleet) -> bool:
    """Say whether a slot waits for evidence that only looks at all hosts can give: its VM is nowhere seen."""
    slots = (fleet.slots[slot] for by_number in fleet.fenced.values() for slot in by_number.values())
    return any(_is_missing(fleet, fence) for slot in slots for fence in slot.fences)


def _is_missing(fleet: Fleet, fence: Fence) -> bool:
    if fence.host is None or fence.vm_number is None:
        return False
    return fence.is_lost or fleet.seen(fence.host).vm(fence.vm_number) is None
