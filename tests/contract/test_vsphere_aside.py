"""VMs that Metier shut down on VMware: their configuration is moved aside, and found again (S26, S27)."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import DriverError, Refused
from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.api import GuestSpec, Hypervisor
from metier.drivers.hypervisor.vsphere import Vsphere
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.vsphere_hands import by_hand, files_on
from tests.contract.vsphere_testbed import VsphereTestbed, missing, running

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

HOME = "metier-node-1-VM1/metier-node-1-VM1.vmx"
ASIDE = "metier/metier/aside/node-1/VM1"

SERVERS = pytest.mark.parametrize("kind", ["esx", "vcenter"])


@pytest.fixture
def kind() -> str:
    return "esx"


@pytest.fixture
def testbed(kind: str, request: pytest.FixtureRequest) -> VsphereTestbed:
    found: VsphereTestbed = request.getfixturevalue(kind)
    return found


@pytest.fixture
def bare(testbed: VsphereTestbed) -> Vsphere:
    """A driver whose VM 1 has nothing on it."""
    driver = testbed.opened("node-1")
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    return driver


@pytest.fixture
def driver(testbed: VsphereTestbed, bare: Vsphere) -> Vsphere:
    """A driver whose VM 1 has run and was shut down, and has an instance on it."""
    prepare(testbed, bare)
    return bare


def guest_of(testbed: VsphereTestbed) -> GuestSpec:
    return GuestSpec("web-1-1", testbed.image("web-1"), "web1", b"seed" * 512, {})


def prepare(testbed: VsphereTestbed, driver: Hypervisor) -> None:
    driver.prepare(1, guest_of(testbed), nothing, timeout_s=TIMEOUT_S)


def retire(driver: Hypervisor) -> None:
    driver.retire(1, "web-1-1", timeout_s=TIMEOUT_S)


def only(driver: Hypervisor) -> VmFacts:
    (vm,) = driver.report(timeout_s=TIMEOUT_S).vms
    return vm


# --- there and back -------------------------------------------------------------------------------


@SERVERS
def test_a_retired_vm_is_unregistered_and_its_configuration_moved_aside(
    testbed: VsphereTestbed, driver: Vsphere
) -> None:
    """S26."""
    before = only(driver)
    retire(driver)
    with by_hand(testbed) as hands:
        assert hands.names() == []
    files = files_on(testbed)
    assert {f"{ASIDE}.json", f"{ASIDE}.vmx"} <= set(files)
    assert HOME not in files
    assert only(driver) == replace(before, instance=None, is_aside=True)
    assert only(testbed.open()) == only(driver)


@SERVERS
@pytest.mark.parametrize("is_started", [False, True])
def test_it_comes_back_as_it_was(testbed: VsphereTestbed, driver: Vsphere, is_started: bool) -> None:
    before = only(driver)
    with by_hand(testbed) as hands:
        identity = hands.vm(testbed.name_of(1)).config.instanceUuid
    retire(driver)
    if is_started:
        driver.start(1, timeout_s=TIMEOUT_S)
        assert only(driver) == replace(before, instance=None, power=Power.ON)
    else:
        prepare(testbed, driver)
        assert only(driver) == before
    with by_hand(testbed) as hands:
        assert hands.vm(testbed.name_of(1)).config.instanceUuid == identity
    files = files_on(testbed)
    assert HOME in files
    assert [name for name in files if name.startswith(ASIDE)] == []


def test_it_comes_back_to_its_folder_under_its_name(tmp_path: Path) -> None:
    with running(tmp_path / "vcenter") as server:
        testbed = VsphereTestbed(server, tmp_path, host="DC0_C0_H1")
        driver = testbed.opened("node-1")
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
        with by_hand(testbed) as hands:
            folder = hands.folder("kept here")
            folder.MoveIntoFolder_Task([hands.vm(testbed.name_of(1))])
        driver.retire(1, None, timeout_s=TIMEOUT_S)
        driver.start(1, timeout_s=TIMEOUT_S)
        with by_hand(testbed) as hands:
            assert hands.vm(testbed.name_of(1)).parent.name == "kept here"
        testbed.clean_up()


@SERVERS
def test_it_is_removed_whole(testbed: VsphereTestbed, driver: Vsphere) -> None:
    retire(driver)
    driver.remove_vm(1, timeout_s=TIMEOUT_S)
    driver.drop_image("web-1", timeout_s=TIMEOUT_S)
    assert driver.report(timeout_s=TIMEOUT_S).vms == ()
    assert files_on(testbed) == []


def test_it_is_there_for_whoever_defines_it(testbed: VsphereTestbed, driver: Vsphere) -> None:
    retire(driver)
    for one in (driver, testbed.open()):
        one.define_vm(OFFER, timeout_s=TIMEOUT_S)
        assert only(one).is_aside
    assert testbed.server.calls()["CreateVM_Task"] == 1


def test_what_is_off_may_be_switched_off(driver: Vsphere) -> None:
    retire(driver)
    driver.shutdown(1, timeout_s=TIMEOUT_S)
    driver.stop(1, timeout_s=TIMEOUT_S)
    assert only(driver).is_aside


def test_it_is_not_captured_and_the_way_back_is_told(driver: Vsphere, tmp_path: Path) -> None:
    """S27."""
    retire(driver)
    calls: tuple[Callable[[], object], ...] = (
        lambda: driver.ended(1, timeout_s=TIMEOUT_S),
        lambda: driver.take_disks(1, tmp_path, lambda _size: None, nothing, timeout_s=TIMEOUT_S),
        lambda: driver.console(1, timeout_s=TIMEOUT_S),
    )
    for call in calls:
        with pytest.raises(Refused, match="no configuration file in place") as caught:
            call()
        assert "from inside" in caught.value.remedy


def test_a_name_that_was_taken_meanwhile_is_refused(testbed: VsphereTestbed, driver: Vsphere) -> None:
    retire(driver)
    testbed.add_foreign(testbed.name_of(1), running=True)
    with pytest.raises(Refused):
        driver.start(1, timeout_s=TIMEOUT_S)
    assert only(driver).is_aside
    assert testbed.foreign() == {testbed.name_of(1): True}


# --- broken off anywhere --------------------------------------------------------------------------

BREAKS = pytest.mark.parametrize("how", ["drop", "drop-after"])


def goes_on(testbed: VsphereTestbed, verb: str) -> None:
    """Let another driver, which knows nothing, do the next thing, and see that it ends well."""
    driver = testbed.open()
    vm = only(driver)
    assert (vm.power, vm.instance, vm.hardware and vm.hardware.memory_mib) == (Power.OFF, None, 64)
    match verb:
        case "retire":
            retire(driver)
            assert only(driver).is_aside
        case "define":
            driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
            assert testbed.server.calls()["CreateVM_Task"] == 1
        case "start":
            driver.start(1, timeout_s=TIMEOUT_S)
            assert (only(driver).power, only(driver).is_aside) == (Power.ON, False)
            driver.stop(1, timeout_s=TIMEOUT_S)
        case "prepare":
            prepare(testbed, driver)
            assert only(driver).instance == "web-1-1"
        case _:
            assert verb == "remove"
    assert only(driver).macs == vm.macs
    driver.remove_vm(1, timeout_s=TIMEOUT_S)
    driver.drop_image("web-1", timeout_s=TIMEOUT_S)
    assert files_on(testbed) == []


@BREAKS
@pytest.mark.parametrize("verb", ["retire", "define", "start", "prepare", "remove"])
@pytest.mark.parametrize("step", ["MakeDirectory", "PUT /folder", "UnregisterVM", "MoveDatastoreFile_Task"])
def test_going_aside_may_break_off_anywhere(
    testbed: VsphereTestbed, bare: Vsphere, step: str, how: str, verb: str
) -> None:
    testbed.server.fault(step, how)
    with pytest.raises(DriverError):
        retire(bare)
    goes_on(testbed, verb)


@BREAKS
@pytest.mark.parametrize("verb", ["retire", "define", "start", "prepare", "remove"])
@pytest.mark.parametrize("step", ["MoveDatastoreFile_Task", "RegisterVM_Task", "DeleteDatastoreFile_Task"])
def test_coming_back_may_break_off_anywhere(
    testbed: VsphereTestbed, bare: Vsphere, step: str, how: str, verb: str
) -> None:
    retire(bare)
    testbed.server.fault(step, how)
    with pytest.raises(DriverError):
        bare.start(1, timeout_s=TIMEOUT_S)
    goes_on(testbed, verb)


def test_the_driver_that_met_the_error_goes_on_too(testbed: VsphereTestbed, driver: Vsphere) -> None:
    for step, how in (("UnregisterVM", "drop-after"), ("MoveDatastoreFile_Task", "drop")):
        testbed.server.fault(step, how)
        with pytest.raises(DriverError):
            retire(driver)
        assert only(driver).is_aside
        driver.start(1, timeout_s=TIMEOUT_S)
        driver.stop(1, timeout_s=TIMEOUT_S)
        assert not only(driver).is_aside


# --- what it costs --------------------------------------------------------------------------------


def test_a_report_does_not_search_the_datastore(testbed: VsphereTestbed, driver: Vsphere) -> None:
    driver.define_vm(replace(OFFER, number=2), timeout_s=TIMEOUT_S)
    retire(driver)
    first = driver.report(timeout_s=TIMEOUT_S)
    before = testbed.server.calls()
    assert driver.report(timeout_s=TIMEOUT_S) == first
    after = testbed.server.calls()
    for method in ("SearchDatastore_Task", "GET /folder", "FindByDatastorePath"):
        assert after.get(method, 0) == before.get(method, 0)


def test_another_driver_notices_what_is_missing(testbed: VsphereTestbed, driver: Vsphere) -> None:
    other = testbed.opened("node-1")
    assert not only(other).is_aside
    retire(driver)
    assert only(other).is_aside
    driver.start(1, timeout_s=TIMEOUT_S)
    assert only(other).power is Power.ON


# --- what people do -------------------------------------------------------------------------------


@SERVERS
def test_one_that_a_person_brought_back_is_taken_as_it_is(testbed: VsphereTestbed, driver: Vsphere) -> None:
    """R-REFRESH-1: what was changed by hand shows, and nothing of what was noted before."""
    retire(driver)
    with by_hand(testbed) as hands:
        hands.move_file(f"{ASIDE}.vmx", HOME)
        hands.register(hands.path(HOME), testbed.name_of(1))
        hands.reconfigure(testbed.name_of(1), memoryMB=96, numCPUs=4)
    vm = only(driver)
    assert vm.hardware is not None
    assert (vm.is_aside, vm.hardware.memory_mib, vm.hardware.cpus) == (False, 96, 4)
    prepare(testbed, driver)
    retire(driver)
    assert only(driver) == replace(vm, is_aside=True)


def test_one_that_is_registered_where_it_lies_is_taken_as_it_is(
    testbed: VsphereTestbed, driver: Vsphere
) -> None:
    retire(driver)
    with by_hand(testbed) as hands:
        hands.register(hands.path(f"{ASIDE}.vmx"), testbed.name_of(1))
    assert not only(driver).is_aside
    retire(driver)
    assert only(driver).is_aside
    driver.start(1, timeout_s=TIMEOUT_S)
    assert only(driver).power is Power.ON
    assert f"{ASIDE}.vmx" in files_on(testbed)


def test_one_that_a_person_moved_home_and_did_not_register_comes_back(
    testbed: VsphereTestbed, driver: Vsphere
) -> None:
    retire(driver)
    with by_hand(testbed) as hands:
        hands.move_file(f"{ASIDE}.vmx", HOME)
    driver.start(1, timeout_s=TIMEOUT_S)
    assert only(driver).power is Power.ON


def test_one_that_a_person_brought_back_and_deleted_is_gone(testbed: VsphereTestbed, driver: Vsphere) -> None:
    retire(driver)
    with by_hand(testbed) as hands:
        hands.move_file(f"{ASIDE}.vmx", HOME)
        hands.register(hands.path(HOME), testbed.name_of(1))
        assert not only(driver).is_aside
        hands.destroy(testbed.name_of(1))
    assert driver.report(timeout_s=TIMEOUT_S).vms == ()
    driver.remove_vm(1, timeout_s=TIMEOUT_S)
    driver.drop_image("web-1", timeout_s=TIMEOUT_S)
    assert files_on(testbed) == []


@SERVERS
@pytest.mark.parametrize("deleted", ["its folder", "its configuration", "both", "all of metier's"])
def test_one_whose_files_a_person_deleted_is_gone_and_made_anew(
    testbed: VsphereTestbed, driver: Vsphere, deleted: str
) -> None:
    driver.define_vm(replace(OFFER, number=2), timeout_s=TIMEOUT_S)
    retire(driver)
    driver.retire(2, None, timeout_s=TIMEOUT_S)
    home, aside = testbed.datastore / HOME, testbed.datastore / f"{ASIDE}.vmx"
    if deleted in ("its folder", "both"):
        shutil.rmtree(home.parent)
    if deleted in ("its configuration", "both"):
        aside.unlink()
    if deleted == "all of metier's":
        shutil.rmtree(testbed.datastore / "metier")
    with pytest.raises(Refused, match="has no VM1 of Metier's"):
        driver.start(1, timeout_s=TIMEOUT_S)
    others = () if deleted == "all of metier's" else (2,)
    for one in (driver, testbed.open()):
        assert tuple(vm.number for vm in one.report(timeout_s=TIMEOUT_S).vms) == others
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    assert [path for path in files_on(testbed) if path.startswith(ASIDE)] == []
    prepare(testbed, driver)
    retire(driver)
    assert driver.report(timeout_s=TIMEOUT_S).vms[0].is_aside
    driver.start(1, timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("folder", [True, False])
def test_one_whose_files_a_person_deleted_is_removed(
    testbed: VsphereTestbed, driver: Vsphere, folder: bool
) -> None:
    retire(driver)
    if folder:
        shutil.rmtree((testbed.datastore / HOME).parent)
    else:
        (testbed.datastore / f"{ASIDE}.vmx").unlink()
    driver.remove_vm(1, timeout_s=TIMEOUT_S)
    driver.drop_image("web-1", timeout_s=TIMEOUT_S)
    assert driver.report(timeout_s=TIMEOUT_S).vms == ()
    assert [path for path in files_on(testbed) if path.startswith("metier/")] == []


def test_one_that_a_person_unregistered_is_gone_and_not_aside(
    testbed: VsphereTestbed, driver: Vsphere
) -> None:
    with by_hand(testbed) as hands:
        hands.unregister(testbed.name_of(1))
    assert driver.report(timeout_s=TIMEOUT_S).vms == ()
    with pytest.raises(Refused, match="no VM1 of Metier's"):
        driver.start(1, timeout_s=TIMEOUT_S)


def test_a_note_that_is_damaged_stops_that_vm_alone(testbed: VsphereTestbed, driver: Vsphere) -> None:
    driver.define_vm(replace(OFFER, number=2), timeout_s=TIMEOUT_S)
    retire(driver)
    for text in (b"", b"[" * 100_000, b'{"form": 1, "number": 1, "home": "../../etc"}', b"\xff"):
        (testbed.datastore / f"{ASIDE}.json").write_bytes(text)
        other = testbed.open()
        first, second = other.report(timeout_s=TIMEOUT_S).vms
        assert (first.is_aside, first.hardware, second.is_aside) == (True, None, False)
        with pytest.raises(Refused, match=r"VM1\.json is damaged"):
            other.start(1, timeout_s=TIMEOUT_S)


def test_a_configuration_that_somebody_exchanged_is_not_ours(
    testbed: VsphereTestbed, driver: Vsphere
) -> None:
    retire(driver)
    (testbed.datastore / f"{ASIDE}.vmx").write_bytes(b"")
    with pytest.raises(Refused, match="does not carry its mark"):
        driver.start(1, timeout_s=TIMEOUT_S)
