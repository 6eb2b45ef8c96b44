"""An image matrix in several folders: where versions go, and what a folder that is not mounted means."""

import json
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from metier.domain.errors import NoSpace, Refusal
from metier.domain.ids import ImageRef
from metier.domain.image import Image
from metier.matrix.api import Cancelled
from metier.matrix.folder_matrix import FolderMatrix
from metier.matrix.roots import KNOWN, MARK
from metier.matrix.space import Space
from tests.unit.matrix import archives
from tests.unit.matrix.archives import MIB

ONE, TWO, OTHER = ImageRef("web", "1"), ImageRef("web", "2"), ImageRef("db", "1")
GIB = 1 << 30


def silent(_step: str, _done: int, _total: int | None) -> None:
    """Take a report and do nothing with it."""


class Site:
    """Two folders with room as the test says; the second one may be away."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self.first, self.second = folder / "images", folder / "images-2"
        self.second.mkdir(parents=True)
        self.archive = archive
        self.free: Mapping[str, int] = {"images": GIB, "images-2": 2 * GIB}
        self.matrix = self.opened()

    def opened(self) -> FolderMatrix:
        """Return the matrix as a controller that starts anew has it."""
        space = Space(self.first, lambda root: self.free[root.name])
        return FolderMatrix(self.first, space=space, others=(self.second,))

    def take_in(self, ref: ImageRef) -> Image:
        return self.matrix.import_image(archives.order(self.archive, ref), silent)

    def place(self, ref: ImageRef) -> str:
        """Return the folder that a version lies in."""
        found = [
            root.name
            for root in (self.first, self.second)
            if (root / "images" / ref.name / ref.version).exists()
        ]
        assert len(found) == 1
        return found[0]

    def unmount(self) -> None:
        self.second.rename(self.second.with_name("away"))
        self.second.mkdir()

    def mount(self) -> None:
        shutil.rmtree(self.second)
        self.second.with_name("away").rename(self.second)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    return archives.pack(folder / "vm.tgz", archives.vm_files(folder / "vm", size=MIB))


@pytest.fixture
def site(tmp_path: Path, archive: Path) -> Site:
    return Site(tmp_path, archive)


def test_a_new_image_goes_where_there_is_most_room(site: Site) -> None:
    image = site.take_in(ONE)
    assert site.place(ONE) == "images-2"
    assert site.matrix.verify(image, silent) == []
    assert site.matrix.disks(image)[0].size_bytes > 0


def test_a_version_goes_to_its_newest_sibling_and_shares_with_it(site: Site) -> None:
    site.take_in(ONE)
    site.free = {"images": 9 * GIB, "images-2": 2 * GIB}
    site.take_in(TWO)
    assert site.place(TWO) == "images-2"
    usage = site.matrix.usage({ONE, TWO})
    assert usage.shared_bytes[TWO] > 0
    assert [folder.free_bytes for folder in usage.folders] == [9 * GIB, 2 * GIB]


def test_a_version_whose_sibling_has_no_room_beside_it_goes_elsewhere_whole(site: Site) -> None:
    site.take_in(ONE)
    site.free = {"images": GIB, "images-2": 1000}
    image = site.take_in(TWO)
    assert site.place(TWO) == "images"
    assert site.matrix.usage({ONE, TWO}).shared_bytes[TWO] == 0
    site.matrix.delete(ONE)
    assert site.matrix.verify(image, silent) == []


def test_without_room_anywhere_nothing_is_left(site: Site) -> None:
    site.free = {"images": 1000, "images-2": 1000}
    with pytest.raises(NoSpace):
        site.take_in(ONE)
    assert not list(site.second.glob("images/*/*"))
    assert not list(site.second.glob("work/*"))


def test_a_version_exists_once_wherever_it_lies(site: Site) -> None:
    site.take_in(ONE)
    site.free = {"images": 9 * GIB, "images-2": 0}
    with pytest.raises(Refusal, match="exists already"):
        site.take_in(ONE)


def test_deleting_and_sweeping_reach_every_folder(site: Site) -> None:
    site.take_in(ONE)
    site.free = {"images": 9 * GIB, "images-2": GIB}
    site.take_in(OTHER)
    assert (site.place(ONE), site.place(OTHER)) == ("images-2", "images")
    site.matrix.delete(ONE)
    assert not (site.second / "images" / "web" / "1").exists()
    assert site.matrix.sweep([]) == ["image db@1, which is not recorded"]


def test_what_lies_in_a_folder_that_is_not_mounted_is_neither_swept_nor_lost(site: Site) -> None:
    image = site.take_in(ONE)
    site.unmount()
    site.matrix = site.opened()
    assert site.matrix.sweep([]) == []
    with pytest.raises(
        Refusal, match=f"cannot find image {ONE}: {site.second} of the image matrix is not mounted"
    ):
        site.matrix.verify(image, silent)
    usage = site.matrix.usage({ONE})
    assert [folder.total_bytes > 0 for folder in usage.folders] == [True, False]
    assert ONE not in usage.own_bytes
    site.mount()
    assert site.matrix.verify(image, silent) == []
    assert site.matrix.usage({ONE}).own_bytes[ONE] > 0


def test_nothing_is_written_to_a_folder_that_is_not_mounted(site: Site) -> None:
    site.take_in(ONE)
    site.unmount()
    site.take_in(TWO)
    assert site.place(TWO) == "images"
    assert list(site.second.iterdir()) == []


def test_the_files_of_a_version_that_is_away_are_not_taken_for_removed(site: Site) -> None:
    site.take_in(ONE)
    site.unmount()
    with pytest.raises(Refusal, match=f"cannot remove the files of image {ONE}"):
        site.matrix.delete(ONE)
    site.mount()
    assert site.opened().sweep([]) == ["image web@1, which is not recorded"]


def test_another_file_system_in_its_place_is_not_taken_for_it(site: Site) -> None:
    site.take_in(ONE)
    site.unmount()
    (site.second / MARK).write_text("of another site\n")
    assert site.matrix.sweep([]) == []
    assert site.matrix.usage([]).folders[1].total_bytes == 0


def test_a_folder_that_was_never_there_is_waited_for(tmp_path: Path, archive: Path) -> None:
    site = Site(tmp_path, archive)
    site.second.rmdir()
    site.take_in(ONE)
    assert site.place(ONE) == "images"
    assert not site.second.exists()


def test_a_damaged_list_of_folders_is_refused_with_what_to_do(site: Site) -> None:
    site.take_in(ONE)
    (site.first / KNOWN).write_text("{")
    with pytest.raises(Refusal, match="it is damaged") as caught:
        site.matrix.sweep([])
    assert "remove that file" in caught.value.remedy


def test_two_versions_are_compared_through_their_folders(site: Site) -> None:
    before = site.take_in(ONE)
    site.free = {"images": GIB, "images-2": 1000}
    after = site.take_in(TWO)
    assert (site.place(ONE), site.place(TWO)) == ("images-2", "images")
    found = site.matrix.diff(before, after, silent)
    disk = json.loads(json.dumps(found))["disks"][0]
    assert disk["changed_bytes"] == disk["added_bytes"] == disk["removed_bytes"] == 0
    assert disk["same_bytes"] > 0
    assert json.loads(json.dumps(found)) == found
    assert not list(site.first.glob("work/*"))
    assert site.matrix.diff(before, after, silent, files=False)["file_systems"] == []


def test_a_comparison_that_is_cancelled_leaves_nothing(site: Site) -> None:
    before, after = site.take_in(ONE), site.take_in(TWO)

    def cancel(step: str, _done: int, _total: int | None) -> None:
        if "files" in step:
            raise Cancelled

    if find_spec("pytsk3") is None:
        pytest.skip("pytsk3 is not installed")
    with pytest.raises(Cancelled):
        site.matrix.diff(before, after, cancel)
    assert not list(site.first.glob("work/*"))


def test_without_room_for_the_lists_of_files_a_comparison_is_refused(site: Site) -> None:
    before, after = site.take_in(ONE), site.take_in(TWO)
    site.free = {"images": 1000, "images-2": GIB}
    with pytest.raises(NoSpace, match="compare the files"):
        site.matrix.diff(before, after, silent)
