"""The same seed and code give the same trace: twice, under any hash seed, on any Python.

Law 10 of the list "Always true".  Each trace is told in a process of its own, so that nothing that
an earlier story left behind can help.  METIER_PYTHONS names further interpreters, separated by
spaces; without it, every `python3.N` on the path that has what Metier needs is tried.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = (1, 7, 42, 1234, 9001, 77777)
STEPS = 25
VERSIONS = ("3.11", "3.12", "3.13", "3.14")

TELL = """
import json, logging, sys, structlog
from tests.simulation.__main__ import trace_hash
from tests.simulation.stories import draw, tell
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
steps, *seeds = map(int, sys.argv[1:])
print(json.dumps([trace_hash(tell(draw(seed, steps), seed)) for seed in seeds]))
"""

NEEDS = "import structlog"


def hashes(python: str, hash_seed: str, seeds: Sequence[int] = SEEDS) -> list[str]:
    """Return the hashes of these stories as that interpreter tells them."""
    environment = os.environ | {
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
    words = [python, "-c", TELL, str(STEPS), *map(str, seeds)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: list[str] = json.loads(done.stdout)
    return told


def other_pythons() -> list[str]:
    """Return the interpreters to compare with: those named, else those found that are not this one."""
    named = os.environ.get("METIER_PYTHONS", "").split()
    here = f"3.{sys.version_info.minor}"
    found = [shutil.which(f"python{version}") for version in VERSIONS if version != here]
    return named or [path for path in found if path is not None]


def has_needs(python: str) -> bool:
    """Say whether an interpreter runs, and has the packages that a simulation needs."""
    done = subprocess.run([python, "-c", NEEDS], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(scope="module")
def usual() -> list[str]:
    """Return the hashes in a process of this interpreter."""
    return hashes(sys.executable, "0")


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242", "random"])
def test_the_order_of_sets_decides_nothing(usual: list[str], hash_seed: str) -> None:
    assert hashes(sys.executable, hash_seed) == usual


def test_what_was_told_before_decides_nothing(usual: list[str]) -> None:
    """In one process, in another order, each after many others."""
    assert hashes(sys.executable, "0", SEEDS[::-1])[::-1] == usual


def test_different_seeds_tell_different_stories(usual: list[str]) -> None:
    assert len(set(usual)) == len(SEEDS)


def test_other_pythons_tell_the_same(usual: list[str]) -> None:
    named = other_pythons()
    pythons = [python for python in named if has_needs(python)]
    if os.environ.get("METIER_PYTHONS"):
        assert pythons == named, "METIER_PYTHONS names an interpreter that does not run or lacks packages"
    if not pythons:
        pytest.skip(
            f"no other Python here has structlog (tried: {named or 'none found'}); set METIER_PYTHONS"
        )
    for python in pythons:
        assert hashes(python, "random") == usual, python
