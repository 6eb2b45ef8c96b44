"""A fleet as it would have been at another time: every moment in it moved by as much, every age kept."""

from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from metier.domain.fleet import Changes, Fleet


def moved(fleet: Fleet, by: timedelta) -> Fleet:
    """Return a fleet whose moments all lie later by `by`, or earlier."""
    if not by:
        return fleet
    records: Changes = {
        kind: {key: _moved(record, by) for key, record in by_key.items()}
        for kind, by_key in fleet.records().items()
    }
    return Fleet.of(records, fleet.generation)


def _moved(value: Any, by: timedelta) -> Any:
    if isinstance(value, datetime):
        return _later(value, by)
    if is_dataclass(value) and not isinstance(value, type):
        found = {part.name: getattr(value, part.name) for part in fields(value) if part.init}
        changed = {name: _moved(inner, by) for name, inner in found.items()}
        return replace(value, **{name: new for name, new in changed.items() if new is not found[name]})
    if isinstance(value, tuple):
        inner = [_moved(one, by) for one in value]
        if all(new is old for new, old in zip(inner, value, strict=True)):
            return value
        return type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    if isinstance(value, dict):
        return {key: _moved(one, by) for key, one in value.items()}
    return value


def _later(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return moment
