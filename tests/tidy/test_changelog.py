"""The form of CHANGELOG.md (Keep a Changelog) and of the fragments in changes/."""

import re
from itertools import pairwise

from tests.tidy.sources import ROOT, Finding, Source, report, text_files

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")

HEADING = re.compile(r"## \[(?P<version>\d+\.\d+\.\d+)\] - \d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])")
FRAGMENT_NAME = re.compile(r"changes/\d+-[a-z0-9]+(?:-[a-z0-9]+)*\.md")
FRAGMENT = re.compile(rf"(?:{'|'.join(KINDS)}): \S")


def changelog_findings(source: Source) -> list[Finding]:
    """Return what in a changelog is not of its form."""
    lines = source.text.splitlines()
    findings = []
    if lines[:1] != ["# Changelog"]:
        findings.append(Finding(source.path, 1, "another title is banned, use '# Changelog'"))
    versions = []
    for number, line in enumerate(lines, 1):
        if line.startswith("## ") and line != "## [Unreleased]":
            heading = HEADING.fullmatch(line)
            if heading:
                versions.append((number, tuple(int(part) for part in heading["version"].split("."))))
            else:
                message = f"heading '{line}' is banned, use '## [1.2.3] - 2026-01-31'"
                findings.append(Finding(source.path, number, message))
        elif line.startswith("### ") and line.removeprefix("### ") not in KINDS:
            message = f"heading '{line}' is banned, use one of {', '.join(KINDS)}"
            findings.append(Finding(source.path, number, message))
        elif line.startswith("* "):
            findings.append(Finding(source.path, number, "an entry with '*' is banned, use '-'"))
    return findings + unreleased_findings(source, lines) + order_findings(source, versions)


def unreleased_findings(source: Source, lines: list[str]) -> list[Finding]:
    """Return a finding unless the first section is the unreleased one, and there is only one."""
    sections = [number for number, line in enumerate(lines, 1) if line.startswith("## ")]
    unreleased = [number for number, line in enumerate(lines, 1) if line == "## [Unreleased]"]
    if unreleased and unreleased == sections[:1]:
        return []
    place = sections[0] if sections else 1
    return [Finding(source.path, place, "another first section is banned, use one '## [Unreleased]'")]


def order_findings(source: Source, versions: list[tuple[int, tuple[int, ...]]]) -> list[Finding]:
    """Return the versions that do not come before older ones."""
    return [
        Finding(source.path, number, "an older version above a newer one is banned, use newest first")
        for (_, upper), (number, lower) in pairwise(versions)
        if lower >= upper
    ]


def fragment_findings(source: Source) -> list[Finding]:
    """Return what is amiss with the name or the text of one fragment."""
    findings = []
    if not FRAGMENT_NAME.fullmatch(source.path):
        findings.append(Finding(source.path, 1, "this name is banned, use '<issue>-<word>.md'"))
    if not FRAGMENT.match(source.text):
        findings.append(Finding(source.path, 1, f"this beginning is banned, use one of {': '.join(KINDS)}:"))
    return findings


def test_the_changelog_keeps_to_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    findings = changelog_findings(Source("CHANGELOG.md", text))
    assert not findings, report(findings)


def test_fragments_keep_to_their_form() -> None:
    fragments = [
        source
        for source in text_files()
        if source.path.startswith("changes/") and source.path != "changes/README.md"
    ]
    findings = [finding for source in fragments for finding in fragment_findings(source)]
    assert not findings, report(findings)


# --- The checker itself ---------------------------------------------------------------------------

GOOD = """# Changelog

## [Unreleased]

### Added

- `metier plan`.

## [0.2.0] - 2026-02-28

### Fixed

- A thing.

## [0.1.0] - 2026-01-31
"""


def findings_in(text: str) -> list[str]:
    """Return what the checker says of a planted changelog."""
    return [str(finding) for finding in changelog_findings(Source("CHANGELOG.md", text))]


def test_a_good_changelog_has_no_findings() -> None:
    assert not findings_in(GOOD)
    assert not findings_in("# Changelog\n\n## [Unreleased]\n")


def test_each_fault_of_a_changelog_is_found() -> None:
    faults = {
        "title": GOOD.replace("# Changelog", "# History"),
        "heading": GOOD.replace("2026-01-31", "31 January"),
        "kind": GOOD.replace("### Fixed", "### Bugs"),
        "entry": GOOD.replace("- A thing", "* A thing"),
        "no unreleased section": GOOD.replace("## [Unreleased]\n", ""),
        "unreleased twice": GOOD + "\n## [Unreleased]\n",
        "order": GOOD.replace("0.2.0", "0.0.2"),
        "empty": "",
    }
    for fault, text in faults.items():
        assert findings_in(text), fault
    (bugs,) = findings_in(GOOD.replace("### Fixed", "### Bugs"))
    assert bugs == (
        "CHANGELOG.md:11: error: heading '### Bugs' is banned, "
        "use one of Added, Changed, Deprecated, Removed, Fixed, Security"
    )


def test_each_fault_of_a_fragment_is_found() -> None:
    good = "Fixed: a thing.\n"
    assert not fragment_findings(Source("changes/42-harvest.md", good))
    assert not fragment_findings(Source("changes/7-two-words.md", good))
    for path in ("changes/harvest.md", "changes/42.md", "changes/42-Harvest.md", "changes/42-harvest.txt"):
        assert fragment_findings(Source(path, good)), path
    for text in ("", "A thing.\n", "Bug: a thing.\n", "Fixed:\n"):
        assert fragment_findings(Source("changes/42-harvest.md", text)), text
