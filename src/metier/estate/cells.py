"""Cells of tables that people and programs wrote: words, numbers and switches, whatever their locale."""

import re
import sys

LONGEST_WORD = 256
"""What is kept of a word; VMware's own names have 80 characters at most."""

_GROUPED = re.compile(r"[0-9]{1,3}([.,][0-9]{3})+")
_NUMBER = re.compile(r"[0-9]{1,18}([.,][0-9]{1,17})?([eE][+]?[0-9]{1,2})?")
_SPACES = str.maketrans("", "", " \u00a0\u202f\u2009'’_")

# Windows writes switches in the language of whoever ran the export.
_YES = frozenset(
    ("true", "yes", "1", "on", "wahr", "ja", "vrai", "oui", "vero", "verdadero", "sí", "si", "sim")
)

# No VM has a value beyond: what is above is a slip of the pen or of malice.
_MOST = 1 << 50


def word(text: str) -> str:
    """Return a cell's text as one short line; the same word twice is one in memory."""
    return sys.intern(" ".join(text[: 4 * LONGEST_WORD].split())[:LONGEST_WORD])


def number(text: str) -> int | None:
    """Return a whole number, rounded up; None where there is none between 0 and 2**50.

    A comma or a point before exactly three digits separates thousands: sizes in these
    tables are whole.
    """
    bare = text[:64].strip().translate(_SPACES)
    if _GROUPED.fullmatch(bare):
        return int(bare.replace(".", "").replace(",", ""))
    if not _NUMBER.fullmatch(bare):
        return None
    value = float(bare.replace(",", "."))
    return -int(-value // 1) if value <= _MOST else None


def is_yes(text: str) -> bool:
    """Tell whether a cell says yes; whatever is no known yes is no."""
    return text[:16].strip().casefold() in _YES


def known_as(header: str) -> str:
    """Return a heading without case, spaces and punctuation: `Capacity MiB` is `capacitymib`.

    Old exports say MB and mean MiB; so does this.
    """
    bare = "".join(letter for letter in header[:LONGEST_WORD].casefold() if letter.isalnum())
    return bare[:-2] + "mib" if bare.endswith("mb") else bare
