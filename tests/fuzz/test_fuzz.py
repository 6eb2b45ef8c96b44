"""A few hundred damaged files for each reader, the same in every run; `make fuzz` looks for more."""

import gc
import random
from pathlib import Path

import pytest

from metier.domain.errors import MetierError
from tests.fuzz.mutate import Mutator
from tests.fuzz.targets import TARGETS

INPUTS = 250


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_is_taken(tmp_path: Path, name: str) -> None:
    """Else the fuzzer would only ever see the first check of a reader."""
    for number, seed in enumerate(TARGETS[name].seeds(tmp_path)):
        try:
            TARGETS[name].feed(seed, tmp_path)
        except MetierError as error:
            pytest.fail(f"seed {number} is refused: {error}")


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused_and_nothing_stays_open(tmp_path: Path, name: str) -> None:
    target = TARGETS[name]
    mutator = Mutator(target.seeds(tmp_path), target.words, random.Random(f"fuzz {name}"))
    before = open_files()
    for _ in range(INPUTS):
        data = mutator.next()
        try:
            target.run(data, tmp_path)
        except BaseException:  # whatever it is, the input is kept
            (tmp_path / "found").write_bytes(data)
            raise
    gc.collect()
    assert open_files() <= before
