"""What a deliberate mistake is; `mutants.py` has them all."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file below `src/metier`: `old`, which must stand there once, becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake.

    Attributes:
        breaks: What goes wrong by it, in one sentence.
        caught_by: What may find it: `law 1` to `law 10` of the rules' list "Always true", the
            `checker` of plans, a `check` of `directed.py`, `no rest` (the site never calms down),
            `no end` (a check never ends), `crash`, or a `suite` of other tests.
        first: The check that is run first, to save time.  All others may find it too.
    """

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    first: str = ""


UNCHECKED = Edit(
    "control/round.py",
    "faults = check(fleet, planned.work.actions, planned.work.fleet)",
    "faults: tuple[str, ...] = ()",
)
"""The checker is away as well: whatever the planner does wrong, the laws alone must find it."""


def one(name: str, breaks: str, file: str, old: str, new: str, by: str, first: str) -> Mutant:
    """Return a mistake in one place; `by` has what may find it, with commas."""
    return Mutant(name, breaks, (Edit(file, old, new),), tuple(by.split(", ")), first)


def pair(
    name: str, breaks: str, file: str, old: str, new: str, law: str, first: str
) -> tuple[Mutant, Mutant]:
    """Return a mistake that the checker of plans should stop, and the same without a checker."""
    alone = one(name, breaks, file, old, new, f"checker, {law}", first)
    edits = (*alone.edits, UNCHECKED)
    return alone, Mutant(f"{name}, unchecked", f"{breaks}  No checker either.", edits, (law,), first)
