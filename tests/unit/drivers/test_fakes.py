"""The data centre in memory: faults on request, and one truth for its hypervisors and power controllers."""

from pathlib import Path

import pytest

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.domain.image import Disk, Machine, OfferedVm
from metier.domain.observation import Power
from metier.drivers.hypervisor.api import GuestSpec, ImageSource
from metier.drivers.hypervisor.fake import FakeHypervisor, FakeSite, Fault, named_site
from metier.drivers.power.fake import FakePower, wire

OFFER = OfferedVm(1, memory_mib=256)


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


@pytest.fixture
def driver(site: FakeSite) -> FakeHypervisor:
    driver = FakeHypervisor(site, "host-1")
    driver.define_vm(OFFER, timeout_s=1)
    return driver


def power_of(driver: FakeHypervisor) -> Power:
    return driver.report(timeout_s=1).vms[0].power


@pytest.mark.parametrize(
    ("fault", "error", "after"),
    [
        (Fault.REFUSED, Refused, Power.OFF),
        (Fault.UNAVAILABLE, Unavailable, Power.OFF),
        (Fault.LOST_REQUEST, OutcomeUnknown, Power.OFF),
        (Fault.LOST_ANSWER, OutcomeUnknown, Power.ON),
    ],
)
def test_a_planted_fault_meets_one_call_and_says_what_it_did(
    site: FakeSite, driver: FakeHypervisor, fault: Fault, error: type[DriverError], after: Power
) -> None:
    site.plant("host-1", "start", fault)
    with pytest.raises(error):
        driver.start(1, timeout_s=1)
    assert power_of(driver) is after
    driver.start(1, timeout_s=1)
    assert power_of(driver) is Power.ON


def test_faults_meet_calls_in_the_order_planted(site: FakeSite, driver: FakeHypervisor) -> None:
    site.plant("host-1", "start", Fault.UNAVAILABLE, Fault.REFUSED)
    for error in (Unavailable, Refused):
        with pytest.raises(error):
            driver.start(1, timeout_s=1)
    driver.start(1, timeout_s=1)


def test_a_deaf_guest_notes_that_it_was_asked_and_stays_on(site: FakeSite, driver: FakeHypervisor) -> None:
    vm = site.host("host-1").vms[1]
    vm.deaf = True
    driver.start(1, timeout_s=1)
    driver.shutdown(1, timeout_s=1)
    assert (power_of(driver), vm.shutdown_asked) == (Power.ON, True)
    driver.stop(1, timeout_s=1)
    assert (power_of(driver), vm.shutdown_asked) == (Power.OFF, False)


def test_an_image_without_room_is_refused_and_leaves_nothing(site: FakeSite, driver: FakeHypervisor) -> None:
    host = site.host("host-1")
    host.free_bytes = 10
    image = ImageSource("web-1", Path(), Machine((Disk("d", 100, 11, "sha256:0"),)))
    with pytest.raises(Refused, match="11 bytes, and 10 are free"):
        driver.prepare(1, GuestSpec("web-1-1", image, "web1", b"", {}), lambda _d, _t: None, timeout_s=1)
    assert (host.images, host.instances, host.free_bytes) == ({}, {}, 10)


def test_uefi_needs_a_host_that_has_it(site: FakeSite, driver: FakeHypervisor) -> None:
    site.host("host-1").has_uefi = False
    image = ImageSource("web-1", Path(), Machine((), firmware="uefi"))
    with pytest.raises(Refused, match="UEFI"):
        driver.prepare(1, GuestSpec("web-1-1", image, "web1", b"", {}), lambda _d, _t: None, timeout_s=1)


def test_power_controllers_switch_the_hosts_of_the_site_they_are_wired_to() -> None:
    wire("test-wired", named_site("test-wired"))
    power = FakePower.open("host-1", {"site": "test-wired"})
    hypervisor = FakeHypervisor.open("host-1", {"site": "test-wired"})
    hypervisor.define_vm(OFFER, timeout_s=1)
    hypervisor.start(1, timeout_s=1)
    power.off(timeout_s=1)
    assert power.status(timeout_s=1) is Power.OFF
    with pytest.raises(Unavailable):
        hypervisor.report(timeout_s=1)
    power.on(timeout_s=1)
    assert power_of(hypervisor) is Power.OFF


def test_a_planted_error_of_power_is_raised_once_and_nothing_is_switched() -> None:
    power = FakePower.open("host-1", {"site": "test-faults"})
    power.faults += [OutcomeUnknown, OutcomeUnknown]
    with pytest.raises(OutcomeUnknown):
        power.on(timeout_s=1)
    with pytest.raises(Unavailable):
        power.status(timeout_s=1)
    assert power.status(timeout_s=1) is Power.OFF
