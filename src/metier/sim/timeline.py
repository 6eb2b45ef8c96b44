"""What a simulation came to: everything that happened, one fact each, and how many nodes served."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from metier.domain.ids import TierId
from metier.domain.plan import Finding, Waiting
from metier.sim.laws import Breach


class FactKind(StrEnum):
    """What kind of thing happened."""

    START = "start"
    FAULT = "fault"
    """It befell the data centre or its controllers."""
    ORDER = "order"
    """A command was typed; the lines of its answer follow in the message."""
    FAILED = "failed"
    """A line of the scenario could not happen."""
    ACTION = "action"
    OUTCOME = "outcome"
    OBSERVATION = "observation"
    ALERT = "alert"
    OTHER = "other"
    END = "end"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened.

    Attributes:
        at: The true time.
        subject: The node, tier or image it is about; for an order, what was typed.
        message: What happened, in a sentence's words; of an order, its answer, in lines.
        by: The rule of a decision, or who gave an order.
        what: The word for an action, such as `PowerOn`.
        line: The scenario's line that made it happen; 0 for none.
        status: What an order ended with.
    """

    at: datetime
    kind: FactKind
    subject: str
    message: str
    by: str = ""
    what: str = ""
    line: int = 0
    status: int = 0

    @property
    def full(self) -> str:
        """All of it in one line: what the trace is made of."""
        parts = (self.at.isoformat(), self.kind, self.subject, repr(self.message), self.by, str(self.status))
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Dip:
    """A while in which fewer nodes of a tier served than should.

    Attributes:
        wanted: The number that it was below, when it began.
        lowest: The fewest that served.
        end: None if it was still so at the end of the simulation.
    """

    began: datetime
    wanted: int
    lowest: int
    end: datetime | None = None

    def seconds(self, until: datetime) -> float:
        """Return how long it took, for a simulation that ended at a moment."""
        return ((self.end or until) - self.began).total_seconds()


@dataclass(frozen=True, slots=True)
class TierStory:
    """How one tier fared.

    Attributes:
        serving: How many of its nodes serve at the end.
        minimum: At the end, as `target` is; both are 0 while it is not active.
        below_minimum: Each while in which fewer served than its minimum; likewise `below_target`.
    """

    tier: TierId
    serving: int
    minimum: int
    target: int
    below_minimum: tuple[Dip, ...]
    below_target: tuple[Dip, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a simulation came to.

    Attributes:
        name: The scenario's.
        missed: Lines of the scenario that could not happen.
        waiting: What is wanted at the end and nothing brings nearer.
        problems: What stands at the end.
        breaches: The laws that were broken.
    """

    name: str
    title: str
    seed: int
    start: datetime
    end: datetime
    facts: tuple[Fact, ...]
    tiers: tuple[TierStory, ...]
    waiting: tuple[Waiting, ...]
    problems: tuple[Finding, ...]
    breaches: tuple[Breach, ...]

    @property
    def missed(self) -> tuple[Fact, ...]:
        """What the scenario says and could not happen."""
        return tuple(fact for fact in self.facts if fact.kind is FactKind.FAILED)

    @property
    def is_good(self) -> bool:
        """Whether all lines could happen and no law was broken."""
        return not self.breaches and not self.missed

    @property
    def trace(self) -> str:
        """The hash of everything that happened: the same seed, site and code give the same one."""
        return trace_of(self.facts)


def trace_of(facts: Iterable[Fact]) -> str:
    """Return the SHA-256 of the full lines of facts, in hexadecimal digits."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(f"{fact.full}\n".encode("utf-8", "backslashreplace"))
    return digest.hexdigest()
