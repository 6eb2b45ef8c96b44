"""What a VMware host tells is put into words and figures that people can use."""

from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.host_details import StoreRoom
from metier.drivers.hypervisor.vsphere.facts import is_for_vms, store_room
from metier.drivers.hypervisor.vsphere.licence import in_words
from metier.drivers.hypervisor.vsphere.vmware import vim

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEY = "12345-ABCDE-12345-ABCDE-12345"


def licence(name: str = "vSphere 8 Standard", edition: str = "esx.std", **told: object) -> str:
    properties = [vim.KeyAnyValue(key=key, value=value) for key, value in told.items()]
    found = vim.LicenseManager.LicenseInfo(
        licenseKey=KEY, name=name, editionKey=edition, properties=properties
    )
    return in_words(found, lambda: NOW)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "vSphere 8 Standard"),
        ({"expirationDate": NOW + timedelta(days=9)}, "vSphere 8 Standard, ends on 2026-01-11"),
        ({"expirationDate": NOW - timedelta(days=1)}, "vSphere 8 Standard, ended on 2026-01-01"),
        ({"name": "", "expirationDate": "soon"}, "unnamed licence"),
        ({"edition": "eval", "name": "Evaluation Mode"}, "evaluation mode"),
        ({"edition": "eval", "expirationHours": 24 * 59 + 23}, "evaluation mode, ends in 59 days"),
        ({"edition": "eval", "expirationHours": 30}, "evaluation mode, ends within two days"),
        ({"edition": "eval", "expirationHours": 0}, "evaluation mode, ended"),
    ],
)
def test_a_licence_is_told_in_words_and_its_key_is_not(told: dict[str, str], words: str) -> None:
    assert licence(**told) == words
    assert KEY not in words


@pytest.mark.parametrize(
    ("told", "free_gib", "state"),
    [
        ({}, 40, ""),
        ({"summary.maintenanceMode": "normal", "summary.accessible": True}, 40, ""),
        ({"summary.maintenanceMode": "inMaintenance"}, 0, "in maintenance mode"),
        ({"summary.maintenanceMode": "enteringMaintenance"}, 0, "in maintenance mode"),
        ({"summary.accessible": False}, 0, "not accessible"),
    ],
)
def test_what_cannot_be_written_to_has_nothing_free(
    told: dict[str, object], free_gib: int, state: str
) -> None:
    values = {"name": "vmfs", "summary.capacity": 100 << 30, "summary.freeSpace": 40 << 30, **told}
    assert store_room(values, is_used=True) == StoreRoom("vmfs", 100, free_gib, is_used=True, state=state)


def test_a_shared_datastore_is_told_apart() -> None:
    assert store_room({"name": "nfs", "summary.multipleHostAccess": True}, is_used=False).is_shared
    assert not store_room({"name": "nfs"}, is_used=False).is_shared


def test_the_uplinks_of_a_distributed_switch_are_for_no_vm() -> None:
    assert is_for_vms({})
    assert is_for_vms({"tag": [vim.Tag(key="somebody's own")]})
    assert not is_for_vms({"tag": [vim.Tag(key="SYSTEM/DVS.UPLINKPG")]})
