"""The glossary: every word of the domain, once."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from tools.docs.places import GLOSSARY

_ENTRY = re.compile(r"^\*\*(?P<word>[^*]+)\*\* – (?P<meaning>.*)$")
_REPLACED = re.compile(r"^\| (?P<never>[^|]+) \| (?P<say>[^|]+) \|$")

MENTION = re.compile(r"(?<!\*)\*([^*]+)\*(?!\*)")
"""A word in the meaning of another that has an entry of its own."""


class Entry(NamedTuple):
    """One word."""

    word: str
    meaning: str
    line: int


def entries() -> list[Entry]:
    """Return the words in the order of the page; a meaning may run over lines."""
    found: list[Entry] = []
    is_open = False
    for number, line in enumerate(GLOSSARY.read_text(encoding="utf-8").splitlines(), 1):
        match = _ENTRY.match(line)
        if match is not None:
            found.append(Entry(match["word"], match["meaning"], number))
        elif is_open and line.strip():
            found[-1] = found[-1]._replace(meaning=f"{found[-1].meaning} {line.strip()}")
        is_open = bool(line.strip()) and (match is not None or is_open)
    return found


def forbidden() -> Mapping[str, str]:
    """Return the words that are not used, each with what is said instead."""
    page = GLOSSARY.read_text(encoding="utf-8").partition("| never | say |\n|---|---|\n")[2]
    rows = filter(None, map(_REPLACED.match, page.splitlines()))
    return {row["never"].strip(): row["say"].strip() for row in rows}
