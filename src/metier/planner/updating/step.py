"""What the next step of an update procedure can be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metier.domain.actions import Action
from metier.domain.procedure import Procedure, Stage


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's command that the procedure gives.

    Attributes:
        note_job: The job that it begins is the procedure's capture.
        may_fail: If it is refused, that is remarked on, and the procedure goes on.
        accept_warnings: Its consequences were accepted beforehand.
    """

    noun: str
    verb: str
    arguments: Mapping[str, Any]
    note_job: bool = False
    may_fail: bool = False
    accept_warnings: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What is done now, all of it or nothing; or, with nothing to do, what is waited for.

    Attributes:
        told: What is done or waited for, in words.
        deeds: Commands to give and decisions to record, in order.
        fields: What changes in the procedure's record once the deeds are done.
        problem: Why only a person can bring it on; `remedy` says how.
        is_last: The procedure is over.
    """

    stage: Stage
    told: str
    deeds: tuple[Order | Action, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    remedy: str = ""
    is_last: bool = False

    @property
    def is_done_at_once(self) -> bool:
        """Whether another step can follow in the same moment."""
        return bool(self.deeds or self.fields) and not self.is_last


def stuck(stage: Stage, problem: str, remedy: str) -> Step:
    """Return the step that a person has to take."""
    return Step(stage, problem, problem=problem, remedy=remedy)


def abort(procedure: Procedure) -> str:
    """Return the command that gives a procedure up."""
    return f"`metier image update {procedure.image} --abort`"


def retry(procedure: Procedure) -> str:
    """Return the command by which it goes on after a problem."""
    return f"`metier image update {procedure.image} --retry`"
