"""Reading VMware disks: the same as QEMU reads them, and nothing that could lead elsewhere."""

import json
import random
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Limits, Part
from metier.drivers.formats.vmdk import VmdkDisk, open_disk
from metier.drivers.formats.vmdk.descriptor import parse_descriptor
from tests.unit.matrix import archives
from tests.unit.matrix.archives import MIB, SUBFORMATS


def opened(folder: Path, name: str = "disk.vmdk") -> VmdkDisk:
    return open_disk(name, {path.name: Part.whole(path) for path in folder.iterdir()}, Limits())


def opened_in_archive(folder: Path, name: str = "disk.vmdk") -> VmdkDisk:
    """Open a disk whose files lie one behind the other in a larger file."""
    parts = {}
    with (folder / "archive").open("wb") as archive:
        for path in sorted(folder.glob("*.vmdk")):
            archive.write(b"\xff" * 512)
            parts[path.name] = Part(folder / "archive", archive.tell(), archive.write(path.read_bytes()))
    return open_disk(name, parts, Limits())


def content(disk: VmdkDisk) -> bytes:
    """Return all that a guest sees, by our reader."""
    disk.room_bytes(lambda _: None)
    whole = bytearray(-(-disk.capacity_bytes // BLOCK_BYTES) * BLOCK_BYTES)
    for number, block in disk.blocks(0, len(whole) // BLOCK_BYTES):
        whole[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES] = block
    assert not any(whole[disk.capacity_bytes :]), "the last block is filled up with zeros"
    return bytes(whole[: disk.capacity_bytes])


def content_by_qemu(folder: Path, name: str = "disk.vmdk") -> bytes:
    raw = folder / "qemu.raw"
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", folder / name, raw], check=True)
    found = raw.read_bytes()
    raw.unlink()
    return found


def content_by_qemu_through_our_words(folder: Path, disk: VmdkDisk) -> bytes:
    """Return what QEMU reads when it is told by us which open files to read, and how."""
    view = disk.qemu()
    raw = folder / "qemu.raw"
    command = ["qemu-img", "convert", "-O", "raw", "json:" + json.dumps(view.node), raw]
    subprocess.run(command, check=True, pass_fds=view.descriptors)
    found = raw.read_bytes()
    raw.unlink()
    return found


@pytest.mark.parametrize("subformat", SUBFORMATS)
@pytest.mark.parametrize("size", [512, 65536, 3 * MIB + 1536, 40 * MIB])
def test_our_reader_and_qemu_agree(tmp_path: Path, subformat: str, size: int) -> None:
    wanted = archives.raw_content(size, seed=size)
    archives.write_vmdk(tmp_path, wanted, subformat)
    with closing(opened(tmp_path)) as disk:
        assert content(disk) == wanted
        assert content_by_qemu_through_our_words(tmp_path, disk) == wanted
    with closing(opened_in_archive(tmp_path)) as disk:
        assert content(disk) == wanted
        assert content_by_qemu_through_our_words(tmp_path, disk) == wanted


@pytest.mark.parametrize("subformat", ["monolithicSparse", "twoGbMaxExtentSparse", "streamOptimized"])
def test_zeroed_grains_are_holes(tmp_path: Path, subformat: str) -> None:
    wanted = bytes(MIB) + b"x" * MIB + bytes(2 * MIB)
    (tmp_path / "raw").write_bytes(wanted)
    command = ["qemu-img", "convert", "-S", "0", "-f", "raw", "-O", "vmdk"]
    subprocess.run(
        [*command, "-o", f"subformat={subformat},zeroed_grain=on", tmp_path / "raw", tmp_path / "disk.vmdk"],
        check=True,
    )
    with closing(opened(tmp_path)) as disk:
        assert content(disk) == wanted


@pytest.mark.parametrize(("grain", "tail"), [(8, 0), (8, 7), (16, 1), (128, 77), (256, 255), (2048, 1000)])
def test_extents_of_any_grain_and_a_tail_of_any_length(tmp_path: Path, grain: int, tail: int) -> None:
    """A flat extent and two sparse ones, with borders in the middle of blocks."""
    chance = random.Random(grain)
    sizes = [1001, 3 * grain, 20 * grain + tail]
    (tmp_path / "flat.vmdk").write_bytes(bytes(512) + chance.randbytes(sizes[0] * 512))
    lines = [f'RW {sizes[0]} FLAT "flat.vmdk" 1']
    for number, sectors in enumerate(sizes[1:]):
        grains = {at: chance.randbytes(grain * 512) for at in chance.sample(range(-(-sectors // grain)), 2)}
        grains[-(-sectors // grain) - 1] = chance.randbytes(grain * 512)
        (tmp_path / f"s{number}.vmdk").write_bytes(archives.sparse_extent(sectors, grains, grain=grain))
        lines.append(f'RW {sectors} SPARSE "s{number}.vmdk"')
    (tmp_path / "disk.vmdk").write_bytes(archives.descriptor(*lines))
    with closing(opened(tmp_path)) as disk:
        found = content(disk)
        assert len(found) == 512 * sum(sizes)
        assert found == content_by_qemu(tmp_path)
        assert found == content_by_qemu_through_our_words(tmp_path, disk)
    with closing(opened_in_archive(tmp_path)) as disk:
        assert content(disk) == found
        assert content_by_qemu_through_our_words(tmp_path, disk) == found


def test_extents_that_qemu_would_misread_are_refused(tmp_path: Path) -> None:
    """A grain that reaches beyond its extent: QEMU (7.2) sees the rest of it where the next extent begins."""
    (tmp_path / "s.vmdk").write_bytes(archives.sparse_extent(1001, {}))
    (tmp_path / "flat.vmdk").write_bytes(b"x" * 65536)
    lines = ['RW 1001 SPARSE "s.vmdk"', 'RW 128 FLAT "flat.vmdk" 0']
    (tmp_path / "disk.vmdk").write_bytes(archives.descriptor(*lines))
    with pytest.raises(Refusal, match=r"extent 's.vmdk' ends within a grain"):
        opened(tmp_path)


@pytest.mark.parametrize("subformat", ["monolithicSparse", "streamOptimized", "twoGbMaxExtentFlat"])
def test_a_disk_cut_short_anywhere_is_refused(tmp_path: Path, subformat: str) -> None:
    wanted, refused = archives.raw_content(2 * MIB), 0
    archives.write_vmdk(tmp_path, wanted, subformat)
    path = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    whole = path.read_bytes()
    sizes = {*range(0, 4096, 256), *(len(whole) * part // 40 for part in range(40)), len(whole) - 1}
    for size in sorted(sizes):
        path.write_bytes(whole[:size])
        try:
            with closing(opened(tmp_path)) as disk:
                found = content(disk)
        except Refusal:
            refused += 1
        else:
            assert found == wanted, "what is missing was not needed"
    assert refused >= 30


@pytest.mark.parametrize("subformat", ["monolithicSparse", "streamOptimized"])
def test_flipped_bytes_never_do_more_than_change_or_refuse(tmp_path: Path, subformat: str) -> None:
    archives.write_vmdk(tmp_path, archives.raw_content(MIB), subformat)
    path = tmp_path / "disk.vmdk"
    whole = bytearray(path.read_bytes())
    chance = random.Random(7)
    places = [*range(80), *chance.sample(range(512, len(whole)), 200)]
    refused = 0
    for place in places:
        kept, whole[place] = whole[place], chance.randrange(256)
        path.write_bytes(whole)
        try:
            with closing(opened(tmp_path)) as disk:
                assert len(content(disk)) == disk.capacity_bytes <= Limits().disk_bytes
        except Refusal:
            refused += 1
        whole[place] = kept
    assert refused > 20


def test_a_huge_empty_disk_takes_no_time(tmp_path: Path) -> None:
    sectors = Limits().disk_bytes // 512
    header = archives.sparse_header(sectors)
    with (tmp_path / "s.vmdk").open("wb") as file:
        file.write(header)
        file.truncate(512 + 4 * -(-sectors // (128 * 512)))
    (tmp_path / "disk.vmdk").write_bytes(archives.descriptor(f'RW {sectors} SPARSE "s.vmdk"'))
    with closing(opened(tmp_path)) as disk:
        assert disk.capacity_bytes == Limits().disk_bytes
        assert disk.room_bytes(lambda _: None) <= 2 * BLOCK_BYTES
        assert list(disk.blocks(0, disk.capacity_bytes // BLOCK_BYTES)) == []


def test_names_that_differ_in_case_alone_are_found_unless_in_doubt(tmp_path: Path) -> None:
    archives.write_vmdk(tmp_path, archives.raw_content(MIB), "monolithicFlat")
    (tmp_path / "disk-flat.vmdk").rename(tmp_path / "Disk-Flat.vmdk")
    with closing(opened(tmp_path)) as disk:
        assert content(disk) == archives.raw_content(MIB)
    (tmp_path / "DISK-FLAT.vmdk").write_bytes(b"")
    with pytest.raises(Refusal, match="is not in the archive"):
        opened(tmp_path)


@given(st.binary(max_size=3000))
@example(archives.descriptor('RW 128 FLAT "a.vmdk" 0'))
def test_any_bytes_are_a_descriptor_or_refused(data: bytes) -> None:
    check_descriptor(data)


WORDS = st.sampled_from(
    ["RW", "RDONLY", "NOACCESS", "128", "0", "-1", "9" * 20, "FLAT", "SPARSE", "VMFS", "ZERO", '"a.vmdk"',
     '"/etc/shadow"', '"../a"', '"a:b"', '""', "createType", "=", '"monolithicFlat"', '"vmfs"', "parentCID",
     "ffffffff", "12345678", "parentFileNameHint", "CID", "#", "\n", "\n", " ", " ", "\0", "\r\n", "\t"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=60))
def test_descriptors_of_likely_words(words: list[str]) -> None:
    check_descriptor(archives.descriptor('RW 128 FLAT "b.vmdk" 0', extra="".join(words)))
    check_descriptor(" ".join(words).encode())


def check_descriptor(data: bytes) -> None:
    """What is accepted leads nowhere: extents are bare names, and there is no parent."""
    try:
        found = parse_descriptor(data, "disk.vmdk", most_extents=10)
    except Refusal:
        return
    assert b"parentfilenamehint" not in data.lower()
    assert found.capacity_bytes > 0
    for extent in found.extents:
        assert extent.file not in ("", ".", "..")
        assert not set(extent.file) & set('/\\:"\n\0')


@pytest.mark.parametrize(
    "data", [b"x" * 1_000_000, b"a" * 500_000 + b" = ", b"RW " * 300_000, b'RW 1 FLAT "' + b" " * 900_000]
)
def test_hostile_lengths_take_no_time(data: bytes) -> None:
    with pytest.raises(Refusal):
        parse_descriptor(data, "disk.vmdk", most_extents=10)
