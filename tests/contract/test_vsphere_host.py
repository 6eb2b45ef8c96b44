"""What a VMware host tells about itself, and what its account may not do."""

from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import Refused, chain
from metier.drivers.hypervisor.api import GuestSpec, HostFacts
from metier.drivers.hypervisor.vsphere.privileges import NEEDS, Where, purpose
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.vsphere_testbed import VsphereTestbed, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

POWER_ON = "VirtualMachine.Interact.PowerOn"
DEFINING = "making virtual nodes fails"


def facts(testbed: VsphereTestbed, **settings: str) -> HostFacts:
    return testbed.opened("node-1", **settings).facts(timeout_s=TIMEOUT_S)


def lacks(testbed: VsphereTestbed, **settings: str) -> tuple[str, ...]:
    return facts(testbed, **settings).details.lacks


# --- what it is -----------------------------------------------------------------------------------


def test_a_host_tells_product_patch_level_and_licence(esx: VsphereTestbed) -> None:
    details = facts(esx).details
    assert details.product == facts(esx).product == f"VMware ESXi 6.5.0 build-{details.patch_level}"
    assert details.patch_level.isdigit()
    assert details.licence == "evaluation mode"
    assert details.networks == ("VM Network",)


def test_a_vcenter_tells_the_licence_of_the_host_itself(vcenter: VsphereTestbed) -> None:
    vcenter.server.fault("QueryAssignedLicenses", "fault", fault="NoPermission")
    assert facts(vcenter).details.licence == ""
    assert facts(vcenter).details.licence == "evaluation mode"


def test_all_datastores_are_shown_and_which_is_used(esx: VsphereTestbed, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with esx.administrator() as content:
        system = esx._host(content).configManager.datastoreSystem
        system.CreateLocalDatastore("second", str(tmp_path / "second"))
    found = facts(esx)
    used, second = found.details.stores
    assert (used.name, used.is_used) == (esx.settings["datastore"], True)
    assert (second.name, second.is_used) == ("second", False)
    assert 0 < used.free_gib <= used.capacity_gib
    assert found.hardware.disk_gib == used.free_gib
    with pytest.raises(Refused, match="2 datastores") as caught:
        facts(esx, datastore="")
    assert "datastore" in caught.value.remedy


def test_distributed_port_groups_are_networks_like_others(vcenter: VsphereTestbed) -> None:
    assert {"VM Network", "DC0_DVPG0"} <= set(facts(vcenter).details.networks)


def test_every_report_carries_the_patch_level_without_asking_more(esx: VsphereTestbed) -> None:
    driver = esx.opened("node-1")
    level = driver.facts(timeout_s=TIMEOUT_S).details.patch_level
    driver.report(timeout_s=TIMEOUT_S)
    before = esx.server.calls()
    assert driver.report(timeout_s=TIMEOUT_S).patch_level == level
    after = esx.server.calls()
    # Its state and patch level in one question, and its VMs in another.
    assert after["RetrievePropertiesEx"] - before["RetrievePropertiesEx"] <= 2


# --- what the account may not do ------------------------------------------------------------------


def test_an_account_that_may_do_all_lacks_nothing(esx: VsphereTestbed, vcenter: VsphereTestbed) -> None:
    assert lacks(esx) == lacks(vcenter) == ()


def test_every_missing_privilege_is_told_with_what_fails(esx: VsphereTestbed) -> None:
    esx.server.tell("rights?missing=" + ",".join(need.privilege for need in NEEDS))
    told = lacks(esx)
    assert len(told) == len(NEEDS)
    for need in NEEDS:
        assert any(need.privilege in one and one.endswith(f": {need.harm}") for one in told)


def test_a_missing_privilege_is_told_beforehand_and_names_itself_when_it_is_needed(
    esx: VsphereTestbed,
) -> None:
    driver = esx.opened("node-1")
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    esx.server.tell(f"rights?missing={POWER_ON}")
    assert lacks(esx) == (f"may not power VMs on ({POWER_ON} on folder of VMs vm): starting guests fails",)
    with pytest.raises(Refused) as caught:
        driver.start(1, timeout_s=TIMEOUT_S)
    assert POWER_ON in chain(caught.value) + caught.value.remedy
    esx.server.tell("rights")
    driver.start(1, timeout_s=TIMEOUT_S)
    assert lacks(esx) == ()


def test_several_are_told_each_on_what_it_is_missing_on(vcenter: VsphereTestbed) -> None:
    vcenter.server.tell("rights?missing=Network.Assign,Resource.AssignVMToPool,Datastore.AllocateSpace")
    store = vcenter.settings["datastore"]
    told = lacks(vcenter, networks="default=VM Network,san=DC0_DVPG0,none=No Such Group")
    assert [one.partition(": ")[::2] for one in told] == [
        ("may not put VMs there (Resource.AssignVMToPool on resource pool Resources)", DEFINING),
        (
            f"may not use room (Datastore.AllocateSpace on datastore {store})",
            "putting an image on a VM fails",
        ),
        ("may not connect VMs (Network.Assign on network VM Network)", DEFINING),
        ("may not connect VMs (Network.Assign on network DC0_DVPG0)", DEFINING),
    ]


def test_where_the_question_is_not_answered_the_roles_tell(esx: VsphereTestbed) -> None:
    esx.server.tell("rights?mute=yes")
    assert lacks(esx) == ()
    with esx.administrator() as content:
        manager = content.authorizationManager
        (admin,) = [role for role in manager.roleList if role.name == "Admin"]
        left = [one for one in admin.privilege if one != POWER_ON]
        manager.UpdateAuthorizationRole(admin.roleId, "Admin", left)
    assert [told.partition(":")[0] for told in lacks(esx)] == [
        f"may not power VMs on ({POWER_ON} on folder of VMs vm)"
    ]


def test_where_nobody_tells_nothing_is_claimed(esx: VsphereTestbed) -> None:
    esx.server.tell("rights?mute=yes")
    driver = esx.opened("node-1")
    driver.facts(timeout_s=TIMEOUT_S)
    assert driver.facts(timeout_s=TIMEOUT_S).details.lacks == ()


def test_a_datastore_that_may_not_be_written_to_is_refused_by_name(esx: VsphereTestbed) -> None:
    driver = esx.opened("node-1")
    driver.define_vm(OFFER, timeout_s=TIMEOUT_S)
    esx.server.tell("rights?missing=Datastore.FileManagement")
    guest = GuestSpec("web-1-1", esx.image("web-1"), "web1", b"seed", {})
    with pytest.raises(Refused) as caught:
        driver.prepare(1, guest, nothing, timeout_s=TIMEOUT_S)
    assert "Datastore.FileManagement" in chain(caught.value) + caught.value.remedy
    assert not esx.store.exists()


def test_what_fails_without_a_privilege_is_known_by_its_name() -> None:
    assert purpose(POWER_ON) == "starting guests fails"
    assert purpose("Global.Diagnostics") == ""
    assert {need.where for need in NEEDS} == set(Where)
