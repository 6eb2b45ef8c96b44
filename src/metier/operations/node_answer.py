"""Everything that explains one node, put together."""

from metier.domain.node import Node
from metier.domain.status import STATUSES, status
from metier.domain.tier import Tier
from metier.operations.host_words import configuration_of
from metier.operations.node_reasons import history, why
from metier.operations.node_row import where
from metier.operations.node_standing import member_standing
from metier.operations.node_verdict import tiers_in_want, verdict
from metier.operations.plan_row import action_word
from metier.operations.registry import Row, View


def node_answer(view: View, node: Node, asked: Tier | None) -> Row:
    """Return where a node is and why, and why it is not in `asked` or in any tier that lacks nodes."""
    fleet = view.fleet
    word = status(fleet, node)
    tier = fleet.tiers.get(node.tier) if node.tier is not None else None
    known = history(view, node)
    return {
        "name": node.name,
        "status": word,
        "meaning": STATUSES[word],
        "where": where(node),
        "why": why(view, node),
        "configuration": configuration_of(fleet, node),
        "placed": known.placed,
        **({} if tier is None else member_standing(view, node, tier)),
        "waiting_for": view.waiting_for(node.name),
        "next_actions": [
            f"{action_word(action)}: {action.why}"
            for action in view.plan.actions
            if action.subject == node.name
        ],
        "tiers": [
            verdict(fleet, node, other) for other in ([asked] if asked else tiers_in_want(fleet, node))
        ],
        "recent": known.recent,
    }
