"""Whether a node outside a tier fits it, why it was not taken, and what would change that."""

from collections.abc import Sequence
from dataclasses import replace

from metier.domain.allocation import Allotment, has_brake_on
from metier.domain.fleet import Fleet
from metier.domain.ids import natural
from metier.domain.matching import Obstacle, needs_of, obstacles
from metier.domain.node import Node, NodeKind
from metier.domain.tier import Tier, TierState
from metier.operations.foretold import Cure, both, cure_for, fits_after, landing, next_in_line, wants
from metier.operations.precedence import comes_first, cost_of, points
from metier.operations.registry import Row

LINE = 20
"""So far down the line a node is told its place in it."""

MIB_PER_POINT = 64
"""How much memory a point of cost stands for; see `hardware.surplus`."""


def tiers_in_want(fleet: Fleet, node: Node) -> list[Tier]:
    """Return the tiers that lack nodes, the most important first; none for a node that is in a tier."""
    if node.tier is not None:
        return []
    short = [
        tier
        for tier in fleet.tiers.values()
        if tier.state is not TierState.INACTIVE and len(fleet.members(tier.name)) < tier.target
    ]
    return sorted(short, key=lambda tier: (-tier.priority, natural(tier.name)))


def verdict(fleet: Fleet, node: Node, tier: Tier) -> Row:
    """Return whether a node could be allocated to a tier, at what cost, and what would change the answer."""
    found = obstacles(fleet, node, tier)
    why_not = [obstacle.sentence for obstacle in found]
    line = [] if found else next_in_line(fleet, tier, LINE)
    return {
        "tier": tier.name,
        "fits": not found,
        "cost": None if found else points(fleet, tier, node),
        "why_not": why_not or why_not_taken(fleet, node, tier, line),
        "cures": cures(fleet, node, tier, found) if found else would_be_taken(fleet, node, tier, line),
        "cost_of": [] if found else cost_of(fleet, tier, node),
    }


# --- a node that does not fit --------------------------------------------------------


def cures(fleet: Fleet, node: Node, tier: Tier, found: Sequence[Obstacle]) -> list[str]:
    """Return what would make a node fit, in one sentence; none where nothing simple would."""
    cure = cure_for(fleet, node, tier, found)
    return [] if cure is None else [cure_sentence(fleet, node, tier, cure)]


def cure_sentence(fleet: Fleet, node: Node, tier: Tier, cure: Cure) -> str:
    """Say what would make a node fit, and what would follow as far as that is certain."""
    if cure.change is None:
        return f"{cure.words}: what comes of it decides"
    if not fits_after(fleet, node.name, tier.name, cure.change):
        return f"{cure.words} would be nearer to fitting"
    where = landing(fleet, node.name, cure.change) if cure.is_sure else None
    if where is None:
        return f"{cure.words} would do"
    if where.slot.tier == tier.name:
        return f"{cure.words} would be allocated to {tier.name}"
    return f"{cure.words} would do, but be allocated to {where.slot.tier}"


# --- a node that fits and was not taken ----------------------------------------------


def why_not_taken(fleet: Fleet, node: Node, tier: Tier, line: Sequence[Allotment]) -> list[str]:
    """Return why a tier did not take a node that fits, or that it is about to."""
    where = landing(fleet, node.name, lambda _: None)
    if where is not None:
        other = "" if where.slot.tier == tier.name else f", which is served before {tier.name}"
        return [f"the next plan allocates it to {where.slot.tier}{other}"]
    reasons = _why_nobody_is_taken(fleet, tier)
    first = line[0].node if line else None
    if first is not None and first.name != node.name:
        reasons.append(f"{first.name} comes first: {comes_first(fleet, tier, first, node)}")
    return reasons


def _why_nobody_is_taken(fleet: Fleet, tier: Tier) -> list[str]:
    has = len(fleet.members(tier.name))
    if tier.state is TierState.INACTIVE:
        return [f"{tier.name} is inactive"]
    if has_brake_on(fleet, tier):
        return [f"{tier.name} is braked: too many of its nodes failed at once"]
    if has >= tier.target:
        top = f", which is its maximum of {tier.maximum}" if tier.target == tier.maximum else ""
        return [f"{tier.name} has {has} of its target of {tier.target}{top}"]
    return []


def would_be_taken(fleet: Fleet, node: Node, tier: Tier, line: Sequence[Allotment]) -> list[str]:
    """Return what would have to change for a tier to take a node that fits."""
    if has_brake_on(fleet, tier):
        return [f"resume {tier.name}: until then nothing is replaced"]
    has = len(fleet.members(tier.name))
    place = next((place for place, one in enumerate(line) if one.node.name == node.name), None)
    if place is None:
        return [f"more than {LINE} others come first"] if len(line) == LINE else []
    if landing(fleet, node.name, lambda _: None) is not None:
        return []
    sentences = [f"{_with_target(tier, has + place + 1)} it would be {_rank(place)}"]
    if place > 0:
        sentences += _with_less_memory(fleet, node, tier, line[0])
    return sentences


def _with_target(tier: Tier, target: int) -> str:
    what = "a target" if target <= tier.maximum else "a target and maximum"
    if tier.state is not TierState.INACTIVE:
        return f"with {what} of {target},"
    return f"allocate {tier.name}{'' if target <= tier.target else f' with {what} of {target}'}:"


def _rank(place: int) -> str:
    return "allocated next" if place == 0 else f"allocated, after {place} other{'s' if place > 1 else ''}"


def _with_less_memory(fleet: Fleet, node: Node, tier: Tier, first: Allotment) -> list[str]:
    """Say how much smaller a virtual node would come first, if taking memory away could do that."""
    if node.hardware is None or node.kind is not NodeKind.VIRTUAL:
        return []
    needs, price = needs_of(fleet, tier), points(fleet, tier, node)
    assert price is not None
    less_mib = MIB_PER_POINT * (price - first.cost + 1)
    if node.hardware.memory_mib - less_mib < needs.memory_mib or price <= first.cost:
        return []
    smaller = replace(node.hardware, memory_mib=node.hardware.memory_mib - less_mib)
    wanted = wants(tier, len(fleet.members(tier.name)) + 1)
    change = both(lambda draft: draft.change_node(node.name, hardware=smaller), wanted)
    where = landing(fleet, node.name, change)
    if where is None or where.slot.tier != tier.name:
        return []
    return [f"with {less_mib} MiB less memory, it would cost {where.cost} and come first"]
