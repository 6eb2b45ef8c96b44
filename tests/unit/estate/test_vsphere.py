"""VMs as vSphere's own API describes them: made of its data objects, and asked of its simulator."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from metier.domain.errors import Unavailable, WrongUsage
from metier.estate.inventory import EstateDisk, EstateNic, Power
from metier.estate.vsphere import Endpoint, objects_of
from metier.estate.vsphere_vm import PROPERTIES, machine_of

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")
from pyVmomi import vim, vmodl

GIB = 1 << 30
device: Any = vim.vm.device


def labelled(made: Any, label: str, **own: Any) -> Any:
    made.deviceInfo = vim.Description(label=label, summary="")
    for name, value in own.items():
        setattr(made, name, value)
    return made


def a_controller(made: Any, key: int, bus: str = "noSharing") -> Any:
    return labelled(made, "SCSI controller 0", key=key, busNumber=0, sharedBus=bus)


def a_disk(key: int, controller: int, backing: Any, size: int = 8 * GIB) -> Any:
    own = {"key": key, "controllerKey": controller, "capacityInBytes": size, "backing": backing}
    return labelled(device.VirtualDisk(), f"Hard disk {key}", **own)


def flat(**own: Any) -> Any:
    usual = {"diskMode": "persistent", "thinProvisioned": True, "fileName": "[ds] a/a.vmdk"}
    return device.VirtualDisk.FlatVer2BackingInfo(**{**usual, **own})


def values_of(*devices: Any, **own: Any) -> dict[str, Any]:
    return {
        "name": "a%2fb%25",
        "config.hardware.device": list(devices),
        "config.hardware.memoryMB": 2048,
        "config.hardware.numCPU": 2,
        "config.firmware": "efi",
        "config.guestFullName": "Ubuntu Linux (64-bit)",
        "runtime.powerState": "poweredOff",
        "runtime.connectionState": "connected",
        "summary.storage.committed": GIB,
        **{key.replace("__", "."): value for key, value in own.items()},
    }


def test_disks_and_cards_are_told_with_what_they_are_on() -> None:
    found = machine_of(
        values_of(
            a_controller(device.ParaVirtualSCSIController(), 1000),
            a_controller(device.VirtualLsiLogicSASController(), 1001, "physicalSharing"),
            a_disk(1, 1000, flat()),
            a_disk(2, 1001, flat(diskMode="independent_persistent", thinProvisioned=False)),
            a_disk(3, 1000, flat(sharing="sharingMultiWriter")),
            a_disk(
                4, 1000, device.VirtualDisk.RawDiskMappingVer1BackingInfo(compatibilityMode="physicalMode")
            ),
            labelled(
                device.VirtualVmxnet3(),
                "Network adapter 1",
                macAddress="00:50:56:00:00:01",
                backing=device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network"),
            ),
        ),
        "esx-1",
    )
    assert found.disks is not None
    assert [disk.form for disk in found.disks] == ["flat", "flat", "flat", ""]
    assert tuple(replace(disk, form="") for disk in found.disks) == (
        EstateDisk("Hard disk 1", 8 * GIB, True, "", "persistent", False, "ParaVirtualSCSIController"),
        EstateDisk(
            "Hard disk 2", 8 * GIB, False, "", "independent_persistent", True, "LsiLogicSASController"
        ),
        EstateDisk("Hard disk 3", 8 * GIB, True, "", "persistent", True, "ParaVirtualSCSIController"),
        EstateDisk("Hard disk 4", 8 * GIB, None, "physical", "", False, "ParaVirtualSCSIController"),
    )
    assert found.nics == (EstateNic("Vmxnet3", "VM Network"),)
    assert (found.name, found.power, found.firmware, found.host) == ("a/b%", Power.OFF, "uefi", "esx-1")
    assert (found.memory_mib, found.snapshots, found.is_encrypted) == (2048, 0, False)


def test_what_a_disk_is_in_is_told() -> None:
    child = flat(fileName="[ds] b/b.vmdk", parent=flat())
    sparse = device.VirtualDisk.SeSparseBackingInfo(fileName="[ds] a/c.vmdk", diskMode="persistent")
    found = machine_of(
        values_of(
            a_controller(device.ParaVirtualSCSIController(), 1000),
            a_disk(1, 1000, flat(fileName="[objects] a/a.vmdk")),
            a_disk(2, 1000, child),
            a_disk(3, 1000, sparse),
        ),
        "esx-1",
        {"ds": "VMFS", "objects": "vsan"},
    )
    assert found.disks is not None
    assert [(disk.form, disk.is_child) for disk in found.disks] == [
        ("vsan", False),
        ("flat", True),
        ("sesparse", False),
    ]


def test_what_stands_in_the_way_is_seen() -> None:
    def a_snapshot(*children: Any) -> Any:
        return vim.vm.SnapshotTree(name="x", childSnapshotList=list(children))

    tree = vim.vm.SnapshotInfo(rootSnapshotList=[a_snapshot(a_snapshot(), a_snapshot(a_snapshot()))])
    found = machine_of(
        values_of(
            device.VirtualTPM(key=1),
            labelled(device.VirtualUSB(), "USB 1", key=2),
            labelled(device.VirtualPCIPassthrough(), "GPU", key=3),
            snapshot=tree,
            config__keyId=vim.encryption.CryptoKeyId(keyId="k"),
            runtime__connectionState="orphaned",
            runtime__consolidationNeeded=True,
        ),
        "",
    )
    assert (found.snapshots, found.is_encrypted, found.has_tpm) == (4, True, True)
    assert found.passed_through == ("USB device USB 1", "PCI device GPU")
    assert (found.connection, found.needs_consolidation) == ("orphaned", True)


def test_what_may_not_be_looked_at_is_unknown() -> None:
    found = machine_of({"name": "web"}, "")
    assert (found.disks, found.nics, found.snapshots, found.memory_mib) == (None, None, None, None)
    assert found.power is Power.UNKNOWN


def test_what_is_asked_is_known_to_the_api() -> None:
    info: Any = vim.VirtualMachine
    for path in PROPERTIES:
        kind = info
        for part in path.split("."):
            kind = kind._GetPropertyInfo(part).type


def test_an_endpoint_keeps_its_password_to_itself() -> None:
    made = Endpoint.parsed("https://esx-1:8443/sdk", "root", "secret", "", "AA:" * 31 + "AA")
    assert (str(made), made.thumbprint) == ("https://esx-1:8443/sdk", "aa" * 32)
    assert "secret" not in repr(made)
    assert str(Endpoint.parsed("https://[::1]", "root", "", "", "")) == "https://[::1]/sdk"
    with pytest.raises(WrongUsage, match="64 hexadecimal digits"):
        Endpoint.parsed("https://esx-1", "root", "", "", "aa")


class PagingServer:
    """Answers as a vCenter with many VMs does: so many at a time, the rest for a token."""

    version = "vim.version.version12"

    def __init__(self, pages: list[list[str]], promised: int) -> None:
        self.pages, self.promised = pages, promised
        self.asked: list[str] = []

    def InvokeMethod(self, thing: Any, info: Any, arguments: Any) -> Any:  # noqa: N802 - as pyvmomi calls it
        self.asked.append(info.name)
        if info.name == "CreateContainerView":
            return vim.view.ContainerView("view", self)
        return self._page() if "RetrieveProperties" in info.name else None

    def InvokeAccessor(self, thing: Any, info: Any) -> Any:  # noqa: N802 - as pyvmomi calls it
        return [vim.VirtualMachine(f"vm-{number}", self) for number in range(self.promised)]

    def _page(self) -> Any:
        if not self.pages:
            return None
        names = self.pages.pop(0)
        told = [
            vmodl.query.PropertyCollector.ObjectContent(
                obj=vim.VirtualMachine(name, self), propSet=[vmodl.DynamicProperty(name="name", val=name)]
            )
            for name in names
        ]
        token = "more" if self.pages else None
        return vmodl.query.PropertyCollector.RetrieveResult(objects=told, token=token)

    def content(self) -> Any:
        return SimpleNamespace(
            viewManager=vim.view.ViewManager("views", self),
            rootFolder=vim.Folder("root", self),
            propertyCollector=vmodl.query.PropertyCollector("collector", self),
        )


def test_all_pages_of_a_long_list_are_asked_for() -> None:
    server = PagingServer([["a", "b"], ["c"], ["d"]], promised=4)
    found = [values["name"] for values in objects_of(server.content(), "VirtualMachine", ("name",))]
    assert found == ["a", "b", "c", "d"]
    assert server.asked == [
        *("CreateContainerView", "RetrievePropertiesEx"),
        *("ContinueRetrievePropertiesEx", "ContinueRetrievePropertiesEx", "Destroy"),
    ]
    assert list(objects_of(PagingServer([], promised=0).content(), "VirtualMachine", ("name",))) == []


def test_a_list_that_ends_too_early_is_no_list() -> None:
    server = PagingServer([["a", "b"]], promised=3)
    with pytest.raises(Unavailable, match="told of 2 objects and has 3"):
        list(objects_of(server.content(), "VirtualMachine", ("name",)))
    assert server.asked[-1] == "Destroy"
