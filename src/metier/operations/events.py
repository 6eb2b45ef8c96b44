"""The journal, as events."""

from dataclasses import dataclass

from metier.operations.parsing import in_range
from metier.operations.registry import Form, Row, View, option, reads

COLUMNS = ("id", "at", "kind", "subject", "message", "by")
_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEvents:
    """Which part of the journal."""

    subject: str | None = option("only events about this node, tier, image or job", None, example="host-1")
    after: int | None = option(
        "only events after the one with this number, from there on", None, example="120"
    )
    limit: int = option("how many at most, 1 to 10000", 100)


@reads(
    "event",
    "list",
    ListEvents,
    form=Form.LIST,
    columns=COLUMNS,
    examples=("metier event list --subject web", "metier event list --follow"),
)
def list_events(view: View, arguments: ListEvents) -> list[Row]:
    """List what was decided and what was seen, oldest first: the newest, unless --after is given."""
    limit = in_range(arguments.limit, "the limit", 1, _MOST)
    after = 0 if arguments.after is None else in_range(arguments.after, "--after", 0, 1 << 62)
    rows = view.services.journal(
        after=after, limit=limit, subject=arguments.subject, newest=arguments.after is None
    )
    return list(rows)
