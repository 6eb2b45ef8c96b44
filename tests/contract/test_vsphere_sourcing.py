"""VMs of others, copied from simulated VMware servers: byte for byte, and never changed there."""

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import Refused, Unavailable, chain
from metier.drivers.formats.vmx import machine_of, parse_vmx
from metier.drivers.hypervisor.api import Capability, ForeignVm, Sourcing
from metier.drivers.hypervisor.vsphere import Vsphere, sourcing
from metier.drivers.hypervisor.vsphere.vmware import vim
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.vsphere_lender import Lender, controller_of
from tests.contract.vsphere_testbed import VsphereTestbed, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

MIB = 1 << 20
READING = {
    "RetrieveServiceContent",
    "Login",
    "Logout",
    "RetrievePropertiesEx",
    "ContinueRetrievePropertiesEx",
    "CreateContainerView",
    "DestroyView",
    # Nothing but a question that proves the session.
    "CreatePropertyCollector",
    "DestroyPropertyCollector",
    "GET /folder",
}
"""What a look and a copy may call."""

device = vim.vm.device


@pytest.fixture(params=["esx", "vcenter"])
def testbed(request: pytest.FixtureRequest) -> VsphereTestbed:
    found: VsphereTestbed = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def lender(testbed: VsphereTestbed) -> Lender:
    return Lender(testbed)


@pytest.fixture
def driver(testbed: VsphereTestbed) -> Vsphere:
    return testbed.opened("visitor")


def content(*mebibytes: int) -> bytes:
    """Return a disk of mebibytes that begin with these numbers; 0 is empty."""
    return b"".join(
        bytes([number]) * 4096 + bytes(MIB - 4096) if number else bytes(MIB) for number in mebibytes
    )


def look(driver: Vsphere, name: str) -> ForeignVm:
    return driver.foreign_vm(name, timeout_s=TIMEOUT_S)


def fetch(driver: Vsphere, name: str, number: int, into: Path) -> bytes:
    driver.fetch_disk(name, number, into, nothing, timeout_s=TIMEOUT_S)
    return into.read_bytes()


def everything(folder: Path) -> dict[str, tuple[str, int]]:
    """Return digest and time of all files below a folder."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def obstacle(driver: Vsphere, name: str = "web") -> str:
    (found,) = look(driver, name).obstacles
    return found


# --- what is told, and copied -----------------------------------------------------------------------


def test_it_is_announced() -> None:
    assert Capability.FOREIGN_VMS in Vsphere.CAPABILITIES
    assert issubclass(Vsphere, Sourcing)


def test_a_vm_is_described_as_a_vmx(driver: Vsphere, lender: Lender) -> None:
    lender.make("web", content(1, 2), content(3), firmware="efi")
    found = look(driver, "web")
    assert (found.name, found.obstacles) == ("web", ())
    assert [disk.capacity_bytes for disk in found.disks] == [2 * MIB, MIB]
    machine = machine_of(
        parse_vmx(found.vmx.encode(), "web.vmx"),
    )
    assert (machine.memory_mib, machine.cpus, machine.firmware) == (512, 2, "uefi")
    assert (machine.guest_os, machine.nic_models) == ("debian12-64", ("e1000",))
    assert [(disk.slot, disk.file, disk.controller) for disk in machine.disks] == [
        ("scsi0:0", "disk0.vmdk", "vmpvscsi"),
        ("scsi0:1", "disk1.vmdk", "vmpvscsi"),
    ]
    assert not any("mean nothing" in remark for remark in machine.remarks)


def test_disks_are_copied_byte_for_byte_and_nothing_is_changed_there(
    testbed: VsphereTestbed, driver: Vsphere, lender: Lender, tmp_path: Path
) -> None:
    disks = (content(1, 0, 0, 2), content(0, 3))
    lender.make("web", *disks)
    before, calls = everything(testbed.datastore), testbed.server.calls()
    for number, disk in enumerate(disks):
        into = tmp_path / f"disk{number}"
        assert fetch(driver, "web", number, into) == disk
        assert into.stat().st_blocks * 512 < len(disk)
        assert into.stat().st_mode & 0o777 == 0o600
    assert everything(testbed.datastore) == before
    called = {name for name, count in testbed.server.calls().items() if count > calls.get(name, 0)}
    assert called <= READING


@pytest.mark.parametrize("name", ["My VM", "a/b", "Größe 漢字", "100% [sure]", "-v"])
def test_names_may_hold_nearly_everything(driver: Vsphere, lender: Lender, tmp_path: Path, name: str) -> None:
    lender.make(name, content(1))
    assert look(driver, name).name == name
    assert fetch(driver, name.replace("/", "%2f"), 0, tmp_path / "disk") == content(1)


def test_two_of_one_name_are_told_apart_by_their_paths(vcenter: VsphereTestbed, tmp_path: Path) -> None:
    lender, driver = Lender(vcenter), vcenter.opened("visitor")
    lender.make("web", content(1), folder="old")
    lender.make("web", content(2), folder="new")
    with pytest.raises(Refused, match="2 VMs") as caught:
        look(driver, "web")
    assert "/DC0/vm/old/web" in str(caught.value)
    assert "/DC0/vm/new/web" in str(caught.value)
    assert fetch(driver, "/DC0/vm/new/web", 0, tmp_path / "new") == content(2)
    assert fetch(driver, "old/web", 0, tmp_path / "old") == content(1)
    with lender.vm("web", "old") as vm:
        file = vm.config.files.vmPathName
    assert fetch(driver, file, 0, tmp_path / "file") == content(1)


def test_what_is_not_there_is_refused(driver: Vsphere) -> None:
    for name in ("nothing", "/DC0/vm/nothing", "[datastore1] nothing.vmx", "/", ""):
        with pytest.raises(Refused, match="has no VM"):
            look(driver, name)


def test_the_other_hosts_of_a_vcenter_are_looked_through_too(vcenter: VsphereTestbed, tmp_path: Path) -> None:
    Lender(vcenter).make("web", content(1))
    driver = vcenter.opened("visitor", host="", datastore="")
    assert fetch(driver, "web", 0, tmp_path / "disk") == content(1)


def test_templates_can_be_copied(driver: Vsphere, lender: Lender, tmp_path: Path) -> None:
    lender.make("golden", content(1))
    with lender.vm("golden") as vm:
        vm.MarkAsTemplate()
    assert fetch(driver, "golden", 0, tmp_path / "disk") == content(1)


# --- what is in the way -----------------------------------------------------------------------------


def test_a_vm_that_runs_is_not_copied(driver: Vsphere, lender: Lender, tmp_path: Path) -> None:
    lender.make("web", content(1))
    with lender.vm("web") as vm:
        vm.PowerOnVM_Task()
        assert "it runs: shut its guest OS down" in obstacle(driver)
        with pytest.raises(Refused, match="it runs"):
            fetch(driver, "web", 0, tmp_path / "disk")
        vm.SuspendVM_Task()
    assert "suspended" in obstacle(driver)
    assert not (tmp_path / "disk").exists()


def test_snapshots_are_named(driver: Vsphere, lender: Lender) -> None:
    lender.make("web", content(1))
    with lender.vm("web") as vm:
        vm.CreateSnapshot_Task("before the update", "", False, False)
        vm.CreateSnapshot_Task("after it", "", False, False)
    assert any("(before the update, after it)" in one for one in look(driver, "web").obstacles)


def test_a_linked_clone_is_named(testbed: VsphereTestbed, driver: Vsphere, lender: Lender) -> None:
    lender.make("base", content(1))
    lender.make("web", content(2))
    with lender.vm("base") as base:
        (disk,) = [one for one in base.config.hardware.device if isinstance(one, device.VirtualDisk)]
        backing = device.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"[{lender.datastore}] web/child.vmdk",
            diskMode="persistent",
            parent=device.VirtualDisk.FlatVer2BackingInfo(
                fileName=disk.backing.fileName, diskMode="persistent"
            ),
        )
    with lender.vm("web") as vm:
        controller = controller_of(vm)
    child = device.VirtualDisk(
        key=-9, controllerKey=controller, unitNumber=5, capacityInKB=1024, backing=backing
    )
    change = device.VirtualDeviceSpec(operation="add", fileOperation="create", device=child)
    lender.change("web", deviceChange=[change])
    assert "linked clone" in obstacle(driver)


@pytest.mark.parametrize(
    ("extent", "words"),
    [
        ('RW 2048 VMFS "vsan://52a"', "no single flat file"),
        ('RW 2048 SESPARSE "web-sesparse.vmdk"', "SESPARSE"),
        ('RW 2048 VMFSRDM "web-rdm.vmdk"', "VMFSRDM"),
        ('RW 1024 VMFS "a-flat.vmdk"\nRW 1024 VMFS "b-flat.vmdk"', "no single flat file"),
        ('RW 2048 VMFS "../../secret-flat.vmdk"', "no single flat file"),
        ('RW 4096 VMFS "web-flat.vmdk"', "another size"),
        ('RW 2048 VMFS "web-flat.vmdk"\nddb.iofilters = "vmwarevmcrypt"', "encrypted"),
        ("", "nothing"),
    ],
)
def test_disks_that_are_no_flat_files_are_refused(
    driver: Vsphere, lender: Lender, extent: str, words: str
) -> None:
    lender.make("web", content(1))
    descriptor = lender.extent("web", 0)
    descriptor = descriptor.with_name(descriptor.name.replace("-flat", ""))
    descriptor.write_text(f"# Disk DescriptorFile\nparentCID=ffffffff\n{extent}\n")
    assert words in obstacle(driver)


def test_metiers_own_vms_are_to_be_captured(testbed: VsphereTestbed) -> None:
    driver = testbed.opened("node-1")
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    with pytest.raises(Refused, match="which Metier metier runs itself") as caught:
        look(testbed.opened("visitor"), testbed.name_of(OFFER.number))
    assert "capture" in caught.value.remedy


# --- what happens meanwhile -------------------------------------------------------------------------


class Stop(Exception):
    """Somebody ended the copy."""


def test_a_copy_that_broke_off_is_gone_on_with(driver: Vsphere, lender: Lender, tmp_path: Path) -> None:
    disk, into = content(1, 2, 3, 4, 5, 6), tmp_path / "disk"
    lender.make("web", disk)
    told: list[int] = []

    def stop_in_the_middle(done: int, _total: int) -> None:
        if done >= 3 * MIB:
            raise Stop

    with pytest.raises(Stop):
        driver.fetch_disk("web", 0, into, stop_in_the_middle, timeout_s=TIMEOUT_S)
    driver.fetch_disk("web", 0, into, lambda done, _total: told.append(done), timeout_s=TIMEOUT_S)
    assert told[0] >= 3 * MIB
    assert into.read_bytes() == disk


def test_a_copy_of_another_state_begins_anew(driver: Vsphere, lender: Lender, tmp_path: Path) -> None:
    into = tmp_path / "disk"
    lender.make("web", content(1, 2))
    assert fetch(driver, "web", 0, into) == content(1, 2)
    lender.change("web", memoryMB=1024)
    lender.extent("web", 0).write_bytes(content(7, 8))
    told: list[int] = []
    driver.fetch_disk("web", 0, into, lambda done, _total: told.append(done), timeout_s=TIMEOUT_S)
    assert told[0] == 0
    assert into.read_bytes() == content(7, 8)


def test_a_vm_that_is_started_meanwhile_is_noticed(
    driver: Vsphere, lender: Lender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sourcing, "PART_BYTES", MIB)
    lender.make("web", content(1, 2, 3, 4))
    told: list[int] = []

    def start(done: int, _total: int) -> None:
        if done == MIB:
            with lender.vm("web") as vm:
                vm.PowerOnVM_Task()
        told.append(done)

    with pytest.raises(Refused, match="started or changed"):
        driver.fetch_disk("web", 0, tmp_path / "disk", start, timeout_s=TIMEOUT_S)
    assert max(told) <= 2 * MIB


def test_a_change_after_the_last_byte_is_noticed(driver: Vsphere, lender: Lender, tmp_path: Path) -> None:
    lender.make("web", content(1, 2))

    def change(done: int, total: int) -> None:
        if done == total:
            lender.change("web", memoryMB=1024)

    with pytest.raises(Refused, match="started or changed"):
        driver.fetch_disk("web", 0, tmp_path / "disk", change, timeout_s=TIMEOUT_S)


def test_an_ended_session_is_begun_anew_and_a_cut_is_unavailable(
    testbed: VsphereTestbed, driver: Vsphere, lender: Lender, tmp_path: Path
) -> None:
    lender.make("web", content(1, 2))
    look(driver, "web")
    testbed.server.tell("expire")
    assert fetch(driver, "web", 0, tmp_path / "disk") == content(1, 2)
    testbed.server.fault("GET /folder", "drop")
    with pytest.raises(Unavailable):
        fetch(driver, "web", 0, tmp_path / "again")
    testbed.server.fault("GET /folder", "forbidden")
    with pytest.raises(Refused, match="may not"):
        fetch(driver, "web", 0, tmp_path / "again")


def test_a_wrong_password_is_never_shown(testbed: VsphereTestbed) -> None:
    with pytest.raises(Refused, match="login failed") as caught:
        look(testbed.opened("visitor", password="a wrong word"), "web")
    assert "a wrong word" not in chain(caught.value) + caught.value.remedy
