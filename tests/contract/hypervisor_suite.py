"""What every hypervisor driver promises, shown on whatever testbed a test class brings.

A class that derives from `HypervisorSuite` and has a fixture `testbed` runs all of it:
capabilities decide what is skipped, never a driver's name.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from metier.domain.errors import Refused, Unavailable
from metier.domain.image import OfferedVm
from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.api import (
    Adopting,
    Capability,
    Capturing,
    Consoles,
    GuestSpec,
    Hypervisor,
    ImageSource,
    Sourcing,
    Watching,
)

TIMEOUT_S = 60.0
# Long enough for any host to tell of a change, short enough for a test that fails.
NEWS_S = 10.0
OFFER = OfferedVm(1, memory_mib=64, cpus=1, disk_gib=4, networks=("default",))


class HostTestbed(Protocol):
    """One host and the driver under test, and what people and accidents do there behind its back."""

    def open(self) -> Hypervisor:
        """Open one more driver for the host, connected on its own."""
        ...

    def image(self, key: str) -> ImageSource:
        """Return a small image of one disk."""
        ...

    def add_foreign(self, name: str, *, running: bool) -> None:
        """Make a VM that is not Metier's."""
        ...

    def move_in(self) -> tuple[str, int]:
        """Let a running VM of another node of this site be moved here; returns that node and its number."""
        ...

    def foreign(self) -> dict[str, bool]:
        """Return the VMs that are not Metier's, and whether each is running."""
        ...

    def name_of(self, number: int) -> str:
        """Return what the driver would call VM `number` on the host."""
        ...

    def set_memory(self, number: int, memory_mib: int) -> None:
        """Change a VM's configuration, as an administrator does."""
        ...

    def kill(self, number: int) -> None:
        """End a running VM behind everybody's back."""
        ...

    def end_by_guest(self, number: int) -> bool:
        """Let the guest of a running VM shut down by itself; False if there is none that could."""
        ...

    def content(self, file: Path) -> bytes:
        """Return what was last written, according to a copy of an instance's disk."""
        ...

    def vanish(self) -> None:
        """Take the host away, with all that runs on it."""
        ...

    def come_back(self) -> None:
        """Bring it back."""
        ...

    def write(self, instance: str, text: bytes) -> None:
        """Write into an instance, as its guest does."""
        ...

    def written(self, instance: str) -> bytes | None:
        """Return what was last written into an instance; None if there is no such instance."""
        ...

    def copy_of(self, key: str) -> object | None:
        """Return what stands for the image's copy in the store and changes with it; None if there is none."""
        ...


def nothing(_done: int, _total: int) -> None:
    """Take progress and do nothing with it."""


class HypervisorSuite:
    """The contract of `metier.drivers.hypervisor.api`."""

    @pytest.fixture
    def driver(self, testbed: HostTestbed) -> Hypervisor:
        return testbed.open()

    # --- helpers that read as sentences -------------------------------------

    def vm(self, driver: Hypervisor, number: int = 1) -> VmFacts:
        return next(vm for vm in driver.report(timeout_s=TIMEOUT_S).vms if vm.number == number)

    def prepared(
        self, testbed: HostTestbed, driver: Hypervisor, *, instance: str = "web-1-1", number: int = 1
    ) -> GuestSpec:
        driver.define_vm(replace(OFFER, number=number), timeout_s=TIMEOUT_S)
        guest = GuestSpec(instance, testbed.image("web-1"), "web1", b"seed" * 512, {"slot": "web/1"})
        driver.prepare(number, guest, nothing, timeout_s=TIMEOUT_S)
        return guest

    # --- the host -----------------------------------------------------------

    def test_facts_describe_the_whole_host(self, driver: Hypervisor) -> None:
        facts = driver.facts(timeout_s=TIMEOUT_S)
        assert facts.hardware.memory_mib > 0
        assert facts.hardware.cpus > 0
        assert facts.hardware.disk_gib > 0
        assert "default" in facts.hardware.networks
        assert facts.product

    def test_it_keeps_the_protocols_that_it_announces(self, driver: Hypervisor) -> None:
        assert isinstance(driver, Hypervisor)
        assert isinstance(driver, Watching) == (Capability.WATCH in driver.CAPABILITIES)
        assert isinstance(driver, Consoles) == (Capability.CONSOLE in driver.CAPABILITIES)
        assert isinstance(driver, Capturing) == (Capability.CAPTURE in driver.CAPABILITIES)
        assert isinstance(driver, Adopting) == (Capability.STAGED_VMS in driver.CAPABILITIES)
        assert isinstance(driver, Sourcing) == (Capability.FOREIGN_VMS in driver.CAPABILITIES)

    # --- a VM's life --------------------------------------------------------

    def test_a_vm_is_defined_off_and_as_offered(self, driver: Hypervisor) -> None:
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
        vm = self.vm(driver)
        assert (vm.power, vm.instance, vm.address) == (Power.OFF, None, None)
        assert vm.hardware is not None
        assert (vm.hardware.memory_mib, vm.hardware.cpus, vm.hardware.disk_gib) == (64, 1, 4)
        assert (vm.hardware.nics, vm.hardware.networks) == (1, frozenset({"default"}))
        assert {"qcow2", "vmdk"} <= vm.hardware.image_forms

    def test_a_whole_life_from_definition_to_removal(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        guest = self.prepared(testbed, driver)
        assert (self.vm(driver).power, self.vm(driver).instance) == (Power.OFF, guest.instance)
        driver.start(1, timeout_s=TIMEOUT_S)
        assert self.vm(driver).power is Power.ON
        driver.stop(1, timeout_s=TIMEOUT_S)
        assert self.vm(driver).power is Power.OFF
        driver.retire(1, guest.instance, timeout_s=TIMEOUT_S)
        assert self.vm(driver).instance is None
        driver.remove_vm(1, timeout_s=TIMEOUT_S)
        assert driver.report(timeout_s=TIMEOUT_S).vms == ()

    def test_every_verb_twice_is_as_good_as_once(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        guest = self.prepared(testbed, driver)
        assert self.prepared(testbed, driver) == guest
        for _ in range(2):
            driver.start(1, timeout_s=TIMEOUT_S)
        for _ in range(2):
            driver.stop(1, timeout_s=TIMEOUT_S)
        driver.shutdown(1, timeout_s=TIMEOUT_S)
        for _ in range(2):
            driver.retire(1, guest.instance, timeout_s=TIMEOUT_S)
        for _ in range(2):
            driver.remove_vm(1, timeout_s=TIMEOUT_S)
        for _ in range(2):
            driver.drop_image("web-1", timeout_s=TIMEOUT_S)
        assert driver.report(timeout_s=TIMEOUT_S).vms == ()
        assert testbed.copy_of("web-1") is None

    def test_a_guest_can_be_asked_to_shut_down(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        self.prepared(testbed, driver)
        driver.start(1, timeout_s=TIMEOUT_S)
        driver.shutdown(1, timeout_s=TIMEOUT_S)  # whether it obeys is the guest's affair
        driver.stop(1, timeout_s=TIMEOUT_S)
        assert self.vm(driver).power is Power.OFF

    def test_a_retired_vm_is_reported_as_it_was_and_starts_again(
        self, testbed: HostTestbed, driver: Hypervisor
    ) -> None:
        """S26: wherever its host keeps its configuration then, its slot has it still."""
        guest = self.prepared(testbed, driver)
        before = self.vm(driver)
        driver.retire(1, guest.instance, timeout_s=TIMEOUT_S)
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
        retired = self.vm(testbed.open())
        assert retired == replace(before, instance=None, is_aside=retired.is_aside)
        self.prepared(testbed, driver)
        driver.start(1, timeout_s=TIMEOUT_S)
        started = self.vm(driver)
        assert (started.power, started.is_aside, started.macs) == (Power.ON, False, before.macs)

    def test_a_vm_that_ends_by_itself_is_reported_off_and_starts_again(
        self, testbed: HostTestbed, driver: Hypervisor
    ) -> None:
        guest = self.prepared(testbed, driver)
        driver.start(1, timeout_s=TIMEOUT_S)
        testbed.kill(1)
        assert (self.vm(driver).power, self.vm(driver).instance) == (Power.OFF, guest.instance)
        driver.start(1, timeout_s=TIMEOUT_S)
        assert self.vm(driver).power is Power.ON

    def test_vms_are_told_apart_by_number(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        for number in (2, 10, 1):
            driver.define_vm(replace(OFFER, number=number), timeout_s=TIMEOUT_S)
        driver.start(10, timeout_s=TIMEOUT_S)
        report = driver.report(timeout_s=TIMEOUT_S)
        powers = {vm.number: vm.power for vm in report.vms}
        assert powers == {1: Power.OFF, 2: Power.OFF, 10: Power.ON}
        assert [vm.number for vm in report.vms] == [1, 2, 10]

    # --- what is the operator's stays ---------------------------------------

    def test_an_existing_vm_keeps_its_configuration(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
        testbed.set_memory(1, 96)
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
        self.prepared(testbed, driver)
        driver.retire(1, None, timeout_s=TIMEOUT_S)
        hardware = self.vm(driver).hardware
        assert hardware is not None
        assert (hardware.memory_mib, hardware.disk_gib, hardware.nics) == (96, 4, 1)

    def test_foreign_vms_are_counted_and_nothing_else(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        testbed.add_foreign("payroll", running=True)
        testbed.add_foreign("archive", running=False)
        self.prepared(testbed, driver)
        report = driver.report(timeout_s=TIMEOUT_S)
        assert [vm.number for vm in report.vms] == [1]
        assert report.foreign_running == 1
        driver.remove_vm(1, timeout_s=TIMEOUT_S)
        driver.drop_image("web-1", timeout_s=TIMEOUT_S)
        assert testbed.foreign() == {"payroll": True, "archive": False}

    def test_a_vm_of_another_node_that_was_moved_here_is_told_and_not_owned(
        self, testbed: HostTestbed, driver: Hypervisor
    ) -> None:
        """R-DRIFT-1 (R-FENCE-1): who looks for a VM that is gone has to find it where it is."""
        stray = testbed.move_in()
        report = driver.report(timeout_s=TIMEOUT_S)
        assert [(one.host, one.number, one.power) for one in report.strays] == [(*stray, Power.ON)]
        assert (report.vms, report.foreign_running) == ((), 1)

    def test_a_foreign_vm_with_a_name_of_ours_is_refused_and_left_alone(
        self, testbed: HostTestbed, driver: Hypervisor
    ) -> None:
        name = testbed.name_of(1)
        testbed.add_foreign(name, running=True)
        verbs: tuple[Callable[[], object], ...] = (
            lambda: driver.define_vm(OFFER, timeout_s=TIMEOUT_S),
            lambda: driver.start(1, timeout_s=TIMEOUT_S),
            lambda: driver.shutdown(1, timeout_s=TIMEOUT_S),
            lambda: driver.stop(1, timeout_s=TIMEOUT_S),
            lambda: driver.retire(1, None, timeout_s=TIMEOUT_S),
        )
        for verb in verbs:
            with pytest.raises(Refused):
                verb()
        driver.remove_vm(1, timeout_s=TIMEOUT_S)
        assert driver.report(timeout_s=TIMEOUT_S).vms == ()
        assert testbed.foreign() == {name: True}

    # --- refusals -----------------------------------------------------------

    def test_an_unknown_number_is_refused(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        guest = GuestSpec("web-1-1", testbed.image("web-1"), "web1", b"seed", {})
        verbs: tuple[Callable[[], object], ...] = (
            lambda: driver.start(7, timeout_s=TIMEOUT_S),
            lambda: driver.stop(7, timeout_s=TIMEOUT_S),
            lambda: driver.shutdown(7, timeout_s=TIMEOUT_S),
            lambda: driver.retire(7, None, timeout_s=TIMEOUT_S),
            lambda: driver.prepare(7, guest, nothing, timeout_s=TIMEOUT_S),
        )
        for verb in verbs:
            with pytest.raises(Refused, match="VM7"):
                verb()

    def test_a_running_vm_is_neither_prepared_nor_retired_nor_removed(
        self, testbed: HostTestbed, driver: Hypervisor
    ) -> None:
        guest = self.prepared(testbed, driver)
        driver.start(1, timeout_s=TIMEOUT_S)
        with pytest.raises(Refused, match="running"):
            driver.prepare(1, guest, nothing, timeout_s=TIMEOUT_S)
        with pytest.raises(Refused, match="running"):
            driver.retire(1, guest.instance, timeout_s=TIMEOUT_S)
        with pytest.raises(Refused, match="running"):
            driver.remove_vm(1, timeout_s=TIMEOUT_S)
        assert (self.vm(driver).power, self.vm(driver).instance) == (Power.ON, guest.instance)

    def test_a_network_that_the_host_lacks_is_refused(self, driver: Hypervisor) -> None:
        with pytest.raises(Refused, match="no-such-network"):
            driver.define_vm(replace(OFFER, networks=("no-such-network",)), timeout_s=TIMEOUT_S)
        assert driver.report(timeout_s=TIMEOUT_S).vms == ()

    def test_an_instance_is_on_one_vm_only(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        guest = self.prepared(testbed, driver)
        driver.define_vm(replace(OFFER, number=2), timeout_s=TIMEOUT_S)
        with pytest.raises(Refused, match=guest.instance):
            driver.prepare(2, guest, nothing, timeout_s=TIMEOUT_S)
        with pytest.raises(Refused, match=guest.instance):
            driver.retire(2, guest.instance, timeout_s=TIMEOUT_S)
        assert testbed.written(guest.instance) is not None

    # --- images and instances -----------------------------------------------

    def test_an_image_is_copied_to_the_host_once(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        steps: list[tuple[int, int]] = []
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
        guest = GuestSpec("web-1-1", testbed.image("web-1"), "web1", b"seed", {})
        caller = threading.get_ident()

        def progress(done: int, total: int) -> None:
            assert threading.get_ident() == caller
            steps.append((done, total))

        driver.prepare(1, guest, progress, timeout_s=TIMEOUT_S)
        first = testbed.copy_of("web-1")
        assert first is not None
        assert steps
        assert steps[-1][0] == steps[-1][1] > 0
        self.prepared(testbed, driver, instance="web-2-2", number=2)
        assert testbed.copy_of("web-1") == first

    def test_many_at_once_copy_an_image_once(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        numbers = (1, 2, 3, 4)
        for number in numbers:
            driver.define_vm(replace(OFFER, number=number), timeout_s=TIMEOUT_S)
        image = testbed.image("web-1")
        copying: list[int] = []

        def prepare(number: int) -> None:
            guest = GuestSpec(f"web-{number}", image, f"web{number}", b"seed", {})
            driver.prepare(number, guest, lambda _done, _total: copying.append(number), timeout_s=TIMEOUT_S)

        threads = [threading.Thread(target=prepare, args=(number,)) for number in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
        assert len(set(copying)) == 1
        instances = {vm.number: vm.instance for vm in driver.report(timeout_s=TIMEOUT_S).vms}
        assert instances == {number: f"web-{number}" for number in numbers}

    def test_an_instance_is_private_and_leaves_the_image_unchanged(
        self, testbed: HostTestbed, driver: Hypervisor
    ) -> None:
        self.prepared(testbed, driver, instance="web-1-1", number=1)
        self.prepared(testbed, driver, instance="web-2-2", number=2)
        before = testbed.copy_of("web-1")
        testbed.write("web-1-1", b"mine")
        assert testbed.written("web-1-1") == b"mine"
        assert testbed.written("web-2-2") == b""
        assert testbed.copy_of("web-1") == before

    def test_a_kept_instance_comes_back_with_what_its_guest_wrote(
        self, testbed: HostTestbed, driver: Hypervisor
    ) -> None:
        guest = self.prepared(testbed, driver)
        testbed.write(guest.instance, b"kept")
        driver.retire(1, None, timeout_s=TIMEOUT_S)
        driver.prepare(1, guest, nothing, timeout_s=TIMEOUT_S)
        assert testbed.written(guest.instance) == b"kept"

    def test_a_discarded_instance_is_gone(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        guest = self.prepared(testbed, driver)
        testbed.write(guest.instance, b"gone")
        driver.retire(1, guest.instance, timeout_s=TIMEOUT_S)
        assert testbed.written(guest.instance) is None
        driver.prepare(1, guest, nothing, timeout_s=TIMEOUT_S)
        assert testbed.written(guest.instance) == b""

    def test_a_removed_vm_takes_its_instance_with_it(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        guest = self.prepared(testbed, driver)
        driver.remove_vm(1, timeout_s=TIMEOUT_S)
        assert testbed.written(guest.instance) is None

    def test_an_image_stays_while_an_instance_stands_on_it(
        self, testbed: HostTestbed, driver: Hypervisor
    ) -> None:
        guest = self.prepared(testbed, driver)
        driver.retire(1, None, timeout_s=TIMEOUT_S)
        driver.drop_image("web-1", timeout_s=TIMEOUT_S)
        assert testbed.copy_of("web-1") is not None
        driver.retire(1, guest.instance, timeout_s=TIMEOUT_S)
        driver.drop_image("web-1", timeout_s=TIMEOUT_S)
        assert testbed.copy_of("web-1") is None

    # --- extras, by capability ----------------------------------------------

    def test_watchers_hear_of_changes_of_power(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        if not isinstance(driver, Watching):
            pytest.skip("the driver does not watch")
        self.prepared(testbed, driver)
        changed = threading.Event()
        driver.watch(changed.set)
        changes: tuple[Callable[[], object], ...] = (
            lambda: driver.start(1, timeout_s=TIMEOUT_S),
            lambda: testbed.kill(1),
            lambda: testbed.open().start(1, timeout_s=TIMEOUT_S),
            lambda: driver.stop(1, timeout_s=TIMEOUT_S),
            testbed.vanish,
        )
        for change in changes:
            changed.clear()
            change()
            assert changed.wait(NEWS_S)

    def test_a_console_is_named(self, driver: Hypervisor) -> None:
        if not isinstance(driver, Consoles):
            pytest.skip("the driver has no consoles")
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
        assert driver.console(1, timeout_s=TIMEOUT_S)
        with pytest.raises(Refused, match="VM7"):
            driver.console(7, timeout_s=TIMEOUT_S)

    # --- the way to the host ------------------------------------------------

    def test_a_host_that_vanished_is_unavailable_and_comes_back_with_its_vms_off(
        self, testbed: HostTestbed, driver: Hypervisor
    ) -> None:
        guest = self.prepared(testbed, driver)
        driver.start(1, timeout_s=TIMEOUT_S)
        testbed.vanish()
        with pytest.raises(Unavailable):
            driver.report(timeout_s=TIMEOUT_S)
        with pytest.raises(Unavailable):
            driver.start(1, timeout_s=TIMEOUT_S)
        testbed.come_back()
        assert (self.vm(driver).power, self.vm(driver).instance) == (Power.OFF, guest.instance)
        driver.start(1, timeout_s=TIMEOUT_S)
        assert self.vm(driver).power is Power.ON

    def test_two_drivers_of_a_host_see_the_same(self, testbed: HostTestbed, driver: Hypervisor) -> None:
        self.prepared(testbed, driver)
        other = testbed.open()
        other.start(1, timeout_s=TIMEOUT_S)
        assert self.vm(driver) == self.vm(other)
        driver.stop(1, timeout_s=TIMEOUT_S)
        assert self.vm(other).power is Power.OFF

    def test_a_closed_driver_is_unavailable(self, driver: Hypervisor) -> None:
        driver.close()
        with pytest.raises(Unavailable):
            driver.report(timeout_s=TIMEOUT_S)
