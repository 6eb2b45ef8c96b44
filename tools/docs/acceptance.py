"""The acceptance lists: what the manual and the product ask for, how far it is met, and what proves it."""

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tools.docs import markdown as md
from tools.docs.places import ACCEPTANCE
from tools.docs.proofs import Proof

CLAIMS = ("covered", "partly", "later")
_LISTS = (("S", "What the manual names or implies"), ("P", "What the product as a whole did"))

_INTRODUCTION = """
Metier implements the system of the manual *Virtualization Manager Administration*.  The S list is
what that manual names or implies; the P list is what the wider product did.  *Covered* means that
it works as said and the tests on its line prove it; *partly* that the note says what is missing;
*later* that a later version will have it.  The statements are kept in `tools/docs/acceptance.toml`;
a test says which of them it proves by naming the number in its docstring, or is listed there.
"""


class Row(NamedTuple):
    """One statement."""

    number: str
    claim: str
    statement: str
    note: str


def rows() -> list[Row]:
    """Return every statement, in the order of the lists."""
    content = tomllib.loads(ACCEPTANCE.read_text(encoding="utf-8"))["statements"]
    return [Row(number, *[*words, ""][:3]) for number, words in content.items()]


def faults(found: Sequence[Row], proofs: Mapping[str, tuple[Proof, ...]]) -> list[str]:
    """Say which claims do not stand."""
    return [fault for row in found for fault in _faults_of(row, proofs)]


def _faults_of(row: Row, proofs: Mapping[str, tuple[Proof, ...]]) -> list[str]:
    if row.claim not in CLAIMS:
        return [f"{row.number} is {row.claim!r}, which is none of {', '.join(CLAIMS)}"]
    if row.claim == "covered" and row.number not in proofs:
        return [f"{row.number} is claimed as covered and no test names it"]
    if row.claim == "partly" and not row.note:
        return [f"{row.number} is claimed as partly covered without a note of what is missing"]
    if row.claim == "later" and row.number in proofs:
        return [f"{row.number} is left for later, and {proofs[row.number][0]} proves it"]
    return []


def acceptance_page(found: Sequence[Row], proofs: Mapping[str, tuple[Proof, ...]]) -> str:
    """Return the page."""
    blocks = [_INTRODUCTION]
    for letter, title in _LISTS:
        part = [row for row in found if row.number.startswith(letter)]
        counts = Counter(row.claim for row in part)
        summary = ", ".join(f"{counts[claim]} {claim}" for claim in CLAIMS)
        blocks += [f"## {letter}: {title}", f"{len(part)} statements: {summary}.", _table(part, proofs)]
    return md.page("Acceptance", *blocks)


def _table(part: Sequence[Row], proofs: Mapping[str, tuple[Proof, ...]]) -> str:
    lines = []
    for row in part:
        statement = row.statement + (f" *{row.note}*" if row.note else "")
        proved_by = "<br>".join(str(proof) for proof in proofs.get(row.number, ()))
        lines.append([row.number, statement, row.claim, proved_by])
    return md.table(["", "statement", "status", "proved by"], lines)
