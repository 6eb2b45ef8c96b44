"""Our qcow2 reader against what QEMU writes, in every form that it has, and the room that is foretold."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Part
from metier.drivers.formats.qcow2 import Qcow2Disk, most_bytes
from tests.unit.formats.by_qemu import MIB, all_of, all_of_by_qemu, check_same, some_data, written


def opened(path: Path, parent: Qcow2Disk | None = None) -> Qcow2Disk:
    return Qcow2Disk(Part.whole(path).open(), path.name, parent)


def run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


FORMS = [
    (),
    ("-W", "-m", "16"),
    ("-S", "0"),
    ("-c",),
    ("-c", "-o", "compat=0.10"),
    ("-o", "compat=0.10"),
    ("-o", "lazy_refcounts=on"),
    ("-o", "refcount_bits=1"),
    ("-o", "preallocation=metadata"),
    ("-o", "preallocation=falloc"),
    ("-o", "preallocation=full"),
    ("-o", "extended_l2=on"),
    ("-c", "-o", "extended_l2=on"),
    ("-o", "extended_l2=on,cluster_size=16k"),
    ("-c", "-o", "extended_l2=on,cluster_size=2M"),
    *(
        (*more, "-o", f"cluster_size={size}")
        for size in (512, 4096, "32k", "128k", "2M")
        for more in ((), ("-c",))
    ),
]


@pytest.mark.parametrize("options", FORMS, ids=" ".join)
def test_what_qemu_wrote_is_read(tmp_path: Path, options: tuple[str, ...]) -> None:
    for size in (512, 3 * MIB + 512):
        wanted = some_data(size, seed=size)
        with closing(opened(written(tmp_path, wanted, "qcow2", *options))) as disk:
            check_same(tmp_path, disk, wanted)


def test_disks_of_several_tables_are_read(tmp_path: Path) -> None:
    raw, path = tmp_path / "raw", tmp_path / "disk.qcow2"
    places = (5, 8191, 8192, 40_001)
    with raw.open("wb") as file:
        for place in places:
            file.seek(place * BLOCK_BYTES)
            file.write(bytes((place % 255 + 1,)) * BLOCK_BYTES)
        file.truncate(3000 * MIB)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path)
    with closing(opened(path)) as disk:
        found = list(disk.blocks(0, 48_000))
        assert found == [(place, bytes((place % 255 + 1,)) * BLOCK_BYTES) for place in places]
        assert [number for number, _ in disk.blocks(8192, 40_001)] == [8192]
        assert list(disk.allocated(0, 99_999)) == list(places)


SCATTERED = [
    ("write -P 1 0 64k", "write -P 2 70k 3k", "write -z 1M 64k", "write -P 3 2M 64k", "write -z 2080k 8k"),
    (
        "write -P 9 0 4M",
        "write -z 100k 1M",
        "discard 2M 1M",
        "write -z -u 3M 512k",
        "write -c -P 7 3200k 64k",
    ),
]


@pytest.mark.parametrize("form", ["", "extended_l2=on", "cluster_size=4k", "cluster_size=2M,extended_l2=on"])
@pytest.mark.parametrize("writes", SCATTERED, ids=["few", "many"])
def test_small_writes_zeros_and_discards_are_read(tmp_path: Path, form: str, writes: tuple[str, ...]) -> None:
    if form.startswith("cluster_size"):
        writes = tuple(write for write in writes if " -c " not in write)
    path = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", *(("-o", form) if form else ()), path, "4198400")
    run("qemu-io", "-f", "qcow2", *(word for write in writes for word in ("-c", write)), path)
    with closing(opened(path)) as disk:
        disk.room_bytes(lambda _: None)
        assert all_of(disk) == all_of_by_qemu(tmp_path, disk)
        assert any(all_of(disk))


# --- Parents --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", "extended_l2=on", "cluster_size=4k", "cluster_size=2M"])
@pytest.mark.parametrize(("parent_size", "child_size"), [(3, 3), (2, 5), (5, 2)])
def test_a_child_is_filled_from_the_parent_that_is_handed_in(
    tmp_path: Path, form: str, parent_size: int, child_size: int
) -> None:
    """Whatever the file itself names, which here is a file that does not exist."""
    base = written(tmp_path, some_data(parent_size * MIB + 1536), "qcow2", name="base.qcow2")
    child = tmp_path / "child.qcow2"
    options = ("-o", form) if form else ()
    run(
        "qemu-img",
        "create",
        "-f",
        "qcow2",
        *options,
        "-F",
        "qcow2",
        "-b",
        base,
        child,
        child_size * MIB + 512,
    )
    writes = (
        "write -P 5 4k 8k",
        "write -P 6 128k 64k",
        "write -z 256k 64k",
        "write -z 1M 12k",
        "write -P 8 2M 512",
    )
    run("qemu-io", "-f", "qcow2", *(word for write in writes for word in ("-c", write)), child)
    wanted = tmp_path / "wanted"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", child, wanted)
    run("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "/no/such/file", child)
    with closing(opened(base)) as below, closing(opened(child, below)) as disk:
        check_same(tmp_path, disk, wanted.read_bytes())
        own = set(disk.allocated(0, 1000))
        changed = {4, 2, 16, 32, 0}
        assert changed <= own
        if form != "cluster_size=2M":
            assert own == changed


def test_a_child_without_a_name_for_its_parent_is_filled_too(tmp_path: Path) -> None:
    base = written(tmp_path, some_data(MIB), "qcow2", name="base.qcow2")
    child = tmp_path / "child.qcow2"
    run("qemu-img", "create", "-f", "qcow2", child, MIB)
    with closing(opened(base)) as below, closing(opened(child, below)) as disk:
        check_same(tmp_path, disk, some_data(MIB))
        assert list(disk.allocated(0, 16)) == []


def test_grandchildren_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, some_data(MIB), "qcow2", name="0.qcow2")
    disk = opened(path)
    for number in (1, 2):
        path = tmp_path / f"{number}.qcow2"
        run("qemu-img", "create", "-f", "qcow2", "-F", "qcow2", "-b", f"{number - 1}.qcow2", path)
        run("qemu-io", "-f", "qcow2", "-c", f"write -P {number} {number * 100}k 50k", path)
        disk = opened(path, disk)
    with closing(disk):
        assert all_of(disk) == all_of_by_qemu(tmp_path, disk)
        view = disk.qemu()
        assert view is not None
        assert len(view.descriptors) == 3


class Letters:
    """A parent that QEMU has no way to read."""

    name, capacity_bytes = "letters", 2 * BLOCK_BYTES

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        return ((number, b"ab"[number : number + 1] * BLOCK_BYTES) for number in range(start, min(stop, 2)))


def test_any_reader_of_blocks_can_be_a_parent(tmp_path: Path) -> None:
    path = tmp_path / "child.qcow2"
    run("qemu-img", "create", "-f", "qcow2", path, 3 * BLOCK_BYTES)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 99 64k 64k", path)
    with closing(Qcow2Disk(Part.whole(path).open(), "child", Letters())) as disk:
        assert all_of(disk) == b"a" * BLOCK_BYTES + b"c" * BLOCK_BYTES + bytes(BLOCK_BYTES)
        assert disk.qemu() is None
        assert disk.room_bytes(lambda _: None) == 3 * BLOCK_BYTES


@pytest.mark.parametrize("options", [("-c",), ("-c", "-o", "cluster_size=2M"), ("-o", "cluster_size=4k")])
def test_several_threads_read_at_once(tmp_path: Path, options: tuple[str, ...]) -> None:
    wanted = some_data(8 * MIB)
    with closing(opened(written(tmp_path, wanted, "qcow2", *options))) as disk, ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda start: list(disk.blocks(start, start + 5)), range(0, 128, 5))
        found = bytearray(8 * MIB)
        for number, block in chain.from_iterable(parts):
            found[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES] = block
    assert found == wanted


# --- What is refused ------------------------------------------------------------------------------


def refusal(path: Path) -> Refusal:
    with pytest.raises(Refusal) as caught, closing(opened(path)) as disk:
        all_of(disk)
    return caught.value


def test_a_disk_with_a_parent_is_refused(tmp_path: Path) -> None:
    base = written(tmp_path, some_data(MIB), "qcow2", name="base.qcow2")
    child = tmp_path / "child.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-F", "qcow2", "-b", base.name, child)
    found = refusal(child)
    assert "only the difference to another disk, 'base.qcow2'" in found.message
    assert "qemu-img convert" in found.remedy


def test_data_in_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on", path, MIB)
    assert "its data are in another file" in refusal(path).message


def patched(path: Path, at: int, data: bytes) -> Path:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    return path


@pytest.mark.parametrize(
    ("at", "data", "message"),
    [
        (4, b"\0\0\0\4", "unknown version 4"),
        (20, b"\0\0\0\x08", "impossible size of 2 to the power of 8"),
        (20, b"\0\0\0\x16", "impossible size of 2 to the power of 22"),
        (24, b"\0" * 8, "of no size"),
        (24, b"\0" * 7 + b"\1", "no multiple of 512"),
        (24, b"\xff" * 6 + b"\0\0", "its table has"),
        (32, b"\0\0\0\1", "it is encrypted (AES)"),
        (32, b"\0\0\0\2", "it is encrypted (LUKS)"),
        (32, b"\0\0\0\7", "encrypted (some unknown way)"),
        (36, b"\0\0\0\0", "its table has 0 entries"),
        (40, b"\0" * 8, "its table lies outside"),
        (40, b"\0" * 6 + b"\2\0", "its table lies outside"),
        (72, b"\0" * 7 + b"\2", "marked as corrupt"),
        (72, b"\0" * 7 + b"\x20", "features that are unknown here (bits 0x20)"),
        (72, b"\0" * 7 + b"\x08", "compressed in the unknown way 0"),
        (100, b"\0\0\0\7", "impossible length"),
    ],
)
def test_impossible_headers_are_refused(tmp_path: Path, at: int, data: bytes, message: str) -> None:
    assert message in refusal(patched(written(tmp_path, some_data(MIB), "qcow2"), at, data)).message


def test_a_disk_that_was_not_closed_is_read(tmp_path: Path) -> None:
    """Only its reference counts are out of date, and nobody who reads needs them."""
    path = written(tmp_path, some_data(MIB), "qcow2", "-o", "lazy_refcounts=on")
    with closing(opened(patched(path, 72, b"\0" * 7 + b"\1"))) as disk:
        check_same(tmp_path, disk, some_data(MIB))


def test_snapshots_inside_are_left_out_with_a_remark(tmp_path: Path) -> None:
    path = written(tmp_path, some_data(MIB), "qcow2")
    run("qemu-img", "snapshot", "-c", "before", path)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", path)
    with closing(opened(path)) as disk:
        check_same(tmp_path, disk, b"\1" * MIB)
        assert disk.remarks == ("disk.qcow2 holds 1 snapshots, which were left out",)


def test_zstd_is_read_where_the_package_is(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    path = written(tmp_path, some_data(MIB), "qcow2", "-c", "-o", "compression_type=zstd")
    with closing(opened(path)) as disk:
        check_same(tmp_path, disk, some_data(MIB))


def test_zstd_is_refused_where_the_package_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    path = written(tmp_path, some_data(MIB), "qcow2", "-c", "-o", "compression_type=zstd")
    found = refusal(path)
    assert "zstandard is not installed" in found.message
    assert "qemu-img convert" in found.remedy


@pytest.mark.parametrize("data_mib", [0, 1, 7, 64])
@pytest.mark.parametrize("capacity_mib", [64, 1024, 9000])
def test_the_room_foretold_is_enough_and_not_much_more_than_qemu_s_own(
    tmp_path: Path, data_mib: int, capacity_mib: int
) -> None:
    raw, disk, chance = tmp_path / "raw", tmp_path / "disk.qcow2", random.Random(1)
    with raw.open("wb") as file:
        for number in chance.sample(range(capacity_mib), data_mib):
            file.seek(number * MIB)
            file.write(b"x" * MIB)
        file.truncate(capacity_mib * MIB)
    told = most_bytes(data_mib * MIB, capacity_mib * MIB)
    measured = subprocess.run(
        ["qemu-img", "measure", "--output=json", "-f", "raw", "-O", "qcow2", raw],
        check=True,
        capture_output=True,
    )
    run("qemu-img", "convert", "-W", "-f", "raw", "-O", "qcow2", raw, disk)
    taken = disk.stat().st_size
    assert taken <= told <= max(json.loads(measured.stdout)["required"], taken) + MIB
