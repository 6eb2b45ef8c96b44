"""The rules of the control loop: what docs/rules.md says of each, and the tests that name it."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from tools.docs import markdown as md
from tools.docs.places import ROOT, RULES
from tools.docs.proofs import RULE, Proof

_ENTRY = re.compile(r"^- \*\*(R-[A-Z]+(?:-\d+)?)\*\*(?P<later> \*\(later\)\*)? (?P<text>.*)$")
_HEADING = re.compile(r"^## (.+)$")

_INTRODUCTION = """
What each rule means is said in [rules.md](../rules.md).  Here are the tests that name it.  A rule that
is marked *later* has its number and its meaning, and no code yet.
"""


class Rule(NamedTuple):
    """One rule, as docs/rules.md has it."""

    number: str
    heading: str
    meaning: str
    is_later: bool


def rules(text: str | None = None) -> list[Rule]:
    """Return the rules of docs/rules.md, in its order."""
    found: list[Rule] = []
    heading = ""
    is_open = False
    for line in (RULES.read_text(encoding="utf-8") if text is None else text).splitlines():
        entry, title = _ENTRY.match(line), _HEADING.match(line)
        if entry is not None:
            found.append(Rule(entry[1], heading, entry["text"], entry["later"] is not None))
        elif title is not None:
            heading = title[1]
        elif is_open and line.startswith("  "):
            found[-1] = found[-1]._replace(meaning=f"{found[-1].meaning} {line.strip()}")
        is_open = entry is not None or (is_open and line.startswith("  "))
    return found


def rules_in_code() -> dict[str, list[str]]:
    """Return the modules of src/ that name each rule, by rule."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for number in dict.fromkeys(RULE.findall(path.read_text(encoding="utf-8"))):
            found.setdefault(number, []).append(path.relative_to(ROOT / "src" / "metier").as_posix())
    return found


def faults(found: list[Rule], proofs: Mapping[str, tuple[Proof, ...]]) -> list[str]:
    """Say which rules code or tests do not keep to."""
    numbers = {rule.number for rule in found}
    families = {number.rpartition("-")[0] for number in numbers}
    wrong = [
        f"{number} is named in {', '.join(modules)} and is not in docs/rules.md"
        for number, modules in rules_in_code().items()
        if number not in numbers | families
    ]
    named = _named(proofs)
    return wrong + [
        f"{rule.number} is not marked as later and no test names it"
        for rule in found
        if not rule.is_later and rule.number not in named
    ]


def _named(proofs: Mapping[str, tuple[Proof, ...]]) -> set[str]:
    return {number for number in proofs if RULE.fullmatch(number)}


def rules_page(found: list[Rule], proofs: Mapping[str, tuple[Proof, ...]]) -> str:
    """Return the page."""
    blocks = [_INTRODUCTION]
    for heading in dict.fromkeys(rule.heading for rule in found):
        lines = [
            [
                rule.number + (" *(later)*" if rule.is_later else ""),
                rule.meaning,
                "<br>".join(str(proof) for proof in proofs.get(rule.number, ())),
            ]
            for rule in found
            if rule.heading == heading
        ]
        blocks += [f"## {heading}", md.table(["rule", "meaning", "tests"], lines)]
    return md.page("Rules", *blocks)
