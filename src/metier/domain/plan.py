"""A plan: what to do next, why, and what is waited for."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands read plans as rows and need not pay for the actions
    from metier.domain.actions import Action


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something wanted that no action can bring nearer now.

    Attributes:
        subject: The tier or node that waits.
        why: For what, in a sentence's words.
        rule: The rule that makes it wait.
    """

    subject: str
    why: str
    rule: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that stands as long as plans report it.

    Attributes:
        code: A row of `problems.PROBLEMS`.
    """

    code: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The planner's answer for one moment; an unread plan changes nothing.

    Attributes:
        wake: The earliest later moment at which time alone could change the answer, by subject.
    """

    actions: "tuple[Action, ...]" = ()
    waiting: tuple[Waiting, ...] = ()
    findings: tuple[Finding, ...] = ()
    wake: tuple[tuple[datetime, str], ...] = ()
