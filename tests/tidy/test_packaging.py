"""The packaging: one version, a lock that is whole, and lists of system packages with their reasons."""

import re
import tomllib
from typing import Any

import metier
from tests.tidy.sources import ROOT, Finding, Source, report, text_files

PIN = re.compile(r"^(?P<name>[a-z0-9-]+)(?:\[[a-z,]+\])?==\S+", re.MULTILINE)
NAME = re.compile(r"[A-Za-z0-9-]+")
PACKAGE_LINE = re.compile(r"[a-z0-9][a-z0-9.+-]+(?:\|[a-z0-9][a-z0-9.+-]+)*\s+# \S.*")


def project() -> dict[str, Any]:
    """Return the [project] table."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def unlocked(wanted: list[str], lock: str) -> list[str]:
    """Return the requirements whose package a lock does not pin."""
    pinned = {match["name"] for match in PIN.finditer(lock)}
    names = [match.group().lower() for requirement in wanted if (match := NAME.match(requirement))]
    return [name for name in names if name not in pinned]


def package_list_findings(source: Source) -> list[Finding]:
    """Return the lines of a list of Debian packages that do not give a reason."""
    return [
        Finding(source.path, number, "a package without its reason is banned, use 'name  # why'")
        for number, line in enumerate(source.text.splitlines(), 1)
        if line and not line.startswith("#") and not PACKAGE_LINE.fullmatch(line)
    ]


def test_the_version_is_told_once() -> None:
    assert metier.__version__ == project()["version"]


def test_the_lock_pins_every_dependency_with_a_hash() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    extras = project()["optional-dependencies"].values()
    wanted = [*project()["dependencies"], *(requirement for extra in extras for requirement in extra)]
    assert not unlocked(wanted, lock), "run: make lock"
    assert all("--hash=sha256:" in pin for pin in re.split(r"^(?=\S)", lock, flags=re.MULTILINE) if pin)


def test_system_packages_have_reasons() -> None:
    lists = [source for source in text_files() if source.path.startswith("tools/packages/")]
    findings = [finding for source in lists for finding in package_list_findings(source)]
    assert lists
    assert not findings, report(findings)


# --- The checker itself ---------------------------------------------------------------------------


def test_a_dependency_that_is_not_locked_is_found() -> None:
    lock = "click==8.5.1 \\\n    --hash=sha256:0\npsycopg[binary]==3.3.9 \\\n    --hash=sha256:0\n"
    assert unlocked(["click>=8", "psycopg[binary]>=3", "Rich>=13"], lock) == ["rich"]


def test_a_package_without_a_reason_is_found() -> None:
    text = "# Why.\n\ngcc  # compiles\ncc|gcc  # either\nmake\n"
    assert [finding.line for finding in package_list_findings(Source("tools/packages/x.txt", text))] == [5]
