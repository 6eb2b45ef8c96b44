"""Update procedures: seen, and followed step by step."""

from dataclasses import dataclass

from metier.domain.errors import NoSuchThing
from metier.domain.fleet import Fleet
from metier.domain.procedure import STAGES, Procedure, Stage
from metier.operations.procedure_row import COLUMNS, procedure_row, stage_number, tiers_behind
from metier.operations.registry import Form, Row, View, option, positional, reads

_JOURNAL_SPAN = 500
"""So far back the journal is searched for what a procedure did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProcedures:
    """Filters of the list of update procedures; each one narrows it."""

    image: str | None = option("only updates of this image", None, example="w2k")
    live: bool = option("only those that go on", False)


@reads(
    "procedure",
    "list",
    ListProcedures,
    form=Form.LIST,
    columns=COLUMNS,
    examples=("metier procedure list", "metier procedure list --live"),
)
def list_procedures(view: View, arguments: ListProcedures) -> list[Row]:
    """List the updates of images, oldest first; of those that ended, the last few."""
    return [
        procedure_row(view.fleet, one)
        for _, one in sorted(view.fleet.procedures.items())
        if arguments.image in (None, one.image.name, str(one.image)) and (one.is_live or not arguments.live)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichProcedure:
    """Which update procedure."""

    id: int = positional("the number of the update", example="3")


@reads(
    "procedure",
    "show",
    WhichProcedure,
    columns=("id", "image", "makes", "stage", "meaning", "told", "problem", "remedy", "steps"),
    examples=("metier procedure show 3",),
)
def show_procedure(view: View, arguments: WhichProcedure) -> Row:
    """Show how far an update of an image is, what it did so far, and what it waits for."""
    procedure = find_procedure(view.fleet, arguments.id)
    return {
        **procedure_row(view.fleet, procedure),
        "meaning": STAGES[procedure.stage],
        "stage_number": stage_number(procedure),
        "steps": _steps(view, procedure),
        "tiers_behind": _behind(view.fleet, procedure),
    }


def find_procedure(fleet: Fleet, number: int) -> Procedure:
    """Return an update procedure; raises NoSuchThing."""
    found = fleet.procedures.get(number)
    if found is None:
        raise NoSuchThing(f"there is no image update {number}", remedy="see `metier procedure list`")
    return found


def _steps(view: View, procedure: Procedure) -> list[Row]:
    """Return what the journal has of it: when, and what was done."""
    rows = view.services.journal(after=0, limit=_JOURNAL_SPAN, subject=str(procedure.image), newest=True)
    return [
        {"at": row.get("at"), "did": row.get("message")}
        for row in rows
        if row.get("kind") == "procedure" and row.get("by") == procedure.caller
    ]


def _behind(fleet: Fleet, procedure: Procedure) -> list[str]:
    """Return the tiers that could go over to the new version, once it is there."""
    if procedure.stage is not Stage.DONE:
        return []
    return [tier.name for tier in tiers_behind(fleet, procedure.version)]
