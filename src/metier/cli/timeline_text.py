"""What a simulation came to, for people: its timeline, how the tiers fared, what stands, the verdict."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import PurePath
from typing import Any

from metier.cli.output import Row, printable, table

_STEPS = ("fault", "order", "failed")
_SHOWN = frozenset((*_STEPS, "action", "alert"))
"""What is shown of a timeline unless everything is wanted."""

_SELF_EVIDENT = frozenset(("AdvanceNode", "RecordInventory"))
"""Decisions that only take note of what was seen."""

_SIGNS = {"fault": ">", "order": "$", "failed": "x", "alert": "!"}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_MOST_SUBJECTS = 3
_MOST_TIMES = 3
_WIDEST = 22
_MARGIN = " " * 13


@dataclass(slots=True)
class _Line:
    """One line of the timeline: an event, those that differ only in their subject, and when it came again."""

    event: Row
    others: list[Row] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    @property
    def is_step(self) -> bool:
        """Whether the scenario made it happen."""
        return self.event["kind"] in _STEPS


def report_lines(report: Row, *, verbose: bool) -> list[str]:
    """Return all that a person reads of a simulation; nothing in it depends on the terminal.

    Args:
        report: As `metier simulate -o json` prints it.
        verbose: Whether nothing is left out or drawn together.
    """
    title = report["title"] or PurePath(report["scenario"]).name
    lines = [printable(title), _span(report), ""]
    events = [event for event in report["events"] if event["kind"] not in ("start", "end")]
    shown = [_Line(event) for event in events] if verbose else _brief(events)
    lines += _timeline(shown, _moment(report["start"]).date(), exactly=verbose)
    lines += ["", *_tiers(report), "", *_standing(report)]
    broken = [
        f"broken at {_when(one['at'], report)}: law {one['law']}: {printable(one['message'])}"
        for one in report["broken"]
    ]
    return lines + (broken or ["no law was broken"])


def trace_line(report: Row) -> str:
    """Return what tells whether another run was the same."""
    return f"trace {report['trace']}, seed {report['seed']}"


def _span(report: Row) -> str:
    size = next((event["message"] for event in report["events"] if event["kind"] == "start"), "")
    start, end = _moment(report["start"]), _when(report["end"], report)
    return f"{start:%Y-%m-%d %H:%M:%S} to {end} UTC, seed {report['seed']}; {printable(size)}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _when(text: str, report: Row) -> str:
    """Return a moment, with its date if it is on another day than the start."""
    at, day = _moment(text), _moment(report["start"]).date()
    return f"{at:%H:%M:%S}" if at.date() == day else f"{at:%Y-%m-%d %H:%M:%S}"


# --- the timeline -------------------------------------------------------------------------


def _brief(events: Iterable[Row]) -> list[_Line]:
    """Return what is worth a line: alike ones of one moment are one, and so is what comes again and again."""
    lines: list[_Line] = []
    known: dict[tuple[Any, ...], _Line] = {}
    for event in events:
        if event["kind"] not in _SHOWN or event.get("action") in _SELF_EVIDENT:
            continue
        key = event["kind"], event["subject"], event.get("action"), event["message"]
        alike = _alike(lines, event)
        if event["kind"] in _STEPS:
            known = {}
            lines.append(_Line(event))
        elif key in known:
            known[key].again.append(event["at"])
        elif alike is not None:
            alike.others.append(event)
            known[key] = alike
        else:
            lines.append(_Line(event))
            known[key] = lines[-1]
    return lines


def _alike(lines: Sequence[_Line], event: Row) -> _Line | None:
    """Return the line of the same moment that says the same of another subject, but for numbers."""
    for line in reversed(lines):
        if line.event["at"] != event["at"] or line.is_step:
            return None
        if line.event["subject"] != event["subject"] and _gist(line.event) == _gist(event):
            return line
    return None


def _gist(event: Row) -> tuple[Any, ...]:
    words = _NUMBER.sub("", event["message"].replace(event["subject"], ""))
    return event["kind"], event.get("action"), event.get("by"), words


def _timeline(lines: Sequence[_Line], day: date, *, exactly: bool) -> Iterator[str]:
    width = min(max((len(_subjects(line)) for line in lines if not line.is_step), default=0), _WIDEST)
    for line in lines:
        at = _moment(line.event["at"])
        if at.date() != day:
            day = at.date()
            yield f"{day:%Y-%m-%d}"
        clock = f"{at:%H:%M:%S.%f}"[:-3] if exactly else f"{at:%H:%M:%S}"
        sign = _SIGNS.get(line.event["kind"], " ")
        if line.is_step:
            yield f"{clock}  {sign}  {printable(line.event['subject'])}"
            answer = line.event["message"].splitlines()
            yield from (f"{_MARGIN}{printable(words)}".rstrip() for words in answer)
        else:
            yield f"{clock}  {sign}  {_subjects(line):<{width}}  {_words(line, exactly=exactly)}".rstrip()


def _subjects(line: _Line) -> str:
    names = [line.event["subject"], *(other["subject"] for other in line.others)]
    shown = names if len(names) <= _MOST_SUBJECTS else names[: _MOST_SUBJECTS - 1]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return printable(", ".join(shown) + more)


def _words(line: _Line, *, exactly: bool) -> str:
    kind, action, by = line.event["kind"], line.event.get("action"), line.event.get("by")
    message = line.event["message"]
    if kind == "action":
        message = f"{action}: {message}"
    elif kind == "alert":
        # What is over was told when it began.
        begun, cleared, _ = message.partition(" cleared: ")
        message = f"{begun} cleared" if cleared and not exactly else message
    elif exactly:
        message = f"{kind}: {message}"
    rule = f" ({by})" if by and kind != "alert" else ""
    return printable(f"{message}{rule}{_again(line.again)}")


def _again(moments: Sequence[str]) -> str:
    if not moments:
        return ""
    shown = [f"{_moment(text):%H:%M:%S}" for text in moments]
    left = len(shown) - _MOST_TIMES
    if left <= 1:
        return f"; again {', '.join(shown)}"
    return f"; again {', '.join(shown[:_MOST_TIMES])} and {left} more times until {shown[-1]}"


# --- how it ended -------------------------------------------------------------------------


def _tiers(report: Row) -> Iterator[str]:
    rows = [{**one, "tier": one["name"]} for one in report["tiers"]]
    yield from table(rows, ("tier", "serving", "minimum", "target"), None).splitlines()
    for one in report["tiers"]:
        rest = [dip for dip in one["below_target"] if dip not in one["below_minimum"]]
        yield from _dips(f"{one['name']} was below its minimum", one["below_minimum"], report)
        yield from _dips(f"{one['name']} was below its target", rest, report)
    if not any(one["below_minimum"] for one in report["tiers"]):
        yield "no tier was below its minimum"


def _dips(what: str, dips: Sequence[Row], report: Row) -> Iterator[str]:
    for dip in dips:
        until = f"to {_when(dip['to'], report)}" if dip["to"] else "to the end"
        yield (
            f"{printable(what)} of {dip['wanted']} from {_when(dip['from'], report)} {until} "
            f"({dip['seconds']:.0f} s), with {dip['lowest']} at the lowest"
        )


def _standing(report: Row) -> Iterator[str]:
    for event in report["events"]:
        if event.get("exit_status"):
            words, status = printable(event["subject"]), event["exit_status"]
            yield f"refused: {_when(event['at'], report)}: {words} (exit status {status})"
    for one in report["waiting"]:
        yield printable(f"waits: {one['subject']}: {one['why']} ({one['rule']})")
    for problem in report["problems"]:
        yield printable(f"stands: {problem['subject']}: {problem['code']}: {problem['message']}")
    if not report["waiting"] and not report["problems"]:
        yield "nothing is waited for, and no alert stands"


# --- how it compares ----------------------------------------------------------------------


def comparison_lines(comparison: Row, most: int | None) -> list[str]:
    """Return how the decisions of a replay compare with those recorded; of each list so many, or all."""
    missing, extra = len(comparison["missing"]), len(comparison["extra"])
    lines = [f"decisions: {comparison['same']} as recorded, {missing} missing, {extra} extra"]
    for word in ("missing", "extra"):
        found = comparison[word]
        lines += [f"{word:<7}  {_decision(one)}" for one in found[:most]]
        left = len(found) - len(found[:most])
        lines += [f"{word:<7}  and {left} more; see them with --verbose"] if left else []
    return lines


def _decision(one: Row) -> str:
    at = _moment(one["at"])
    return printable(f"{at:%Y-%m-%d %H:%M:%S}  {one['node']}  {one['action']} ({one['rule']})")
