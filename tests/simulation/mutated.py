"""Plants a mistake in a process of its own, and runs the checks of CI until one of them finds it.

    python -m tests.simulation.mutated NAME

prints one line of JSON.  No file changes: the modules that the mutant breaks are compiled from
another text as they are imported, so nothing of metier may be imported before.  Without NAME
nothing is broken, and what `directed.py` has must find nothing; CI runs the other checks anyway.
"""

import importlib.machinery
import io
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, FrameType, ModuleType

from tests.simulation.mutants import Mutant, find_mutant

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "metier"

STEPS = 40
"""Lines of a random story in CI."""

LONGEST_S = 60.0
"""Seconds of CPU for one check; the longest that passes needs a tenth of it."""

LONGEST_IN_ALL_S = 280.0
"""Seconds for all checks of one mutant, then their process is ended: less than pytest grants a test."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks say of a mutant.

    Attributes:
        kind: What found it, in the words of `Mutant.caught_by`; empty if nothing did.
        check: The check that was at work.
        fault: What it said.
        checks: How many were at work before, and that one.
        seconds: Of CPU, for all of them.
    """

    kind: str
    check: str
    fault: str
    checks: int
    seconds: float


# --- planting -----------------------------------------------------------------------------


class Outdated(AssertionError):
    """The code that a mutant is to break is not there any more, or its checks could not even begin."""


def mutated(mutant: Mutant) -> dict[str, str]:
    """Return the broken text of each module that a mutant breaks; raises Outdated."""
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        text = texts.get(edit.file) or (PACKAGE / edit.file).read_text()
        if text.count(edit.old) != 1:
            raise Outdated(
                f"cannot plant mutant {mutant.name!r}: src/metier/{edit.file} has the text that it breaks"
                f" {text.count(edit.old)} times, not once: {edit.old!r};"
                " write the mutant anew for the code that took its place"
            )
        texts[edit.file] = text.replace(edit.old, edit.new)
    return {f"metier.{file.removesuffix('.py').replace('/', '.')}": text for file, text in texts.items()}


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from another text than that of its file."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.path, "exec", dont_inherit=True)


class Planter(MetaPathFinder):
    """Finds the modules that are to be broken, before anybody else does."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._texts:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(fullname, spec.origin, self._texts[fullname])
        return spec


# --- checking -----------------------------------------------------------------------------

SUITES = (
    "tests/simulation/test_crash_points.py",
    "tests/simulation/test_incremental_is_full.py",
    "tests/contract/test_store.py::TestMemory",
    "tests/contract/test_store.py::TestSqlite",
    "tests/contract/test_matrix.py::TestFolderMatrix",
)
"""Tests of CI that are no stories, and find what stories cannot."""

Check = Callable[[], str]
"""Returns what is wrong, or nothing."""


def directed() -> dict[str, Check]:
    """Return the checks that only this module knows of."""
    from tests.simulation.directed import CHECKS, STORIES  # metier is imported only once it is broken

    stories = {f"story: {name}": partial(_tell, lines) for name, lines in STORIES.items()}
    return stories | {f"check: {name}": check for name, check in CHECKS.items()}


def budget(first: str) -> dict[str, Check]:
    """Return all checks by name; `first`, which may be a single test too, comes first."""
    from tests.simulation.__main__ import REGRESSIONS, read_story
    from tests.simulation.stories import STORIES

    checks = directed()
    for path in sorted(REGRESSIONS.glob("*.txt")):
        checks[f"regression {path.stem}"] = partial(_tell, read_story(path.stem))
    checks |= {f"seed {seed}": partial(_draw_and_tell, seed) for seed in range(STORIES)}
    checks |= {suite: partial(_run_suite, suite) for suite in SUITES}
    if first.startswith("tests/"):
        checks[first] = partial(_run_suite, first)
    return {first: checks.pop(first), **checks}


def _draw_and_tell(seed: int) -> str:
    from tests.simulation.stories import draw

    return _tell(draw(seed, STEPS), seed)


def _tell(lines: Sequence[str], seed: int = 0) -> str:
    from tests.simulation.stories import tell

    return tell(lines, seed).fault


def _run_suite(suite: str) -> str:
    import pytest

    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        status = pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", suite])
    failed = [line for line in said.getvalue().splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "" if status == 0 else f"suite: {failed[0] if failed else said.getvalue()[-500:]}"


class _Endless(BaseException):
    """A check does not come to its end; nothing may take this for an ordinary error."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _Endless


def check_in_time(check: Check) -> str:
    """Return what a check says, or that it does not end."""
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        return check()
    except Exception as error:  # a mutant may break anything
        return f"crash: {type(error).__name__}: {error}"
    except _Endless:
        return f"no end: not within {LONGEST_S:.0f} s of CPU"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def kind_of(fault: str) -> str:
    """Return what found a fault: a law by its number, the checker, a suite, or that something crashed."""
    word = fault.partition(":")[0]
    if "a plan was rejected" in fault:
        return "checker"
    if "no rest after" in fault:
        return "no rest"
    return word if word.startswith(("law ", "suite", "no end", "check")) else "crash"


def run_checks(checks: Mapping[str, Check]) -> Verdict:
    """Run checks until one of them says something."""
    began, number = time.process_time(), 0
    for number, (name, check) in enumerate(checks.items(), 1):
        fault = check_in_time(check)
        if fault:
            return Verdict(kind_of(fault), name, fault, number, time.process_time() - began)
    return Verdict("", "", "", number, time.process_time() - began)


# --- two processes --------------------------------------------------------------------------


def judge(name: str = "") -> Verdict:
    """Plant a mutant in another process and return what the checks there say; raises Outdated."""
    command = [sys.executable, "-m", "tests.simulation.mutated", *([name] if name else [])]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_IN_ALL_S
    )
    if done.returncode != 0:
        raise Outdated(f"mutant {name!r} did not come to its checks:\n{done.stderr}")
    return Verdict(**json.loads(done.stdout))


def main(names: Sequence[str]) -> int:
    """Be the other process."""
    mutant = find_mutant(names[0]) if names else None
    if mutant is not None:
        sys.meta_path.insert(0, Planter(mutated(mutant)))
    import structlog

    checks = directed() if mutant is None else budget(mutant.first)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.stdout.write(json.dumps(asdict(run_checks(checks))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
