"""qcow2 disks that were cut short, damaged, or made to do harm."""

import struct
import tracemalloc
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Limits, Part, SourceDisk
from metier.drivers.formats.qcow2 import Qcow2Disk
from tests.unit.formats.by_qemu import MIB, read_or_refused, some_data, written

SIZE = MIB + 512


def opened(part: Part) -> SourceDisk:
    return Qcow2Disk(part.open(), part.path.name, limits=Limits())


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("disks")
    forms = {
        "plain": (),
        "small": ("-o", "cluster_size=4k"),
        "squeezed": ("-c",),
        "extended": ("-o", "extended_l2=on"),
    }
    wanted = some_data(SIZE)
    return {
        name: written(folder, wanted, "qcow2", *options, name=name).read_bytes()
        for name, options in forms.items()
    }


FORM = st.sampled_from(["plain", "small", "squeezed", "extended"])


@given(FORM, st.floats(0, 1, exclude_max=True))
@example("plain", 0.0)
def test_a_disk_cut_short_anywhere_is_whole_or_refused(
    disks: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, form: str, part: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.qcow2"
    assert read_or_refused(path, disks[form][: int(part * len(disks[form]))], opened) in (
        None,
        some_data(SIZE),
    )


WORD = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([0, 1, 1 << 63, 1 << 62, 3 << 62, 0x10000, 0x50000, (1 << 63) | 0x50001, 2**56 - 512]),
)
# Half of the changes are in the header, the others in tables.
PLACE = st.one_of(st.integers(0, 13), st.floats(0, 1, exclude_max=True))


@given(FORM, st.lists(st.tuples(PLACE, WORD), min_size=1, max_size=5))
def test_changed_words_never_do_more_than_change_or_refuse(
    disks: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    changes: list[tuple[int | float, int]],
) -> None:
    data = bytearray(disks[form])
    tables = [at for at in range(0, len(data) - 7, 8) if any(data[at : at + 2])][:50_000]
    for place, word in changes:
        at = place * 8 if isinstance(place, int) else tables[int(place * len(tables))]
        data[at : at + 8] = word.to_bytes(8, "big")
    path = tmp_path_factory.getbasetemp() / "changed.qcow2"
    read_or_refused(path, data, opened)


# --- Bombs ----------------------------------------------------------------------------------------


def header(capacity: int, tables: int, bits: int = 16) -> bytes:
    """Return a header whose first table follows it in the next cluster."""
    packed = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, bits, capacity, 0, tables, 1 << bits, 0, 0, 0, 0
    )
    return packed.ljust(1 << bits, b"\0")


def bomb(path: Path, tables: int, entry: int, data: bytes = b"", bits: int = 16) -> Path:
    """Write a disk of many tables that are all the same one, full of the same entry."""
    cluster = 1 << bits
    at = cluster + -(-tables * 8 // cluster) * cluster
    first = struct.pack(">Q", at | 1 << 63) * tables
    second = struct.pack(">Q", entry) * (cluster // 8)
    capacity = tables * cluster * cluster // 8
    path.write_bytes(header(capacity, tables, bits) + first.ljust(at - cluster, b"\0") + second + data)
    return path


@pytest.mark.parametrize("tables", [1, 4096])
@pytest.mark.parametrize("bits", [9, 16])
def test_clusters_that_are_all_the_same_one_are_refused(tmp_path: Path, tables: int, bits: int) -> None:
    place = (1 << bits) * (2 + -(-tables * 8 >> bits))
    path = bomb(tmp_path / "bomb", tables, place | 1 << 63, bytes(1 << bits), bits)
    with closing(opened(Part.whole(path))) as disk, pytest.raises(Refusal, match="its clusters overlap"):
        disk.room_bytes(lambda _: None)


def test_one_small_piece_of_compressed_data_for_all_is_refused(tmp_path: Path) -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -12)
    data = engine.compress(b"x" * BLOCK_BYTES) + engine.flush()
    path = bomb(tmp_path / "bomb", 4096, 1 << 62 | 3 * BLOCK_BYTES, data)
    with closing(opened(Part.whole(path))) as disk, pytest.raises(Refusal, match="its clusters overlap"):
        disk.room_bytes(lambda _: None)


@pytest.mark.parametrize("expands_to", [BLOCK_BYTES - 1, BLOCK_BYTES + 1, 500 * BLOCK_BYTES])
def test_compressed_data_make_one_cluster_and_no_more(tmp_path: Path, expands_to: int) -> None:
    """As QEMU has it: what is behind a whole cluster is never looked at."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -12)
    data = engine.compress(b"x" * expands_to) + engine.flush()
    path = bomb(tmp_path / "bomb", 1, 1 << 62 | 100 << 54 | 3 * BLOCK_BYTES, data)
    with closing(opened(Part.whole(path))) as disk:
        if expands_to < BLOCK_BYTES:
            with pytest.raises(Refusal, match="are damaged"):
                next(iter(disk.blocks(5, 6)))
        else:
            assert list(disk.blocks(5, 6)) == [(5, b"x" * BLOCK_BYTES)]


def test_neighbours_that_name_the_same_compressed_data_are_read_one_by_one(tmp_path: Path) -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -12)
    data = engine.compress(b"ab" * 2048) + engine.flush()
    path = bomb(tmp_path / "same", 1, 1 << 62 | 3 * 4096, data, bits=12)
    with closing(opened(Part.whole(path))) as disk:
        assert list(disk.blocks(1, 2)) == [(1, b"ab" * (BLOCK_BYTES // 2))]


def test_a_huge_claim_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(header(1 << 60, 0xFFFFFFFF))
    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match=r"it claims .* TiB, the limit is 2.0 TiB"):
            opened(Part.whole(path))
        with pytest.raises(Refusal, match="too small for its size"):
            Qcow2Disk(Part.whole(path).open(), "huge")
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_the_largest_empty_disk_takes_no_time(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    with path.open("wb") as file:
        file.write(header(Limits().disk_bytes, 4096))
        file.truncate(3 * BLOCK_BYTES)
    with closing(opened(Part.whole(path))) as disk:
        assert disk.room_bytes(lambda _: None) == 0
        assert list(disk.blocks(0, 1 << 40)) == []


def test_impossible_entries_are_refused(tmp_path: Path) -> None:
    for entry in (1, 3 * BLOCK_BYTES + 512, 3 * BLOCK_BYTES | 1 << 56, 3 * BLOCK_BYTES | 2, 1 << 55):
        path = bomb(tmp_path / "odd", 1, 0, bytes(BLOCK_BYTES))
        data = bytearray(path.read_bytes())
        data[2 * BLOCK_BYTES : 2 * BLOCK_BYTES + 8] = entry.to_bytes(8, "big")
        path.write_bytes(data)
        with closing(opened(Part.whole(path))) as disk:
            with pytest.raises(Refusal, match=r"impossible entry|ends before|outside the file"):
                disk.room_bytes(lambda _: None)
            with pytest.raises(Refusal):
                list(disk.blocks(0, 3))
