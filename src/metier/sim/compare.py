"""What a controller decided, next to what it decides in a simulation of the same time."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from metier.sim.timeline import Fact, FactKind
from metier.store.api import Entry


class Decided(NamedTuple):
    """One decision: when, on which node, what, and by which rule."""

    at: datetime
    node: str
    action: str
    rule: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two decisions the same one."""
        return self.node, self.action, self.rule


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a simulation decided what was decided.

    Attributes:
        same: How many decisions both have.
        missing: Those that were made and are not made in the simulation.
        extra: Those that are only made there.
    """

    same: int
    missing: tuple[Decided, ...]
    extra: tuple[Decided, ...]


def compare(recorded: Sequence[Entry], facts: Sequence[Fact], until: datetime) -> Comparison:
    """Compare the decisions of a journal with those that a simulation made until a moment."""
    was = [
        Decided(entry.at, entry.subject, str(entry.data.get("action", "")), entry.by)
        for entry in recorded
        if entry.kind == "action"
    ]
    is_now = [
        Decided(fact.at, fact.subject, fact.what, fact.by) for fact in facts if fact.kind is FactKind.ACTION
    ]
    missing = _without(was, is_now)
    extra = [one for one in _without(is_now, was) if one.at <= until]
    return Comparison(len(was) - len(missing), tuple(missing), tuple(extra))


def _without(some: Iterable[Decided], others: Iterable[Decided]) -> list[Decided]:
    """Return what of `some` has no counterpart among `others`; of several alike the last are left over."""
    left = Counter(one.key for one in others)
    found = []
    for one in some:
        if left[one.key]:
            left[one.key] -= 1
        else:
            found.append(one)
    return found
