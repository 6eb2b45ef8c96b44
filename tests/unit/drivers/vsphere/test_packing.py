"""Devices become words and come back; what Metier did not write does not."""

import json
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.drivers.hypervisor.vsphere.packing import pack, unpack
from metier.drivers.hypervisor.vsphere.vmware import vim

_device = vim.vm.device


def a_disk() -> Any:
    backing = _device.VirtualDisk.FlatVer2BackingInfo(
        fileName="[store] a/b.vmdk",
        diskMode="persistent",
        thinProvisioned=True,
        datastore=vim.Datastore("datastore-1", None),
    )
    shares = vim.SharesInfo(shares=1000, level="normal")
    return _device.VirtualDisk(
        key=2000,
        controllerKey=1000,
        unitNumber=3,
        capacityInKB=1 << 40,
        backing=backing,
        storageIOAllocation=vim.StorageResourceManager.IOAllocationInfo(limit=-1, shares=shares),
    )


def test_a_device_comes_back_as_it_was_without_the_servers_own_ids() -> None:
    packed = json.loads(json.dumps(pack(a_disk())))
    disk = unpack(packed)
    assert type(disk) is _device.VirtualDisk
    assert (disk.key, disk.controllerKey, disk.unitNumber, disk.capacityInKB) == (2000, 1000, 3, 1 << 40)
    assert (disk.backing.fileName, disk.backing.thinProvisioned) == ("[store] a/b.vmdk", True)
    assert disk.backing.datastore is None
    assert disk.storageIOAllocation.shares.level == "normal"
    assert pack(disk) == packed


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        "{}",
        '{"=": 5}',
        '{"=": "NoSuchThing"}',
        '{"=": "VirtualMachineConfigSpec"}',
        '{"=": "VirtualDisk", "key": "a"}',
        '{"=": "VirtualDisk", "strange": 1}',
        '{"=": "VirtualDisk", "key": [1]}',
        '{"=": "VirtualDisk", "key": {"=": "VirtualDisk"}}',
        '{"=": "VirtualDisk", "backing": {"=": "VirtualDisk"}}',
        '{"=": "VirtualDisk", "backing": "a word"}',
        '{"=": "VirtualDisk", "_wsdlName": "a"}',
    ],
)
def test_what_was_not_packed_is_not_unpacked(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        unpack(json.loads(text))
