"""How many nodes of each tier serve, moment by moment: the truth, whatever any controller has seen.

A guest serves when its VM runs as a slot of the tier, its services answer, and its host is
on and reached; a physical node when it is on and reached, and its VM manager, if it is to
have one, answers.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime

from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, TierId, natural
from metier.domain.tier import Tier, TierState
from metier.sim.machines import Machine
from metier.sim.simulation import Simulation
from metier.sim.timeline import Dip, TierStory

Slot = tuple[TierId, int]


class Serving:
    """Counts from now on; machines that did not change are not counted anew."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._changed: set[NodeId] = set(simulation.datacentre.machines)
        self._slots: dict[NodeId, frozenset[Slot]] = {}
        self._on: dict[NodeId, bool] = {}
        self._places: Counter[Slot] = Counter()
        self._serving: Counter[TierId] = Counter()
        self._lines: dict[TierId, _Line] = {}
        self._fleet: Fleet | None = None
        simulation.datacentre.listeners.append(self._note)
        self.look()

    def look(self) -> bool:
        """Count now; to be called after everything that happens.

        Returns:
            Whether any machine changed since it was called last.
        """
        fleet = self._simulation.fleet
        has_changed = bool(self._changed)
        if not has_changed and fleet is self._fleet:
            return False
        now = self._simulation.now
        for machine in self._changed:
            self._count_machine(machine, now)
        self._changed, self._fleet = set(), fleet
        for name, tier in fleet.tiers.items():
            line = self._lines.setdefault(name, _Line())
            line.take(tier, self._serving[name] + self._physical(fleet, name), now)
        for name in self._lines.keys() - fleet.tiers.keys():
            self._lines[name].take(None, 0, now)
        return has_changed

    def stories(self) -> tuple[TierStory, ...]:
        """Return how every tier that there was fared."""
        return tuple(self._lines[name].story(name) for name in sorted(self._lines, key=natural))

    def _note(self, name: NodeId, at: datetime) -> None:
        """Count a machine anew, now or when it will have changed; then an event lets all look."""
        if at <= self._simulation.now:
            self._changed.add(name)
        else:
            self._simulation.agenda.at(at, lambda: self._changed.add(name))

    def _count_machine(self, name: NodeId, now: datetime) -> None:
        machine = self._simulation.datacentre.machines.get(name)
        self._on[name] = machine is not None and _is_up(machine, now)
        before = self._slots.get(name, frozenset())
        after = self._slots[name] = frozenset() if machine is None else _serving_slots(machine, now)
        # Several machines may serve as one slot, which is a breach, and counts once all the same.
        for slot in after - before:
            self._serving[slot[0]] += self._places[slot] == 0
            self._places[slot] += 1
        for slot in before - after:
            self._places[slot] -= 1
            self._serving[slot[0]] -= self._places[slot] == 0

    def _physical(self, fleet: Fleet, tier: TierId) -> int:
        """Return how many members are physical nodes that serve; guests are counted where they run."""
        members = fleet.members(tier).values()
        return sum(self._on.get(node, False) for node in members if not fleet.nodes[node].is_virtual)


def _is_up(machine: Machine, now: datetime) -> bool:
    return machine.vmm_answers(now) if machine.has_vmm else machine.is_on and machine.reachable


def _serving_slots(machine: Machine, now: datetime) -> frozenset[Slot]:
    if not (machine.is_on and machine.reachable):
        return frozenset()
    machine.catch_up(now)
    vms = [*machine.vms.values(), *(stray.vm for stray in machine.strays)]
    slots = [vm.slot for vm in vms if vm.slot is not None and not vm.by_hand and vm.serves(now)]
    return frozenset((slot.tier, slot.number) for slot in slots)


class _Line:
    """One tier's count over time."""

    def __init__(self) -> None:
        self._serving = self._minimum = self._target = 0
        self._below_minimum: list[Dip] = []
        self._below_target: list[Dip] = []

    def take(self, tier: Tier | None, serving: int, now: datetime) -> None:
        is_wanted = tier is not None and tier.state is TierState.ACTIVE
        self._serving = serving
        self._minimum = tier.minimum if tier is not None and is_wanted else 0
        self._target = tier.target if tier is not None and is_wanted else 0
        _follow(self._below_minimum, self._minimum, serving, now)
        _follow(self._below_target, self._target, serving, now)

    def story(self, name: TierId) -> TierStory:
        below = tuple(self._below_minimum), tuple(self._below_target)
        return TierStory(name, self._serving, self._minimum, self._target, *below)


def _follow(dips: list[Dip], wanted: int, serving: int, now: datetime) -> None:
    """Begin, deepen or end the last dip; one that takes no time is none."""
    last = dips[-1] if dips and dips[-1].end is None else None
    if serving < wanted:
        if last is None:
            dips.append(Dip(now, wanted, serving))
        elif serving < last.lowest:
            dips[-1] = replace(last, lowest=serving)
    elif last is not None and last.began == now:
        dips.pop()
    elif last is not None:
        dips[-1] = replace(last, end=now)
