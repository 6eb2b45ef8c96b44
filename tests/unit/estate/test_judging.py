"""What an import of each VM would need: the verdict, and each thing with what to do."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.image import ImageType
from metier.estate.devices import controller_note, nic_note
from metier.estate.guests import image_type, why_impossible
from metier.estate.inventory import EstateDisk, EstateNic, EstateVm, Power
from metier.estate.judging import Verdict, judged

GIB = 1 << 30
DISK = EstateDisk(
    "Hard disk 1", 40 * GIB, thin=True, mode="persistent", controller="ParaVirtualSCSIController"
)
READY = EstateVm(
    name="web",
    power=Power.OFF,
    memory_mib=2048,
    cpus=2,
    guest_os="Ubuntu Linux (64-bit)",
    firmware="bios",
    disks=(DISK,),
    nics=(EstateNic("Vmxnet3", "VM Network"),),
    snapshots=0,
)


def a_vm(**own: Any) -> EstateVm:
    return replace(READY, **own)


def a_disk(**own: Any) -> EstateVm:
    return a_vm(disks=(replace(DISK, **own),))


def test_a_vm_without_anything_special_is_ready() -> None:
    found = judged(READY)
    assert found.verdict is Verdict.READY
    assert (found.blockers, found.work, found.at_the_move, found.unknown) == ((), (), (), ())


def test_a_running_vm_is_ready_and_shut_down_when_its_turn_comes() -> None:
    found = judged(a_vm(power=Power.ON))
    assert found.verdict is Verdict.READY
    assert found.at_the_move == ("shut its guest OS down from inside",)
    assert judged(a_vm(power=Power.UNKNOWN)).at_the_move == ("see that it is off",)


@pytest.mark.parametrize(
    ("vm", "words"),
    [
        (a_vm(snapshots=1), "it has a snapshot: delete"),
        (a_vm(snapshots=3), "3 snapshots: delete them all"),
        (a_vm(needs_consolidation=True), "Snapshots, Consolidate"),
        (a_vm(is_encrypted=True), "decrypt it"),
        (a_vm(has_tpm=True), "suspend BitLocker"),
        (a_vm(power=Power.SUSPENDED), "resume it"),
        (a_vm(is_fault_tolerant=True), "turn that off"),
        (a_vm(connection="orphaned"), "calls it orphaned"),
        (a_vm(is_ambiguous=True, disks=()), "rename one"),
        (a_vm(disks=None), "export the tab vDisk"),
        (a_vm(passed_through=("USB device Dongle",)), "USB device Dongle: do without it"),
        (a_disk(raw="physical"), "raw device mapping in physical mode: copy it"),
        (a_disk(raw="unknown"), "raw device mapping: copy it"),
    ],
)
def test_what_needs_work_says_what_to_do(vm: EstateVm, words: str) -> None:
    found = judged(vm)
    assert found.verdict is Verdict.NEEDS_WORK
    assert any(words in text for text in found.work), found.work


@pytest.mark.parametrize(
    ("vm", "words"),
    [
        (a_vm(disks=()), "no hard disk"),
        (a_vm(disks=None, disk_count=0), "no hard disk"),
        (a_disk(is_shared=True), "Hard disk 1 may be written by several VMs"),
        (a_disk(capacity_bytes=3 << 40), "Hard disk 1 has 3.0 TiB; an import takes 2.0 TiB at most"),
        (a_vm(disks=(DISK,) * 257), "257 disks"),
        (a_vm(memory_mib=1 << 40), "more than any host has"),
        (a_vm(guest_os="Apple macOS 13 (64-bit)"), "Apple's hardware"),
        (a_vm(guest_os="VMware ESXi 8.0 or later"), "ESX host in a VM"),
        (a_vm(guest_os="Ubuntu Linux (64-bit Arm)"), "ARM"),
        (a_vm(name="vCLS-1a2b"), "part of VMware itself"),
        (a_vm(name="vCLS (12)"), "part of VMware itself"),
        (a_vm(connection="a placeholder of Site Recovery Manager"), "import the VM that it stands for"),
    ],
)
def test_what_is_not_possible_says_why(vm: EstateVm, words: str) -> None:
    found = judged(vm)
    assert found.verdict is Verdict.NOT_POSSIBLE
    assert any(words in text for text in found.blockers), found.blockers


@pytest.mark.parametrize(
    ("vm", "words"),
    [
        (a_vm(firmware="uefi"), "boots by UEFI"),
        (a_vm(secure_boot=True), "Secure Boot"),
        (a_vm(is_template=True), "a template"),
        (a_disk(mode="independent_persistent"), "independent"),
        (a_disk(mode="independent-nonpersistent"), "forgets its changes"),
        (a_disk(controller="LSI Logic"), "LSI 53C895A"),
        (a_disk(controller="VirtualNVMEController"), "SATA"),
        (a_vm(nics=(EstateNic("Flexible"),)), "AMD PCnet"),
        (READY, "MAC address of its own"),
    ],
)
def test_what_will_be_different_is_a_note(vm: EstateVm, words: str) -> None:
    found = judged(vm)
    assert found.verdict is Verdict.READY
    assert any(words in text for text in found.notes), found.notes


def test_what_nobody_said_is_named() -> None:
    bare = EstateVm("web", disks=(replace(DISK, capacity_bytes=None),))
    assert judged(bare).unknown == (
        *("snapshots", "firmware", "guest OS", "memory", "network cards"),
        "size of a disk",
    )


def test_guests_are_known_by_both_of_vmwares_ways_to_call_them() -> None:
    for name in ("Microsoft Windows Server 2019 (64-bit)", "windows2019srv_64Guest", "winNetEnterpriseGuest"):
        assert image_type(name) is ImageType.WINDOWS, name
    for name in (
        "ubuntu64Guest",
        "Red Hat Enterprise Linux 8 (64-bit)",
        "CentOS 7 (64-bit)",
        "sles15_64Guest",
    ):
        assert image_type(name) is ImageType.LINUX, name
    for name in ("FreeBSD 13 (64-bit)", "Oracle Solaris 11 (64-bit)", "otherGuest", ""):
        assert image_type(name) is ImageType.OTHER, name
    assert why_impossible("x", "darwin21_64Guest")
    assert why_impossible("x", "vmkernel8Guest")
    assert not why_impossible("charm-server", "Microsoft Windows 11 (64-bit)")


def test_devices_are_known_however_they_are_written() -> None:
    for text in (
        "VMware paravirtual SCSI",
        "ParaVirtualSCSIController",
        "pvscsi",
        "LSI Logic SAS",
        "SATA controller 0",
    ):
        assert controller_note(text) == "", text
    assert controller_note("SCSI controller 0") == ""
    for text in ("LSI Logic", "VirtualLsiLogicController", "lsilogic"):
        assert "53C895A" in controller_note(text), text
    for text in ("Vmxnet3", "VirtualVmxnet3", "E1000", "E1000e", "VirtualE1000", "PCNet32", ""):
        assert nic_note(text) == "", text
    assert "unknown" in nic_note("NE2000")


VMS = st.builds(
    EstateVm,
    name=st.text(max_size=20),
    power=st.sampled_from(Power),
    memory_mib=st.none() | st.integers(0, 1 << 50),
    cpus=st.none() | st.integers(0, 1 << 20),
    guest_os=st.sampled_from(["", "Debian", "Windows", "macOS", "ESX"]) | st.text(max_size=20),
    firmware=st.sampled_from(["", "bios", "uefi"]),
    disk_count=st.none() | st.integers(0, 300),
    disks=st.none()
    | st.lists(
        st.builds(
            EstateDisk,
            st.text(max_size=9),
            st.none() | st.integers(0, 1 << 50),
            st.none() | st.booleans(),
            raw=st.sampled_from(["", "physical"]),
            is_shared=st.booleans(),
            controller=st.text(max_size=9),
        ),
        max_size=3,
    ).map(tuple),
    nics=st.none() | st.lists(st.builds(EstateNic, st.text(max_size=9)), max_size=3).map(tuple),
    used_bytes=st.none() | st.integers(0, 1 << 50),
    snapshots=st.none() | st.integers(0, 9),
    is_encrypted=st.booleans(),
)


@given(VMS)
def test_whatever_is_said_of_a_vm_gets_one_verdict_with_its_reasons(vm: EstateVm) -> None:
    found = judged(vm)
    assert (found.verdict is Verdict.NOT_POSSIBLE) == bool(found.blockers)
    assert (found.verdict is Verdict.READY) == (not found.blockers and not found.work)
    if vm.snapshots or vm.is_encrypted or vm.disks is None:
        assert found.verdict is not Verdict.READY, "what must be done first is never ready"
