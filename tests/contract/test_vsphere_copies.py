"""Instances where a datastore has no linked disks: whole copies, made once and not half."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import OutcomeUnknown, Refused
from metier.drivers.hypervisor.api import Capturing, GuestSpec, Hypervisor, ImageSource
from metier.drivers.hypervisor.vsphere.vmware import vim
from tests.contract.block_disks import Blocks, image_of
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.vsphere_testbed import Counterpart, VsphereTestbed, missing, running

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

A, B = Blocks("a"), Blocks("b")


@pytest.fixture(scope="module", params=["esx", "vcenter"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counterpart]:
    options = ["-esx"] if request.param == "esx" else ["-host", "1"]
    with running(tmp_path_factory.mktemp("server") / request.param, *options) as server:
        yield server


@pytest.fixture
def testbed(server: Counterpart, tmp_path: Path) -> Iterator[VsphereTestbed]:
    is_esx = server.hosts == ("localhost.localdomain",)
    testbed = VsphereTestbed(server, tmp_path, host="" if is_esx else "DC0_C0_H0")
    yield testbed
    server.tell("peace", b"")
    testbed.clean_up()
    shutil.rmtree(testbed.store)  # the next test has the same datastore


def defined(driver: Hypervisor) -> Hypervisor:
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    return driver


def prepare(driver: Hypervisor, image: ImageSource) -> bool:
    """Prepare a VM, and say whether it was remarked that the host makes no linked disks."""
    guest = GuestSpec("web-1-1", image, "web1", b"seed", {})
    remarks = driver.prepare(1, guest, nothing, timeout_s=TIMEOUT_S)
    return any("whole copy" in remark for remark in remarks)


def disks_of(testbed: VsphereTestbed) -> list[vim.vm.device.VirtualDisk]:
    with testbed.administrator() as content:
        devices = testbed.vm(content, testbed.name_of(1)).config.hardware.device
        return [device for device in devices if isinstance(device, vim.vm.device.VirtualDisk)]


def has_whole_copies(testbed: VsphereTestbed, *content: Blocks) -> bool:
    """Say whether the instance's disks are all there, stand on nothing, and hold just this."""
    folder = testbed.store / "instances" / "web-1-1"
    disks = disks_of(testbed)
    return (
        [disk.backing.parent for disk in disks] == [None] * len(content)
        and [folder.joinpath(f"disk{n}-flat.vmdk").read_bytes() for n in range(len(content))]
        == [one.content() for one in content]
        and not list(folder.glob("*.copying"))
    )


def test_a_setting_has_instances_copied(testbed: VsphereTestbed) -> None:
    driver = defined(testbed.opened(testbed.node, instances="copied"))
    assert not prepare(driver, image_of(A, B))
    assert has_whole_copies(testbed, A, B)


def test_a_host_that_makes_no_linked_disks_is_given_copies(testbed: VsphereTestbed) -> None:
    driver = defined(testbed.open())
    testbed.server.fault("ReconfigVM_Task", "failing-task", fault="NotSupported")
    assert prepare(driver, image_of(A))
    assert has_whole_copies(testbed, A)
    assert not prepare(driver, image_of(A))


def test_what_is_refused_for_another_reason_is_not_copied(testbed: VsphereTestbed) -> None:
    driver = defined(testbed.open())
    testbed.server.fault("ReconfigVM_Task", "failing-task", fault="NotSupported", times=2)
    with pytest.raises(Refused):
        prepare(driver, image_of(A))
    assert not prepare(driver, image_of(A))
    assert has_whole_copies(testbed, A)


@pytest.mark.parametrize("kind", ["drop", "drop-after"])
def test_a_copy_that_was_cut_is_made_anew(testbed: VsphereTestbed, kind: str) -> None:
    driver = defined(testbed.opened(testbed.node, instances="copied"))
    testbed.server.fault("CopyVirtualDisk_Task", kind, skip=1)
    with pytest.raises(OutcomeUnknown):
        prepare(driver, image_of(A, B))
    prepare(testbed.opened(testbed.node, instances="copied"), image_of(A, B))
    assert has_whole_copies(testbed, A, B)


def test_a_controller_that_died_amid_a_copy_leaves_no_half_of_one(testbed: VsphereTestbed) -> None:
    driver = defined(testbed.opened(testbed.node, instances="copied"))
    prepare(driver, image_of(A))
    driver.retire(1, None, timeout_s=TIMEOUT_S)
    folder = testbed.store / "instances" / "web-1-1"
    folder.joinpath("disk0.vmdk.copying").write_bytes(b"")
    folder.joinpath("disk0-flat.vmdk").write_bytes(b"half")
    prepare(driver, image_of(A))
    assert has_whole_copies(testbed, A)


def test_a_full_datastore_leaves_nothing_of_a_copy(testbed: VsphereTestbed) -> None:
    driver = defined(testbed.opened(testbed.node, instances="copied"))
    testbed.server.fault("CopyVirtualDisk_Task", "failing-task", fault="NoDiskSpace")
    with pytest.raises(Refused, match="full"):
        prepare(driver, image_of(A))
    assert [path.name for path in (testbed.store / "instances" / "web-1-1").iterdir()] == ["of.web-1"]


def test_a_copied_instance_is_captured_and_discarded_like_any(
    testbed: VsphereTestbed, tmp_path: Path
) -> None:
    driver = defined(testbed.opened(testbed.node, instances="copied"))
    prepare(driver, image_of(A))
    assert isinstance(driver, Capturing)
    into = tmp_path / "taken"
    into.mkdir()
    taken = driver.take_disks(1, into, lambda _bytes: None, nothing, timeout_s=TIMEOUT_S)
    assert (taken.parent, [file.read_bytes() for file in taken.files]) == ("", [A.content()])
    driver.retire(1, "web-1-1", timeout_s=TIMEOUT_S)
    assert not (testbed.store / "instances" / "web-1-1").exists()
