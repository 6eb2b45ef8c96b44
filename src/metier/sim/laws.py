"""What must always hold: the rules' list "Always true", judged on the truth and not on what anybody says.

It shares no code with the planner or the checker.  A law is a function that returns sentences;
each sentence is a breach.  Laws of the data centre are asked after everything that happens,
laws of a round after every turn of a controller.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from metier.control.round import Round
from metier.domain import actions as act
from metier.domain.fleet import Fleet, Kind
from metier.domain.ids import NodeId
from metier.domain.job import FINAL
from metier.domain.node import Node, NodeKind
from metier.domain.observation import Health
from metier.domain.tier import Tier, TierKind, TierState
from metier.sim.datacentre import doubles
from metier.sim.simulation import Simulation


@dataclass(frozen=True, slots=True)
class Breach:
    """A law that did not hold.

    Attributes:
        law: Its number in the list "Always true" of the rules.
        sentence: What was found.
    """

    at: datetime
    law: int
    sentence: str


# --- of the data centre: what really is -------------------------------------------------


def identities_live_once(simulation: Simulation) -> Iterator[str]:
    """Laws 1 and 5: a slot's identity, an instance, an address lives on one VM at most."""
    yield from doubles(simulation.datacentre.running())


def images_are_whole(simulation: Simulation) -> Iterator[str]:
    """Law 6: what readers see was read back, and killed or failed imports leave nothing."""
    fleet, matrix = simulation.fleet, simulation.matrix
    for ref, image in fleet.images.items():
        if image.machine is not None and ref not in matrix.published:
            deleting = any(
                job.kind == "image-delete" and job.state not in FINAL for job in fleet.jobs.values()
            )
            if not deleting:
                yield f"image {ref} is listed, and its content was never published"
    if matrix.staged and simulation.controller.is_alive and not simulation.controller.is_importing():
        yield f"{', '.join(map(str, sorted(matrix.staged)))} is staged, and no job is at work on it"


def staged_vms_are_given_back(simulation: Simulation) -> Iterator[str]:
    """Law 7: a VM that a person staged is never deleted."""
    for machine in simulation.datacentre.machines.values():
        yield from (f"{name}, which was staged on {machine.name}, is gone" for name in machine.lost())


OF_THE_DATA_CENTRE: tuple[tuple[int, Callable[[Simulation], Iterator[str]]], ...] = (
    (5, identities_live_once),
    (6, images_are_whole),
    (7, staged_vms_are_given_back),
)

# --- of a round: what was decided --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A round to be judged.

    Attributes:
        before: The Fleet that it began with.
        ordered: Nodes that an operator had stopped or released: what follows of that is theirs.
    """

    simulation: Simulation
    before: Fleet
    finished: Round
    ordered: frozenset[NodeId]


def one_place_each(case: Case) -> Iterator[str]:
    """Law 1: a slot has one node at most, and both say so."""
    fleet = case.finished.fleet
    if not (case.finished.changes.get(Kind.NODE) or case.finished.changes.get(Kind.SLOT)):
        return
    placed = [node for node in fleet.nodes.values() if node.tier is not None]
    counts = Counter((node.tier, node.placement.slot) for node in placed)
    for (tier, number), count in counts.items():
        if count > 1:
            yield f"slot {number} of tier {tier} has {count} nodes"
    for slot in fleet.slots.values():
        node = None if slot.node is None else fleet.nodes.get(slot.node)
        if slot.node is not None and (node is None or node.placement.tier != slot.id.tier):
            yield f"slot {slot.id} names {slot.node}, which is not placed there"


def disengaged_are_left_alone(case: Case) -> Iterator[str]:
    """Law 2: automation does nothing to a disengaged node."""
    for action in case.finished.plan.actions:
        node = case.before.nodes.get(action.node)
        if node is None or node.engaged or node.request is not None or _is_ordered(case, action):
            continue
        if isinstance(action, _MEDDLING) and not _engaged_meanwhile(case.finished.fleet, node):
            yield f"{type(action).__name__} on {node.name}, which is disengaged [{action.rule}] {action.why}"


_OF_OPERATORS = frozenset({"operator", "R-FORCE-1", "R-FORCE-2"})
_MEDDLING: tuple[type[act.Action], ...] = (
    *(
        act.AllocateNode,
        act.ReleaseNode,
        act.StopNode,
        act.PowerOn,
        act.PowerOff,
        act.StageVms,
        act.RemoveVms,
    ),
    *(act.PrepareGuest, act.StartGuest, act.ShutdownGuest, act.StopGuest, act.RetireGuest),
)


def _is_ordered(case: Case, action: act.Action) -> bool:
    return action.rule in _OF_OPERATORS or action.node in case.ordered


def _is_of_operators(fleet: Fleet, action: act.Action) -> bool:
    """Say whether a member stops by an order, be it that its tier was deactivated (R-HOSTDOWN-1)."""
    if action.rule in _OF_OPERATORS:
        return True
    node = fleet.nodes.get(action.node)
    tier = fleet.tiers.get(node.tier) if node is not None and node.tier is not None else None
    return isinstance(action, act.StopNode) and tier is not None and tier.state is not TierState.ACTIVE


def _engaged_meanwhile(fleet: Fleet, node: Node) -> bool:
    now = fleet.nodes.get(node.name)
    return now is not None and now.engaged


def hosts_stay_under_guests(case: Case) -> Iterator[str]:
    """Law 3: automation releases no host under an active guest."""
    for action in case.finished.plan.actions:
        if not isinstance(action, act.ReleaseNode) or action.rule in _OF_OPERATORS:
            continue
        host = case.before.nodes.get(action.node)
        if host is None or host.kind is not NodeKind.PHYSICAL or not _works(host):
            continue
        for node in case.before.virtual_nodes(host.name):
            tier = case.before.tiers.get(node.tier) if node.tier is not None else None
            if tier is not None and tier.state is TierState.ACTIVE and _works(node) and _runs(case, node):
                yield f"{host.name} is released while {node.name} serves tier {tier.name} [{action.rule}]"


def _runs(case: Case, guest: Node) -> bool:
    machine = case.simulation.datacentre.machines.get(guest.host or guest.name)
    vm = None if machine is None else machine.vms.get(guest.vm_number or 0)
    return machine is not None and machine.is_on and vm is not None and vm.is_on


def _works(node: Node) -> bool:
    return node.lifecycle.value == "running" and not node.problem


def tiers_keep_their_maximum(case: Case) -> Iterator[str]:
    """Law 4: no tier grows above its maximum."""
    for tier in case.finished.fleet.tiers.values():
        was, now = len(case.before.members(tier.name)), len(case.finished.fleet.members(tier.name))
        if now > tier.maximum and now > was:
            yield f"tier {tier.name} has {now} members, above its maximum of {tier.maximum}"


def others_machines_run_on(case: Case) -> Iterator[str]:
    """Law 7: automation cuts no power under VMs that are known to be other people's."""
    for action in case.finished.plan.actions:
        if isinstance(action, act.PowerOff) and action.rule not in _OF_OPERATORS:
            node, seen = case.before.nodes[action.node], case.before.seen(action.node)
            if seen.foreign_running and node.request is None:
                count = seen.foreign_running
                yield f"{action.node} is switched off under {count} VMs of others [{action.rule}]"


def unmet_is_explained(case: Case) -> Iterator[str]:
    """Laws 4 and 9: a tier away from its target, nothing begun and nothing said, must not be."""
    if case.finished.plan.actions or case.finished.is_rejected or not case.finished.changes:
        return
    said = {waiting.subject for waiting in case.finished.plan.waiting}
    for tier in case.finished.fleet.tiers.values():
        if tier.name not in said and not at_target(case.finished.fleet, tier):
            yield f"tier {tier.name} is not at its target, and nothing is done or said about it"


def plans_pass_the_checker(case: Case) -> Iterator[str]:
    """No plan is ever so wrong that the checker rejects it."""
    if case.finished.is_rejected:
        yield f"a plan was rejected: {'; '.join(found.message for found in case.finished.plan.findings)}"


def reasons_are_given(case: Case) -> Iterator[str]:
    """Every action says why, and by which rule."""
    for action in case.finished.plan.actions:
        if not action.why or not action.rule:
            yield f"{type(action).__name__} on {action.node} gives no reason"


def rollouts_go_gently(case: Case) -> Iterator[str]:
    """Law 11: a slot is moved only while few enough are on their way, and no disengaged one ever."""
    for action in case.finished.plan.actions:
        if isinstance(action, act.MoveSlot):
            yield from _moved_too_early(case, action)


def _moved_too_early(case: Case, action: act.MoveSlot) -> Iterator[str]:
    now = case.finished.fleet.tiers[action.tier]
    if now.rollout is None:
        return
    slot = f"slot {action.number} of tier {now.name}"
    if now.rollout.paused:
        yield f"{slot} is moved to {now.image} while the roll-out is paused"
    members = case.finished.fleet.members(now.name)
    nodes = [case.finished.fleet.nodes[members[one]] for one in now.rollout.moved if one in members]
    under_way = [node.name for node in nodes if node.engaged and not _serves(case, node)]
    if len(under_way) > now.max_unavailable:
        yield f"{slot} is moved, and {', '.join(under_way)} are on their way to {now.image} at once"
    mover = case.finished.fleet.nodes.get(action.node)
    if mover is not None and not mover.engaged:
        yield f"{slot} is moved, and {mover.name} is disengaged"


def _serves(case: Case, node: Node) -> bool:
    return _works(node) and case.finished.fleet.seen(node.name).health is not Health.CRITICAL


OF_A_ROUND: tuple[tuple[int, Callable[[Case], Iterator[str]]], ...] = (
    (1, one_place_each),
    (2, disengaged_are_left_alone),
    (3, hosts_stay_under_guests),
    (4, tiers_keep_their_maximum),
    (7, others_machines_run_on),
    (9, unmet_is_explained),
    (9, plans_pass_the_checker),
    (9, reasons_are_given),
    (11, rollouts_go_gently),
)


def at_target(fleet: Fleet, tier: Tier) -> bool:
    """Say whether a tier has what its operator asked for."""
    members = fleet.member_nodes(tier.name)
    if tier.state is TierState.INACTIVE:
        return not members
    if tier.state is TierState.ALLOCATED:
        return len(members) == tier.target
    well = sum(_is_well(fleet, tier, node) for node in members)
    return len(members) == tier.target and well == tier.target


def _is_well(fleet: Fleet, tier: Tier, node: Node) -> bool:
    if node.lifecycle.value != "running" or node.problem:
        return False
    version = tier.image if node.instance is None else node.instance.image
    image = fleet.images.get(version)
    collectors = tier.collectors if tier.collectors is not None else (image.collectors if image else ())
    is_judged = tier.kind is TierKind.GUEST and bool(collectors)
    return not is_judged or fleet.seen(node.name).health is Health.NORMAL


class Laws:
    """Watches a simulation from now on.

    Attributes:
        breaches: What was found, oldest first; each sentence once.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.breaches: list[Breach] = []
        self._said: set[str] = set()
        self._ordered: set[NodeId] = set()
        self._has_changed = True
        simulation.datacentre.listeners.append(self._note_change)
        simulation.watchers.append(self.look)
        simulation.round_watchers.append(self.judge)

    def look(self) -> None:
        """Ask the laws of the data centre, if anything in it can have changed."""
        if not (self._has_changed or self._simulation.fleet.jobs):
            return
        self._has_changed = False
        for number, law in OF_THE_DATA_CENTRE:
            self._note(number, law(self._simulation))

    def judge(self, before: Fleet, finished: Round) -> None:
        """Ask the laws of a round."""
        for action in finished.plan.actions:
            self._note_orders(finished.fleet, action)
        case = Case(self._simulation, before, finished, frozenset(self._ordered))
        for number, law in OF_A_ROUND:
            self._note(number, law(case))

    def _note_change(self, _machine: NodeId, _at: datetime) -> None:
        self._has_changed = True

    def _note_orders(self, fleet: Fleet, action: act.Action) -> None:
        if isinstance(action, act.StopNode | act.ReleaseNode) and _is_of_operators(fleet, action):
            self._ordered.add(action.node)
        elif isinstance(action, act.AllocateNode | act.DeleteNode):
            self._ordered.discard(action.node)

    def look_back(self) -> None:
        """Ask what can only be asked now and then: whether all that was decided is stored."""
        self._note(9, _all_is_stored(self._simulation))

    def _note(self, number: int, sentences: Iterator[str]) -> None:
        for sentence in sentences:
            if sentence not in self._said:
                self._said.add(sentence)
                self.breaches.append(Breach(self._simulation.now, number, sentence))


def _all_is_stored(simulation: Simulation) -> Iterator[str]:
    kept, known = simulation.controller.store.load().records(), simulation.fleet.records()
    for kind in (Kind.NODE, Kind.TIER, Kind.SLOT, Kind.IMAGE, Kind.ALERT, Kind.JOB, Kind.PROCEDURE):
        for key in sorted(kept[kind].keys() | known[kind].keys(), key=str):
            if kept[kind].get(key) != known[kind].get(key):
                yield f"{kind} {key} is not stored as it is known"
