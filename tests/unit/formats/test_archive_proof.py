"""Sums over parts of files: each file is read once, and whatever differs is named."""

import hashlib
import random
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Part
from metier.drivers.formats.archive import Proof

DATA = random.Random(5).randbytes(3_300_000)


def sum_of(data: bytes, algorithm: str) -> str:
    if algorithm == "crc32":
        return f"{zlib.crc32(data):08X}"
    return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()


def result(proof: Proof) -> str:
    with closing(proof):
        proof.start()
        return proof.result(lambda *_: None)


PLACES = st.tuples(st.integers(0, len(DATA)), st.integers(0, len(DATA))).map(sorted)
ALGORITHMS = st.sampled_from(["crc32", "sha1", "sha256", "sha512"])


@settings(max_examples=40)
@given(st.lists(st.tuples(PLACES, ALGORITHMS), max_size=5), st.booleans(), st.integers(-1, 4))
def test_sums_over_any_stretches(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[tuple[list[int], str]], whole: bool, wrong: int
) -> None:
    path = tmp_path_factory.mktemp("proof") / "file"
    path.write_bytes(DATA)
    proof = Proof(Part.whole(path) if whole else None)
    for number, ((begin, end), algorithm) in enumerate(wanted):
        told = sum_of(DATA[begin:end] + b"x" * (number == wrong), algorithm)
        proof.expect(Part(path, begin, end - begin), algorithm, told, f"member {number}")
    if 0 <= wrong < len(wanted):
        with pytest.raises(Refusal, match=f"cannot take member {wrong}: its "):
            result(proof)
    else:
        assert result(proof) == (hashlib.sha256(DATA).hexdigest() if whole else "")


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    proof = Proof(Part.whole(tmp_path / "file"))
    (tmp_path / "file").write_bytes(b"x" * 50)
    with pytest.raises(Refusal, match="it became shorter"):
        result(proof)


def test_what_the_report_raises_ends_the_wait_and_closing_ends_the_work(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)

    def stop(*_: int) -> None:
        raise ValueError("enough")

    proof = Proof(Part.whole(tmp_path / "file"))
    with closing(proof):
        proof.start()
        with pytest.raises(ValueError, match="enough"):
            proof.result(stop)
    proof.check()


def test_closing_what_was_never_started_does_nothing(tmp_path: Path) -> None:
    Proof().close()
