"""A plan as the interface's JSON shows it."""

import re
from typing import TYPE_CHECKING

from metier.domain.plan import Plan, Waiting
from metier.operations.registry import Row

if TYPE_CHECKING:
    # A command line explains nodes without planning anything: it need not pay for every kind of action.
    from metier.domain.actions import Action

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def plan_row(plan: Plan) -> Row:
    """Return a plan as JSON; also for what would follow from a change."""
    return {
        "actions": [action_row(action) for action in plan.actions],
        "waiting": [waiting_row(waiting) for waiting in plan.waiting],
    }


def action_row(action: "Action") -> Row:
    """Return the row of an action."""
    return {
        "action": action_word(action),
        "subject": action.subject,
        "why": action.why,
        "rule": action.rule,
    }


def waiting_row(waiting: Waiting) -> Row:
    """Return the row of something waited for."""
    return {"subject": waiting.subject, "why": waiting.why, "rule": waiting.rule}


def action_word(action: "Action") -> str:
    """Return the word for an action: `allocate-node` for an `AllocateNode`."""
    return _CAPITAL.sub("-", type(action).__name__).lower()
