"""What keeps a VM from being copied, and its hardware in `.vmx` words: of VMware's own data objects."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.drivers.formats.machine import MachineFound
from metier.drivers.formats.vmx import machine_of, parse_vmx
from metier.drivers.hypervisor.vsphere.foreign import Drive, drives_of, guest_os, obstacles_of, vmx_of
from metier.drivers.hypervisor.vsphere.vmware import plain, vim

device = vim.vm.device
FLAT = device.VirtualDisk.FlatVer2BackingInfo


def a_controller(kind: Any, key: int, bus: int = 0, **more: Any) -> Any:
    return kind(key=key, busNumber=bus, **more)


def a_disk(controller: int, unit: int, backing: Any = None, kib: int = 1024) -> Any:
    return device.VirtualDisk(
        key=2000 + 16 * controller + unit,
        controllerKey=controller,
        unitNumber=unit,
        capacityInKB=kib,
        deviceInfo=vim.Description(label="Hard disk 1", summary=""),
        backing=backing or flat(),
    )


def flat(**more: Any) -> Any:
    return FLAT(**({"fileName": "[ds] web/web.vmdk", "diskMode": "persistent"} | more))


SCSI = a_controller(device.ParaVirtualSCSIController, 1000, sharedBus="noSharing")


def a_vm(*devices: Any, **values: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "runtime.connectionState": "connected",
        "runtime.powerState": "poweredOff",
        "config.guestId": "otherLinux64Guest",
        "config.hardware.memoryMB": 512,
        "config.hardware.numCPU": 2,
        "config.hardware.device": devices or (SCSI, a_disk(1000, 0)),
    } | {key.replace("__", "."): value for key, value in values.items()}


def obstacles(values: dict[str, Any]) -> tuple[str, ...]:
    return obstacles_of(values, drives_of(values, {"ds"}))


def machine(values: dict[str, Any]) -> tuple[MachineFound, tuple[Drive, ...]]:
    drives = drives_of(values, {"ds"})
    return machine_of(parse_vmx(vmx_of(values, drives, "state 1").encode(), "web.vmx")), drives


def test_nothing_is_in_the_way_of_a_plain_vm() -> None:
    assert obstacles(a_vm()) == ()


@pytest.mark.parametrize(
    ("backing", "words"),
    [
        (
            device.VirtualDisk.RawDiskMappingVer1BackingInfo(compatibilityMode="physicalMode"),
            "in physical mode",
        ),
        (device.VirtualDisk.SeSparseBackingInfo(fileName="[ds] a.vmdk"), "SeSparse"),
        (flat(sharing="sharingMultiWriter"), "other VMs at the same time"),
        (flat(fileName="[gone] web/web.vmdk"), "does not reach"),
        (flat(fileName=""), "no file that can be read"),
        (flat(parent=flat()), "linked clone"),
        (flat(keyId=vim.encryption.CryptoKeyId(keyId="1")), "encrypted"),
    ],
)
def test_a_disk_that_cannot_be_copied_is_named(backing: Any, words: str) -> None:
    (found,) = obstacles(a_vm(SCSI, a_disk(1000, 0, backing)))
    assert found.startswith("Hard disk 1 ")
    assert words in found


@pytest.mark.parametrize(
    ("controller", "words"),
    [
        (a_controller(device.ParaVirtualSCSIController, 1000, sharedBus="physicalSharing"), "same time"),
        (a_controller(device.VirtualController, 1000), "does not know"),
        (a_controller(device.VirtualAHCIController, 1000, bus=12), "does not know"),
    ],
)
def test_a_controller_may_be_in_the_way_too(controller: Any, words: str) -> None:
    assert any(words in one for one in obstacles(a_vm(controller, a_disk(1000, 0))))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"runtime__powerState": "suspended"}, "suspended"),
        ({"runtime__powerState": None}, "nobody says"),
        ({"runtime__connectionState": "orphaned"}, "orphaned"),
        ({"runtime__consolidationNeeded": True}, "consolidation"),
        ({"config__hardware__device": (SCSI,)}, "no hard disk"),
        ({"config__hardware__device": (SCSI, a_disk(1000, 0, kib=0))}, "0 bytes"),
    ],
)
def test_the_state_of_a_vm_may_be_in_the_way(values: dict[str, Any], words: str) -> None:
    assert any(words in one for one in obstacles(a_vm(**values)))


def test_snapshots_are_named_down_to_the_last() -> None:
    def tree(name: str, *below: Any) -> Any:
        return SimpleNamespace(name=name, childSnapshotList=list(below))

    snapshot = SimpleNamespace(rootSnapshotList=[tree("a", tree("b\n"), tree("c"))])
    assert "it has snapshots (a, b , c): " in obstacles(a_vm(snapshot=snapshot))[0]


def test_controllers_and_the_boot_order_are_kept() -> None:
    sata = a_controller(device.VirtualAHCIController, 15000)
    ide = a_controller(device.VirtualIDEController, 200, 0)
    lsi = a_controller(device.VirtualLsiLogicSASController, 1001, 1, sharedBus="noSharing")
    order = SimpleNamespace(key="bios.hddOrder", value="scsi1:0, scsi0:0, floppy")
    found, drives = machine(
        a_vm(
            *(ide, sata, SCSI, lsi),
            *(a_disk(200, 1), a_disk(15000, 3), a_disk(1001, 0), a_disk(1000, 2), a_disk(1000, 0)),
            config__extraConfig=[order],
        )
    )
    assert [drive.slot for drive in drives] == ["scsi0:0", "scsi0:2", "scsi1:0", "sata0:3", "ide0:1"]
    assert [(disk.slot, disk.file) for disk in found.disks] == [
        ("scsi1:0", "disk2.vmdk"),
        ("scsi0:0", "disk0.vmdk"),
        ("scsi0:2", "disk1.vmdk"),
        ("sata0:3", "disk3.vmdk"),
        ("ide0:1", "disk4.vmdk"),
    ]
    assert [disk.controller for disk in found.disks[:2]] == ["lsisas1068", "vmpvscsi"]


def test_cards_and_what_is_left_out_are_told() -> None:
    nics = (device.VirtualVmxnet3(key=1), device.VirtualE1000e(key=2), device.VirtualPCNet32(key=3))
    found, _ = machine(a_vm(SCSI, a_disk(1000, 0), *nics, device.VirtualPCIPassthrough(key=9)))
    assert found.nic_models == ("vmxnet3", "e1000e", "pcnet")
    assert any("pcipassthru0 has no counterpart" in remark for remark in found.remarks)


@pytest.mark.parametrize("name", ['a"b', "a|22b", "a\nmemsize = 9", "größer", "x" * 300])
def test_no_name_breaks_out_of_its_line(name: str) -> None:
    found, _ = machine(a_vm(name=name))
    assert found.memory_mib == 512


def test_words_of_the_api_become_those_of_a_vmx() -> None:
    assert [
        guest_os(word) for word in ("debian12_64Guest", "otherLinux64Guest", "winNetEnterpriseGuest", "")
    ] == [
        "debian12-64",
        "otherlinux64",
        "winnetenterprise",
        "",
    ]
    assert plain("a%2fb%5c%25") == "a/b\\%"
