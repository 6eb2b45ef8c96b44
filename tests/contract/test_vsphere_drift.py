"""What others do to Metier's VMs on VMware, and what VMware itself asks: R-DRIFT-1, R-REFRESH-1."""

from dataclasses import replace

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from pyVmomi import vim

from metier.domain.errors import Refused
from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.api import GuestSpec, Hypervisor
from metier.drivers.hypervisor.vsphere import Vsphere
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.vsphere_hands import by_hand
from tests.contract.vsphere_testbed import VsphereTestbed, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

ELSEWHERE = "DC0_C0_H2"
ALTERED = "msg.uuid.altered:This virtual machine might have been moved or copied."


@pytest.fixture
def testbed(vcenter: VsphereTestbed) -> VsphereTestbed:
    return vcenter


@pytest.fixture
def driver(testbed: VsphereTestbed) -> Vsphere:
    """A driver whose VM 1 has an instance on it."""
    driver = testbed.opened("node-1")
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    prepare(testbed, driver)
    return driver


def prepare(testbed: VsphereTestbed, driver: Hypervisor, number: int = 1) -> tuple[str, ...]:
    guest = GuestSpec("web-1-1", testbed.image("web-1"), "web1", b"seed" * 512, {})
    return driver.prepare(number, guest, nothing, timeout_s=TIMEOUT_S)


def only(driver: Hypervisor) -> VmFacts:
    (vm,) = driver.report(timeout_s=TIMEOUT_S).vms
    return vm


# --- moved, switched, taken away ------------------------------------------------------------------


def test_what_was_moved_is_told_where_it_is_and_keeps_its_instance(
    testbed: VsphereTestbed, driver: Vsphere
) -> None:
    """R-DRIFT-1: on a shared datastore the disks of a VM that was moved are still its own."""
    driver.define_vm(replace(OFFER, number=2), timeout_s=TIMEOUT_S)
    with by_hand(testbed) as hands:
        hands.migrate(testbed.name_of(1), ELSEWHERE)
    other = testbed.opened("node-2", host=ELSEWHERE)
    assert [vm.number for vm in driver.report(timeout_s=TIMEOUT_S).vms] == [2]
    assert [(one.host, one.number) for one in other.report(timeout_s=TIMEOUT_S).strays] == [("node-1", 1)]
    other.define_vm(OFFER, timeout_s=TIMEOUT_S)
    for number, one in ((2, driver), (1, other)):
        with pytest.raises(Refused, match="web-1-1 is on VM1 of node-1"):
            prepare(testbed, one, number)
        with pytest.raises(Refused, match="web-1-1 is on VM1 of node-1"):
            one.retire(number, "web-1-1", timeout_s=TIMEOUT_S)
    assert testbed.written("web-1-1") is not None
    with by_hand(testbed) as hands:
        hands.migrate(testbed.name_of(1), "DC0_C0_H1")
    driver.retire(1, None, timeout_s=TIMEOUT_S)
    prepare(testbed, driver, 2)
    assert [vm.instance for vm in driver.report(timeout_s=TIMEOUT_S).vms] == [None, "web-1-1"]


def test_power_that_others_switch_shows(testbed: VsphereTestbed, driver: Vsphere) -> None:
    with by_hand(testbed) as hands:
        hands.vm(testbed.name_of(1)).PowerOnVM_Task()
        assert only(driver).power is Power.ON
        hands.vm(testbed.name_of(1)).SuspendVM_Task()
        assert only(driver).power is Power.UNKNOWN
        hands.vm(testbed.name_of(1)).PowerOffVM_Task()
        assert only(driver).power is Power.OFF


@pytest.mark.parametrize("how", ["unregister", "destroy"])
def test_what_others_take_away_is_gone_and_is_made_anew(
    testbed: VsphereTestbed, driver: Vsphere, how: str
) -> None:
    with by_hand(testbed) as hands:
        getattr(hands, how)(testbed.name_of(1))
    assert driver.report(timeout_s=TIMEOUT_S).vms == ()
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    assert (only(driver).instance, only(driver).is_aside) == (None, False)


def test_what_is_changed_with_other_tools_is_taken_over(testbed: VsphereTestbed, driver: Vsphere) -> None:
    """R-REFRESH-1."""
    group = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    nic = vim.vm.device.VirtualE1000(key=-1, addressType="generated", backing=group)
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=nic)
    with by_hand(testbed) as hands:
        hands.reconfigure(testbed.name_of(1), memoryMB=256, numCPUs=8, deviceChange=[change])
    hardware = only(driver).hardware
    assert hardware is not None
    assert (hardware.memory_mib, hardware.cpus, hardware.nics) == (256, 8, 2)
    assert len(set(only(driver).macs)) == 2


# --- questions ------------------------------------------------------------------------------------


def ask(testbed: VsphereTestbed, name: str, text: str) -> None:
    """Let a VM ask something the next time it is switched on."""
    option = vim.option.OptionValue(key="counterpart.question", value=text)
    with by_hand(testbed) as hands:
        hands.reconfigure(name, extraConfig=[option])


def answer_of(testbed: VsphereTestbed, name: str) -> str:
    with by_hand(testbed) as hands:
        extra = {one.key: one.value for one in hands.vm(name).config.extraConfig}
    return str(extra.get("counterpart.answer", ""))


def test_a_vm_that_asks_whether_it_was_moved_is_told_so(testbed: VsphereTestbed, driver: Vsphere) -> None:
    ask(testbed, testbed.name_of(1), ALTERED)
    driver.start(1, timeout_s=TIMEOUT_S)
    assert only(driver).power is Power.ON
    assert answer_of(testbed, testbed.name_of(1)) == "1"


def test_with_a_copy_of_it_beside_it_a_person_has_to_answer(testbed: VsphereTestbed, driver: Vsphere) -> None:
    with by_hand(testbed) as hands:
        hands.make("copy")
        identity = hands.vm(testbed.name_of(1)).config.instanceUuid
        hands.reconfigure("copy", instanceUuid=identity)
    ask(testbed, testbed.name_of(1), ALTERED)
    with pytest.raises(Refused, match=r"waits for an answer: msg\.uuid\.altered"):
        driver.start(1, timeout_s=TIMEOUT_S)
    assert answer_of(testbed, testbed.name_of(1)) == ""


def test_any_other_question_is_a_persons(testbed: VsphereTestbed, driver: Vsphere) -> None:
    ask(testbed, testbed.name_of(1), "msg.disk.notConfigured:Shall the disk be left out?\nReally?")
    with pytest.raises(Refused, match=r"Shall the disk be left out\? Really\?") as caught:
        driver.start(1, timeout_s=TIMEOUT_S)
    assert "VMware's own tools" in caught.value.remedy
    assert answer_of(testbed, testbed.name_of(1)) == ""


# --- what an older host does not know -------------------------------------------------------------


def test_a_guest_that_the_host_does_not_know_becomes_another_with_a_remark(
    testbed: VsphereTestbed, driver: Vsphere
) -> None:
    driver.define_vm(replace(OFFER, number=2), timeout_s=TIMEOUT_S)
    fields = "<invalidProperty>configSpec.guestId</invalidProperty>"
    testbed.server.fault("ReconfigVM_Task", "fault", fault="InvalidArgument", fields=fields)
    guest = GuestSpec("web-2-2", testbed.image("web-1"), "web2", b"seed", {})
    remarks = driver.prepare(2, guest, nothing, timeout_s=TIMEOUT_S)
    assert remarks[-1].endswith("the VM is configured for otherGuest64")
    with by_hand(testbed) as hands:
        assert hands.vm(testbed.name_of(2)).config.guestId == "otherGuest64"


def test_any_other_argument_that_the_host_will_not_have_is_refused(
    testbed: VsphereTestbed, driver: Vsphere
) -> None:
    fields = "<invalidProperty>configSpec.firmware</invalidProperty>"
    testbed.server.fault("ReconfigVM_Task", "fault", fault="InvalidArgument", fields=fields)
    with pytest.raises(Refused):
        prepare(testbed, driver)
