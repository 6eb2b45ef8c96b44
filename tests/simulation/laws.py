"""What must hold after every round: the rules' list "Always true", as far as planning can keep it."""

from collections import Counter

from metier.domain.actions import Work
from metier.domain.fleet import Fleet, Kind
from metier.domain.lifecycle import Lifecycle
from metier.domain.observation import Health
from metier.domain.status import health
from metier.domain.tier import Tier, TierState
from metier.planner.incremental import Round
from metier.planner.plan import decide, plan_of
from metier.sim.rounds import Rounds


class Broken(AssertionError):
    """A law does not hold."""


def watch_laws(rounds: Rounds) -> None:
    """Judge every plan of `rounds`, and the world it is made for."""
    rounds.watchers += [
        identities_run_once,
        incremental_is_full,
        indexes_are_true,
        slots_and_places_agree,
        wakes_lie_ahead,
        tiers_keep_their_maximum,
        silence_is_a_bug,
    ]


def identities_run_once(rounds: Rounds, _planned: Round) -> None:
    slots = Counter(slot for slot, *_ in rounds.world.running_as())
    instances = Counter(instance for *_, instance in rounds.world.running_as())
    twice = [key for key, number in (slots + instances).items() if number > 1]
    if twice:
        where = [str(running) for running in rounds.world.running_as()]
        raise Broken(f"{twice} runs twice: {where}")


def incremental_is_full(rounds: Rounds, planned: Round) -> None:
    """An incremental plan is the full plan: same actions in the same order, same words, same wake."""
    full = plan_of(decide(rounds.fleet, rounds.now, epoch=planned.work.epoch))
    scope = planned.work.scope
    if planned.plan.actions != full.actions:
        raise Broken(f"actions differ: {planned.plan.actions} is not {full.actions}, scope {scope}")
    for what in ("waiting", "findings", "wake"):
        mine, theirs = set(getattr(planned.plan, what)), set(getattr(full, what))
        if mine != theirs:
            raise Broken(
                f"{what} differ: too much {mine - theirs}, too little {theirs - mine}, scope {scope}"
            )


def indexes_are_true(rounds: Rounds, planned: Round) -> None:
    fleet = planned.work.fleet
    records = {
        Kind.TIER: fleet.tiers,
        Kind.SLOT: fleet.slots,
        Kind.NODE: fleet.nodes,
        Kind.OBSERVED: fleet.observed,
        Kind.IMAGE: fleet.images,
    }
    rebuilt = Fleet.of(records)
    for index in ("tier_members", "vms_of", "loose", "fenced", "fenced_by"):
        if getattr(rebuilt, index) != getattr(fleet, index):
            raise Broken(f"index {index}: {getattr(fleet, index)} should be {getattr(rebuilt, index)}")
    if _spare(rebuilt) != _spare(fleet):
        raise Broken(f"index free: {_spare(fleet)} should be {_spare(rebuilt)}")


def _spare(fleet: Fleet) -> dict[object, set[object]]:
    return {(shape, host): set(names) for shape, by in fleet.free.items() for host, names in by.items()}


def slots_and_places_agree(_rounds: Rounds, planned: Round) -> None:
    fleet = planned.work.fleet
    for slot in fleet.slots.values():
        if slot.node is not None:
            placement = fleet.nodes[slot.node].placement
            if (placement.tier, placement.slot) != tuple(slot.id):
                raise Broken(f"slot {slot.id} names {slot.node}, which is placed in {placement}")
    for node in fleet.nodes.values():
        if node.tier is not None and node.placement.slot is not None:
            members = fleet.members(node.tier)
            if members.get(node.placement.slot) != node.name:
                raise Broken(f"{node.name} is placed in {node.placement}, where {members} are")


def wakes_lie_ahead(rounds: Rounds, planned: Round) -> None:
    late = [wake for wake in planned.plan.wake if wake[0] <= rounds.now]
    if late:
        raise Broken(f"the plan of {rounds.now} asks to be woken in the past: {late}")


def tiers_keep_their_maximum(rounds: Rounds, planned: Round) -> None:
    for tier in rounds.fleet.tiers.values():
        before, after = rounds.fleet.members(tier.name), planned.work.fleet.members(tier.name)
        if len(after) > max(tier.maximum, len(before)):
            raise Broken(f"tier {tier.name} has {len(after)} members, above {tier.maximum}")


def silence_is_a_bug(_rounds: Rounds, planned: Round) -> None:
    """A tier away from its target, nothing begun and nothing said: that must not be."""
    fleet = planned.work.fleet
    if planned.plan.actions:
        return
    said = {waiting.subject for waiting in planned.plan.waiting}
    for tier in fleet.tiers.values():
        if not at_target(fleet, tier) and tier.name not in said:
            raise Broken(f"tier {tier.name} is not at its target, and nothing is said about it")
    for node in fleet.nodes.values():
        stuck = node.lifecycle is Lifecycle.STOPPING and node.pending is None and node.tier is None
        if stuck and node.name not in said and not any(name == node.name for _, name in planned.plan.wake):
            raise Broken(f"{node.name} is stopping, and nothing is done or said about it")


def at_target(fleet: Fleet, tier: Tier) -> bool:
    """Say whether a tier has what its operator asked for."""
    members = fleet.member_nodes(tier.name)
    if tier.state is TierState.INACTIVE:
        return not members
    if tier.state is TierState.ALLOCATED:
        return len(members) == tier.target and all(node.lifecycle is Lifecycle.IDLE for node in members)
    normal = sum(health(fleet, node) is Health.NORMAL for node in members)
    return len(members) == tier.target and normal == tier.target


def is_calm(planned: Round) -> bool:
    """Say whether a plan begins no work."""
    return not any(isinstance(action, Work) for action in planned.plan.actions)
