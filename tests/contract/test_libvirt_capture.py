"""What real libvirt hosts do to a capture, beyond the common contract."""

import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from metier.domain.errors import NoSpace, Refused
from metier.drivers.hypervisor.api import Ended, GuestSpec, Progress, TakenDisks
from metier.drivers.hypervisor.libvirt import Libvirt
from metier.lab.datacentre import LabDatacentre
from metier.lab.state import LabHost
from metier.lab.waiting import wait_until
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.libvirt_testbed import LibvirtTestbed

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabDatacentre]:
    with LabDatacentre(tmp_path_factory.mktemp("lab"), [LabHost("host-1")]) as lab:
        yield lab


@pytest.fixture
def testbed(lab: LabDatacentre, tmp_path: Path) -> Iterator[LibvirtTestbed]:
    testbed = LibvirtTestbed(lab, tmp_path)
    yield testbed
    testbed.clean_up()


@pytest.fixture
def driver(testbed: LibvirtTestbed) -> Libvirt:
    driver = testbed.open()
    assert isinstance(driver, Libvirt)
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    return driver


@pytest.fixture
def prepared(testbed: LibvirtTestbed, driver: Libvirt) -> Libvirt:
    """Return the driver with a guest of two disks on VM1, which is off."""
    image = testbed.image("web-1")
    machine = replace(image.machine, disks=image.machine.disks * 2)
    image = replace(image, machine=machine, disks=image.disks * 2)
    guest = GuestSpec("web-1-1", image, "web1", b"seed", {"slot": "web/1"})
    driver.prepare(1, guest, nothing, timeout_s=TIMEOUT_S)
    return driver


def take(driver: Libvirt, into: Path, progress: Progress = nothing) -> TakenDisks:
    return driver.take_disks(1, into, lambda _size: None, progress, timeout_s=TIMEOUT_S)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "copied"
    folder.mkdir()
    return folder


def test_holes_of_an_instance_stay_holes(testbed: LibvirtTestbed, prepared: Libvirt, into: Path) -> None:
    disk = testbed.store / "instances/web-1-1.1.qcow2"
    with disk.open("r+b") as file:  # as a guest's qcow2 is after much was discarded
        file.truncate(256 << 20)
        file.seek(128 << 20)
        file.write(b"far")
    taken = take(prepared, into)
    assert taken.parent == "web-1"
    assert taken.files == (into / "disk0.qcow2", into / "disk1.qcow2")
    copy = taken.files[1]
    assert copy.read_bytes() == disk.read_bytes()
    assert copy.stat().st_blocks * 512 < 2 << 20
    assert copy.stat().st_mode & 0o777 == 0o600


def test_saved_memory_is_not_captured_without_its_disks(
    testbed: LibvirtTestbed, prepared: Libvirt, into: Path
) -> None:
    prepared.start(1, timeout_s=TIMEOUT_S)
    testbed.virsh("managedsave", testbed.name_of(1))
    with pytest.raises(Refused, match="its memory is saved") as caught:
        take(prepared, into)
    assert "start it" in caught.value.remedy


def test_a_snapshot_of_another_tool_is_named(testbed: LibvirtTestbed, prepared: Libvirt, into: Path) -> None:
    testbed.virsh("snapshot-create-as", testbed.name_of(1), "mine", "--disk-only")
    with pytest.raises(
        Refused, match=r"its disk \S+web-1-1\.0\.mine is not of its instance web-1-1"
    ) as caught:
        take(prepared, into)
    assert "blockcommit" in caught.value.remedy
    assert list(into.iterdir()) == []


def test_a_disk_on_another_image_is_named(testbed: LibvirtTestbed, prepared: Libvirt, into: Path) -> None:
    other = testbed.store / "images/../other.qcow2"
    disk = testbed.store / "instances/web-1-1.0.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", other, "1M"], check=True)
    subprocess.run(["qemu-img", "rebase", "-u", "-F", "qcow2", "-b", other, disk], check=True)
    with pytest.raises(Refused, match=r"stands on \S+other\.qcow2 and not on its image"):
        take(prepared, into)


def test_a_disk_that_is_written_to_while_it_is_copied_is_not_captured(
    testbed: LibvirtTestbed, prepared: Libvirt, into: Path
) -> None:
    def write(_size: int) -> None:
        testbed.write("web-1-1", os.urandom(16))

    testbed.write("web-1-1", b"before")  # so that the file does not grow, which is refused as well
    # Progress may be heard only after the last look; room is asked for between the two.
    with pytest.raises(Refused, match="written to while they were copied"):
        prepared.take_disks(1, into, write, nothing, timeout_s=TIMEOUT_S)


def test_a_restarted_daemon_does_not_know_how_a_vm_ended(testbed: LibvirtTestbed, prepared: Libvirt) -> None:
    prepared.start(1, timeout_s=TIMEOUT_S)
    prepared.stop(1, timeout_s=TIMEOUT_S)
    assert prepared.ended(1, timeout_s=TIMEOUT_S) is Ended.CUT
    testbed.vanish()
    testbed.come_back()
    assert prepared.ended(1, timeout_s=TIMEOUT_S) is Ended.UNKNOWN


def test_a_copy_that_does_not_fit_here_is_refused(
    testbed: LibvirtTestbed, prepared: Libvirt, into: Path
) -> None:
    disk = testbed.store / "instances/web-1-1.0.qcow2"
    with disk.open("ab") as file:
        file.write(os.urandom(4 << 20))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "metier-test", into], check=True)
    try:
        with pytest.raises(NoSpace, match=r"cannot write disk0\.qcow2"):
            take(prepared, into)
    finally:
        subprocess.run(["umount", into], check=True)


def test_a_cancelled_capture_ends_within_one_step(
    testbed: LibvirtTestbed, prepared: Libvirt, into: Path
) -> None:
    class Stop(Exception):
        pass

    heard: list[int] = []

    def stop(done: int, _total: int) -> None:
        heard.append(done)
        raise Stop

    disk = testbed.store / "instances/web-1-1.0.qcow2"
    with disk.open("ab") as file:
        file.write(os.urandom(8 << 20))
    with pytest.raises(Stop):
        take(prepared, into, stop)
    assert len(heard) == 1
    assert wait_until(lambda: not _is_copying(), TIMEOUT_S, every_s=0.01)
    assert sum(file.stat().st_size for file in into.iterdir()) < 8 << 20


def _is_copying() -> bool:
    return any(thread.name.startswith("libvirt: copy the disks") for thread in threading.enumerate())
