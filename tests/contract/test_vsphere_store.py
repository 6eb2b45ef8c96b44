"""How images reach a datastore: once, whole or not at all, whoever else wants to put them there."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import OutcomeUnknown, Refusal, Refused, Unavailable, chain
from metier.drivers.hypervisor.api import Capturing, GuestSpec, Hypervisor, ImageSource, Progress
from metier.drivers.hypervisor.vsphere.claim import QUIET_S
from tests.contract.block_disks import BAD_SECTOR, DISK_BYTES, Blocks, image_of
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.vsphere_testbed import Counterpart, VsphereTestbed, missing, running

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

SOON_S = 1.0


A, B, C = Blocks("a"), Blocks("b", capacity_bytes=DISK_BYTES + 512), Blocks("c")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Counterpart]:
    with running(tmp_path / "esx", "-esx") as server:
        yield server


@pytest.fixture
def esx(server: Counterpart, tmp_path: Path) -> Iterator[VsphereTestbed]:
    testbed = VsphereTestbed(server, tmp_path)
    yield testbed
    testbed.clean_up()


@pytest.fixture
def driver(esx: VsphereTestbed) -> Hypervisor:
    return defined(esx.open())


def defined(driver: Hypervisor) -> Hypervisor:
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    return driver


def prepare(
    driver: Hypervisor,
    image: ImageSource,
    progress: Progress = nothing,
    timeout_s: float = TIMEOUT_S,
    instance: str = "web-1-1",
) -> None:
    driver.prepare(1, GuestSpec(instance, image, "web1", b"seed", {}), progress, timeout_s=timeout_s)


def images_in(testbed: VsphereTestbed) -> list[str]:
    """Return all that is below the folder of images, folders too."""
    folder = testbed.store / "images"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def is_whole(testbed: VsphereTestbed, image: ImageSource) -> bool:
    folder = testbed.store / "images" / image.key
    return (folder / "complete").exists() and all(
        (folder / f"disk{number}-flat.vmdk").read_bytes() == disk.content()
        for number, disk in enumerate(image.disks)
        if isinstance(disk, Blocks)
    )


def uploads(testbed: VsphereTestbed) -> int:
    return testbed.server.calls().get("PUT /folder", 0)


def fault_upload(testbed: VsphereTestbed, disk: int, kind: str) -> None:
    """Let the content of a disk break off; each disk is three files."""
    testbed.server.fault("PUT /folder", kind, bytes=1 << 20, skip=3 * disk)


# --- what arrives ---------------------------------------------------------------------------------


def test_every_byte_arrives_and_progress_counts_those_of_all_disks(
    esx: VsphereTestbed, driver: Hypervisor
) -> None:
    told: list[tuple[int, int]] = []
    image = image_of(A, B, C)
    prepare(driver, image, lambda done, total: told.append((done, total)))
    assert is_whole(esx, image)
    total = sum(disk.capacity_bytes for disk in (A, B, C))
    assert {of for _, of in told} == {total}
    assert told == sorted(told)
    assert told[-1][0] == total
    assert not [name for name in images_in(esx) if "copy." in name]


def test_an_image_of_other_content_and_the_same_name_takes_its_place(
    esx: VsphereTestbed, driver: Hypervisor
) -> None:
    """A version that was deleted and made anew while the host was away."""
    prepare(driver, image_of(A, B))
    driver.retire(1, "web-1-1", timeout_s=TIMEOUT_S)
    prepare(driver, image_of(A, C))
    assert is_whole(esx, image_of(A, C))


def test_it_does_not_while_instances_stand_on_the_old_one(esx: VsphereTestbed, driver: Hypervisor) -> None:
    prepare(driver, image_of(A))
    driver.retire(1, None, timeout_s=TIMEOUT_S)
    with pytest.raises(Refused, match="other content of that name"):
        prepare(driver, image_of(C), instance="web-1-2")
    assert is_whole(esx, image_of(A))


# --- what breaks off ------------------------------------------------------------------------------


def test_a_disk_that_is_whole_is_not_sent_again_after_a_break(
    esx: VsphereTestbed, driver: Hypervisor
) -> None:
    fault_upload(esx, 1, "drop")
    with pytest.raises(OutcomeUnknown):
        prepare(driver, image_of(A, B, C))
    left = images_in(esx)
    assert [name for name in left if name.startswith("web-1/disk0")] == left[1:]
    written = (esx.store / "images/web-1/disk0-flat.vmdk").stat().st_mtime_ns
    steps: list[int] = []
    before = uploads(esx)
    prepare(driver, image_of(A, B, C), lambda done, _: steps.append(done))
    assert is_whole(esx, image_of(A, B, C))
    assert (esx.store / "images/web-1/disk0-flat.vmdk").stat().st_mtime_ns == written
    assert steps[0] > A.capacity_bytes
    assert uploads(esx) - before == 3 * 2 + 3  # two disks of three files; the sign, the child's and the seed


def test_a_whole_disk_of_other_content_is_sent_again(esx: VsphereTestbed, driver: Hypervisor) -> None:
    fault_upload(esx, 1, "drop")
    with pytest.raises(OutcomeUnknown):
        prepare(driver, image_of(A, B))
    prepare(driver, image_of(C, B))
    assert is_whole(esx, image_of(C, B))
    assert len([name for name in images_in(esx) if name.endswith(".whole")]) == 2


@pytest.mark.parametrize("disk", [0, 1])
@pytest.mark.parametrize("kind", ["full", "forbidden"])
def test_a_refused_upload_leaves_nothing_at_all(
    esx: VsphereTestbed, driver: Hypervisor, disk: int, kind: str
) -> None:
    fault_upload(esx, disk, kind)
    with pytest.raises(Refused):
        prepare(driver, image_of(A, B))
    assert images_in(esx) == []
    prepare(driver, image_of(A, B))
    assert is_whole(esx, image_of(A, B))


def test_an_upload_that_is_cut_leaves_nothing_of_its_disk(esx: VsphereTestbed, driver: Hypervisor) -> None:
    fault_upload(esx, 0, "drop")
    with pytest.raises(OutcomeUnknown):
        prepare(driver, image_of(A, B))
    assert images_in(esx) == []


def test_what_a_silent_host_keeps_goes_with_the_next_call(esx: VsphereTestbed, driver: Hypervisor) -> None:
    fault_upload(esx, 0, "hang")
    with pytest.raises(OutcomeUnknown):
        prepare(driver, image_of(A), timeout_s=SOON_S)
    driver.drop_image("web-1", timeout_s=TIMEOUT_S)
    assert images_in(esx) == []


def test_what_broke_a_copy_off_is_told_and_not_what_became_of_tidying_up(
    esx: VsphereTestbed, driver: Hypervisor, tmp_path: Path
) -> None:
    assert isinstance(driver, Capturing)
    prepare(driver, image_of(A))
    esx.server.fault("GET /folder", "forbidden")
    esx.server.fault("DeleteVirtualDisk_Task", "fault", fault="FileLocked")
    with pytest.raises(Refused, match="root may not read") as caught:
        driver.take_disks(1, tmp_path, lambda _bytes: None, nothing, timeout_s=TIMEOUT_S)
    assert "Datastore.FileManagement" in caught.value.remedy
    esx.server.tell("peace")
    with pytest.raises(Refused, match=r"cannot write disk0\.raw in the image matrix"):  # it is there
        driver.take_disks(1, tmp_path, lambda _bytes: None, nothing, timeout_s=TIMEOUT_S)
    (tmp_path / "disk0.raw").unlink()
    driver.take_disks(1, tmp_path, lambda _bytes: None, nothing, timeout_s=TIMEOUT_S)


def test_what_an_upload_was_refused_for_is_told(esx: VsphereTestbed, driver: Hypervisor) -> None:
    fault_upload(esx, 0, "full")
    esx.server.fault("DeleteDatastoreFile_Task", "fault", times=9, fault="FileLocked")
    with pytest.raises(Refused, match="would not write"):
        prepare(driver, image_of(A))
    esx.server.tell("peace")
    prepare(driver, image_of(A))
    assert is_whole(esx, image_of(A))


@pytest.mark.parametrize("broken_at", [-1, 0, 20])
@pytest.mark.parametrize("error", [BAD_SECTOR, Refusal("cannot read disk0.qcow2: it is damaged")])
def test_a_disk_that_cannot_be_read_is_refused_and_leaves_nothing(
    esx: VsphereTestbed, driver: Hypervisor, broken_at: int, error: Exception
) -> None:
    with pytest.raises(Refused, match="cannot read disk 1 of image web-1") as caught:
        prepare(driver, image_of(A, replace(B, broken_at=broken_at, error=error)))
    assert "metier image verify" in caught.value.remedy
    assert images_in(esx) == []


def test_a_disk_of_another_size_than_recorded_is_refused(esx: VsphereTestbed, driver: Hypervisor) -> None:
    image = image_of(A)
    grown = replace(image.machine.disks[0], capacity_bytes=DISK_BYTES * 2)
    with pytest.raises(Refused) as caught:
        prepare(driver, replace(image, machine=replace(image.machine, disks=(grown,))))
    assert "should be one of" in chain(caught.value)
    assert images_in(esx) == []


# --- who else is there ----------------------------------------------------------------------------


@contextmanager
def sharing(first: VsphereTestbed, folder: Path) -> Iterator[VsphereTestbed]:
    """Have another ESX host, on a server of its own, that has a datastore in common with the first."""
    shared = folder / "shared"
    shared.mkdir()
    with running(folder / "other", "-esx") as server:
        second = VsphereTestbed(server, folder)
        for testbed in (first, second):
            with testbed.administrator() as content:
                system = testbed._host(content).configManager.datastoreSystem
                system.CreateLocalDatastore("shared", str(shared))
            testbed.settings["datastore"] = "shared"
            testbed.store = shared / "metier/metier"
        yield second
        second.clean_up()


def test_of_two_hosts_with_one_datastore_one_copies_and_the_other_waits(
    esx: VsphereTestbed, tmp_path: Path
) -> None:
    with sharing(esx, tmp_path) as other:
        beds = (esx, other)
        drivers = [defined(bed.opened(f"node-{number}")) for number, bed in enumerate(beds)]
        for bed in beds:
            bed.server.fault("PUT /folder", "slow", milliseconds=300)
        threads = [
            threading.Thread(target=prepare, args=(driver, image_of(A, B)), kwargs={"instance": f"web-1-{n}"})
            for n, driver in enumerate(drivers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
        assert is_whole(esx, image_of(A, B))
        # Two disks of three files and the sign by one; a child's sign and a seed by each.
        assert sorted(map(uploads, beds)) == [2, 2 + 7]


class Elsewhere:
    """Another controller at work on image web-1, as far as a datastore shows it."""

    def __init__(self, testbed: VsphereTestbed) -> None:
        self.folder = testbed.store / "images/web-1"
        self.claim = self.folder / "copy.1"
        self.claim.mkdir(parents=True)
        self.half = self.folder / "disk0-flat.vmdk"
        self.half.write_bytes(b"half")

    def die(self) -> None:
        """Let it have been silent for long."""
        then = time.time() - 2 * QUIET_S
        for path in (self.claim, self.half):
            os.utime(path, (then, then))


def test_what_another_controller_copies_is_left_to_it(esx: VsphereTestbed, driver: Hypervisor) -> None:
    other = Elsewhere(esx)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: prepare(driver, image_of(A)),
        lambda: driver.drop_image("web-1", timeout_s=TIMEOUT_S),
    )
    for attempt in attempts:
        with pytest.raises(Unavailable, match="another controller is at work on images/web-1"):
            attempt()
    assert other.half.read_bytes() == b"half"
    assert other.claim.exists()


def test_a_controller_that_died_amid_a_copy_is_followed(esx: VsphereTestbed, driver: Hypervisor) -> None:
    Elsewhere(esx).die()
    prepare(driver, image_of(A))
    assert is_whole(esx, image_of(A))
    assert not [name for name in images_in(esx) if "copy." in name]


def test_what_it_left_can_be_dropped(esx: VsphereTestbed, driver: Hypervisor) -> None:
    Elsewhere(esx).die()
    driver.drop_image("web-1", timeout_s=TIMEOUT_S)
    assert images_in(esx) == []


def test_a_copy_that_was_taken_over_touches_nothing_more(esx: VsphereTestbed, driver: Hypervisor) -> None:
    folder = esx.store / "images/web-1"

    def take_over(_done: int, _total: int) -> None:
        (folder / "copy.2").mkdir(exist_ok=True)

    with pytest.raises(Unavailable, match="another controller"):
        prepare(driver, image_of(A), take_over)
    assert (folder / "copy.2").exists()
    assert (folder / "disk0-flat.vmdk").exists()
    assert not [name for name in images_in(esx) if name.endswith((".whole", "complete"))]


SECOND_CONTROLLER = """
import sys
from tests.contract import test_vsphere_store as tests
from metier.domain.errors import DriverError
from metier.drivers.hypervisor.vsphere import Vsphere
driver = Vsphere.open("node-2", dict(word.split("=", 1) for word in sys.argv[1:]))
tests.defined(driver)
try:
    tests.prepare(driver, tests.image_of(tests.A), instance="web-1-2")
    print("done")
except DriverError as error:
    print(error.code)
driver.close()
"""


def test_of_two_controllers_one_copies_and_the_other_comes_again(
    esx: VsphereTestbed, driver: Hypervisor
) -> None:
    words = [f"{name}={value}" for name, value in esx.settings.items()]

    def second() -> str:
        command = [sys.executable, "-c", SECOND_CONTROLLER, *words]
        root = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), *sys.path))}
        return subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        ).stdout.strip()

    answers: list[str] = []

    def ask_once(_done: int, _total: int) -> None:
        if not answers:
            answers.append(second())

    prepare(driver, image_of(A), ask_once)
    assert answers == [Unavailable.code]
    before = (esx.store / "images/web-1/disk0-flat.vmdk").stat().st_mtime_ns
    assert second() == "done"
    assert (esx.store / "images/web-1/disk0-flat.vmdk").stat().st_mtime_ns == before


# --- datastores of objects ------------------------------------------------------------------------


def test_folders_of_an_object_datastore_are_made_by_its_own_call(
    esx: VsphereTestbed, driver: Hypervisor
) -> None:
    esx.server.tell("datastores?type=vsan")
    again = esx.opened("node-1")
    prepare(again, image_of(A))
    assert is_whole(esx, image_of(A))
    assert esx.server.calls()["CreateDirectory"] >= 1
