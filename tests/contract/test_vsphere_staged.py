"""VMs that a person staged on a VMware host: taken over, used, and given back as they were."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from pyVmomi import vim

from metier.domain.errors import DriverError, Refused, WrongUsage
from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.api import GuestSpec, Hypervisor
from metier.drivers.hypervisor.vsphere import Vsphere
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.vsphere_hands import Hands, by_hand, files_on
from tests.contract.vsphere_testbed import VsphereTestbed, missing, running

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

NAME = "web a"
SERVERS = pytest.mark.parametrize("kind", ["esx", "vcenter"])
_device = vim.vm.device


@pytest.fixture
def kind() -> str:
    return "esx"


@pytest.fixture
def testbed(kind: str, request: pytest.FixtureRequest) -> VsphereTestbed:
    found: VsphereTestbed = request.getfixturevalue(kind)
    return found


def hardware(name: str) -> tuple[Any, ...]:
    """What a person gives a VM: a SAS controller with a disk, a CD-ROM drive, an old interface."""
    file = name.replace("/", "_").replace("%", "_") + "-own"
    return (
        _device.VirtualLsiLogicSASController(key=-1, busNumber=0, sharedBus="noSharing"),
        _device.VirtualDisk(
            key=-2,
            controllerKey=-1,
            unitNumber=3,
            capacityInKB=2 << 20,
            backing=_device.VirtualDisk.FlatVer2BackingInfo(
                fileName=f"[LocalDS_0] {file}.vmdk", diskMode="persistent", thinProvisioned=True
            ),
        ),
        _device.VirtualCdrom(
            key=-3,
            controllerKey=200,
            unitNumber=0,
            backing=_device.VirtualCdrom.RemotePassthroughBackingInfo(
                deviceName="", exclusive=False, useAutoDetect=False
            ),
        ),
        _device.VirtualPCNet32(
            key=-4,
            addressType="generated",
            backing=_device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network"),
        ),
    )


def state_of(hands: Hands, name: str) -> tuple[object, ...]:
    """All that is to be as it was."""
    config = hands.vm(name).config
    extra = {option.key: option.value for option in config.extraConfig if option.value != ""}
    extra.pop("softPowerOff", None)  # the VM's own note on how it ended
    told = (config.name, config.instanceUuid, config.uuid, config.firmware, config.guestId)
    return (*told, config.hardware.memoryMB, config.hardware.numCPU, hands.devices(name), extra)


def only(driver: Hypervisor) -> VmFacts:
    (vm,) = driver.report(timeout_s=TIMEOUT_S).vms
    return vm


def prepare(testbed: VsphereTestbed, driver: Hypervisor, number: int = 1) -> tuple[str, ...]:
    guest = GuestSpec("web-1-1", testbed.image("web-1"), "web1", b"seed" * 512, {"slot": "web/1"})
    return driver.prepare(number, guest, nothing, timeout_s=TIMEOUT_S)


def adopt(driver: Vsphere, *offered: int) -> tuple[str, ...]:
    return driver.adopt_vms(offered, timeout_s=TIMEOUT_S)


# --- there and back -------------------------------------------------------------------------------


@SERVERS
@pytest.mark.parametrize("name", [NAME, "Lohn/Gehalt 100%", "名前", "a\\b"])
def test_a_staged_vm_lives_and_is_given_back_as_it_was(testbed: VsphereTestbed, name: str) -> None:
    written = name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
    with by_hand(testbed) as hands:
        hands.make(written, *hardware(name))
        before, files = state_of(hands, written), files_on(testbed)
    driver = testbed.opened("node-1", staged=name)
    assert adopt(driver) == ()
    vm = only(driver)
    assert vm.hardware is not None
    assert (vm.number, vm.is_staged, vm.power, vm.instance) == (1, True, Power.OFF, None)
    assert (vm.hardware.memory_mib, vm.hardware.cpus, vm.hardware.disk_gib) == (128, 2, 2)
    prepare(testbed, driver)
    driver.start(1, timeout_s=TIMEOUT_S)
    driver.stop(1, timeout_s=TIMEOUT_S)
    assert only(driver).macs == vm.macs
    driver.retire(1, "web-1-1", timeout_s=TIMEOUT_S)
    aside = only(driver)
    assert (aside.is_aside, aside.is_staged, aside.macs) == (True, True, vm.macs)
    assert adopt(driver) == ()
    prepare(testbed, driver)
    driver.remove_vm(1, timeout_s=TIMEOUT_S)
    driver.drop_image("web-1", timeout_s=TIMEOUT_S)
    with by_hand(testbed) as hands:
        assert state_of(hands, written) == before
    assert files_on(testbed) == files
    assert driver.report(timeout_s=TIMEOUT_S).vms == ()


@SERVERS
def test_one_that_is_aside_is_given_back_too(testbed: VsphereTestbed) -> None:
    with by_hand(testbed) as hands:
        hands.make(NAME, *hardware(NAME))
        before, files = state_of(hands, NAME), files_on(testbed)
    driver = testbed.opened("node-1", staged=NAME)
    adopt(driver)
    driver.retire(1, None, timeout_s=TIMEOUT_S)
    testbed.open().remove_vm(1, timeout_s=TIMEOUT_S)
    with by_hand(testbed) as hands:
        assert state_of(hands, NAME) == before
    assert files_on(testbed) == files


@pytest.mark.parametrize("how", ["drop", "drop-after"])
def test_taking_over_and_giving_back_may_break_off(testbed: VsphereTestbed, how: str) -> None:
    with by_hand(testbed) as hands:
        hands.make(NAME, *hardware(NAME))
        before = state_of(hands, NAME)
    driver = testbed.opened("node-1", staged=NAME)
    testbed.server.fault("ReconfigVM_Task", how)
    with pytest.raises(DriverError):
        adopt(driver)
    assert adopt(driver) == ()
    assert only(driver).number == 1
    testbed.server.fault("ReconfigVM_Task", how)
    with pytest.raises(DriverError):
        driver.remove_vm(1, timeout_s=TIMEOUT_S)
    driver.remove_vm(1, timeout_s=TIMEOUT_S)
    with by_hand(testbed) as hands:
        assert state_of(hands, NAME) == before


def test_its_own_interfaces_stay_and_the_image_is_told(testbed: VsphereTestbed) -> None:
    with by_hand(testbed) as hands:
        hands.make(NAME, *hardware(NAME))
    driver = testbed.opened("node-1", staged=NAME)
    adopt(driver)
    prepare(testbed, driver)
    with by_hand(testbed) as hands:
        kinds = [type(one) for one in hands.vm(NAME).config.hardware.device]
        assert _device.VirtualPCNet32 in kinds
        assert _device.VirtualLsiLogicSASController in kinds


# --- which ----------------------------------------------------------------------------------------


def test_numbers_are_the_lowest_that_are_free(testbed: VsphereTestbed) -> None:
    with by_hand(testbed) as hands:
        for name in ("c", "a", "b"):
            hands.make(name)
    driver = testbed.opened("node-1", staged="b,a,c")
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    driver.retire(1, None, timeout_s=TIMEOUT_S)
    assert adopt(driver, 2, 4) == ()
    report = driver.report(timeout_s=TIMEOUT_S)
    assert [(vm.number, vm.is_staged) for vm in report.vms] == [(1, False), (3, True), (5, True), (6, True)]
    with by_hand(testbed) as hands:
        marks = {
            name: next(o.value for o in hands.vm(name).config.extraConfig if o.key == "metier.number")
            for name in ("a", "b", "c")
        }
    assert marks == {"b": "3", "a": "5", "c": "6"}
    assert adopt(driver, 2, 4) == ()
    assert driver.report(timeout_s=TIMEOUT_S) == report


def test_a_folder_of_a_vcenter_is_handed_over(tmp_path: Path) -> None:
    with running(tmp_path / "vcenter") as server:
        testbed = VsphereTestbed(server, tmp_path, host="DC0_C0_H1")
        with by_hand(testbed) as hands:
            hands.make("in it", folder="for metier")
            hands.make("beside it")
        driver = testbed.opened("node-1", staged_folder="for metier")
        assert adopt(driver) == ()
        assert only(driver).is_staged
        assert testbed.foreign() == {"beside it": False}
        (remark,) = adopt(testbed.opened("node-1", staged_folder="for metier/deeper"))
        assert "has no folder for metier/deeper" in remark
        testbed.clean_up()


def test_a_resource_pool_of_a_host_is_handed_over(testbed: VsphereTestbed) -> None:
    with by_hand(testbed) as hands:
        hands.make("in it", pool="for metier")
        hands.make("beside it")
    driver = testbed.opened("node-1", staged_folder="for metier")
    assert adopt(driver) == ()
    assert testbed.foreign() == {"beside it": False}
    driver.retire(1, None, timeout_s=TIMEOUT_S)
    driver.start(1, timeout_s=TIMEOUT_S)
    with by_hand(testbed) as hands:
        assert hands.vm("in it").resourcePool.name == "for metier"


def test_without_settings_nothing_is_taken_over(testbed: VsphereTestbed) -> None:
    with by_hand(testbed) as hands:
        hands.make(NAME)
    assert adopt(testbed.opened("node-1")) == ()
    assert testbed.foreign() == {NAME: False}


@pytest.mark.parametrize("text", ["a,a", "a\nb"])
def test_settings_that_mean_nothing_are_refused(testbed: VsphereTestbed, text: str) -> None:
    with pytest.raises(WrongUsage, match="staged"):
        testbed.opened("node-1", staged=text)


# --- which cannot be ------------------------------------------------------------------------------


def remarks_on(testbed: VsphereTestbed) -> tuple[str, ...]:
    """Hand one over that is fit beside the one that is not, and return what is said of that."""
    with by_hand(testbed) as hands:
        hands.make("fit")
    driver = testbed.opened("node-1", staged=f"{NAME},fit")
    before = testbed.foreign()
    remarks = adopt(driver)
    assert only(driver).is_staged
    before.pop("fit")
    assert testbed.foreign() == before
    return remarks


def test_one_that_is_not_there_is_told(testbed: VsphereTestbed) -> None:
    assert remarks_on(testbed) == (f"node-1 has no VM {NAME}, which is handed over",)


def test_one_that_runs_is_told(testbed: VsphereTestbed) -> None:
    testbed.add_foreign(NAME, running=True)
    (remark,) = remarks_on(testbed)
    assert remark == f"VM {NAME} on node-1 is not taken over: it is running; shut its guest OS down"


def test_one_that_is_suspended_is_told(testbed: VsphereTestbed) -> None:
    testbed.add_foreign(NAME, running=True)
    with by_hand(testbed) as hands:
        hands.vm(NAME).SuspendVM_Task()
    (remark,) = remarks_on(testbed)
    assert "it is suspended" in remark


def test_one_with_snapshots_is_told(testbed: VsphereTestbed) -> None:
    with by_hand(testbed) as hands:
        hands.make(NAME)
        hands.vm(NAME).CreateSnapshot_Task("first", "", False, False)
    (remark,) = remarks_on(testbed)
    assert "it has snapshots" in remark


def test_a_template_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "vcenter") as server:
        testbed = VsphereTestbed(server, tmp_path, host="DC0_C0_H1")
        with by_hand(testbed) as hands:
            hands.make(NAME)
            hands.vm(NAME).MarkAsTemplate()
        (remark,) = remarks_on(testbed)
        assert "it is a template" in remark
        testbed.clean_up()


def test_one_of_another_metier_is_told(testbed: VsphereTestbed) -> None:
    with by_hand(testbed) as hands:
        hands.make(NAME)
    assert adopt(testbed.opened("node-7", site="other", staged=NAME)) == ()
    with by_hand(testbed) as hands:
        hands.make("fit")
    driver = testbed.opened("node-1", staged=f"{NAME},fit")
    (remark,) = adopt(driver)
    assert "the mark of site other" in remark
    assert only(driver).is_staged
    assert only(testbed.opened("node-7", site="other", staged=NAME)).is_staged


def test_one_that_the_host_refuses_does_not_stop_the_others(testbed: VsphereTestbed) -> None:
    with by_hand(testbed) as hands:
        hands.make(NAME)
    testbed.server.fault("ReconfigVM_Task", "failing-task", fault="InvalidDeviceSpec", skip=0)
    (remark,) = remarks_on(testbed)
    assert remark.startswith(f"VM {NAME} on node-1 is not taken over: the host refused")


def test_two_of_one_name_are_told_with_their_paths(tmp_path: Path) -> None:
    with running(tmp_path / "vcenter") as server:
        testbed = VsphereTestbed(server, tmp_path, host="DC0_C0_H1")
        with by_hand(testbed) as hands:
            for folder in ("left", "right"):
                hands.make(NAME, folder=folder)
        (remark,) = adopt(testbed.opened("node-1", staged=NAME))
        assert f"left/{NAME}, right/{NAME}" in remark
        driver = testbed.opened("node-1", staged=f"right/{NAME}")
        assert adopt(driver) == ()
        assert only(driver).is_staged
        assert adopt(driver) == ()
        testbed.clean_up()


# --- what people do -------------------------------------------------------------------------------


def test_one_that_was_renamed_stays_ours(testbed: VsphereTestbed) -> None:
    with by_hand(testbed) as hands:
        hands.make(NAME, *hardware(NAME))
        before = state_of(hands, NAME)
    driver = testbed.opened("node-1", staged=NAME)
    adopt(driver)
    with by_hand(testbed) as hands:
        hands.rename(NAME, "web b")
    assert adopt(driver) == ()
    assert only(driver).number == 1
    driver.remove_vm(1, timeout_s=TIMEOUT_S)
    with by_hand(testbed) as hands:
        after = state_of(hands, "web b")
    assert after[1:] == before[1:]


@pytest.mark.parametrize("setting", ["staged", "staged_folder"])
def test_one_that_is_handed_over_no_more_is_not_reported_as_staged_and_is_given_back(
    testbed: VsphereTestbed, setting: str
) -> None:
    """Who stages VMs removes what is off, not offered and not staged."""
    with by_hand(testbed) as hands:
        hands.make(NAME, *hardware(NAME), pool="for metier")
        before, files = state_of(hands, NAME), files_on(testbed)
    handing = {setting: NAME if setting == "staged" else "for metier"}
    driver = testbed.opened("node-1", **handing)
    assert adopt(driver) == ()
    driver.retire(1, None, timeout_s=TIMEOUT_S)
    assert only(testbed.opened("node-1", **handing)).is_staged
    later = testbed.opened("node-1", **{setting: "another"})
    assert (only(later).is_staged, only(later).is_aside) == (False, True)
    later.start(1, timeout_s=TIMEOUT_S)
    later.stop(1, timeout_s=TIMEOUT_S)
    assert not only(later).is_staged
    later.remove_vm(1, timeout_s=TIMEOUT_S)
    with by_hand(testbed) as hands:
        assert state_of(hands, NAME) == before
    assert files_on(testbed) == files


@pytest.mark.parametrize("text", ["", "{}", "[" * 9999, '{"form":1,"devices":[{"=":"VirtualMachine"}]}'])
def test_one_whose_past_cannot_be_read_is_not_given_back(testbed: VsphereTestbed, text: str) -> None:
    with by_hand(testbed) as hands:
        hands.make(NAME, *hardware(NAME))
    driver = testbed.opened("node-1", staged=NAME)
    adopt(driver)
    with by_hand(testbed) as hands:
        option = vim.option.OptionValue(key="metier.was", value=text)
        hands.reconfigure(NAME, extraConfig=[option])
    with pytest.raises(Refused, match=r"setting metier\.was"):
        driver.remove_vm(1, timeout_s=TIMEOUT_S)
    assert only(driver).number == 1
