"""Words that our code, texts and file names do without, each with what to use instead."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from tests.tidy.sources import CODE_FOLDERS, Finding, Source, report, repository_paths, text_files


def everywhere(path: str) -> bool:
    """Every text file."""
    return True


def in_code(path: str) -> bool:
    """Our Python."""
    return path.endswith(".py") and path.split("/")[0] in CODE_FOLDERS


def where_time_is_not_ours(path: str) -> bool:
    """The product and its tests, save the one module that holds the clock."""
    return in_code(path) and path.startswith(("src/", "tests/")) and path != "src/metier/control/world.py"


def in_pure_folders(path: str) -> bool:
    """The folders that get the time as an argument."""
    return path.startswith(tuple(f"src/metier/{folder}/" for folder in ("domain", "operations", "planner")))


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern banned in some files; the first group, or else the match, is what the message names."""

    pattern: re.Pattern[str]
    instead: str
    applies: Callable[[str], bool]


# The patterns are written so that they do not match themselves.
RULES = (
    Rule(
        re.compile(r"(?<![\w.~}>)*-])(/(?:work|root)/)"),
        "a path from the root of the repository, or a temporary folder",
        everywhere,
    ),
    Rule(
        re.compile(
            r"(pypi\.(?:org|python)|files\.pythonhosted|registry\.(?:npmjs|yarnpkg)"
            r"|(?:deb|security|ftp)\.debian\.org|(?:archive|security)\.ubuntu\.com)"
        ),
        "the name of the package: which registry serves it is up to the machine",
        everywhere,
    ),
    Rule(
        re.compile(r"\b(time\.sleep\(|from time import[^\n]*\bsleep\b)"),
        "the world's clock, or wait for the event itself",
        where_time_is_not_ours,
    ),
    Rule(
        re.compile(r"\b((?:datetime|date)\.(?:now|utcnow|today)\()"),
        "an argument: the shell tells the time",
        in_pure_folders,
    ),
    Rule(
        re.compile(r"(#\s*type:\s*ignore)(?!\[[a-z])"),
        "a narrower type, or name the reason as in 'ignore[arg-type]'",
        in_code,
    ),
    Rule(
        re.compile(
            r"^[ \t]*(except(?:[^:#\n]*\b(?:Base)?Exception\b[^:#\n]*|[ \t]*):)(?!.*#[ \t]*\w)", re.MULTILINE
        ),
        "the error you expect, or end the line with a comment that gives the reason",
        in_code,
    ),
)

# A file or folder named so collects what has no better place; `manager` hides what a thing does.
SHAPELESS_NAMES = frozenset(("common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"))


def word_findings(source: Source, rules: tuple[Rule, ...] = RULES) -> list[Finding]:
    """Return every banned word in one file."""
    findings = []
    for rule in rules:
        if not rule.applies(source.path):
            continue
        for match in rule.pattern.finditer(source.text):
            line = source.text.count("\n", 0, match.start(1)) + 1
            message = f"'{match.group(1)}' is banned, use {rule.instead}"
            findings.append(Finding(source.path, line, message))
    return findings


def name_findings(path: str) -> list[Finding]:
    """Return every shapeless word among the folders and the file of one path."""
    words = {word.lower() for part in PurePosixPath(path).parts for word in re.split(r"[._-]", part)}
    return [
        Finding(path, 1, f"file name word '{word}' is banned, use the noun that the code is about")
        for word in sorted(words & SHAPELESS_NAMES)
    ]


def test_no_file_holds_a_banned_word() -> None:
    findings = [finding for source in text_files() for finding in word_findings(source)]
    assert not findings, report(findings)


def test_no_file_has_a_shapeless_name() -> None:
    findings = [finding for path in repository_paths() for finding in name_findings(path)]
    assert not findings, report(findings)


# --- The checker itself ---------------------------------------------------------------------------
# The planted words are put together from halves, so that this file passes its own test.


def findings_in(path: str, text: str) -> list[str]:
    """Return what the checker says of a planted file."""
    return [str(finding) for finding in word_findings(Source(path, text))]


def test_the_message_names_the_place_and_the_cure() -> None:
    assert findings_in("README.md", "See\n/work" + "/main/x") == [
        "README.md:2: error: '/work" + "/' is banned, use "
        "a path from the root of the repository, or a temporary folder"
    ]


def test_machine_paths_are_found_and_relative_ones_are_not() -> None:
    assert findings_in("docs/x.md", "`/root" + "/.venv`")
    assert findings_in("docs/x.md", "file://" + "/work" + "/x")
    assert not findings_in("docs/x.md", "docs/root" + "/x, $STATE/work/x, <state>/root/x, /workshop/x")


def test_registry_hosts_are_found() -> None:
    for host in (
        "pypi" + ".org",
        "files." + "pythonhosted.org",
        "registry." + "npmjs.org",
        "deb." + "debian.org",
    ):
        assert findings_in("requirements.lock", f"--index-url https://{host}/x")
    assert not findings_in("README.md", "https://www.debian.org/ and keepachangelog.com")


def test_sleeping_is_found_except_in_the_world() -> None:
    text = "import time\ntime." + "sleep(1)"
    assert findings_in("src/metier/control/loop.py", text)
    assert findings_in("tests/unit/test_loop.py", text)
    assert findings_in("src/metier/lab/x.py", "from time " + "import monotonic, sleep")
    assert not findings_in("src/metier/control/world.py", text)
    assert not findings_in("docs/x.md", text)


def test_the_time_of_day_is_found_in_pure_code() -> None:
    text = "now = datetime." + "now(UTC)"
    assert findings_in("src/metier/planner/plan.py", text)
    assert not findings_in("src/metier/web/page.py", text)


def test_an_ignored_type_wants_its_reason() -> None:
    assert findings_in("src/metier/x.py", "x = y  # type: " + "ignore")
    assert findings_in("src/metier/x.py", "x = y  # type: " + "ignore # because")
    assert not findings_in("src/metier/x.py", "x = y  # type: " + "ignore[arg-type]")


def test_catching_everything_wants_its_reason() -> None:
    for caught in ("except" + ":", "except Exception" + ":", "except (X, BaseException) as e" + ":"):
        assert findings_in("src/metier/x.py", f"try:\n    f()\n{caught}\n    pass")
        assert findings_in("src/metier/x.py", f"try:\n    f()\n{caught}  #\n    pass")
        assert not findings_in("src/metier/x.py", f"try:\n    f()\n{caught}  # a plugin may raise anything")
    assert not findings_in("src/metier/x.py", "try:\n    f()\nexcept ExceptionGroup as e:\n    pass")
    assert not findings_in("src/metier/x.py", "try:\n    f()\nexcept (OSError, ValueError):\n    pass")


def test_shapeless_names_are_found() -> None:
    for path in (
        "src/metier/utils.py",
        "tests/unit/test_helpers.py",
        "src/metier/node_manager.py",
        "misc/x.txt",
    ):
        assert name_findings(path), path
    assert str(name_findings("tools/common.sh")[0]) == (
        "tools/common.sh:1: error: file name word 'common' is banned, use the noun that the code is about"
    )
    assert not name_findings("src/metier/commons_pool.py")
