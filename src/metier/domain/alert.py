"""Alerts: what an operator should know about, one open alert per problem and subject."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    """How much it matters."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Alert:
    """A problem that stands, or stood until `cleared`.

    Attributes:
        id: Counts up; never used twice.
        code: A row of `problems.PROBLEMS`.
        subject: The node, tier, image or job it is about.
        acknowledged: Who has seen it; empty while nobody has.
    """

    id: int
    code: str
    severity: Severity
    subject: str
    message: str
    since: datetime
    acknowledged: str = ""
    cleared: datetime | None = None
    generation: int = 0
