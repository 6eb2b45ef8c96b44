"""What an operator can ask about tiers."""

from dataclasses import dataclass

from metier.domain.ids import natural
from metier.domain.tier import TierKind, TierState
from metier.operations.copying import copying_words
from metier.operations.node_row import COLUMNS as NODE_COLUMNS
from metier.operations.node_row import node_row
from metier.operations.records import find_tier
from metier.operations.registry import Form, Row, View, option, positional, reads
from metier.operations.tier_row import COLUMNS, tier_row


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTiers:
    """Filters of the list of tiers; each one narrows it."""

    state: str | None = option("only tiers in this state", None, choices=[state.value for state in TierState])
    kind: str | None = option("only tiers of this kind", None, choices=[kind.value for kind in TierKind])
    image: str | None = option("only tiers on this image or image version", None, example="web@1")


@reads(
    "tier",
    "list",
    ListTiers,
    form=Form.LIST,
    columns=COLUMNS,
    examples=("metier tier list", "metier tier list --state active -o json"),
)
def list_tiers(view: View, arguments: ListTiers) -> list[Row]:
    """List tiers, in the order of their names."""
    chosen = [
        tier
        for tier in view.fleet.tiers.values()
        if arguments.state in (None, tier.state)
        and arguments.kind in (None, tier.kind)
        and arguments.image in (None, tier.image.name, str(tier.image))
    ]
    chosen.sort(key=lambda tier: natural(tier.name))
    return [tier_row(view.fleet, tier, view.waiting_for(tier.name)) for tier in chosen]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowTier:
    """Which tier."""

    name: str = positional("the tier to show", example="web")


@reads("tier", "show", ShowTier, columns=COLUMNS, examples=("metier tier show web",))
def show_tier(view: View, arguments: ShowTier) -> Row:
    """Show everything about one tier, with its nodes."""
    tier = find_tier(view.fleet, arguments.name)
    members = view.fleet.member_nodes(tier.name)
    copying = copying_words(view)
    rows = [node_row(view.fleet, node, view.waiting_for(node.name)) for node in members]
    return {
        **tier_row(view.fleet, tier, view.waiting_for(tier.name)),
        "copying": list(dict.fromkeys(copying[node.name] for node in members if node.name in copying)),
        "nodes": [{column: row[column] for column in ("slot", *NODE_COLUMNS)} for row in rows],
    }
