"""Room is proved before it is used, and a disk that becomes full all the same leaves nothing (R-IMAGE-2)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from metier.domain.errors import NoSpace
from metier.matrix.folder_matrix import FolderMatrix
from metier.matrix.space import Space
from tests.unit.matrix import archives
from tests.unit.matrix.archives import MIB


def silent(step: str, done: int, total: int | None) -> None:
    """Take a report and say nothing."""


def plenty(_: Path) -> int:
    """Lie about the room there is, as another writer's bytes would make a measurement lie."""
    return 1 << 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 48 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", folder], check=False).returncode
    ):
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def incompressible(tmp_path: Path, mib: int, subformat: str = "monolithicSparse") -> Path:
    archives.write_vmdk(tmp_path / "vm", os.urandom(mib * MIB), subformat)
    files = {path.name: path.read_bytes() for path in (tmp_path / "vm").iterdir()}
    return archives.pack(tmp_path / "vm.tgz", {"web.vmx": archives.vmx_text("disk.vmdk").encode(), **files})


def left_behind(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("free_mib", "stage"),
    [(17, "cannot unpack vm.tgz: it takes 6.1 MiB, and 1.0 MiB is free"), (20, "cannot unpack")],
)
def test_too_little_room_to_unpack_is_refused_with_the_numbers(
    tmp_path: Path, free_mib: int, stage: str
) -> None:
    archive = incompressible(tmp_path, 6)
    root = tmp_path / "matrix"
    matrix = FolderMatrix(root, space=Space(root, lambda _: free_mib * MIB))
    with pytest.raises(NoSpace, match=stage) as caught:
        matrix.import_image(archives.order(archive), silent)
    assert "free " in caught.value.remedy
    assert left_behind(root) == []


def test_too_little_room_to_store_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    archive, root, told = incompressible(tmp_path, 6, "streamOptimized"), tmp_path / "matrix", set()
    answers = iter([30 * MIB] * 3 + [20 * MIB] * 9)
    matrix = FolderMatrix(root, space=Space(root, lambda _: next(answers)))
    with pytest.raises(
        NoSpace, match=r"cannot store the disks of w2k@1: it takes 6.4 MiB, and 4.0 MiB is free"
    ):
        matrix.import_image(archives.order(archive), lambda step, *_: told.add(step))
    assert told == {"unpacking", "checking"}
    assert left_behind(root) == []


@pytest.mark.parametrize(("mib", "stage"), [(60, "unpacking"), (40, "writing")])
def test_a_disk_that_becomes_full_all_the_same(
    tmp_path: Path, small_disk: Path, mib: int, stage: str
) -> None:
    archive = incompressible(tmp_path, mib)
    matrix = FolderMatrix(small_disk, space=Space(small_disk, plenty))
    told: list[str] = []
    with pytest.raises(NoSpace, match="became full"):
        matrix.import_image(archives.order(archive), lambda step, *_: told.append(step))
    assert told[-1] == stage
    assert left_behind(small_disk) == []


def test_the_same_disk_measured_honestly_is_never_filled(tmp_path: Path, small_disk: Path) -> None:
    archive = incompressible(tmp_path, 60)
    with pytest.raises(NoSpace, match=r"cannot unpack vm.tgz: it takes 60"):
        FolderMatrix(small_disk).import_image(archives.order(archive), silent)
    assert left_behind(small_disk) == []


def test_sparse_disks_take_the_room_of_their_data_only(tmp_path: Path) -> None:
    content = bytes(64 * MIB - 512) + b"x" * 512
    archives.write_vmdk(tmp_path / "vm", content, "monolithicFlat")
    archive = tmp_path / "vm"
    (archive / "web.vmx").write_text(archives.vmx_text("disk.vmdk"))
    root = tmp_path / "matrix"
    matrix = FolderMatrix(root, space=Space(root, lambda _: 20 * MIB))
    image = matrix.import_image(archives.order(archive), silent)
    assert image.size_bytes < MIB
