"""Templates of personalities, rendered within bounds: by a process of their own that knows nothing else."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.personality import Carried, SeedForm
from metier.matrix.seeds import sandbox as sandbox_program
from metier.matrix.seeds.unattend import DEFAULT_TEMPLATE, first_logon_commands

TIMEOUT_S = 20.0
"""How long all slots of a tier may take; one takes milliseconds."""

MOST_SLOTS = 1000
"""So many slots are rendered at a time."""

_TAG = re.compile(r"\{[{%#]")
_LINE_END = re.compile(r"\r\n|\r")

Texts = Mapping[str, str]


def templates_of(carried: Carried) -> Texts:
    """Return all templates that make a guest's seed, by name; Windows gets a default answer file."""
    found = dict(carried.personality.texts)
    if carried.form is SeedForm.UNATTEND:
        found.setdefault("unattend.xml", DEFAULT_TEMPLATE)
    else:
        found.pop("unattend.xml", None)
    return found


def values_of(carried: Carried) -> dict[str, object]:
    """Return what the templates of a guest may use."""
    return {**carried.values(), "first_logon_commands": first_logon_commands(carried)}


def rendered(carried: Carried) -> Texts:
    """Return a guest's texts; without a process where nothing is to be put in.

    Raises:
        WrongUsage: A template cannot be rendered; the message has its line and column.
        Refusal: It takes too long, or too much memory.
    """
    templates = templates_of(carried)
    if any(_TAG.search(text) for text in templates.values()):
        return rendered_all([carried])[0]
    return {name: _LINE_END.sub("\n", text) for name, text in templates.items()}


def rendered_all(every: Sequence[Carried]) -> list[Texts]:
    """Return the texts of guests, in order, each judged by what its reader must be able to read.

    Raises:
        WrongUsage: One cannot be rendered; the message has slot, template, line and column.
        Refusal: It takes too long, or too much memory.
    """
    found: dict[int, Texts] = {}
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for place, carried in enumerate(every):
        groups.setdefault(tuple(templates_of(carried).items()), []).append(place)
    for templates, places in groups.items():
        if not templates:
            found.update((place, {}) for place in places)
            continue
        for start in range(0, len(places), MOST_SLOTS):
            some = places[start : start + MOST_SLOTS]
            texts = _asked(dict(templates), [every[place] for place in some])
            found.update(zip(some, texts, strict=True))
    return [found[place] for place in range(len(every))]


def _asked(templates: Texts, every: Sequence[Carried]) -> list[Texts]:
    said = _run({"templates": templates, "values": [values_of(carried) for carried in every]}, every)
    if "fault" in said:
        raise _fault(said, every[min(int(said["place"]), len(every) - 1)])
    texts: list[Texts] = said["texts"]
    return texts


def _run(request: Mapping[str, object], every: Sequence[Carried]) -> Mapping[str, Any]:
    tier = every[0].tier
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(Path(sandbox_program.__file__))],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            env={},
            cwd="/",
        )
    except subprocess.TimeoutExpired as error:
        raise _too_much(tier, f"rendering was stopped after {TIMEOUT_S:.0f} s") from error
    if done.returncode < 0:  # the kernel ended it
        raise _too_much(tier, "rendering used up its time or memory")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise _too_much(tier, f"the renderer failed: {said[-1] if said else 'it said nothing'}")
    answer: Mapping[str, Any] = json.loads(done.stdout)
    return answer


def _too_much(tier: str, why: str) -> Refusal:
    return Refusal(
        f"cannot render the personality of tier {tier}: {why}",
        remedy="make its templates simpler: loops within loops take longest",
    )


def _fault(said: Mapping[str, Any], carried: Carried) -> WrongUsage:
    where = f"{said['template']} of tier {carried.tier}" if said["template"] else f"tier {carried.tier}"
    line = "" if said["line"] is None else f", line {said['line']}, column {said['column']}"
    return WrongUsage(
        f"cannot render {where} for slot {carried.slot}{line}: {said['fault']}",
        remedy="mend the template and give it again; nothing was stored",
    )
