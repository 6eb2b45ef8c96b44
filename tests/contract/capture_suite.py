"""What every hypervisor driver that captures promises beyond the common contract."""

import threading
from pathlib import Path

import pytest

from metier.domain.errors import NoSpace, Refused
from metier.domain.observation import Power
from metier.drivers.hypervisor.api import Capability, Capturing, Ended, Hypervisor
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, HostTestbed, HypervisorSuite, nothing


class CaptureSuite(HypervisorSuite):
    """The contract of `Capturing`, and of all that goes with it."""

    @pytest.fixture
    def into(self, tmp_path: Path) -> Path:
        folder = tmp_path / "copied"
        folder.mkdir()
        return folder

    @pytest.fixture
    def capturing(self, driver: Hypervisor) -> Capturing:
        if not isinstance(driver, Capturing):
            pytest.skip("the driver does not capture")
        return driver

    def test_the_disks_of_a_vm_are_copied_and_the_vm_stays_as_it_is(
        self, testbed: HostTestbed, driver: Hypervisor, capturing: Capturing, into: Path
    ) -> None:
        """R-CAPTURE-2, S32: nothing on the host changes, and the VM runs on afterwards."""
        guest = self.prepared(testbed, driver)
        testbed.write(guest.instance, b"captured")
        copy, rooms, steps = testbed.copy_of("web-1"), list[int](), list[tuple[int, int]]()
        caller, before = threading.get_ident(), self.vm(driver)

        def progress(done: int, total: int) -> None:
            assert threading.get_ident() == caller
            steps.append((done, total))

        taken = capturing.take_disks(1, into, rooms.append, progress, timeout_s=TIMEOUT_S)
        assert taken.instance == guest.instance
        assert taken.parent in ("", "web-1")
        assert not taken.parent or Capability.LINKED_INSTANCES in driver.CAPABILITIES
        assert [testbed.content(file) for file in taken.files] == [b"captured"]
        assert sorted(into.iterdir()) == list(taken.files)
        assert len(rooms) == 1
        assert rooms[0] >= sum(file.stat().st_blocks * 512 for file in taken.files)
        assert steps[-1] == (rooms[0], rooms[0])
        assert (self.vm(driver), testbed.copy_of("web-1")) == (before, copy)
        assert testbed.written(guest.instance) == b"captured"
        driver.start(1, timeout_s=TIMEOUT_S)
        assert self.vm(driver).power is Power.ON

    def test_how_a_vm_ended_is_told(
        self, testbed: HostTestbed, driver: Hypervisor, capturing: Capturing
    ) -> None:
        self.prepared(testbed, driver)
        assert capturing.ended(1, timeout_s=TIMEOUT_S) is not Ended.BY_GUEST
        driver.start(1, timeout_s=TIMEOUT_S)
        testbed.kill(1)
        assert capturing.ended(1, timeout_s=TIMEOUT_S) is Ended.CUT
        driver.start(1, timeout_s=TIMEOUT_S)
        if testbed.end_by_guest(1):
            assert capturing.ended(1, timeout_s=TIMEOUT_S) is Ended.BY_GUEST
            driver.start(1, timeout_s=TIMEOUT_S)
        driver.stop(1, timeout_s=TIMEOUT_S)
        assert capturing.ended(1, timeout_s=TIMEOUT_S) is Ended.CUT

    def test_a_running_vm_is_not_captured(
        self, testbed: HostTestbed, driver: Hypervisor, capturing: Capturing, into: Path
    ) -> None:
        """R-CAPTURE-1."""
        self.prepared(testbed, driver)
        driver.start(1, timeout_s=TIMEOUT_S)
        with pytest.raises(Refused, match="running"):
            capturing.ended(1, timeout_s=TIMEOUT_S)
        with pytest.raises(Refused, match="running"):
            capturing.take_disks(1, into, lambda _size: None, nothing, timeout_s=TIMEOUT_S)
        assert list(into.iterdir()) == []

    def test_a_vm_that_is_started_while_it_is_copied_is_not_captured(
        self, testbed: HostTestbed, driver: Hypervisor, capturing: Capturing, into: Path
    ) -> None:
        self.prepared(testbed, driver)

        def start(_size: int) -> None:
            testbed.open().start(1, timeout_s=TIMEOUT_S)

        with pytest.raises(Refused, match=r"started|running|while"):
            capturing.take_disks(1, into, start, nothing, timeout_s=TIMEOUT_S)

    def test_without_an_instance_there_is_nothing_to_capture(
        self, driver: Hypervisor, capturing: Capturing, into: Path
    ) -> None:
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
        with pytest.raises(Refused, match="no instance"):
            capturing.take_disks(1, into, lambda _size: None, nothing, timeout_s=TIMEOUT_S)
        for call in (capturing.ended, lambda number, timeout_s: self._take(capturing, number, into)):
            with pytest.raises(Refused, match="VM7"):
                call(7, timeout_s=TIMEOUT_S)

    def _take(self, capturing: Capturing, number: int, into: Path) -> object:
        return capturing.take_disks(number, into, lambda _size: None, nothing, timeout_s=TIMEOUT_S)

    def test_a_capture_without_room_copies_nothing(
        self, testbed: HostTestbed, driver: Hypervisor, capturing: Capturing, into: Path
    ) -> None:
        self.prepared(testbed, driver)

        def no_room(size: int) -> None:
            raise NoSpace(f"{size} bytes are needed")

        with pytest.raises(NoSpace):
            capturing.take_disks(1, into, no_room, nothing, timeout_s=TIMEOUT_S)
        assert list(into.iterdir()) == []

    def test_a_capture_is_cancelled_by_its_progress(
        self, testbed: HostTestbed, driver: Hypervisor, capturing: Capturing, into: Path
    ) -> None:
        class Stop(Exception):
            pass

        def stop(_done: int, _total: int) -> None:
            raise Stop

        self.prepared(testbed, driver)
        with pytest.raises(Stop):
            capturing.take_disks(1, into, lambda _size: None, stop, timeout_s=TIMEOUT_S)
        driver.start(1, timeout_s=TIMEOUT_S)
        assert self.vm(driver).power is Power.ON
