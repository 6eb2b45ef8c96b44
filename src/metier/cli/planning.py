"""What would follow, as a person reads it: actions with their times, and for whom it is felt."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from metier.cli.output import indented, printable, table

Row = Mapping[str, Any]

_ACTIONS = ("at", "action", "subject", "why", "rule")
_WAITING = ("subject", "why", "rule")

_MOST_ACTIONS = 200
_MOST_SENTENCES = 20
"""So much is read at a sitting; `-o wide` shows all."""

_WORTH_TELLING_S = 5.0
"""What takes less is not told of, but with `-o wide`: it decides nothing."""

_WORDS = {
    "inventory": "inventory of",
    "power-on": "host boot of",
    "power-off": "power-off of",
    "stage": "VM set-up on",
    "remove-vms": "VM removal on",
    "prepare": "guest preparation of",
    "guest-boot": "guest boot of",
    "guest-shutdown": "guest shutdown of",
    "guest-stop": "guest stop of",
    "retire": "guest clean-up of",
    "diagnose": "tests on",
}


def plan_text(plan: Row, form: str) -> str:
    """Return the text of a plan; `wide` leaves nothing out."""
    is_all = form == "wide"
    sections = [
        _actions(plan.get("actions") or [], is_all=is_all),
        [f"takes about {_clock(plan['seconds'])} in all"] if plan.get("seconds") else [],
        _section("dips", _dips(plan.get("dips") or [], is_all=is_all), is_all=is_all),
        _section("displaced", map(_displaced, plan.get("displaced") or []), is_all=is_all),
        _section("times rest on", _durations(plan, is_all=is_all), is_all=is_all),
        _section("notes", plan.get("notes") or [], is_all=is_all),
        _personalities(plan.get("personalities") or [], is_all=is_all),
        _table("waiting", plan.get("waiting") or [], _WAITING),
    ]
    return "\n".join(line for section in sections for line in section)


def _actions(rows: Sequence[Row], *, is_all: bool) -> list[str]:
    shown = rows if is_all else rows[:_MOST_ACTIONS]
    lines = _table("actions", [{**row, "at": _at(row.get("after_s") or 0)} for row in shown], _ACTIONS)
    return lines + _more(len(rows) - len(shown))


def _table(title: str, rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    return [f"{title}:", table(rows, columns, None)] if rows else [f"{title}: none"]


def _section(title: str, sentences: Iterable[str], *, is_all: bool) -> list[str]:
    found = [printable(sentence) for sentence in sentences]
    shown = found if is_all else found[:_MOST_SENTENCES]
    lines = [f"  - {sentence}" for sentence in shown]
    return [f"{title}:", *lines, *_more(len(found) - len(shown))] if found else []


def _personalities(rows: Sequence[Row], *, is_all: bool) -> list[str]:
    """Return what guests would be told; slots with the same difference share it."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row["difference"], []).append(f"slot {row['slot']} of {row['tier']}")
    shown = list(groups.items()) if is_all else list(groups.items())[:_MOST_SENTENCES]
    lines = []
    for difference, slots in shown:
        more = f" and {len(slots) - 1} more" if len(slots) > 1 else ""
        lines += [f"what {slots[0]}{more} is told differs:", *indented(difference)]
    return lines + _more(len(groups) - len(shown))


def _more(count: int) -> list[str]:
    return [f"  … and {count} more; see all with -o wide"] if count > 0 else []


# --- sentences ----------------------------------------------------------------------


def _dips(rows: Sequence[Row], *, is_all: bool) -> Iterator[str]:
    for row in rows:
        if is_all or row["below"] == "minimum":
            yield f"{row['tier']} {_below(row)}; lowest {row['lowest']}"


def _below(row: Row) -> str:
    what = f"below its {row['below']} of {row['wanted']}"
    from_s, seconds = row["from_s"], row["seconds"]
    if seconds is None:
        return f"is {what} from {_at(from_s)} on" if from_s else f"stays {what}"
    if not from_s:
        return f"is {what} until {_at(seconds)}"
    return f"is {what} for about {_span(seconds)}, from {_at(from_s)}"


def _displaced(row: Row) -> str:
    node, to, at = row["node"], row["to"], _at(row["from_s"])
    slot = f"slot {row['slot']} of {row['tier']}"
    if to is None:
        return f"{node} leaves {slot} at {at}, and no node takes it over"
    gap = _span(row["gap_s"])
    if to == node:
        return f"{node} does not serve in {slot} for about {gap}, from {at}"
    return f"{to} takes {slot} over from {node}, after a gap of about {gap} from {at}"


def _durations(plan: Row, *, is_all: bool) -> Iterator[str]:
    """Yield what the times rest on; subjects of which the same is known share a sentence."""
    groups: dict[tuple[str, str], list[str]] = {}
    for key, told in (("measured", _measured), ("assumed", _assumed)):
        for row in plan.get(key) or []:
            if is_all or row["seconds"] >= _WORTH_TELLING_S:
                groups.setdefault((row["activity"], told(row)), []).append(row["subject"])
    for (activity, told_of), subjects in groups.items():
        more = f" and {len(subjects) - 1} more" if len(subjects) > 1 else ""
        yield f"{_WORDS.get(activity, activity)} {subjects[0]}{more}: {told_of}"


def _measured(row: Row) -> str:
    times = "once" if row["samples"] == 1 else f"{row['samples']} times"
    return f"measured {times}, median {_span(row['seconds'])}"


def _assumed(row: Row) -> str:
    if not row["samples"]:
        return f"never measured, {_span(row['seconds'])} assumed"
    return f"never measured, {_span(row['seconds'])} as for others"


# --- times --------------------------------------------------------------------------


def _at(seconds: float) -> str:
    return f"+{_clock(seconds)}"


def _clock(seconds: float) -> str:
    """Return seconds as `0:35`, or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _span(seconds: float) -> str:
    """Return seconds as a person says them: `180 s`, `12 min`, `3.5 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 300:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
