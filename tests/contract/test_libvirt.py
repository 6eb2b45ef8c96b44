"""What real libvirt hosts do to the driver, and the driver to them, beyond the common contract."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from metier.domain.errors import OutcomeUnknown, Refused, Unavailable, chain
from metier.domain.image import Disk, Machine
from metier.domain.observation import Power
from metier.drivers.formats.api import BlockReader
from metier.drivers.hypervisor.api import Ended, GuestSpec, ImageSource
from metier.drivers.hypervisor.libvirt import Libvirt
from metier.drivers.hypervisor.libvirt.acceleration import firmware_runs
from metier.drivers.hypervisor.libvirt.attempt import Attempt
from metier.drivers.hypervisor.libvirt.configuration import Place
from metier.drivers.hypervisor.libvirt.event_loop import ensure_event_loop
from metier.drivers.hypervisor.libvirt.events import Line
from metier.drivers.hypervisor.libvirt.offer import probe_xml
from metier.lab.datacentre import LabDatacentre
from metier.lab.guest import build_guest
from metier.lab.state import LabHost
from metier.lab.waiting import wait_until
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.libvirt_testbed import FileContent, LibvirtTestbed

pytestmark = pytest.mark.e2e

IMAGE_FILES = ["images/web-1.0.qcow2", "images/web-1.1.qcow2", "images/web-1.complete"]


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


def guest_of(image: ImageSource, instance: str = "web-1-1") -> GuestSpec:
    return GuestSpec(instance, image, "web1", b"seed" * 512, {"slot": "web/1"})


def files_in(folder: Path) -> list[str]:
    """Return all files below a folder, by name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def large_image(folder: Path, mib: int = 24) -> ImageSource:
    """Make an image whose file is really this large."""
    folder.mkdir()
    raw, file = folder / "raw", folder / "disk-0.qcow2"
    raw.write_bytes(os.urandom(1 << 20) * mib)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, file], check=True)
    raw.unlink()
    disk = Disk(file.name, mib << 20, file.stat().st_size, "sha256:0")
    return ImageSource("large-1", Machine((disk,)), (FileContent(file),))


class Unreadable:
    """A disk of the image matrix that is gone."""

    size_bytes = 4096

    def open(self) -> BinaryIO:
        raise FileNotFoundError(2, "No such file or directory")

    def reader(self) -> AbstractContextManager[BlockReader]:
        raise FileNotFoundError(2, "No such file or directory")


def with_machine(image: ImageSource, bus: str, controller: str = "", **machine: object) -> ImageSource:
    disks = tuple(replace(disk, bus=bus, controller=controller) for disk in image.machine.disks * 2)
    machine_of_two = Machine(disks, **machine)  # type: ignore[arg-type] # names and values are the test's
    return replace(image, machine=machine_of_two, disks=image.disks * 2)


def test_a_host_tells_its_store_and_what_drives_it(testbed: LibvirtTestbed, driver: Libvirt) -> None:
    facts = driver.facts(timeout_s=TIMEOUT_S)
    (room,) = facts.details.stores
    assert (room.name, room.is_used, room.is_shared) == (str(testbed.store), True, False)
    assert 0 < room.free_gib == facts.hardware.disk_gib <= room.capacity_gib
    assert facts.details.product == facts.product
    assert driver.report(timeout_s=TIMEOUT_S).patch_level == facts.details.patch_level == ""


# --- the machine that an image expects --------------------------------------------------------------


def test_a_guest_starts_with_the_machine_of_its_image(testbed: LibvirtTestbed, driver: Libvirt) -> None:
    machines = (
        ("bios", "ide", ""),
        ("bios", "scsi", "lsilogic"),
        ("bios", "sata", ""),
        ("uefi", "scsi", "virtio-scsi"),
    )
    for firmware, bus, controller in machines:
        image = with_machine(
            testbed.image("web-1"), bus, controller, firmware=firmware, nic_models=("vmxnet3",)
        )
        assert driver.prepare(1, guest_of(image), nothing, timeout_s=TIMEOUT_S) == ()
        driver.start(1, timeout_s=TIMEOUT_S)
        xml = testbed.virsh("dumpxml", testbed.name_of(1))
        assert xml.count(f"bus='{bus}'") >= len(image.machine.disks)
        assert "<model type='vmxnet3'/>" in xml
        assert f"model='{controller}'" in xml or not controller
        nvram = testbed.store / "instances/web-1-1.nvram"
        assert nvram.exists() == (firmware == "uefi")
        driver.stop(1, timeout_s=TIMEOUT_S)
        driver.retire(1, "web-1-1", timeout_s=TIMEOUT_S)
        assert files_in(testbed.store) == IMAGE_FILES


def test_what_this_qemu_lacks_is_replaced_and_said(testbed: LibvirtTestbed, driver: Libvirt) -> None:
    image = with_machine(testbed.image("web-1"), "scsi", "buslogic", nic_models=("vlance",))
    remarks = driver.prepare(1, guest_of(image), nothing, timeout_s=TIMEOUT_S)
    assert len(remarks) == 3
    assert "buslogic" in remarks[0]
    assert "vlance" in remarks[2]


def test_more_disks_than_a_controller_takes_get_a_second_one(
    testbed: LibvirtTestbed, driver: Libvirt
) -> None:
    image = testbed.image("web-1")
    disks = tuple(replace(image.machine.disks[0], bus="scsi", controller="lsilogic") for _ in range(9))
    image = replace(image, machine=Machine(disks), disks=image.disks * 9)
    driver.prepare(1, guest_of(image), nothing, timeout_s=TIMEOUT_S)
    driver.start(1, timeout_s=TIMEOUT_S)
    assert testbed.virsh("dumpxml", testbed.name_of(1)).count("model='lsilogic'") == 2


# --- hardware help ----------------------------------------------------------------------------------


def test_firmware_that_runs_to_its_end_is_recognised(testbed: LibvirtTestbed) -> None:
    """The probe says yes to a guest that really executes: here by emulation, on any machine."""
    import libvirt

    ensure_event_loop()
    line = Line(libvirt.open(testbed.settings["url"]), lambda: None)
    place = Place(testbed.settings["url"], testbed.node, "metier", str(testbed.store))
    try:
        xml = probe_xml(place, "pc", accelerated=False)
        assert firmware_runs(line, Attempt("probe", TIMEOUT_S), xml)
        endless = xml.replace('rebootTimeout="0"', 'rebootTimeout="65535"')
        assert not firmware_runs(line, Attempt("probe", TIMEOUT_S), endless, patience_s=1.0)
        assert not firmware_runs(line, Attempt("probe", TIMEOUT_S), xml.replace('"qemu"', '"kvm"'))
        assert testbed.virsh("list", "--all", "--name").split() == []
    finally:
        line.hang_up()


def test_a_host_without_kvm_runs_guests_by_emulation(testbed: LibvirtTestbed, driver: Libvirt) -> None:
    assert not driver.facts(timeout_s=TIMEOUT_S).accelerated
    assert "<domain type='qemu'>" in testbed.virsh("dumpxml", testbed.name_of(1))


# --- the host is slow, full or gone -----------------------------------------------------------------


@contextmanager
def stopped(testbed: LibvirtTestbed) -> Iterator[None]:
    """Let the host's daemon hang: it is there and says nothing."""
    pid = testbed.daemon()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_daemon_that_hangs_costs_no_more_than_the_deadline(
    testbed: LibvirtTestbed, driver: Libvirt
) -> None:
    with stopped(testbed):
        with pytest.raises(Unavailable, match=r"within 0\.2 s"):
            driver.report(timeout_s=0.2)
        with pytest.raises(Unavailable):
            driver.start(1, timeout_s=0.2)
    assert driver.report(timeout_s=TIMEOUT_S).vms[0].power is Power.OFF


def test_a_daemon_that_falls_silent_amid_a_change_leaves_its_outcome_unknown(
    testbed: LibvirtTestbed, driver: Libvirt, tmp_path: Path
) -> None:
    pid = testbed.daemon()

    def hang_once(_done: int, _total: int) -> None:
        os.kill(pid, signal.SIGSTOP)

    guest = guest_of(large_image(tmp_path / "large"))
    try:
        with pytest.raises(OutcomeUnknown):
            driver.prepare(1, guest, hang_once, timeout_s=2.0)
    finally:
        os.kill(pid, signal.SIGCONT)
    driver.prepare(1, guest, nothing, timeout_s=TIMEOUT_S)
    assert driver.report(timeout_s=TIMEOUT_S).vms[0].instance == guest.instance


def test_a_copy_that_was_broken_off_is_made_anew(
    testbed: LibvirtTestbed, driver: Libvirt, tmp_path: Path
) -> None:
    guest = guest_of(large_image(tmp_path / "large"))
    pid = testbed.daemon()
    killed = threading.Event()

    def kill_once(_done: int, _total: int) -> None:
        if not killed.is_set():
            killed.set()
            os.kill(pid, signal.SIGKILL)

    with pytest.raises((OutcomeUnknown, Unavailable)):
        driver.prepare(1, guest, kill_once, timeout_s=TIMEOUT_S)
    testbed.vanish()
    testbed.come_back()
    assert not (testbed.store / "images/large-1.complete").exists()
    driver.prepare(1, guest, nothing, timeout_s=TIMEOUT_S)
    copy = testbed.store / "images/large-1.0.qcow2"
    assert copy.read_bytes() == (tmp_path / "large/disk-0.qcow2").read_bytes()


@pytest.fixture
def small_store(testbed: LibvirtTestbed) -> Path:
    """Put a file system of 96 MiB under the host's store, where only the host sees it."""
    testbed.store.mkdir()
    daemon = testbed.daemon()
    mount = ("mount", "-t", "tmpfs", "-o", "size=96m", "metier-test", testbed.store)
    subprocess.run(["nsenter", "--mount", "--target", str(daemon), *mount], check=True)
    # It goes with the host.
    return Path(f"/proc/{daemon}/root") / testbed.store.relative_to("/")


def test_an_image_without_room_is_refused_with_numbers(
    driver: Libvirt, tmp_path: Path, small_store: Path
) -> None:
    with pytest.raises(
        Refused, match=r"it takes 4\d MiB, 64 MiB stay in reserve, 9\d MiB are free"
    ) as caught:
        driver.prepare(1, guest_of(large_image(tmp_path / "large", 40)), nothing, timeout_s=TIMEOUT_S)
    assert caught.value.remedy
    assert files_in(small_store) == []


def test_a_store_that_fills_up_meanwhile_keeps_no_part_of_an_image(
    driver: Libvirt, tmp_path: Path, small_store: Path
) -> None:
    filler = small_store / "filler"

    def fill(_done: int, _total: int) -> None:
        if not filler.exists():
            with pytest.raises(OSError, match="No space"):
                filler.write_bytes(b"x" * (96 << 20))

    with pytest.raises(Refused) as caught:
        driver.prepare(1, guest_of(large_image(tmp_path / "large")), fill, timeout_s=TIMEOUT_S)
    assert "No space left" in chain(caught.value)
    assert files_in(small_store) == ["filler"]
    filler.unlink()


# --- ownership --------------------------------------------------------------------------------------


def test_an_image_that_cannot_be_read_is_refused(testbed: LibvirtTestbed, driver: Libvirt) -> None:
    image = testbed.image("web-1")
    gone = replace(image, disks=(Unreadable(),))
    with pytest.raises(Refused, match=r"cannot read disk web-1\.0\.qcow2 of image web-1"):
        driver.prepare(1, guest_of(gone), nothing, timeout_s=TIMEOUT_S)
    assert files_in(testbed.store) == []


def test_a_pool_of_our_name_over_another_folder_is_left_alone(
    testbed: LibvirtTestbed, driver: Libvirt, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"x")
    testbed.virsh("pool-create-as", f"metier-{testbed.node}-images", "dir", "--target", str(elsewhere))
    try:
        with pytest.raises(Refused, match="lies over"):
            driver.prepare(1, guest_of(testbed.image("web-1")), nothing, timeout_s=TIMEOUT_S)
    finally:
        testbed.virsh("pool-destroy", f"metier-{testbed.node}-images")
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]


def test_a_clone_of_one_of_our_vms_is_not_ours(
    testbed: LibvirtTestbed, driver: Libvirt, tmp_path: Path
) -> None:
    xml = testbed.virsh("dumpxml", testbed.name_of(1))
    uuid = xml.partition("<uuid>")[2].partition("</uuid>")[0]
    mac = xml.partition("<mac address='")[2].partition("'")[0]
    clone = xml.replace(testbed.name_of(1), "clone").replace(f"<uuid>{uuid}</uuid>", "")
    (tmp_path / "clone.xml").write_text(clone.replace(mac, "02:00:00:00:00:01"))
    testbed.adopt_foreign("clone", tmp_path / "clone.xml")
    assert [vm.number for vm in driver.report(timeout_s=TIMEOUT_S).vms] == [1]


def test_another_site_on_the_same_host_sees_nothing_of_ours(testbed: LibvirtTestbed, driver: Libvirt) -> None:
    other = Libvirt.open(testbed.node, testbed.settings | {"site": "other"})
    try:
        assert other.report(timeout_s=TIMEOUT_S).vms == ()
        with pytest.raises(Refused, match="mark"):
            other.start(1, timeout_s=TIMEOUT_S)
    finally:
        other.close()


def test_saved_memory_does_not_outlive_a_change_of_disks(testbed: LibvirtTestbed, driver: Libvirt) -> None:
    guest = guest_of(testbed.image("web-1"))
    driver.prepare(1, guest, nothing, timeout_s=TIMEOUT_S)
    driver.start(1, timeout_s=TIMEOUT_S)
    testbed.virsh("managedsave", testbed.name_of(1))
    driver.retire(1, guest.instance, timeout_s=TIMEOUT_S)
    assert "no" in testbed.virsh("dominfo", testbed.name_of(1)).partition("Managed save:")[2].split()[0]


def test_a_paused_vm_is_neither_on_nor_off_and_goes_on_when_started(
    testbed: LibvirtTestbed, driver: Libvirt
) -> None:
    driver.start(1, timeout_s=TIMEOUT_S)
    testbed.virsh("suspend", testbed.name_of(1))
    assert driver.report(timeout_s=TIMEOUT_S).vms[0].power is Power.UNKNOWN
    driver.start(1, timeout_s=TIMEOUT_S)
    assert driver.report(timeout_s=TIMEOUT_S).vms[0].power is Power.ON


# --- a guest with an operating system ---------------------------------------------------------------


def test_a_guest_os_hears_that_it_is_to_shut_down(
    lab: LabDatacentre, testbed: LibvirtTestbed, driver: Libvirt, tmp_path: Path
) -> None:
    raw, file = tmp_path / "guest.raw", tmp_path / "image/disk-0.qcow2"
    build_guest(raw)
    file.parent.mkdir()
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, file], check=True)
    disk = Disk(file.name, raw.stat().st_size, file.stat().st_size, "sha256:0")
    driver.remove_vm(1, timeout_s=TIMEOUT_S)
    driver.define_vm(replace(OFFER, memory_mib=128), timeout_s=TIMEOUT_S)
    image = ImageSource("guest-1", Machine((disk,)), (FileContent(file),))
    driver.prepare(1, guest_of(image), nothing, timeout_s=TIMEOUT_S)
    driver.start(1, timeout_s=TIMEOUT_S)
    assert wait_until(lambda: len(lab.leases()) == 1, TIMEOUT_S), "it never asked for an address"
    driver.shutdown(1, timeout_s=TIMEOUT_S)

    def is_off() -> bool:
        return driver.report(timeout_s=TIMEOUT_S).vms[0].power is Power.OFF

    assert wait_until(is_off, TIMEOUT_S, every_s=0.1)
    assert driver.ended(1, timeout_s=TIMEOUT_S) is Ended.BY_GUEST
