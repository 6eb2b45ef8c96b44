"""Deliberate mistakes, each of which the checks of CI must find: the proof that they have teeth.

    python -m tests.simulation.mutants [NAME ...]

plants one after another (`mutated.py` does it, in a process of its own, and no file changes) and prints
which check caught it; exit status 1 if one was not.  A mutant that no check can see does not go from
this list: it gets a story in `directed.py`, or a law that is missing.
"""

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
            `checker` of plans, `no rest` (the site never calms down), `crash`, or a `suite`.
        first: The check that is run first, to save time.  All others may find it too.
    """

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    first: str = ""
