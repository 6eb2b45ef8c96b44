"""Why a tier has what it has, what it lacks, and what would change that."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from metier.domain.fleet import Fleet
from metier.domain.guests import active_guests
from metier.domain.hardware import surplus
from metier.domain.ids import NodeId, natural
from metier.domain.matching import Obstacle, needs_of, obstacles
from metier.domain.node import Node
from metier.domain.status import status
from metier.domain.tier import Tier, TierKind, TierState
from metier.operations.node_explain import cures
from metier.operations.node_row import fences_before, reason
from metier.operations.records import find_tier
from metier.operations.registry import Form, Row, View, positional, reads
from metier.operations.tier_row import normal_members, requirements_row

# As many as a person compares; there may be thousands.
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTier:
    """Which tier."""

    name: str = positional("the tier to explain", example="web")


@reads(
    "tier",
    "explain",
    ExplainTier,
    form=Form.VERB,
    columns=("name", "state", "target", "allocated", "normal", "shortage", "reasons", "cures", "waiting_for"),
    examples=("metier tier explain web",),
)
def explain_tier(view: View, arguments: ExplainTier) -> Row:
    """Say what a tier lacks, which nodes would do and why the others do not, and what would help."""
    fleet = view.fleet
    tier = find_tier(fleet, arguments.name)
    allocated = len(fleet.members(tier.name))
    wanted = 0 if tier.state is TierState.INACTIVE else tier.target
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
        "needs": requirements_row(needs_of(fleet, tier)),
        "dependencies": [f"tier {name} is {fleet.tiers[name].state}" for name in tier.depends_on],
        **_candidates(fleet, tier),
        "nodes": [_member(view, node) for node in fleet.member_nodes(tier.name)],
        "donors": _donors(fleet, tier),
        "waiting_for": view.waiting_for(tier.name),
    }


def _candidates(fleet: Fleet, tier: Tier) -> Row:
    fitting: list[tuple[int, Node]] = []
    counts: Counter[str] = Counter()
    near: list[tuple[int, Node, Sequence[Obstacle]]] = []
    needs = needs_of(fleet, tier)
    for node in fleet.nodes.values():
        if node.tier == tier.name:
            continue
        found = obstacles(fleet, node, tier)
        if found:
            counts[found[0].group] += 1
            if all(obstacle.cure for obstacle in found):
                near.append((len(found) * 1_000_000 + sum(o.distance for o in found), node, found))
        elif node.hardware is not None:
            fitting.append((surplus(needs, node.hardware), node))
    fitting.sort(key=lambda pair: (pair[0], natural(pair[1].name)))
    near.sort(key=lambda miss: (miss[0], natural(miss[1].name)))
    return {
        "candidates": len(fitting),
        "cheapest": [{"node": node.name, "cost": points} for points, node in fitting[:SHOWN]],
        "reasons": [f"{count} × {group}" for group, count in counts.most_common()],
        "cures": [_joined(node, found) for _, node, found in near[:SHOWN]],
    }


def _joined(node: Node, found: Sequence[Obstacle]) -> str:
    return "; and ".join(cures(node, found))


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


def _donors(fleet: Fleet, tier: Tier) -> list[Row]:
    """Return the less important tiers that could give nodes up, in the order in which they would."""
    below = [
        other
        for other in fleet.tiers.values()
        if other.kind is tier.kind
        and other.harvesting
        and other.priority < tier.priority
        and len(fleet.members(other.name)) > other.minimum
    ]
    below.sort(key=lambda other: (other.priority, natural(other.name)))
    rows = [_donor(fleet, other) for other in below]
    return [row for row in rows if row["nodes"]]


def _donor(fleet: Fleet, donor: Tier) -> Row:
    able: list[NodeId] = [
        node.name
        for node in fleet.member_nodes(donor.name)
        if node.engaged and not (donor.kind is TierKind.HOST and active_guests(fleet, node.name))
    ]
    return {
        "tier": donor.name,
        "priority": donor.priority,
        "spare": len(fleet.members(donor.name)) - donor.minimum,
        "nodes": able[:SHOWN],
    }
