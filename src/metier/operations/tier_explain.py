"""Why a tier has what it has, what it lacks, and what would change that."""

from dataclasses import dataclass

from metier.operations.records import find_tier
from metier.operations.registry import Form, Row, View, positional, reads


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTier:
    """Which tier."""

    name: str = positional("the tier to explain", example="web")


@reads(
    "tier",
    "explain",
    ExplainTier,
    form=Form.VERB,
    columns=("name", "state", "target", "allocated", "normal", "shortage", "why", "reasons", "cures"),
    examples=("metier tier explain web",),
)
def explain_tier(view: View, arguments: ExplainTier) -> Row:
    """Say what a tier lacks and why, who is next, who would leave first, and what would change that."""
    # The command line loads this module for the arguments, and need not pay for what answers them.
    from metier.operations.tier_answer import tier_answer

    return tier_answer(view, find_tier(view.fleet, arguments.name))
