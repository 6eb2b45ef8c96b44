"""Which virtual hardware a VM gets for an image, and how VMware is told."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import Refused
from metier.domain.image import Disk, Machine
from metier.drivers.hypervisor.vsphere.devices import DiskFile, with_instance, without_instance
from metier.drivers.hypervisor.vsphere.mark import Mark, mark_options, read_mark
from metier.drivers.hypervisor.vsphere.shape import shape_for
from metier.drivers.hypervisor.vsphere.vms import Vm
from metier.drivers.hypervisor.vsphere.vmware import vim

device = vim.vm.device
DISK = Disk("disk0.qcow2", 1 << 30, 1 << 20, "sha256-64k:0")
FILE = DiskFile("[ds] instances/a/disk0.vmdk", "[ds] images/b/disk0.vmdk", 1 << 30)


def a_vm(*devices: Any) -> Vm:
    ide = [device.VirtualIDEController(key=200 + n, busNumber=n) for n in range(2)]
    everything = (*ide, *devices)
    return Vm(None, "vm", "poweredOff", "", 64, 1, everything, {}, None, "bios", None)


def a_nic(kind: Any = device.VirtualVmxnet3) -> Any:
    backing = device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    return kind(key=4000, macAddress="00:0c:29:00:00:01", backing=backing)


def changed(changes: list[Any]) -> list[tuple[str, str]]:
    return [(str(one.operation), type(one.device).__name__.rpartition(".")[2]) for one in changes]


@pytest.mark.parametrize(
    ("bus", "controller", "guest", "expected", "is_remarked"),
    [
        ("scsi", "lsilogic", "", "VirtualLsiLogicController", False),
        ("scsi", "", "", "VirtualLsiLogicController", False),
        ("scsi", "buslogic", "", "VirtualBusLogicController", False),
        ("scsi", "virtio-scsi", "", "ParaVirtualSCSIController", True),
        ("virtio", "", "", "ParaVirtualSCSIController", True),
        ("virtio", "", "windows9_64Guest", "VirtualLsiLogicSASController", True),
        ("sata", "", "", "VirtualAHCIController", False),
        ("ide", "", "", "VirtualIDEController", False),
    ],
)
def test_a_disk_is_where_its_guest_looks_for_it(
    bus: str, controller: str, guest: str, expected: str, is_remarked: bool
) -> None:
    disk = replace(DISK, bus=bus, controller=controller)
    shape = shape_for(Machine((disk,), nic_models=("e1000",), guest_os=guest), 1)
    assert shape.disks[0].controller.__name__.rpartition(".")[2] == expected
    assert any("disk 1" in remark for remark in shape.remarks) == is_remarked


def test_more_disks_than_places_are_refused() -> None:
    disks = (replace(DISK, bus="scsi"),) * 16
    with pytest.raises(Refused, match="disk 16"):
        shape_for(Machine(disks), 1)
    assert 7 not in [place.unit for place in shape_for(Machine(disks[:15]), 1).disks]


def test_interfaces_are_of_the_images_kind_or_the_nearest() -> None:
    shape = shape_for(Machine((), nic_models=("e1000", "virtio")), 3)
    names = [kind.__name__.rpartition(".")[2] for kind in shape.nics]
    assert names == ["VirtualE1000", "VirtualVmxnet3", "VirtualVmxnet3"]
    assert "network interface 2 is a virtio" in shape.remarks[0]


def test_an_unknown_guest_gets_a_word_that_hosts_know() -> None:
    assert shape_for(Machine((), guest_os="debian11-64"), 1).guest_id == "debian11_64Guest"
    assert shape_for(Machine((), guest_os="plan9"), 1).guest_id == "otherLinux64Guest"


def test_an_instance_is_made_with_its_controller_and_seed() -> None:
    shape = shape_for(Machine((replace(DISK, bus="scsi"),), nic_models=("vmxnet3",)), 1)
    changes = with_instance(a_vm(a_nic()), shape, [FILE], "[ds] seed.iso")
    assert changed(changes) == [
        ("add", "VirtualLsiLogicController"),
        ("add", "VirtualDisk"),
        ("add", "VirtualCdrom"),
    ]
    disk = changes[1].device
    assert (disk.backing.fileName, disk.backing.parent.fileName) == (FILE.path, FILE.parent)
    assert (changes[1].fileOperation, disk.capacityInKB) == ("create", 1 << 20)


def test_what_another_image_left_gives_way() -> None:
    left = [device.VirtualLsiLogicController(key=1000, busNumber=0), a_nic(device.VirtualE1000)]
    shape = shape_for(Machine((replace(DISK, bus="scsi", controller="pvscsi"),), nic_models=("vmxnet3",)), 1)
    changes = with_instance(a_vm(*left), shape, [FILE], "[ds] seed.iso")
    assert changed(changes) == [
        ("remove", "VirtualE1000"),
        ("add", "VirtualVmxnet3"),
        ("remove", "VirtualLsiLogicController"),
        ("add", "ParaVirtualSCSIController"),
        ("add", "VirtualDisk"),
        ("add", "VirtualCdrom"),
    ]
    assert changes[3].device.busNumber == 0


def test_an_instance_that_is_there_is_only_given_a_new_seed() -> None:
    backing = device.VirtualDisk.FlatVer2BackingInfo(fileName=FILE.path, diskMode="persistent")
    there = [
        device.VirtualLsiLogicController(key=1000, busNumber=0),
        device.VirtualDisk(key=2000, backing=backing, capacityInKB=1 << 20),
        device.VirtualCdrom(key=3000),
    ]
    shape = shape_for(Machine((replace(DISK, bus="scsi"),), nic_models=()), 0)
    changes = with_instance(a_vm(*there), shape, [replace(FILE, parent=None)], "[ds] seed.iso")
    assert changed(changes) == [("remove", "VirtualCdrom"), ("add", "VirtualCdrom")]
    assert changed(without_instance(a_vm(*there))) == [("remove", "VirtualDisk"), ("remove", "VirtualCdrom")]
    assert all(one.fileOperation is None for one in without_instance(a_vm(*there)))


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = Mark("metier", "esx-1", 12, 8, "web-1-1", "web-1", {"slot": "web/1"})
    written = {option.key: option.value for option in mark_options(mark)}
    assert read_mark(written) == replace(mark, facts={})
    bare = {option.key: option.value for option in mark_options(Mark("metier", "esx-1", 12))}
    assert read_mark(bare) == Mark("metier", "esx-1", 12)


@pytest.mark.parametrize(
    ("key", "value"),
    [("site", ""), ("node", ""), ("number", "0"), ("number", "x"), ("number", "²"), ("number", "9" * 20)],
)
def test_what_metier_would_not_write_is_no_mark(key: str, value: str) -> None:
    written = {option.key: option.value for option in mark_options(Mark("metier", "esx-1", 1))}
    assert read_mark(written | {f"metier.{key}": value}) is None
