"""Flat disks: holes are not read, and odd sizes are refused."""

from contextlib import closing
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Limits, Part
from metier.drivers.formats.raw import RawDisk
from tests.unit.formats.by_qemu import MIB, check_same, some_data


def opened(part: Part, limits: Limits = Limits()) -> RawDisk:  # noqa: B008 - it is frozen
    return RawDisk(part.open(), part.path.name, limits)


@pytest.mark.parametrize("size", [512, BLOCK_BYTES, 3 * MIB + 1536])
def test_it_is_what_the_file_is(tmp_path: Path, size: int) -> None:
    path, wanted = tmp_path / "disk.raw", some_data(size)
    path.write_bytes(wanted)
    with closing(opened(Part.whole(path))) as disk:
        check_same(tmp_path, disk, wanted)
        assert disk.form == "raw"


def test_a_member_of_an_archive_is_read_where_it_lies(tmp_path: Path) -> None:
    path, wanted = tmp_path / "archive", some_data(2 * MIB)
    path.write_bytes(b"x" * 1536 + wanted + b"y" * 700)
    with closing(opened(Part(path, 1536, len(wanted)))) as disk:
        check_same(tmp_path, disk, wanted)


def test_holes_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        for at in (BLOCK_BYTES * 3, BLOCK_BYTES * 40 + 8192, BLOCK_BYTES * 1000):
            file.seek(at)
            file.write(b"data")
        file.truncate(1 << 30)
    with closing(opened(Part.whole(path))) as disk:
        assert [number for number, _ in disk.blocks(0, 1 << 14)] == [3, 40, 1000]
        assert disk.room_bytes(lambda _: None) == 3 * BLOCK_BYTES


@pytest.mark.parametrize(
    ("size", "message"), [(0, "of no size"), (1000, "no multiple of 512"), (1024, "the limit")]
)
def test_impossible_sizes_are_refused(tmp_path: Path, size: int, message: str) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(size))
    with pytest.raises(Refusal, match=message):
        opened(Part.whole(path), Limits(disk_bytes=512))


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"x" * MIB)
    with closing(opened(Part.whole(path))) as disk:
        path.write_bytes(b"x" * 1024)
        with pytest.raises(Refusal, match="ends after"):
            list(disk.blocks(0, 1))
