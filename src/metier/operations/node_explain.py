"""Why a node is where it is, and why it is not somewhere else."""

from collections.abc import Sequence
from dataclasses import dataclass

from metier.domain.fleet import Fleet
from metier.domain.hardware import surplus
from metier.domain.ids import natural
from metier.domain.matching import Obstacle, needs_of, obstacles
from metier.domain.node import Node
from metier.domain.status import STATUSES, status
from metier.domain.tier import Tier, TierState
from metier.operations.node_row import fences_before, reason, where
from metier.operations.plan_row import action_word
from metier.operations.records import find_node, find_tier
from metier.operations.registry import Form, Row, View, option, positional, reads

# Enough to see the last decision and what led to it, without a page of history.
RECENT_EVENTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainNode:
    """Which node, and for which tier."""

    name: str = positional("the node to explain", example="host-1/VM3")
    tier: str | None = option("why it is not in this tier; without it, in every tier that is short", None)


@reads(
    "node",
    "explain",
    ExplainNode,
    form=Form.VERB,
    columns=("name", "status", "where", "why", "waiting_for", "tiers", "recent"),
    examples=("metier node explain host-1/VM3", "metier node explain host-1/VM3 --tier web"),
)
def explain_node(view: View, arguments: ExplainNode) -> Row:
    """Say where a node is and why, what it waits for, and what keeps it from tiers that are short."""
    fleet = view.fleet
    node = find_node(fleet, arguments.name)
    waiting = view.waiting_for(node.name)
    word = status(fleet, node)
    tiers = [find_tier(fleet, arguments.tier)] if arguments.tier else _tiers_in_want(fleet, node)
    return {
        "name": node.name,
        "status": word,
        "meaning": STATUSES[word],
        "where": where(node),
        "why": reason(node, waiting, fences_before(fleet, node)),
        "waiting_for": list(waiting),
        "next_actions": [
            f"{action_word(action)}: {action.why}"
            for action in view.plan.actions
            if action.subject == node.name
        ],
        "tiers": [tier_verdict(fleet, node, tier) for tier in tiers],
        "recent": _recent(view, node),
    }


def _tiers_in_want(fleet: Fleet, node: Node) -> list[Tier]:
    if node.tier is not None:
        return []
    short = [
        tier
        for tier in fleet.tiers.values()
        if tier.state is not TierState.INACTIVE and len(fleet.members(tier.name)) < tier.target
    ]
    return sorted(short, key=lambda tier: (-tier.priority, natural(tier.name)))


def tier_verdict(fleet: Fleet, node: Node, tier: Tier) -> Row:
    """Return whether a node could be allocated to a tier, at what cost, and what would change the answer."""
    found = obstacles(fleet, node, tier)
    points = None if node.hardware is None else surplus(needs_of(fleet, tier), node.hardware)
    return {
        "tier": tier.name,
        "fits": not found,
        "cost": None if found else points,
        "why_not": [obstacle.sentence for obstacle in found],
        "cures": cures(node, found),
    }


def cures(node: Node, found: Sequence[Obstacle]) -> list[str]:
    """Return what would remove each obstacle, where something simple would."""
    return [_cure(node, obstacle) for obstacle in found if obstacle.cure]


def _cure(node: Node, obstacle: Obstacle) -> str:
    return f"with {obstacle.cure}, {node.name} would do" if obstacle.distance else obstacle.cure


def _recent(view: View, node: Node) -> list[str]:
    rows = view.services.journal(after=0, limit=RECENT_EVENTS, subject=node.name, newest=True)
    return [f"{row.get('at')} {row.get('message')}" for row in rows]
