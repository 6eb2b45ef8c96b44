"""The contract of the image matrix, over a folder and over the simulated one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.domain.ids import ImageRef
from metier.domain.image import Image
from metier.matrix.api import ImportOrder
from metier.matrix.folder_matrix import FolderMatrix
from metier.matrix.space import Space
from metier.sim.matrix import IMAGE_BYTES, SimMatrix
from tests.builders import NOW
from tests.contract.matrix_suite import MatrixSuite, MatrixTestbed
from tests.unit.matrix import archives
from tests.unit.matrix.archives import MIB


class FolderTestbed:
    """A folder, and an archive of a VM with a disk of 1 MiB."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self._root, self._archive = folder / "matrix", archive
        self._free_bytes = 1 << 40
        self.matrix = FolderMatrix(self._root, space=Space(self._root, lambda _: self._free_bytes))

    def order(self, ref: ImageRef, **fields: Any) -> ImportOrder:
        return archives.order(self._archive, ref, **fields)

    def is_published(self, ref: ImageRef) -> bool:
        return archives.published(self._root, ref).exists()

    def left(self) -> list[str]:
        work = self._root / "work"
        return [path.name for path in work.iterdir()] if work.is_dir() else []

    def fill(self) -> None:
        self._free_bytes = 16

    def make_room(self) -> None:
        self._free_bytes = 1 << 40

    def kill_import(self, ref: ImageRef) -> None:
        # What `tests/unit/matrix/test_killed.py` finds after a real kill.
        half_done = self._root / "work" / f"{ref}-x" / "ready"
        half_done.mkdir(parents=True)
        (half_done / "disk0.qcow2").write_bytes(b"half of it")

    def damage(self, image: Image) -> None:
        assert image.machine is not None
        disk = archives.published(self._root, image.ref) / image.machine.disks[0].file
        disk.chmod(0o644)
        disk.write_bytes(disk.read_bytes()[: -MIB // 2])


class SimTestbed:
    """A simulated matrix with room for a few images."""

    def __init__(self) -> None:
        self.matrix = SimMatrix(free_bytes=9 * IMAGE_BYTES)

    def order(self, ref: ImageRef, **fields: Any) -> ImportOrder:
        return replace(archives.order("/tmp/vm.tgz", ref, **fields), created=NOW)

    def is_published(self, ref: ImageRef) -> bool:
        return ref in self.matrix.published

    def left(self) -> list[str]:
        return [str(ref) for ref in self.matrix.staged]

    def fill(self) -> None:
        self.matrix.free_bytes -= 8 * IMAGE_BYTES

    def make_room(self) -> None:
        self.matrix.free_bytes += 8 * IMAGE_BYTES

    def kill_import(self, ref: ImageRef) -> None:
        def die(stage: str) -> None:
            if stage == "writing":
                raise SystemExit

        self.matrix.passed = die
        with pytest.raises(SystemExit):
            self.matrix.import_image(self.order(ref), lambda *_: None)
        self.matrix.passed = lambda _stage: None

    def damage(self, image: Image) -> None:
        self.matrix.damaged.add(image.ref)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a packed VM with one small disk."""
    folder = tmp_path_factory.mktemp("archive")
    return archives.pack(folder / "vm.tgz", archives.vm_files(folder / "vm", size=MIB))


class TestFolderMatrix(MatrixSuite):
    @pytest.fixture
    def testbed(self, tmp_path: Path, archive: Path) -> MatrixTestbed:
        return FolderTestbed(tmp_path, archive)


class TestSimMatrix(MatrixSuite):
    @pytest.fixture
    def testbed(self) -> SimTestbed:
        return SimTestbed()

    def test_an_import_takes_its_room_and_a_deletion_gives_it_back(self, testbed: SimTestbed) -> None:
        before = testbed.matrix.free_bytes
        image = self.imported(testbed)
        assert testbed.matrix.free_bytes == before - IMAGE_BYTES
        testbed.matrix.delete(image.ref)
        testbed.kill_import(image.ref)
        assert testbed.matrix.free_bytes == before - IMAGE_BYTES
        testbed.matrix.sweep([])
        assert testbed.matrix.free_bytes == before
