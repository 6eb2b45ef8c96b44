"""An ESX host and a vCenter, simulated, are asked for their VMs, and nothing is changed there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metier.domain.errors import Refusal, Unavailable
from metier.estate.inventory import Power
from metier.estate.judging import Verdict, judged
from metier.estate.vsphere import Endpoint, VsphereInventory

testbed: Any = pytest.importorskip("tests.contract.vsphere_testbed", exc_type=ImportError)

pytestmark = pytest.mark.skipif(bool(testbed.missing()), reason=testbed.missing())

READING = frozenset(
    (
        *("RetrieveServiceContent", "Login", "Logout", "CreateContainerView", "DestroyView"),
        *("RetrievePropertiesEx", "ContinueRetrievePropertiesEx", "RetrieveProperties", "Fetch"),
    )
)
"""All that a listing may call: a view is of the session alone."""


@pytest.fixture
def esx(tmp_path: Path) -> Iterator[Any]:
    with testbed.running(tmp_path / "esx", "-esx", "-vm", "3") as server:
        yield server


def endpoint(
    server: Any, password: str = testbed.PASSWORD, ca_file: str = "", thumbprint: str = ""
) -> Endpoint:
    return Endpoint.parsed(server.url, testbed.USER, password, ca_file, thumbprint)


def inventory(server: Any) -> VsphereInventory:
    return VsphereInventory(endpoint(server, thumbprint=server.thumbprint))


def test_the_vms_of_an_esx_host_are_listed(esx: Any) -> None:
    found = inventory(esx).read()
    assert (len(found.vms), found.hosts) == (3, 1)
    assert "ESXi" in found.source
    for vm in found.vms:
        assert vm.power is Power.ON
        assert (vm.memory_mib, vm.cpus, vm.snapshots) == (32, 1, 0)
        assert vm.disks is not None
        assert vm.disks[0].capacity_bytes
        assert vm.nics
        assert judged(vm).verdict is Verdict.READY
        assert {disk.form for disk in vm.disks} == {"flat"}
        assert (vm.url, vm.user, vm.called) == (str(endpoint(esx)), testbed.USER, vm.name)


def test_a_vcenter_with_many_vms_is_listed_whole(tmp_path: Path) -> None:
    with testbed.running(tmp_path / "vcenter", "-vm", "260") as server:
        found = inventory(server).read()
        assert len({vm.name for vm in found.vms}) == len(found.vms) == 520
        assert all(vm.host for vm in found.vms)
        assert set(server.calls()) <= READING, "only what reads may be called"


def test_an_authority_is_believed_and_nobody_else(esx: Any, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(esx.certificate, encoding="ascii")
    assert len(VsphereInventory(endpoint(esx, ca_file=str(ca))).read().vms) == 3
    seen = ":".join(f"{byte:02X}" for byte in bytes.fromhex(esx.thumbprint))
    for doubted in (endpoint(esx), endpoint(esx, thumbprint="0" * 64)):
        with pytest.raises(Refusal, match=seen):
            VsphereInventory(doubted).read()
    assert esx.calls().get("Login", 0) == 1, "whoever is not believed is told no password"


def test_a_wrong_password_is_named_and_never_shown(esx: Any) -> None:
    esx.fault("Login", "fault", fault="InvalidLogin", times=1)
    with pytest.raises(Refusal, match="name or password is wrong") as caught:
        inventory(esx).read()
    assert testbed.PASSWORD not in str(caught.value) + repr(caught.value.__cause__)


def test_an_account_that_may_not_look_is_told_what_it_lacks(esx: Any) -> None:
    esx.fault("CreateContainerView", "fault", fault="NoPermission", times=1)
    with pytest.raises(Refusal, match="may not list"):
        inventory(esx).read()


@pytest.mark.parametrize("kind", ["drop", "garbage", "truncate", "fault"])
def test_what_goes_wrong_in_the_middle_leaves_no_half_list(esx: Any, kind: str) -> None:
    esx.fault("RetrievePropertiesEx", kind, fault="NotAuthenticated", times=5, skip=1)
    with pytest.raises(Unavailable, match="cannot list the VMs"):
        inventory(esx).read()


def test_a_server_that_is_gone_is_unavailable(esx: Any, tmp_path: Path) -> None:
    with testbed.running(tmp_path / "gone", "-esx") as server:
        gone = inventory(server)
    with pytest.raises(Unavailable, match="cannot list the VMs of https://127"):
        gone.read()
