"""The documentation is true: generated pages are fresh, links lead somewhere, commands parse, words exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from metier.operations.registry import Form
from tests.tidy.sources import ROOT, Finding, python_files, report
from tools.docs import acceptance, proofs, rules
from tools.docs.commands import CommandLine, command_lines, fault_of
from tools.docs.glossary import MENTION, entries, forbidden
from tools.docs.operations import operations
from tools.docs.places import GLOSSARY, REFERENCE, prose
from tools.docs.proofs import Proof

LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

PAGES = sorted([*prose(), *REFERENCE.glob("*.md")])


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    """Return what headings can be linked to as, in the way that Git hosts make it up."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in kept}


def link_findings(page: Path, text: str) -> list[Finding]:
    """Return the links of a page that lead to no file, or to no heading of it."""
    findings = []
    for number, line in enumerate(text.splitlines(), 1):
        for target in LINK.findall(line):
            path, _, anchor = target.partition("#")
            goal = (page.parent / path).resolve() if path else page
            if "://" in target:
                continue
            if not goal.exists():
                findings.append(Finding(name(page), number, f"the link {target} leads nowhere, name a file"))
            elif anchor and anchor not in anchors(goal.read_text(encoding="utf-8")):
                findings.append(Finding(name(page), number, f"{target} names no heading of that page"))
    return findings


def test_the_generated_pages_are_fresh() -> None:
    # In a process of its own: other tests may have put operations of theirs into the registry.
    done = subprocess.run(
        [sys.executable, "tools/generate_docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    findings = [f for page in PAGES for f in link_findings(page, page.read_text(encoding="utf-8"))]
    assert not findings, report(findings)


def test_every_command_in_the_documentation_is_understood() -> None:
    findings = [
        Finding(name(page), command.line, f"{command.text.strip()!r} is not understood: {fault}")
        for page in PAGES
        for command in command_lines(page.read_text(encoding="utf-8"))
        if (fault := fault_of(command))
    ]
    assert not findings, report(findings)


def test_every_example_of_an_operation_is_understood() -> None:
    faults = {
        example: fault
        for operation in operations().values()
        for example in operation.examples
        if (fault := fault_of(CommandLine(1, example, True)))
    }
    assert not faults


def test_every_operation_is_in_the_reference() -> None:
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    missing = [key for key in operations() if f"`{' '.join(('metier', *key)).replace('  ', ' ')}" not in page]
    assert not missing


def test_the_map_has_every_folder_of_the_code() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "src" / "metier").glob("*/__init__.py")}
    assert not {folder for folder in folders if f"| `{folder}` |" not in text}


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = LINK.findall(page.read_text(encoding="utf-8"))
        ahead += [(page.parent / link.partition("#")[0]).resolve() for link in links if "://" not in link]
    lost = [name(page) for page in PAGES if page not in reached and "changes" not in page.parts]
    assert not lost, "no link leads to them"


def test_the_glossary_has_every_word_once_and_in_order() -> None:
    words = [entry.word for entry in entries()]
    assert len(words) == len({word.lower() for word in words})
    assert words == sorted(words, key=str.lower)


def test_the_words_that_the_glossary_points_to_exist() -> None:
    known = {entry.word.lower() for entry in entries()}
    findings = [
        Finding(name(GLOSSARY), entry.line, f"the glossary has no word {mention!r}")
        for entry in entries()
        for mention in MENTION.findall(entry.meaning)
        if mention.lower() not in known
    ]
    assert not findings, report(findings)


def test_every_word_of_the_glossary_is_used_in_the_code() -> None:
    code = "\n".join(source.text for source in python_files("src"))
    unused = [entry.word for entry in entries() if not is_used(entry.word, code)]
    assert not unused


def is_used(word: str, text: str) -> bool:
    """Tell whether a word, its plural or its form in a name is in a text."""
    stem = re.escape(word.removesuffix("y")).replace(r"\ ", r"[\s_-]+")
    return re.search(rf"\b{stem}", text, re.IGNORECASE) is not None


def test_the_glossary_has_the_nouns_of_the_command_line() -> None:
    known = {entry.word.lower() for entry in entries()}
    nouns = {operation.noun for operation in operations().values() if operation.form is not Form.VERB}
    assert not {noun for noun in nouns if noun} - known


def test_nobody_uses_the_words_that_the_glossary_replaces() -> None:
    findings = [
        Finding(name(page), number, f"{word!r} is not one of our words, use {instead!r}")
        for page in prose()
        if page != GLOSSARY
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for word, instead in forbidden().items()
        if re.search(rf"\b{re.escape(word)}\b", line, re.IGNORECASE)
    ]
    assert not findings, report(findings)


# --- The checkers themselves ------------------------------------------------------------------------

TEST_FILE = '''"""Shrinking (R-SHRINK-1, S47)."""

# Waits: S48, S49
def test_it_waits():
    """S50-S52 too (R-SHRINK-2)."""
    assert True

def test_other():
    rule = "S53"  # not a word
'''


def test_proofs_are_found_where_tests_name_numbers() -> None:
    found = set(proofs.proofs_in("tests/x.py", TEST_FILE))
    whole, one = Proof("tests/x.py", ""), Proof("tests/x.py", "test_it_waits")
    assert {number for number, proof in found if proof == whole} == {"S47", "R-SHRINK-1"}
    numbers = {number for number, proof in found if proof == one}
    assert numbers == {"S48", "S49", "S50", "S51", "S52", "R-SHRINK-2"}
    assert len(found) == len(numbers) + 2


def test_a_claim_without_its_test_is_found() -> None:
    row = acceptance.Row("S47", "covered", "It shrinks.", "")
    proof = {"S47": (Proof("tests/x.py", "test_it"),)}
    assert acceptance.faults([row], {}) == ["S47 is claimed as covered and no test names it"]
    assert not acceptance.faults([row], proof)
    assert acceptance.faults([row._replace(claim="later")], proof)
    assert acceptance.faults([row._replace(claim="partly")], {})
    assert acceptance.faults([row._replace(claim="done")], {})


def test_the_acceptance_lists_are_whole() -> None:
    numbers = [row.number for row in acceptance.rows()]
    assert numbers == [f"S{n}" for n in range(1, 81)] + [f"P{n}" for n in range(1, 46)]


def test_a_rule_is_read_with_its_lines() -> None:
    text = "## Release\n\n- **R-RELEASE-1** One\n  and two.\n- **R-UPDATE-1** *(later)* Three.\n\nMore.\n"
    assert rules.rules(text) == [
        rules.Rule("R-RELEASE-1", "Release", "One and two.", False),
        rules.Rule("R-UPDATE-1", "Release", "Three.", True),
    ]


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [
        ("metier tier edit web --target 3", True),
        ("$ METIER_STATE=/tmp/x .venv/bin/metier node list -o json | jq .", True),
        ("metier backup > site.jsonl", True),
        ("metier tier resume NAME", False),
        ("metier NOUN VERB --help", False),
        ("ccimport -r -i w2k -n raw -f /tmp/filename.tgz -s -v", True),
    ],
)
def test_good_commands_are_understood(text: str, is_whole: bool) -> None:
    written = f"```sh\n{text}\n```" if is_whole else f"`{text}`"
    (command,) = command_lines(written)
    assert command.is_whole is is_whole
    assert not fault_of(command)


@pytest.mark.parametrize(
    "text",
    [
        "metier teir list",
        "metier tier elist",
        "metier tier edit web --taget 3",
        "metier tier edit web --target three",
        "metier tier create web",
        "ccimport -x",
    ],
)
def test_bad_commands_are_found(text: str) -> None:
    (command,) = command_lines(f"~~~\n$ {text}\n~~~")
    assert fault_of(command)


def test_a_word_is_known_in_its_plural_and_in_names() -> None:
    assert is_used("dependency", "its dependencies")
    assert is_used("free pool", "in the free_pool")
    assert not is_used("tier", "frontiers")


def test_a_command_over_two_lines_is_one() -> None:
    (command,) = command_lines("```sh\nmetier tier edit web \\\n    --target 3\nls\n```")
    assert command.line == 2
    assert not fault_of(command)


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    page = ROOT / "docs" / "planted.md"
    assert link_findings(page, "[x](nowhere.md)")
    assert link_findings(page, "[x](rules.md#nothing-of-that-name)")
    assert not link_findings(page, "[x](rules.md), [y](https://example.com/x)")
