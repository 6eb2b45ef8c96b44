"""What journal entries say to programs: what a replay needs, JSON-ready, and no secrets."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

from metier.control.inbox import JobNews
from metier.domain.actions import Action, Work
from metier.domain.ids import ImageRef, SlotId
from metier.domain.image import Image, OfferedVm
from metier.domain.node import Instance
from metier.domain.observation import Observed
from metier.domain.personality import Personality
from metier.planner.effects import Done, Outcome

ARGUMENTS_LIMIT = 1 << 18
"""Arguments of more characters are left out of the journal: readers get 10,000 entries at a time."""

HIDDEN = "…"
"""Stands where a secret was."""

# Settings of drivers may hold passwords, and so may URLs; in orders and in site files they go by these names.
_SECRET = re.compile(r"(?:.*_)?(?:url|settings?|passwords?|secrets?|tokens?)")
_KEY_OF_PAIR = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,62})=", re.ASCII)
_SAID_ELSEWHERE = frozenset(part.name for part in fields(Action))


def arguments_data(arguments: Any) -> dict[str, Any]:
    """Return the arguments of an operation that were given, without what may be secret in them.

    Of secret pairs the keys are kept: `password=…`.  Arguments longer than
    `ARGUMENTS_LIMIT` are replaced by their length, as `left_out`.
    """
    if not is_dataclass(arguments):
        return {}
    values = ((part, getattr(arguments, part.name)) for part in fields(arguments))
    given = {part.name: value for part, value in values if value != part.default}
    data: dict[str, Any] = plain(_without_secrets(given))
    length = len(json.dumps(data))
    return data if length <= ARGUMENTS_LIMIT else {"left_out": length}


def action_data(action: Action, number: int | None = None) -> dict[str, Any]:
    """Return what an action consists of, besides node, reason and rule; `number` is the id of work."""
    data: dict[str, Any] = {"action": type(action).__name__}
    if number is not None:
        data["id"] = number
    kind: Any = type(action)
    for part in _own_fields(kind):
        value = getattr(action, part.name)
        if value != part.default:
            brief = _BRIEFLY.get(type(value))
            data[part.name] = plain(value) if brief is None else brief(value)
    return data


def outcome_data(number: int, action: Work, outcome: Outcome) -> dict[str, Any]:
    """Return how work ended, and what an inventory found; `number` is the id of the work."""
    data: dict[str, Any] = {"action": type(action).__name__, "id": number}
    if isinstance(outcome, Done):
        found = {} if outcome.hardware is None else {"hardware": plain(outcome.hardware)}
        return {**data, "ok": True, **found}
    return {**data, "ok": False, "final": outcome.final, "unsure": outcome.unsure, "reason": outcome.reason}


def observation_data(was: Observed, now: Observed) -> dict[str, Any]:
    """Return what changed from one look at a node to the next; VMs by number."""
    before = {vm.number: vm.power for vm in was.vms or ()}
    after = {vm.number: vm.power for vm in now.vms or ()}
    found: dict[str, Any] = {
        "power": None if was.power is now.power else now.power.value,
        "vmm_reachable": None if was.vmm_reachable is now.vmm_reachable else now.vmm_reachable,
        "vms": {str(n): power.value for n, power in after.items() if before.get(n) is not power},
        "gone": [number for number in before if number not in after],
        "health": None if was.health is now.health else now.health.value,
        "patch_level": None if was.patch_level == now.patch_level else now.patch_level,
        "foreign_running": None if was.foreign_running == now.foreign_running else now.foreign_running,
    }
    return {name: value for name, value in found.items() if value not in (None, {}, [])}


def job_data(news: JobNews) -> dict[str, Any]:
    """Return how far a job is, and the whole record of the image version that it made."""
    job = news.job
    made = {} if news.image is None else {"image": plain(news.image)}
    return {"job": job.id, "job_kind": job.kind, "state": job.state.value, **made}


def plain(value: Any) -> Any:
    """Return any value as JSON-ready data; dataclasses become objects, as records of the store are."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()[:-6] + "Z"
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if isinstance(value, frozenset | set):
        return sorted((plain(inner) for inner in value), key=str)
    if is_dataclass(value):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    return str(value)


@cache
def _own_fields(kind: type[Any]) -> "tuple[Field[Any], ...]":
    return tuple(part for part in fields(kind) if part.name not in _SAID_ELSEWHERE)


_BRIEFLY: Mapping[type[Any], Callable[[Any], Any]] = {
    SlotId: str,
    ImageRef: str,
    Image: lambda image: str(image.ref),
    Instance: lambda instance: instance.id,
    Personality: lambda personality: personality.summary,
    tuple: lambda values: [
        value.number if isinstance(value, OfferedVm) else plain(value) for value in values
    ],
}
"""How actions tell what the Fleet has records of: by name."""


def _without_secrets(value: Any) -> Any:
    """Return `value` with everything hidden that stands under the name of a secret, however deep."""
    if isinstance(value, Mapping):
        return {
            key: _hidden(inner) if _SECRET.fullmatch(str(key)) else _without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    return value


def _hidden(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return dict.fromkeys(value, HIDDEN)
    if isinstance(value, list | tuple):
        return [_hidden(inner) for inner in value]
    match = _KEY_OF_PAIR.match(value) if isinstance(value, str) else None
    return HIDDEN if match is None else match[0] + HIDDEN
