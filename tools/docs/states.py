"""The life of a node: its table, its diagram and its statuses."""

from metier.domain.lifecycle import TRANSITIONS, Lifecycle
from metier.domain.status import STATUSES
from tools.docs import markdown as md

_AXES = """
A node has several axes that never mix: where it is placed, whether it is engaged, its power as it was
last seen, its health as its collectors report it, and its *lifecycle*, which this page is about: how
far it is with running what its placement asks for.  The *status* that lists show is one word computed
from all of them.
"""


def states_page() -> str:
    """Return the page."""
    rows = [[row.source, row.event, row.target, row.why] for row in TRANSITIONS]
    return md.page(
        "States of a node",
        _AXES,
        "## Lifecycle",
        md.block(_diagram(), "mermaid"),
        md.table(["in", "event", "leads to", "why"], rows),
        "An event that has no row in a state is refused as a fault of Metier itself.",
        "## Statuses",
        md.table(["status", "meaning"], STATUSES.items()),
    )


def _diagram() -> list[str]:
    """Return the diagram's lines: one arrow from state to state, with every event that takes it."""
    arrows: dict[tuple[Lifecycle, Lifecycle], list[str]] = {}
    for row in TRANSITIONS:
        arrows.setdefault((row.source, row.target), []).append(row.event)
    lines = [f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in arrows.items()]
    return ["stateDiagram-v2", f"    [*] --> {Lifecycle.NEW}", *lines]
