"""Numbers as OVF writes them: a quantity, and in which unit."""

import re

from metier.domain.errors import Refusal

_POWER = re.compile(r"byte[ ]?\*[ ]?(?P<base>2|10)[ ]?\^[ ]?(?P<exponent>[0-9]{1,2})")

# Older products and people write words; all mean powers of two.
_WORDS = {"": 1, "byte": 1, "bytes": 1} | {
    word: 1 << shift
    for shift, words in (
        (10, ("kilobytes", "kilobyte", "kb", "kib")),
        (20, ("megabytes", "megabyte", "mb", "mib")),
        (30, ("gigabytes", "gigabyte", "gb", "gib")),
        (40, ("terabytes", "terabyte", "tb", "tib")),
    )
    for word in words
}


def whole_number(text: str, what: str, file: str, most: int) -> int:
    """Return a number from 0 to `most`; 0 for no text, and for one that is filled in at deployment.

    Raises:
        Refusal: It is no such number.
    """
    if not text or text.startswith("${"):
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise Refusal(f"cannot use {file}: {what} is {text[:40]!r}, and must be a number from 0 to {most}")
    return int(text)


def bytes_in(unit: str, file: str) -> int:
    """Return what a unit such as `byte * 2^30` or `MegaBytes` stands for; 1 for none.

    Raises:
        Refusal: It is unknown.
    """
    words = " ".join(unit.lower().split())
    if words in _WORDS:
        return _WORDS[words]
    match = _POWER.fullmatch(words)
    if match is None:
        raise Refusal(f"cannot use {file}: it counts in the unknown unit {unit[:40]!r}")
    return int(int(match["base"]) ** int(match["exponent"]))
