"""A forecast: everything that would follow, when, and for whom it would be felt."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from metier.domain.ids import NodeId, SlotId, TierId
from metier.domain.plan import Waiting
from metier.domain.timing import Activity

if TYPE_CHECKING:  # commands read forecasts as rows and need not pay for the actions
    from metier.domain.actions import Action


class Level(StrEnum):
    """What a tier can be below."""

    MINIMUM = "minimum"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """An action, and in how many seconds from now it is begun."""

    action: "Action"
    after_s: float


@dataclass(frozen=True, slots=True)
class Dip:
    """A time in which a tier has fewer normal members than it should.

    Attributes:
        wanted: The minimum or target, as it was when the dip began.
        from_s: In how many seconds it begins; 0 if the tier is below already.
        seconds: How long it lasts; None if it does not end as far as can be foreseen.
        lowest: How few normal members the tier has then.
    """

    tier: TierId
    below: Level
    wanted: int
    from_s: float
    seconds: float | None
    lowest: int


@dataclass(frozen=True, slots=True)
class Displaced:
    """A virtual node whose work in a slot is interrupted.

    Attributes:
        to: Which node does it next, maybe the same one; None if no node does.
        from_s: In how many seconds it ends.
        gap_s: How many seconds pass until `to` does it; None without one.
    """

    node: NodeId
    slot: SlotId
    to: NodeId | None
    from_s: float
    gap_s: float | None


@dataclass(frozen=True, slots=True)
class Duration:
    """How long an activity was taken to last, and what that rests on.

    Attributes:
        subject: A host, or an image version.
        samples: How many measurements: its own, else those of others; 0 where it is assumed.
        is_own: The subject itself was measured.
    """

    activity: Activity
    subject: str
    seconds: float
    samples: int
    is_own: bool


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A slot whose next new instance would be told something else than now.

    Attributes:
        difference: A unified difference of the texts, of several lines.
    """

    slot: SlotId
    difference: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would follow, if everything that is begun succeeds and nothing else happens.

    Attributes:
        actions: In the order in which they are decided.
        waiting: What is waited for in the end.
        dips: By when they begin.
        displaced: By when their work ends.
        durations: What the times rest on, one for each activity and subject in `actions`.
        seconds: How long it takes in all; 0 if nothing is to be done.
        notes: Sentences on what is not foreseen.
        rewritten: What the change that is foreseen alters in what guests are told.
    """

    actions: tuple[Foreseen, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    dips: tuple[Dip, ...] = ()
    displaced: tuple[Displaced, ...] = ()
    durations: tuple[Duration, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    rewritten: tuple[Rewritten, ...] = ()
