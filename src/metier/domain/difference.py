"""How texts differ, as people read it, and how to tell that they do not."""

import difflib
import hashlib
import json
from collections.abc import Mapping

MOST_LINES = 400
"""So much of a difference is worth reading."""


def digest_of(texts: Mapping[str, str]) -> str:
    """Return the SHA-256 of texts and their names, in hex."""
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return a unified difference of texts by name, one behind the other; empty if there is none."""
    lines: list[str] = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name, ""), after.get(name, "")
        if old != new:
            lines += _unified(name, old, new)
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"… and {len(lines) - MOST_LINES} lines more"]
    return "\n".join(lines)


def _unified(name: str, old: str, new: str) -> list[str]:
    names = (name if old else "nothing", name if new else "nothing")
    found = difflib.unified_diff(old.splitlines(), new.splitlines(), *names, lineterm="", n=2)
    return list(found) or [f"--- {name}", f"+++ {name}", "only the ends of lines differ"]
