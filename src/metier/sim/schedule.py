"""When a scenario's lines happen, once it is known when its site was exported."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from metier.sim.scenario import After, At, Scenario, Step, Trouble, When

LONGEST = timedelta(days=366)
"""No scenario covers more time than a year."""

EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""No site was exported before, and clocks that are later than that are wrong."""

AFTER_LAST = timedelta(hours=1)
"""Without a word on its end a scenario goes on for so long after its last line."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The moments of a scenario.

    Attributes:
        moments: When each step happens.
        end: When it is over; with `until_quiet`, the moment of the last step.
    """

    start: datetime
    moments: tuple[datetime, ...]
    end: datetime


def schedule(scenario: Scenario, exported: datetime) -> tuple[Schedule, list[Trouble]]:
    """Return when everything happens, for a site that was exported at a moment; and which times cannot be.

    A time that cannot be is taken for that of the line before.
    """
    start = scenario.start or exported
    if not EARLIEST <= start <= LATEST:
        bad = scenario.trouble(0, f"it would begin at {start:%Y-%m-%d}", "give a start of these days")
        return Schedule(EARLIEST, (EARLIEST,) * len(scenario.steps), EARLIEST), [bad]
    moments: list[datetime] = []
    troubles: list[Trouble] = []
    last = start
    for step in [*scenario.steps, *([scenario.end] if scenario.end else [])]:
        moment = _moment(step.when, start, last)
        if moment is not None and last <= moment and moment - start <= LONGEST:
            last = moment
        else:
            troubles.append(_bad_time(scenario, step, moment, start, last))
        moments.append(last)
    if scenario.end is not None:
        return Schedule(start, tuple(moments[:-1]), last), troubles
    return Schedule(start, tuple(moments), last if scenario.until_quiet else last + AFTER_LAST), troubles


def _moment(when: When, start: datetime, last: datetime) -> datetime | None:
    """Return the moment of a line; None for one that no calendar has."""
    try:
        if isinstance(when, After):
            return last + timedelta(seconds=when.seconds)
        day = when.on or last.date()
        if when.day is not None:
            day = start.date() + timedelta(days=when.day - 1)
        return datetime.combine(day, when.clock, UTC)
    except OverflowError:
        return None


def _bad_time(
    scenario: Scenario, step: Step, moment: datetime | None, start: datetime, last: datetime
) -> Trouble:
    if moment is None or moment > last:
        why = f"{step.when} is more than {LONGEST.days} days after the start"
        return scenario.trouble(step.line, why, "make two scenarios of it")
    is_first = last == start
    before = "the start" if is_first else "the line before"
    day = (last.date() - start.date()).days + 2
    remedy = "times never go back: write a later one"
    if isinstance(step.when, At) and step.when.day is None and step.when.on is None:
        remedy = f"times never go back: if the next day is meant, write `day {day} {step.when}`"
    if is_first and scenario.start is None:
        remedy = "without a line `start …` it begins when the site was exported; write one, or a later time"
    why = f"{step.when} lies before {before}, {last:%Y-%m-%d %H:%M:%S}"
    return scenario.trouble(step.line, why, remedy)
