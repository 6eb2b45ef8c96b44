"""A scenario: a plain text that says what happens to a site, and when.

    # A host dies at lunch
    site web-shop.json
    start 2026-03-02 13:55
    seed 7

    14:00     host-3 dies
    14:05     metier tier edit web --target 6
    14:05:30  target of web 7
    +10m      network to host-1 breaks
    day 2 00:10  everything heals
    until quiet

A time of day is on the day of the line before it; `day 2 00:10` is on the second day,
counted from the start, and `2026-03-03 00:10` on that day.  `+1h30m` is so much later
than the line before.  All times are UTC, and none lies before the one above it.

What happens is a sentence of `sim/faults.py`, a command of the program `metier`, or a
short form of one.  Nothing is known here of the site it will happen to.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

from metier.domain.errors import WrongUsage

LONGEST_TEXT = 1 << 20
"""Most characters of a scenario."""

MOST_STEPS = 10_000

SHORT_FORMS = (
    ("target of TIER N", "metier tier edit {tier} --target {n}"),
    ("minimum of TIER N", "metier tier edit {tier} --minimum {n}"),
    ("maximum of TIER N", "metier tier edit {tier} --maximum {n}"),
    ("activate TIER", "metier tier activate {tier}"),
    ("deactivate TIER", "metier tier deactivate {tier}"),
    ("engage NODE", "metier node engage {node}"),
    ("disengage NODE", "metier node disengage {node}"),
    ("shut down NODE", "metier node shutdown {node}"),
)
"""Commands that may be written as a sentence, and what is typed for them."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_PLACES = {"TIER": rf"(?P<tier>{_NAME})", "NODE": rf"(?P<node>{_NAME})", "N": r"(?P<n>\d{1,9})"}
_CLOCK = r"(?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)"
_WHEN = re.compile(
    rf"(?:(?:day\s+(?P<day>\d{{1,4}})\s+|(?P<date>\d{{4}}-\d{{2}}-\d{{2}})[\sT]+)?{_CLOCK}"
    r"|\+(?=\d)(?:(?P<h>\d{1,4})h)?(?:(?P<m>\d{1,6})m)?(?:(?P<s>\d{1,8})s)?)(?:\s+(?P<what>\S.*))?",
    re.ASCII,
)
_START = re.compile(rf"(?P<date>\d{{4}}-\d{{2}}-\d{{2}})[\sT]+{_CLOCK}Z?", re.ASCII)
_SEED = re.compile(r"\d{1,18}", re.ASCII)
_LONGEST_S = 10**9
_HEAD = ("site", "start", "seed")
_WAYS = "write it as 14:05, 14:05:30, day 2 00:10, 2026-03-02 14:05 or +10m"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with one line of a file.

    Attributes:
        line: Its number; 0 for what no line is to blame for.
    """

    name: str
    line: int
    why: str
    remedy: str = ""

    @property
    def place(self) -> str:
        """`lunch.txt:4`."""
        return f"{self.name}:{self.line}" if self.line else self.name

    def __str__(self) -> str:
        return f"{self.place}: {self.why}"


class BadScenario(WrongUsage):
    """A scenario cannot be run as it is written; nothing of it was.

    Attributes:
        troubles: All that is wrong with it, in the order of its lines.
    """

    code = "bad-scenario"

    def __init__(self, troubles: Sequence[Trouble]) -> None:
        self.troubles = tuple(sorted(troubles, key=lambda trouble: trouble.line))
        remedies = dict.fromkeys(trouble.remedy for trouble in self.troubles if trouble.remedy)
        super().__init__("; ".join(map(str, self.troubles)), remedy="; ".join(remedies))


def clock_text(clock: time) -> str:
    """Return a time of day as short as it can be written: `14:05`, `14:05:30`, `14:05:30.250000`."""
    text = f"{clock:%H:%M:%S.%f}"
    return text.removesuffix(".000000").removesuffix(":00") if not clock.microsecond else text


@dataclass(frozen=True, slots=True)
class At:
    """A time of day: on a date, on a day counted from 1 at the start, or on the day of the line before."""

    clock: time
    day: int | None = None
    on: date | None = None

    def __str__(self) -> str:
        clock = clock_text(self.clock)
        if self.on is not None:
            return f"{self.on.isoformat()} {clock}"
        return clock if self.day is None else f"day {self.day} {clock}"


@dataclass(frozen=True, slots=True)
class After:
    """So many seconds after the line before."""

    seconds: int

    def __str__(self) -> str:
        minutes, seconds = divmod(self.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
        return "+" + ("".join(f"{count}{unit}" for count, unit in parts if count) or "0s")


When = At | After


@dataclass(frozen=True, slots=True)
class Step:
    """One line that something happens in.

    Attributes:
        text: What happens, as it is written.
        line: Its number in the file; 0 for a step that no file has.
    """

    when: When
    text: str
    line: int = field(default=0, compare=False)

    @property
    def command(self) -> str:
        """What is typed; empty if this is no command."""
        return self.text if _is_command(self.text) else _spelled_out(self.text)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, and when; the site it happens to is not part of it.

    Attributes:
        name: What the operator calls it, for messages.
        title: The first comment, if the file begins with one.
        site: The exported site that it names; empty for none.
        start: When it begins; None for the moment at which the site was exported.
        end: When it ends; None for an hour after the last step.
        until_quiet: It ends when nothing happens any more.
    """

    name: str = field(compare=False)
    title: str = ""
    site: str = ""
    site_line: int = field(default=0, compare=False)
    start: datetime | None = None
    seed: int = 0
    steps: tuple[Step, ...] = ()
    end: Step | None = None
    until_quiet: bool = False

    def trouble(self, line: int, why: str, remedy: str = "") -> Trouble:
        """Return what is wrong with one of its lines."""
        return Trouble(self.name, line, why, remedy)


# --- reading ------------------------------------------------------------------------------


def parse(text: str, name: str) -> tuple[Scenario, list[Trouble]]:
    """Read a scenario as far as it can be read, and say what is wrong with the rest."""
    reading = _Reading(name)
    if len(text) > LONGEST_TEXT:
        reading.fault(0, f"it has more than {LONGEST_TEXT} characters", "give a shorter one")
        text = ""
    for number, line in enumerate(text.split("\n"), 1):
        reading.take(number, line.strip())
    return reading.scenario(), reading.troubles


def read(text: str, name: str) -> Scenario:
    """Read a scenario; raises BadScenario."""
    scenario, troubles = parse(text, name)
    if troubles:
        raise BadScenario(troubles)
    return scenario


class _Reading:
    """One reading of one text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._title = ""
        self._head: dict[str, tuple[int, str]] = {}
        self._start: datetime | None = None
        self._seed = 0
        self._steps: list[Step] = []
        self._end: Step | None = None
        self._until_quiet = False
        self._is_begun = False
        self.troubles: list[Trouble] = []

    def fault(self, line: int, why: str, remedy: str = "") -> None:
        self.troubles.append(Trouble(self._name, line, why, remedy))

    def take(self, number: int, line: str) -> None:
        """Read one line."""
        if line.startswith("#"):
            if not self._is_begun:
                self._title = line.lstrip("#").strip()
            self._is_begun = True
            return
        if not line:
            return
        self._is_begun = True
        word, _, rest = line.partition(" ")
        if self._end is not None or self._until_quiet:
            self.fault(number, f"{_short(line)!r} stands behind the end", "put the end last")
        elif word in _HEAD:
            self._take_head(number, word, rest.strip())
        elif line.split() == ["until", "quiet"]:
            self._until_quiet = True
        else:
            self._take_step(number, line)

    def _take_head(self, number: int, word: str, value: str) -> None:
        if word in self._head:
            self.fault(number, f"{word} is there twice, first in line {self._head[word][0]}", "keep one")
        elif self._steps:
            self.fault(number, f"{word} stands behind what happens", f"put the line `{word} …` first")
        elif not value or not value.isprintable():
            self.fault(number, f"{word} of what is not said", f"write `{word} …` with its value")
        elif word == "start":
            self._start = self._moment(number, value)
        elif word == "seed" and not _SEED.fullmatch(value):
            self.fault(number, f"seed {_short(value)!r} is no whole number", "write one, for example 7")
        elif word == "seed":
            self._seed = int(value)
        self._head.setdefault(word, (number, value))

    def _moment(self, number: int, value: str) -> datetime | None:
        match = _START.fullmatch(value)
        day = _date(match["date"]) if match else None
        clock = _clock(match["clock"]) if match else None
        if day is None or clock is None:
            self.fault(
                number, f"start {_short(value)!r} is no moment", "write it as 2026-03-02 13:55, in UTC"
            )
            return None
        return datetime.combine(day, clock, UTC)

    def _take_step(self, number: int, line: str) -> None:
        match = _WHEN.fullmatch(line)
        when = _when(match) if match else None
        if match is None or when is None:
            self.fault(number, f"{_short(line)!r} does not begin with a time", _WAYS)
        elif match["what"] is None:
            self.fault(number, f"nothing happens at {when}", "write behind the time what happens")
        elif not match["what"].isprintable():
            self.fault(number, "there are characters in it that cannot be shown", "write plain text")
        elif match["what"] == "end":
            self._end = Step(when, "end", number)
        elif len(self._steps) == MOST_STEPS:
            self.fault(number, f"there are more than {MOST_STEPS} steps", "make two scenarios of it")
        else:
            self._steps.append(Step(when, match["what"], number))

    def scenario(self) -> Scenario:
        """Return what was read."""
        site_line, site = self._head.get("site", (0, ""))
        return Scenario(
            name=self._name,
            title=self._title,
            site=site,
            site_line=site_line,
            start=self._start,
            seed=self._seed,
            steps=tuple(self._steps),
            end=self._end,
            until_quiet=self._until_quiet,
        )


def _when(match: "re.Match[str]") -> When | None:
    if match["clock"] is None:
        hours, minutes, seconds = (int(match[unit] or 0) for unit in "hms")
        total = 3600 * hours + 60 * minutes + seconds
        return After(total) if total <= _LONGEST_S else None
    clock = _clock(match["clock"])
    day = _date(match["date"]) if match["date"] else None
    if clock is None or (match["date"] and day is None) or match["day"] == "0":
        return None
    return At(clock, int(match["day"]) if match["day"] else None, day)


def _clock(text: str) -> time | None:
    hours, minutes, seconds = [*text.split(":"), "0"][:3]
    whole, _, fraction = seconds.partition(".")
    try:
        return time(int(hours), int(minutes), int(whole), int(fraction.ljust(6, "0")))
    except ValueError:
        return None


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _is_command(text: str) -> bool:
    return text.split(maxsplit=1)[0] == "metier"


def _spelled_out(text: str) -> str:
    """Return the command that a short form stands for; empty if it is none."""
    for sentence, command in SHORT_FORMS:
        pattern = r"\s+".join(_PLACES.get(word, word) for word in sentence.split())
        match = re.fullmatch(pattern, text, re.ASCII)
        if match is not None:
            return command.format(**match.groupdict())
    return ""


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


# --- writing ------------------------------------------------------------------------------


def render(scenario: Scenario) -> str:
    """Return a scenario as text, from which `read` makes the same one."""
    head = [f"# {scenario.title}", ""] if scenario.title else []
    head += [f"site {scenario.site}"] if scenario.site else []
    head += (
        [f"start {scenario.start.date().isoformat()} {clock_text(scenario.start.time())}"]
        if scenario.start
        else []
    )
    head += [f"seed {scenario.seed}"] if scenario.seed else []
    steps = [*scenario.steps, *([scenario.end] if scenario.end else [])]
    width = max((len(str(step.when)) for step in steps), default=0)
    lines = [f"{step.when!s:<{width}}  {step.text}" for step in steps]
    gap = [""] if head and head[-1] else []
    return "\n".join([*head, *gap, *lines, *(["until quiet"] if scenario.until_quiet else [])]) + "\n"
