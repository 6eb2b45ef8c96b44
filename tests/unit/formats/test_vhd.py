"""Our VHD reader against QEMU's, and what it refuses."""

import struct
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, Part, SourceDisk
from metier.drivers.formats.vhd import checksum_of, open_vhd
from tests.unit.formats.by_qemu import MIB, all_of, check_same, read_or_refused, some_data, written

DYNAMIC, FIXED = ("-o", "subformat=dynamic,force_size=on"), ("-o", "subformat=fixed,force_size=on")


def opened(part: Part) -> SourceDisk:
    return open_vhd(part.open(), part.path.name, Limits())


def disk_file(folder: Path, size: int = 3 * MIB + 512, options: tuple[str, ...] = DYNAMIC) -> Path:
    return written(folder, some_data(size), "vpc", *options, name="disk.vhd")


@pytest.mark.parametrize("options", [DYNAMIC, FIXED], ids=["dynamic", "fixed"])
@pytest.mark.parametrize("size", [512, MIB, 5 * MIB + 1536])
def test_what_qemu_wrote_is_read(tmp_path: Path, options: tuple[str, ...], size: int) -> None:
    with closing(opened(Part.whole(disk_file(tmp_path, size, options)))) as disk:
        check_same(tmp_path, disk, some_data(size))
        assert disk.form == "vhd"


@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
def test_a_size_rounded_up_to_the_old_geometry_is_taken(tmp_path: Path, subformat: str) -> None:
    path = disk_file(tmp_path, 5 * MIB + 512, ("-o", f"subformat={subformat}"))
    with closing(opened(Part.whole(path))) as disk:
        rounded = disk.capacity_bytes - 5 * MIB - 512
        assert 0 < rounded < MIB
        check_same(tmp_path, disk, some_data(5 * MIB + 512) + bytes(rounded))


def test_a_large_sparse_disk_is_read(tmp_path: Path) -> None:
    raw, path = tmp_path / "disk.raw", tmp_path / "disk.vhd"
    with raw.open("wb") as file:
        for at in (300 * MIB, 8000 * MIB - 512):
            file.seek(at)
            file.write(b"x" * 512)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", *DYNAMIC, raw, path], check=True)
    with closing(opened(Part.whole(path))) as disk:
        assert disk.room_bytes(lambda _: None) == 4 * MIB
        found = [(number, block.strip(b"\0")) for number, block in disk.blocks(0, 128_000) if any(block)]
        assert found == [(4800, b"x" * 512), (127_999, b"x" * 512)]


def changed(data: bytes, at: int, field: bytes, *, start: int = 0, size: int = 512) -> bytes:
    """Return a VHD with one field of its first footer, or its header, changed, and that summed up anew."""
    part = bytearray(data[start : start + size])
    part[at : at + len(field)] = field
    sum_at = 64 if size == 512 else 36
    part[sum_at : sum_at + 4] = struct.pack(">I", checksum_of(bytes(part)))
    return data[:start] + part + data[start + size :]


def both_footers(data: bytes, at: int, field: bytes) -> bytes:
    data = changed(data, at, field)
    return data[:-512] + data[:512]


def refusal(path: Path, data: bytes) -> Refusal:
    path.write_bytes(data)
    with pytest.raises(Refusal) as caught, closing(opened(Part.whole(path))) as disk:
        all_of(disk)
    return caught.value


def test_a_difference_is_refused_with_how_to_merge(tmp_path: Path) -> None:
    path = disk_file(tmp_path)
    found = refusal(path, both_footers(path.read_bytes(), 60, struct.pack(">I", 4)))
    assert "only the difference to its parent" in found.message
    assert "qemu-img" in found.remedy
    assert "Hyper-V" in found.remedy


@pytest.mark.parametrize(
    ("at", "field", "message"),
    [
        (60, struct.pack(">I", 7), "the unknown type 7"),
        (48, struct.pack(">Q", 0), "of no size"),
        (48, struct.pack(">Q", 513), "no multiple of 512"),
        (48, struct.pack(">Q", 1 << 60), "the limit is"),
        (48, struct.pack(">Q", 1 << 30), "its table has 2 entries, and its size needs 512"),
        (16, struct.pack(">Q", 1), "its header is not where its footer says"),
        (16, struct.pack(">Q", 1 << 63), "its header is not where its footer says"),
        (12, struct.pack(">I", 0x20000), "footer is missing or damaged"),
    ],
)
def test_impossible_footers_are_refused(tmp_path: Path, at: int, field: bytes, message: str) -> None:
    path = disk_file(tmp_path)
    assert message in refusal(path, both_footers(path.read_bytes(), at, field)).message


@pytest.mark.parametrize(
    ("at", "field", "message"),
    [
        (16, struct.pack(">Q", 1 << 62), "its table lies outside"),
        (28, struct.pack(">I", 1), "its table has 1 entries"),
        (32, struct.pack(">I", 3 << 20), "blocks of 3145728 bytes"),
        (32, struct.pack(">I", 0), "blocks of 0 bytes"),
        (32, struct.pack(">I", 512), "blocks of 512 bytes"),
    ],
)
def test_impossible_headers_are_refused(tmp_path: Path, at: int, field: bytes, message: str) -> None:
    path = disk_file(tmp_path)
    assert message in refusal(path, changed(path.read_bytes(), at, field, start=512, size=1024)).message


def test_a_wrong_checksum_of_the_header_is_refused(tmp_path: Path) -> None:
    path = disk_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    assert "the checksum of its header" in refusal(path, bytes(data)).message


def test_one_good_footer_is_enough_for_a_growing_disk_and_two_that_differ_are_not(tmp_path: Path) -> None:
    path = disk_file(tmp_path)
    data = path.read_bytes()
    for one in (data[:-512], data[:-400] + b"x" * 400, data[:8] + b"\1" + data[9:]):
        path.write_bytes(one)
        if one[:9] == data[:9]:
            with closing(opened(Part.whole(path))) as disk:
                assert all_of(disk) == some_data(3 * MIB + 512)
        else:
            assert "footer is missing or damaged" in refusal(path, one).message
    assert "differ" in refusal(path, changed(data, 48, struct.pack(">Q", 2 * MIB))).message


def test_a_guest_s_first_sector_is_no_footer(tmp_path: Path) -> None:
    """A fixed disk whose guest wrote the footer of a growing one at its beginning stays a fixed one."""
    growing = disk_file(tmp_path).read_bytes()[:1536]
    wanted = growing + some_data(MIB)
    path = written(tmp_path, wanted, "vpc", *FIXED, name="guest.vhd")
    with closing(opened(Part.whole(path))) as disk:
        assert all_of(disk) == wanted


def test_data_that_are_marked_as_unused_are_refused_and_zeros_taken(tmp_path: Path) -> None:
    path = disk_file(tmp_path, 2 * MIB)
    data = bytearray(path.read_bytes())
    (entry,) = struct.unpack_from(">I", data, 1536)
    wanted = some_data(2 * MIB)
    empty = next(at for at in range(0, MIB, 512) if not any(wanted[at : at + 512])) // 512
    data[entry * 512 + empty // 8] &= ~(0x80 >> empty % 8)
    path.write_bytes(data)
    with closing(opened(Part.whole(path))) as disk:
        check_same(tmp_path, disk, wanted)
    data[entry * 512] &= 0x7F
    assert "marked as unused" in refusal(path, bytes(data)).message


def test_blocks_that_are_all_the_same_one_are_refused(tmp_path: Path) -> None:
    path = disk_file(tmp_path, 40 * MIB)
    data = bytearray(path.read_bytes())
    data[1536 : 1536 + 80] = data[1536:1540] * 20
    assert "its data overlaps" in refusal(path, bytes(data[: 20 * MIB])).message


def test_a_fixed_disk_shorter_than_it_says_is_refused(tmp_path: Path) -> None:
    data = disk_file(tmp_path, MIB, FIXED).read_bytes()
    assert "it ends before" in refusal(tmp_path / "disk.vhd", data[:5120] + data[-512:]).message


@given(st.sampled_from(["dynamic", "fixed"]), st.floats(0, 1, exclude_max=True))
def test_a_disk_cut_short_anywhere_is_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, form: str, part: float
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole, path = folder / f"whole-{form}.vhd", folder / "cut.vhd"
    if not whole.exists():
        written(folder, some_data(MIB), "vpc", "-o", f"subformat={form},force_size=on", name=whole.name)
    data = whole.read_bytes()
    assert read_or_refused(path, data[: int(part * len(data))], opened) in (None, some_data(MIB))


@given(st.integers(0, 1600), st.binary(min_size=1, max_size=8), st.booleans())
def test_changed_bytes_never_do_more_than_change_or_refuse(
    tmp_path_factory: pytest.TempPathFactory, at: int, field: bytes, sums: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole, path = folder / "whole.vhd", folder / "changed.vhd"
    if not whole.exists():
        written(folder, some_data(MIB), "vpc", *DYNAMIC, name=whole.name)
    data = bytearray(whole.read_bytes())
    data[at : at + len(field)] = field
    if sums:
        data[64:68] = struct.pack(">I", checksum_of(bytes(data[:512])))
        data[548:552] = struct.pack(">I", checksum_of(bytes(data[512:1536])))
    read_or_refused(path, data[:-512] + (data[:512] if sums else data[-512:]), opened)
