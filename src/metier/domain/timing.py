"""How long things take on this site: as measured, else as it was for others, else as assumed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from statistics import median
from typing import NamedTuple, Protocol

from metier.domain.node import Node

MOST_SAMPLES = 16
"""Kept for each subject: enough for a steady median, few enough to follow what changes."""

LONGEST_S = 24 * 3600.0
"""No activity takes longer than this, in seconds: its deadlines are shorter.  What does was an outage."""


class Activity(StrEnum):
    """What takes time: each kind of work once.

    Work is timed from its order to its outcome.  What an order brings about later is timed
    until it is seen: switched on or started until its VM manager or its services answer,
    switched off, shut down or stopped until it is off.
    """

    INVENTORY = "inventory"
    POWER_ON = "power-on"
    POWER_OFF = "power-off"
    STAGE = "stage"
    REMOVE_VMS = "remove-vms"
    PREPARE = "prepare"
    GUEST_BOOT = "guest-boot"
    GUEST_SHUTDOWN = "guest-shutdown"
    GUEST_STOP = "guest-stop"
    RETIRE = "retire"
    DIAGNOSE = "diagnose"


OF_IMAGES = frozenset(
    (
        Activity.PREPARE,
        Activity.GUEST_BOOT,
        Activity.GUEST_SHUTDOWN,
        Activity.GUEST_STOP,
        Activity.RETIRE,
    )
)
"""Timed for each image version, whose guests are alike; all others for each physical node."""

DEFAULTS_S: Mapping[Activity, float] = {
    # One question to a VM manager; opening a connection to it through SSH was measured at 1.2 to 1.7 s.
    Activity.INVENTORY: 2.0,
    # Assumed: a server tests its memory and controllers for one to three minutes before it boots.
    Activity.POWER_ON: 180.0,
    # A BMC took the order in 0.3 s; to act, and to show it, is assumed to take it some seconds more.
    Activity.POWER_OFF: 10.0,
    # Defining a VM through libvirt was measured at 0.25 s; a host of some twenty VMs.
    Activity.STAGE: 5.0,
    # Removing them, likewise.
    Activity.REMOVE_VMS: 5.0,
    # Assumed: the first guest of a version on a host copies 3 GiB over a network of 1 Gbit/s.
    Activity.PREPARE: 30.0,
    # Assumed of a server's OS with a service; one of a few MiB answered in 2 s, even emulated.
    Activity.GUEST_BOOT: 30.0,
    # Likewise; one of a few MiB was off 1.3 to 1.7 s after it was asked.
    Activity.GUEST_SHUTDOWN: 15.0,
    # A VM manager cuts the power at once; a look at it every second shows it.
    Activity.GUEST_STOP: 2.0,
    # A few calls to a VM manager of some 0.25 s each, deleting a file among them.
    Activity.RETIRE: 1.0,
    # One question to a VM manager that is already connected; answered in 0.2 s for 40 VMs.
    Activity.DIAGNOSE: 1.0,
}
"""Seconds to expect where nobody has measured any: small numbers of one test machine, or assumed."""


class TimingId(NamedTuple):
    """What `subject` took for an activity: `guest-boot/web@3`, `power-on/host-1`."""

    activity: Activity
    subject: str

    def __str__(self) -> str:
        return f"{self.activity}/{self.subject}"


class Stopwatch(NamedTuple):
    """An activity that is under way and began at `since`."""

    activity: Activity
    since: datetime


@dataclass(frozen=True, slots=True)
class Timing:
    """What an activity took a subject, the last few times that it went well.

    Attributes:
        seconds: 1 to 16 samples, newest last, each from 0 to a day.
        generation: The Fleet generation that last added one.
    """

    id: TimingId
    seconds: tuple[float, ...]
    generation: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.seconds) <= MOST_SAMPLES:
            raise ValueError(
                f"timing {self.id} has {len(self.seconds)} samples; it takes 1 to {MOST_SAMPLES}"
            )
        for sample in self.seconds:
            if not is_duration(sample):
                raise ValueError(f"timing {self.id} has a sample of {sample} s; 0 to {LONGEST_S:.0f} can be")

    @property
    def median_s(self) -> float:
        """The median of its samples, in seconds."""
        return median(self.seconds)

    def with_sample(self, seconds: float) -> "Timing":
        """Return it with one sample more, without the oldest if there were 16."""
        return replace(self, seconds=(*self.seconds, seconds)[-MOST_SAMPLES:])


@dataclass(frozen=True, slots=True)
class Expected:
    """What to expect of an activity.

    Attributes:
        seconds: How long it takes.
        samples: How many measurements that rests on; 0 where it is assumed.
    """

    seconds: float
    samples: int


class Measured(Protocol):
    """What the questions below need of a Fleet; `fleet.py` imports this module."""

    @property
    def timings(self) -> Mapping[TimingId, Timing]:
        """All there are."""

    @property
    def usual(self) -> dict[Activity, Expected]:
        """Answers worked out before, for subjects without a timing of their own."""


def expected_s(fleet: Measured, activity: Activity, subject: str) -> Expected:
    """Return how long an activity will take a subject: by its own samples, those of others, or a default.

    `subject` is as `subject_of` names it; of a guest to come, its tier's image: `str(tier.image)`.
    Asking for many is cheap: what all others took is worked out once for an activity.
    """
    own = fleet.timings.get(TimingId(activity, subject))
    if own is not None:
        return Expected(own.median_s, len(own.seconds))
    usual = fleet.usual.get(activity)
    if usual is None:
        # Worked out once for as long as no timing changes: it looks at every one.
        usual = fleet.usual[activity] = _usual(fleet, activity)
    return usual


def measured_s(fleet: Measured, activity: Activity, subject: str) -> float | None:
    """Return the median of what a subject itself took for an activity, in seconds; None if never measured."""
    own = fleet.timings.get(TimingId(activity, subject))
    return None if own is None else own.median_s


def subject_of(activity: Activity, node: Node) -> str | None:
    """Return what an activity of `node` is timed for; None if it has no image to time it for."""
    if activity in OF_IMAGES:
        return None if node.instance is None else str(node.instance.image)
    return node.host or node.name


def is_duration(seconds: float) -> bool:
    """Say whether an activity can have taken so long; a clock that was set makes others."""
    return 0.0 <= seconds <= LONGEST_S


def timing_id(text: str) -> TimingId:
    """Read back what `str(TimingId)` wrote; raises ValueError."""
    activity, _, subject = text.partition("/")
    return TimingId(Activity(activity), subject)


def _usual(fleet: Measured, activity: Activity) -> Expected:
    """Return the median of the subjects' medians, so that a busy one counts no more than others."""
    known = [timing for timing in fleet.timings.values() if timing.id.activity is activity]
    if not known:
        return Expected(DEFAULTS_S[activity], 0)
    return Expected(median(timing.median_s for timing in known), sum(len(timing.seconds) for timing in known))
