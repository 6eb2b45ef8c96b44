"""The hypervisor contract over simulated VMware servers, and what goes wrong with real ones."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from pyVmomi import vim

from metier.domain.errors import OutcomeUnknown, Refused, Unavailable, chain
from metier.domain.observation import Power
from metier.drivers.hypervisor.api import GuestSpec, Hypervisor
from metier.drivers.hypervisor.vsphere import Vsphere
from tests.contract.capture_suite import CaptureSuite
from tests.contract.hypervisor_suite import NEWS_S, OFFER, TIMEOUT_S, HostTestbed, nothing
from tests.contract.vsphere_testbed import PASSWORD, VsphereTestbed, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

# Time for a call that is not going to be answered: enough for what comes before it in the same call.
SOON_S = 1.0


class TestEsx(CaptureSuite):
    @pytest.fixture
    def testbed(self, esx: VsphereTestbed) -> HostTestbed:
        return esx


class TestVcenter(CaptureSuite):
    @pytest.fixture
    def testbed(self, vcenter: VsphereTestbed) -> HostTestbed:
        return vcenter


@pytest.fixture
def driver(esx: VsphereTestbed) -> Hypervisor:
    driver = esx.open()
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    return driver


def prepare(testbed: VsphereTestbed, driver: Hypervisor, timeout_s: float = TIMEOUT_S) -> GuestSpec:
    guest = GuestSpec("web-1-1", testbed.image("web-1"), "web1", b"seed" * 512, {"slot": "web/1"})
    driver.prepare(1, guest, nothing, timeout_s=timeout_s)
    return guest


def power(driver: Hypervisor) -> Power:
    (vm,) = driver.report(timeout_s=TIMEOUT_S).vms
    return vm.power


# --- who is spoken to, and as whom ----------------------------------------------------------------


def test_a_wrong_password_is_refused_and_never_shown(esx: VsphereTestbed) -> None:
    driver = esx.opened("node-1", password="a wrong word")
    with pytest.raises(Refused, match="login failed") as caught:
        driver.facts(timeout_s=TIMEOUT_S)
    assert "a wrong word" not in chain(caught.value) + caught.value.remedy + repr(driver._settings)
    assert PASSWORD not in repr(esx.opened("node-1")._settings)


def test_a_certificate_that_nobody_vouches_for_is_refused_with_its_thumbprint(esx: VsphereTestbed) -> None:
    with pytest.raises(Refused, match="cannot trust") as caught:
        esx.opened("node-1", thumbprint="").facts(timeout_s=TIMEOUT_S)
    shown = str(caught.value).rpartition(" ")[2]
    assert shown.replace(":", "").lower() == esx.server.thumbprint
    assert esx.opened("node-1", thumbprint=shown).facts(timeout_s=TIMEOUT_S).product


def test_another_certificate_than_the_pinned_one_is_refused(esx: VsphereTestbed) -> None:
    with pytest.raises(Refused, match="is not the pinned one"):
        esx.opened("node-1", thumbprint="0" * 64).facts(timeout_s=TIMEOUT_S)
    assert esx.server.calls() == {}


def test_an_authority_may_vouch_instead(esx: VsphereTestbed, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text(esx.server.certificate)
    assert esx.opened("node-1", thumbprint="", ca=str(authority)).facts(timeout_s=TIMEOUT_S).product
    with pytest.raises(Refused, match="authorities"):
        esx.opened("node-1", thumbprint="", ca=str(tmp_path / "none")).facts(timeout_s=TIMEOUT_S)


def test_a_session_that_ended_is_begun_anew(esx: VsphereTestbed, driver: Hypervisor) -> None:
    esx.server.tell("expire")
    assert power(driver) is Power.OFF
    esx.server.tell("expire")
    prepare(esx, driver)
    assert esx.server.calls()["Login"] == 3


def test_a_vcenter_without_the_host_is_refused_with_those_it_has(vcenter: VsphereTestbed) -> None:
    for host in ("esx-9", ""):
        with pytest.raises(Refused, match="DC0_C0_H0"):
            vcenter.opened("node-1", host=host).facts(timeout_s=TIMEOUT_S)


def test_hosts_of_one_vcenter_share_a_session_and_images(vcenter: VsphereTestbed) -> None:
    drivers = [vcenter.opened(f"node-{n}", host=name) for n, name in enumerate(vcenter.server.hosts)]
    assert len(drivers) == 4
    steps: list[int] = []
    for number, driver in enumerate(drivers):
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
        guest = GuestSpec(f"web-{number}", vcenter.image("web-1"), "web1", b"seed", {})
        driver.prepare(1, guest, lambda _done, _total, n=number: steps.append(n), timeout_s=TIMEOUT_S)
    assert set(steps) == {0}
    assert vcenter.server.calls()["Login"] == 1


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fault", "error", "words"),
    [
        ("fault", "NoPermission", Refused, "privilege VirtualMachine.Interact.PowerOn"),
        ("fault", "ManagedObjectNotFound", Refused, "removed meanwhile"),
        ("failing-task", "NoDiskSpace", Refused, "datastore is full"),
        ("failing-task", "InvalidState", Refused, "InvalidState"),
        ("failing-task", "ConcurrentAccess", Unavailable, "busy"),
        ("failing-task", "Timedout", OutcomeUnknown, "cannot tell"),
        ("failing-task", "HostNotConnected", OutcomeUnknown, "fell silent"),
        ("drop", "", OutcomeUnknown, "fell silent"),
        ("drop-after", "", OutcomeUnknown, "fell silent"),
        ("garbage", "", OutcomeUnknown, "cannot be read"),
        ("hang", "", OutcomeUnknown, "no answer within 1 s"),
        ("endless-task", "", OutcomeUnknown, "no answer within 1 s"),
    ],
)
def test_a_start_that_fails_says_what_the_loop_can_do(
    esx: VsphereTestbed, driver: Hypervisor, kind: str, fault: str, error: type[Exception], words: str
) -> None:
    fields = "<privilegeId>VirtualMachine.Interact.PowerOn</privilegeId>" if fault == "NoPermission" else ""
    esx.server.fault("PowerOnVM_Task", kind, fault=fault, fields=fields)
    begun = time.monotonic()
    with pytest.raises(error) as caught:
        driver.start(1, timeout_s=SOON_S)
    assert words in chain(caught.value)
    assert time.monotonic() - begun < 2 * SOON_S
    assert (power(driver) is Power.ON) == (kind == "drop-after")
    driver.start(1, timeout_s=TIMEOUT_S)
    assert power(driver) is Power.ON


@pytest.mark.parametrize(
    ("kind", "error"), [("hang", Unavailable), ("drop", Unavailable), ("garbage", Refused)]
)
def test_a_question_that_is_not_answered_changed_nothing(
    esx: VsphereTestbed, driver: Hypervisor, kind: str, error: type[Exception]
) -> None:
    esx.server.fault("RetrievePropertiesEx", kind)
    with pytest.raises(error):
        driver.report(timeout_s=SOON_S)
    assert power(driver) is Power.OFF


def test_slow_answers_are_waited_for(esx: VsphereTestbed, driver: Hypervisor) -> None:
    esx.server.fault("PowerOnVM_Task", "slow", milliseconds=300)
    driver.start(1, timeout_s=TIMEOUT_S)
    assert power(driver) is Power.ON


def test_a_guest_without_tools_cannot_be_asked(esx: VsphereTestbed, driver: Hypervisor) -> None:
    driver.start(1, timeout_s=TIMEOUT_S)
    esx.server.fault("ShutdownGuest", "fault", fault="ToolsUnavailable")
    with pytest.raises(Refused, match="no VMware Tools"):
        driver.shutdown(1, timeout_s=TIMEOUT_S)
    driver.shutdown(1, timeout_s=TIMEOUT_S)
    assert power(driver) is Power.OFF


@pytest.mark.parametrize(
    ("kind", "error"),
    [("full", Refused), ("forbidden", Refused), ("drop", OutcomeUnknown), ("hang", OutcomeUnknown)],
)
def test_an_upload_that_breaks_off_is_done_anew_and_leaves_nothing(
    esx: VsphereTestbed, driver: Hypervisor, kind: str, error: type[Exception]
) -> None:
    esx.server.fault("PUT /folder", kind, bytes=1 << 18)
    with pytest.raises(error) as caught:
        prepare(esx, driver, SOON_S)
    if error is Refused:
        assert list((esx.store / "images").iterdir()) == []
        assert chain(caught.value).partition("HTTP status ")[2]
    assert not (esx.store / "images/web-1/complete").exists()
    guest = prepare(esx, driver)
    assert (esx.store / "images/web-1/disk0-flat.vmdk").stat().st_size == 1 << 20
    driver.remove_vm(1, timeout_s=TIMEOUT_S)
    driver.drop_image("web-1", timeout_s=TIMEOUT_S)
    assert [path for path in esx.datastore.rglob("*") if path.is_file()] == []
    assert guest.instance


def test_an_image_that_does_not_fit_is_refused_beforehand(esx: VsphereTestbed, driver: Hypervisor) -> None:
    image = esx.image("web-1")
    huge = replace(image.machine.disks[0], capacity_bytes=1 << 50)
    image = replace(image, machine=replace(image.machine, disks=(huge,)))
    with pytest.raises(Refused, match="MiB stay in reserve"):
        driver.prepare(1, GuestSpec("web-1-1", image, "web1", b"", {}), nothing, timeout_s=TIMEOUT_S)
    assert "PUT /folder" not in esx.server.calls()


# --- what other tools do --------------------------------------------------------------------------


def test_an_instance_is_a_child_of_its_image(esx: VsphereTestbed, driver: Hypervisor) -> None:
    prepare(esx, driver)
    text = (esx.store / "instances/web-1-1/disk0.vmdk").read_text()
    assert "images/web-1/disk0.vmdk" in text
    with esx.administrator() as content:
        devices = esx.vm(content, esx.name_of(1)).config.hardware.device
        (drive,) = [one for one in devices if isinstance(one, vim.vm.device.VirtualCdrom)]
        assert drive.backing.fileName.endswith("seeds/node-1-VM1.iso")


def test_a_vm_that_vcenter_moved_is_told_where_it_is(vcenter: VsphereTestbed) -> None:
    """R-DRIFT-1: who looks for it has to find it, whether it was moved by hand or by load balancing."""
    driver, other = vcenter.open(), vcenter.opened("node-2", host="DC0_C0_H2")
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    driver.start(1, timeout_s=TIMEOUT_S)
    with vcenter.administrator() as content:
        vm = vcenter.vm(content, vcenter.name_of(1))
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.HostSystem], True)
        target = next(host for host in view.view if host.name == "DC0_C0_H2")
        vm.MigrateVM_Task(host=target, priority="defaultPriority")
    assert driver.report(timeout_s=TIMEOUT_S).vms == ()
    (stray,) = other.report(timeout_s=TIMEOUT_S).strays
    assert (stray.host, stray.number, stray.power) == ("node-1", 1, Power.ON)


def test_a_distributed_port_group_is_a_network_like_any_other(vcenter: VsphereTestbed) -> None:
    driver = vcenter.opened("node-1", networks="default=VM Network,san=DC0_DVPG0")
    assert driver.facts(timeout_s=TIMEOUT_S).hardware.networks == {"default", "san"}
    driver.define_vm(replace(OFFER, networks=("san", "default")), timeout_s=TIMEOUT_S)
    (vm,) = driver.report(timeout_s=TIMEOUT_S).vms
    assert vm.hardware is not None
    assert (vm.hardware.nics, vm.hardware.networks, len(set(vm.macs))) == (2, {"san", "default"}, 2)


def test_names_of_foreign_vms_may_be_anything(esx: VsphereTestbed, driver: Hypervisor) -> None:
    for name in ("Lohn & Gehalt <alt>", "名前", "two words"):
        esx.add_foreign(name, running=True)
    report = driver.report(timeout_s=TIMEOUT_S)
    assert (len(report.vms), report.foreign_running) == (1, 3)


def test_a_copy_with_our_mark_is_not_ours(esx: VsphereTestbed, driver: Hypervisor) -> None:
    """R-DRIFT-2: VMware gives a clone another identity, and the mark alone proves nothing."""
    esx.add_foreign("copy", running=True)
    with esx.administrator() as content:
        mark = esx.vm(content, esx.name_of(1)).config.extraConfig
        copied = [option for option in mark if option.key.startswith("metier.")]
        esx.vm(content, "copy").ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=copied))
    report = driver.report(timeout_s=TIMEOUT_S)
    assert (len(report.vms), report.foreign_running, report.strays) == (1, 1, ())


# --- watching -------------------------------------------------------------------------------------


def heard_of(driver: Hypervisor, changed: threading.Event) -> None:
    """Watch, and wait for the news that the subscription has begun."""
    assert isinstance(driver, Vsphere)
    driver.watch(changed.set)
    assert changed.wait(NEWS_S)
    changed.clear()


def test_a_first_set_that_comes_in_parts_is_put_together(vcenter: VsphereTestbed) -> None:
    driver = vcenter.opened("node-1")
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    vcenter.server.fault("WaitForUpdatesEx", "truncate")
    changed = threading.Event()
    heard_of(driver, changed)
    driver.start(1, timeout_s=TIMEOUT_S)
    assert changed.wait(NEWS_S)


def test_one_subscription_serves_all_hosts_and_each_hears_of_its_own(vcenter: VsphereTestbed) -> None:
    names = ("DC0_C0_H1", "DC0_C0_H2")
    drivers = {name: vcenter.opened(f"on-{name}", host=name) for name in names}
    heard = {name: threading.Event() for name in names}
    for driver in drivers.values():
        driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    # Only the first listener sees the subscription begin.
    heard_of(drivers["DC0_C0_H1"], heard["DC0_C0_H1"])
    drivers["DC0_C0_H2"].watch(heard["DC0_C0_H2"].set)
    drivers["DC0_C0_H1"].start(1, timeout_s=TIMEOUT_S)
    assert heard["DC0_C0_H1"].wait(NEWS_S)
    assert not heard["DC0_C0_H2"].is_set()
    drivers["DC0_C0_H2"].start(1, timeout_s=TIMEOUT_S)
    assert heard["DC0_C0_H2"].wait(NEWS_S)
    # Two looks for hosts, and one subscription.
    assert vcenter.server.calls()["CreateContainerView"] == 3


def test_a_watch_that_was_lost_is_begun_again(esx: VsphereTestbed, driver: Hypervisor) -> None:
    changed = threading.Event()
    assert isinstance(driver, Vsphere)
    heard_of(driver, changed)
    esx.vanish()
    assert changed.wait(NEWS_S)
    changed.clear()
    esx.come_back()
    assert power(driver) is Power.OFF
    assert changed.wait(NEWS_S)
    changed.clear()
    driver.start(1, timeout_s=TIMEOUT_S)
    assert changed.wait(NEWS_S)
