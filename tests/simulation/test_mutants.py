"""The simulation has teeth: every deliberate mistake is found by the checks that CI runs.

`pytest -s` prints a line for each; `python -m tests.simulation.mutants` prints the whole table.
"""

import sys

import pytest

from tests.simulation.directed import CHECKS, STORIES
from tests.simulation.mutants import MUTANTS, Mutant, row
from tests.simulation.mutated import judge, mutated


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    mutated(mutant)  # first, for its error says that a mutant is out of date, and not that it was missed
    verdict = judge(mutant.name)
    sys.stdout.write(row(mutant.name, verdict))
    assert verdict.kind, f"nothing found it in {verdict.checks} checks: {mutant.breaks}"
    assert verdict.kind in mutant.caught_by, f"{verdict.check} found it otherwise: {verdict.fault}"


def test_nothing_is_found_where_nothing_is_planted() -> None:
    """The same runner, and the checks that nobody else runs; CI runs all others anyway."""
    verdict = judge()
    assert not verdict.fault, f"{verdict.check}: {verdict.fault}"
    assert verdict.checks == len(STORIES) + len(CHECKS)
