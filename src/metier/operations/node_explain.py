"""Why a node is where it is, why it is not somewhere else, and what would change that."""

from dataclasses import dataclass

from metier.operations.records import find_node, find_tier
from metier.operations.registry import Form, Row, View, option, positional, reads


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
    """Say where a node is and why, what keeps it there, and what would have to change for another answer."""
    # The command line loads this module for the arguments, and need not pay for what answers them.
    from metier.operations.node_answer import node_answer

    tier = find_tier(view.fleet, arguments.tier) if arguments.tier else None
    return node_answer(view, find_node(view.fleet, arguments.name), tier)
