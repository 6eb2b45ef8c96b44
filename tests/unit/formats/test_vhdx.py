"""Our VHDX reader against QEMU's, and what it refuses."""

import struct
import subprocess
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, Part, SourceDisk
from metier.drivers.formats.vhdx import crc32c, is_sound, open_vhdx
from tests.unit.formats.by_qemu import MIB, all_of, check_same, read_or_refused, some_data, written

KIB = 1024
HEADERS, REGIONS, BAT, METADATA = (64 * KIB, 128 * KIB), (192 * KIB, 256 * KIB), 2 * MIB, 3 * MIB
SIZE = 3 * MIB + 512


def opened(part: Part) -> SourceDisk:
    return open_vhdx(part.open(), part.path.name, Limits())


def disk_file(folder: Path, size: int = SIZE, options: str = "block_size=1M") -> Path:
    return written(folder, some_data(size), "vhdx", "-o", options, name="disk.vhdx")


FORMS = [
    *("subformat=dynamic", "subformat=fixed", "block_size=1M", "block_size=256M", "block_state_zero=off"),
    "subformat=fixed,block_size=1M,log_size=4M",
]


@pytest.mark.parametrize("options", FORMS)
def test_what_qemu_wrote_is_read(tmp_path: Path, options: str) -> None:
    for size in (MIB, 17 * MIB):  # QEMU rounds up to 1 MiB
        with closing(opened(Part.whole(disk_file(tmp_path, size, options)))) as disk:
            check_same(tmp_path, disk, some_data(size))
            assert disk.form == "vhdx"


def test_a_disk_of_more_than_one_chunk_is_read(tmp_path: Path) -> None:
    """An entry that is none of ours stands after every 4096 entries of 1 MiB."""
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:
        for at in (4095, 4096, 4097, 8500):
            file.seek(at * MIB)
            file.write(bytes((at % 251 + 1,)) * 1000)
        file.truncate(8501 * MIB)
    path = tmp_path / "disk.vhdx"
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", "block_size=1M", raw, path], check=True
    )
    with closing(opened(Part.whole(path))) as disk:
        assert disk.room_bytes(lambda _: None) == 4 * MIB
        data = {number: block[:1000] for number, block in disk.blocks(0, 8501 * 16) if any(block)}
        assert data == {at * 16: bytes((at % 251 + 1,)) * 1000 for at in (4095, 4096, 4097, 8500)}


def summed(data: bytes, at: int, size: int) -> bytes:
    part = data[at : at + 4] + bytes(4) + data[at + 8 : at + size]
    return data[: at + 4] + struct.pack("<I", crc32c(part)) + data[at + 8 :]


def changed(data: bytes, at: int, field: bytes) -> bytes:
    """Return a VHDX with a field changed, in both copies of what has two, and summed up anew."""
    for copies, size in ((HEADERS, 4 * KIB), (REGIONS, 64 * KIB)):
        if copies[0] <= at < copies[0] + size:
            for copy in copies:
                place = copy + at - copies[0]
                data = data[:place] + field + data[place + len(field) :]
                data = summed(data, copy, size)
            return data
    return data[:at] + field + data[at + len(field) :]


def refusal(path: Path, data: bytes) -> Refusal:
    path.write_bytes(data)
    with pytest.raises(Refusal) as caught, closing(opened(Part.whole(path))) as disk:
        all_of(disk)
    return caught.value


PARAMETERS = "caa16737-fa36-4d43-b3b6-33f0aa44e76b"


@pytest.mark.parametrize(
    ("at", "field", "message"),
    [
        (HEADERS[0] + 48, b"\1" * 16, "not closed cleanly"),
        (HEADERS[0] + 66, b"\2\0", "unknown version 2.0"),
        (HEADERS[0] + 64, b"\2\0", "unknown version 1.2"),
        (HEADERS[0], b"xxxx", "neither of its headers"),
        (REGIONS[0], b"xxxx", "neither of its lists of regions"),
        (REGIONS[0] + 8, b"\0\0\0\0", "lacks one"),
        (REGIONS[0] + 8, b"\xff\xff\0\0", "has 65535 entries"),
        (REGIONS[0] + 16, b"x" * 16, "lacks one"),
        (REGIONS[0] + 16, b"x" * 28 + b"\1", "needs the unknown feature 78787878"),
        (REGIONS[0] + 32, b"\1", "a region lies outside"),
        (REGIONS[0] + 39, b"\x10", "a region lies outside"),
        (METADATA, b"x", "its metadata are not where"),
        (METADATA + 10, b"\xff\xff", "have 65535 entries"),
        (METADATA + 10, b"\1\0", "lacks one of the metadata"),
        (METADATA + 10, b"\0\0", "lacks one of the metadata"),
        (METADATA + 32, b"x" * 16, "needs the unknown feature"),
        (0, b"x", "no VHDX disk"),
    ],
)
def test_impossible_structures_are_refused(tmp_path: Path, at: int, field: bytes, message: str) -> None:
    path = disk_file(tmp_path)
    found = refusal(path, changed(path.read_bytes(), at, field))
    assert message in found.message


def item_at(data: bytes, kind: str) -> int:
    """Return where a metadata item lies."""
    entry = data.index(UUID(kind).bytes_le, METADATA)
    return METADATA + struct.unpack_from("<I", data, entry + 16)[0]


SIZE_ITEM, SECTOR_ITEM = "2fa54224-cd1b-4876-b211-5dbed83bf4b8", "8141bf1d-a96f-4709-ba47-f233a8faab5f"


@pytest.mark.parametrize(
    ("kind", "at", "field", "message"),
    [
        (PARAMETERS, 4, b"\2\0\0\0", "only the difference to its parent"),
        (PARAMETERS, 0, b"\0\0\0\0", "blocks of 0 bytes"),
        (PARAMETERS, 0, b"\0\0\x30\0", "blocks of 3145728 bytes"),
        (PARAMETERS, 0, b"\0\0\0\x20", "blocks of 536870912 bytes"),
        (SIZE_ITEM, 0, bytes(8), "of no size"),
        (SIZE_ITEM, 0, b"\1" + bytes(7), "no multiple of 512"),
        (SIZE_ITEM, 0, bytes(7) + b"\1", "the limit is"),
        (SIZE_ITEM, 0, bytes(5) + b"\1\0\0", "its table has no room"),
        (SECTOR_ITEM, 0, b"\0\x10\0\0", "sectors of 4096 bytes"),
    ],
)
def test_impossible_metadata_are_refused(
    tmp_path: Path, kind: str, at: int, field: bytes, message: str
) -> None:
    path = disk_file(tmp_path)
    data = path.read_bytes()
    assert message in refusal(path, changed(data, item_at(data, kind) + at, field)).message


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (7 | 4 << 20, "impossible state 7"),
        (4, "impossible state 4"),
        (6, "impossible state 6"),
        (6 | 1 << 63, "ends before the data at 0"),
    ],
)
def test_impossible_blocks_are_refused(tmp_path: Path, entry: int, message: str) -> None:
    path = disk_file(tmp_path)
    data = path.read_bytes()
    (bat,) = struct.unpack_from(
        "<Q", data, data.index(UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le) + 16
    )
    assert message in refusal(path, changed(data, bat, struct.pack("<Q", entry))).message


def test_one_good_header_and_one_good_list_are_enough(tmp_path: Path) -> None:
    path = disk_file(tmp_path, 3 * MIB)
    data = path.read_bytes()
    for at in (*HEADERS, *REGIONS):
        path.write_bytes(data[: at + 9] + b"x" + data[at + 10 :])
        with closing(opened(Part.whole(path))) as disk:
            assert all_of(disk) == some_data(3 * MIB)


def test_the_checksum_is_the_one_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert not is_sound(b"head" + bytes(4092))


@given(st.floats(0, 1, exclude_max=True))
def test_a_disk_cut_short_anywhere_is_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, part: float
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole, path = folder / "whole.vhdx", folder / "cut.vhdx"
    if not whole.exists():
        written(folder, some_data(2 * MIB), "vhdx", "-o", "block_size=1M", name=whole.name)
    data = whole.read_bytes()
    assert read_or_refused(path, data[: int(part * len(data))], opened) in (None, some_data(2 * MIB))


AREA = st.sampled_from(
    [HEADERS[0], REGIONS[0], REGIONS[0] + 16, METADATA, METADATA + 32, METADATA + 64 * KIB, BAT]
)


@settings(max_examples=50)
@given(AREA, st.integers(0, 96), st.binary(min_size=1, max_size=8))
def test_changed_bytes_never_do_more_than_change_or_refuse(
    tmp_path_factory: pytest.TempPathFactory, area: int, at: int, field: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole, path = folder / "whole-2.vhdx", folder / "changed.vhdx"
    if not whole.exists():
        written(folder, some_data(MIB), "vhdx", "-o", "block_size=1M", name=whole.name)
    read_or_refused(path, changed(whole.read_bytes(), area + at, field), opened)
