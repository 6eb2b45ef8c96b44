"""The index of a stored disk, and work done in slices."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.drivers.formats.api import BLOCK_BYTES
from metier.matrix.index import BlockIndex, record
from metier.matrix.slices import in_slices


def an_index(folder: Path, numbers: list[int]) -> Path:
    path = folder / "disk0.blocks"
    path.write_bytes(b"".join(record(number, digest_of(number)) for number in numbers))
    return path


def digest_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


@given(numbers=st.sets(st.integers(0, 60)), start=st.integers(0, 70), size=st.integers(0, 70))
def test_what_lies_between_two_blocks_is_found(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int], start: int, size: int
) -> None:
    path = an_index(tmp_path_factory.mktemp("index"), sorted(numbers))
    with BlockIndex(path) as index:
        found = index.between(start, start + size)
        assert found == {number: digest_of(number) for number in numbers if start <= number < start + size}
        assert list(index.numbers()) == sorted(numbers)
        assert len(index) == len(numbers)


def test_a_sample_is_spread_over_all(tmp_path: Path) -> None:
    with BlockIndex(an_index(tmp_path, list(range(1000)))) as index:
        numbers = [number for number, _ in index.sample(10)]
    assert len(numbers) == 10
    assert numbers[-1] - numbers[0] == 900


@pytest.mark.parametrize("blocks", [1, 63, 64, 65, 1000])
def test_slices_cover_a_disk_once_and_in_order(blocks: int) -> None:
    found = list(in_slices(blocks * BLOCK_BYTES - 7, range, 4))
    assert [number for _, part in found for number in part] == list(range(blocks))
    assert [end for end, _ in found] == [part.stop for _, part in found]


def test_what_a_slice_raises_comes_through() -> None:
    def fail(start: int, _stop: int) -> None:
        if start >= 640:
            raise ValueError(start)

    with pytest.raises(ValueError, match="640"):
        list(in_slices(5000 * BLOCK_BYTES, fail, 4))
