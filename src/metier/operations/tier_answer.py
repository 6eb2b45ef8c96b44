"""Everything that explains one tier, put together."""

from collections.abc import Iterator

from metier.domain.fleet import Fleet
from metier.domain.guests import active_guests
from metier.domain.matching import needs_of
from metier.domain.node import Node
from metier.domain.observation import Health
from metier.domain.status import health, status
from metier.domain.tier import Tier, TierState
from metier.operations.foretold import SHOWN, next_in_line
from metier.operations.node_reasons import rejection
from metier.operations.node_row import fences_before, reason
from metier.operations.registry import Row, View
from metier.operations.tier_candidates import candidate_row
from metier.operations.tier_outlook import (
    brake,
    can_leave,
    changes,
    dips,
    donor_row,
    held_back,
    older_personality,
    release_row,
    rollout_row,
    would_harvest,
)
from metier.operations.tier_row import normal_members, requirements_row


def tier_answer(view: View, tier: Tier) -> Row:
    """Return what a tier lacks and why, who is next, who would leave first, and what would change that."""
    fleet = view.fleet
    allocated = len(fleet.members(tier.name))
    wanted = 0 if tier.state is TierState.INACTIVE else tier.target
    line, leaving = next_in_line(fleet, tier, SHOWN), can_leave(fleet, tier)
    donors = donor_row(fleet, tier, view.now)
    return {
        "name": tier.name,
        "state": tier.state.value,
        "kind": tier.kind.value,
        "minimum": tier.minimum,
        "target": tier.target,
        "maximum": tier.maximum,
        "allocated": allocated,
        "normal": normal_members(fleet, tier),
        "shortage": max(0, wanted - allocated),
        "surplus": max(0, allocated - wanted),
        "why": why(view, tier),
        "needs": requirements_row(needs_of(fleet, tier)),
        "dependencies": [f"tier {name} is {fleet.tiers[name].state}" for name in tier.depends_on],
        "held_back": held_back(fleet, tier),
        "brake": brake(fleet, tier),
        "older_personality": older_personality(fleet, tier),
        "rollout": rollout_row(fleet, tier),
        "dips": dips(fleet, tier),
        **candidate_row(fleet, tier, line),
        **release_row(fleet, tier, leaving),
        "changes": [*changes(fleet, tier, line, leaving), *would_harvest(fleet, tier, donors["donors"])],
        **donors,
        "nodes": [_member(view, node) for node in fleet.member_nodes(tier.name)],
        "waiting_for": view.waiting_for(tier.name),
    }


def why(view: View, tier: Tier) -> str:
    """Return what is out of the ordinary about a tier, or that nothing is."""
    parts = [*_numbers(view.fleet, tier), *held_back(view.fleet, tier), *_members_astray(view.fleet, tier)]
    parts += [*view.waiting_for(tier.name), *rejection(view)]
    lifted = brake(view.fleet, tier)
    parts += [lifted] if lifted is not None and not any("tier resume" in part for part in parts) else []
    told = "; ".join(dict.fromkeys(parts))
    open_ones = [one for one in view.fleet.alerts.values() if one.subject == tier.name and not one.cleared]
    alerts = [
        f"{one.code}: {one.message}"
        for one in open_ones
        if one.message.removeprefix(f"{tier.name} ") not in told
    ]
    return "; ".join([told, *alerts] if told else alerts) or _ordinary(tier)


def _numbers(fleet: Fleet, tier: Tier) -> Iterator[str]:
    has = len(fleet.members(tier.name))
    if tier.state is TierState.INACTIVE:
        if has:
            yield f"it was deallocated and still has {has} nodes"
    elif has < tier.target:
        yield f"it has {has} of its target of {tier.target}"
    elif has > tier.most:
        yield f"it has {has}, more than its target of {tier.target}"


def _members_astray(fleet: Fleet, tier: Tier) -> Iterator[str]:
    if tier.state is not TierState.ACTIVE:
        return
    words: dict[str, int] = {}
    for node in fleet.member_nodes(tier.name):
        if health(fleet, node) is not Health.NORMAL:
            word = status(fleet, node)
            words[word] = words.get(word, 0) + 1
    for word, count in words.items():
        yield f"{count} of its nodes {'is' if count == 1 else 'are'} {word}"


def _ordinary(tier: Tier) -> str:
    nothing = "nothing is out of the ordinary"
    if tier.state is TierState.INACTIVE:
        return f"{nothing}: it is inactive and has no nodes"
    state = "are normal" if tier.state is TierState.ACTIVE else "are at rest until it is activated"
    return f"{nothing}: it has its target of {tier.target}, and all of them {state}"


def _member(view: View, node: Node) -> Row:
    fleet = view.fleet
    guests = active_guests(fleet, node.name)
    return {
        "slot": node.placement.slot,
        "node": node.name,
        "status": status(fleet, node),
        "engaged": node.engaged,
        "why": reason(node, view.waiting_for(node.name), fences_before(fleet, node)),
        "active_guests": [f"{guest.name} in tier {guest.tier}" for guest in guests],
    }
