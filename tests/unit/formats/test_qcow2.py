"""Our qcow2 reader against what QEMU writes, and the room that is foretold."""

import json
import random
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES
from metier.drivers.formats.qcow2 import Qcow2Disk, most_bytes
from tests.unit.matrix import archives
from tests.unit.matrix.archives import MIB


def written(folder: Path, content: bytes, *options: str) -> Path:
    """Return a qcow2 disk written by qemu-img."""
    raw, disk = folder / "raw", folder / "disk.qcow2"
    raw.write_bytes(content)
    subprocess.run(["qemu-img", "convert", *options, "-f", "raw", "-O", "qcow2", raw, disk], check=True)
    return disk


def content(disk: Qcow2Disk) -> bytes:
    whole = bytearray(-(-disk.capacity_bytes // BLOCK_BYTES) * BLOCK_BYTES)
    for number, block in disk.blocks(0, len(whole)):
        whole[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES] = block
    return bytes(whole[: disk.capacity_bytes])


@pytest.mark.parametrize("size", [512, BLOCK_BYTES, 5 * MIB + 512])
@pytest.mark.parametrize("options", [(), ("-W", "-m", "16"), ("-S", "0")])
def test_what_qemu_wrote_is_read(tmp_path: Path, size: int, options: tuple[str, ...]) -> None:
    wanted = archives.raw_content(size)
    with closing(Qcow2Disk(written(tmp_path, wanted, *options))) as disk:
        assert content(disk) == wanted


def test_disks_of_several_tables_are_read(tmp_path: Path) -> None:
    raw, path = tmp_path / "raw", tmp_path / "disk.qcow2"
    places = (5, 8191, 8192, 40_001)
    with raw.open("wb") as file:
        for place in places:
            file.seek(place * BLOCK_BYTES)
            file.write(bytes((place % 255 + 1,)) * BLOCK_BYTES)
        file.truncate(3000 * MIB)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    with closing(Qcow2Disk(path)) as disk:
        found = list(disk.blocks(0, 48_000))
        assert found == [(place, bytes((place % 255 + 1,)) * BLOCK_BYTES) for place in places]
        assert [number for number, _ in disk.blocks(8192, 40_001)] == [8192]


@pytest.mark.parametrize(
    "options",
    [("-c",), ("-o", "cluster_size=4k"), ("-o", "compat=0.10"), ("-o", "extended_l2=on,cluster_size=64k")],
)
def test_disks_of_another_form_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = written(tmp_path, archives.raw_content(MIB), *options)
    with pytest.raises(Refusal, match=r"not of the form|is compressed"), closing(Qcow2Disk(path)) as disk:
        content(disk)


def test_disks_with_a_backing_file_are_refused(tmp_path: Path) -> None:
    base = written(tmp_path, archives.raw_content(MIB))
    child = tmp_path / "child.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, child], check=True)
    with pytest.raises(Refusal, match="not of the form"):
        Qcow2Disk(child)


def test_a_disk_with_changed_or_missing_bytes_is_read_or_refused(tmp_path: Path) -> None:
    path = written(tmp_path, archives.raw_content(MIB))
    whole, chance = bytearray(path.read_bytes()), random.Random(3)
    for place in [*range(112), *chance.sample(range(len(whole)), 100)]:
        kept, whole[place] = whole[place], chance.randrange(256)
        path.write_bytes(whole if place % 2 else whole[: place + 1])
        try:
            with closing(Qcow2Disk(path)) as disk:
                if disk.capacity_bytes <= 4 * MIB:
                    content(disk)
        except Refusal:
            pass
        whole[place] = kept


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
    subprocess.run(["qemu-img", "convert", "-W", "-f", "raw", "-O", "qcow2", raw, disk], check=True)
    taken = disk.stat().st_size
    assert taken <= told <= max(json.loads(measured.stdout)["required"], taken) + MIB
