"""Which virtual hardware an image gets on a host, and what is said of what it does not get."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.errors import Refused
from metier.domain.image import Disk, Machine
from metier.drivers.hypervisor.libvirt.shape import Offers, PlacedDisk, Shape, shape_for

# What a stock QEMU 7 offers.
BUSES = {"pc": {"ide", "scsi", "virtio", "sata"}, "q35": {"scsi", "virtio", "sata"}}
MODELS = {
    "scsi": {"lsilogic", "lsisas1068", "vmpvscsi", "virtio-scsi"},
    "nic": {"e1000", "e1000e", "rtl8139", "virtio", "vmxnet3", "pcnet"},
}


def stock(machine: str, kind: str, model: str) -> bool:
    return model in (BUSES[machine] if kind == "bus" else MODELS[kind])


def without(*lacking: str) -> Offers:
    return lambda machine, kind, model: model not in lacking and stock(machine, kind, model)


def a_disk(bus: str = "virtio", controller: str = "") -> Disk:
    return Disk("disk.qcow2", 1 << 30, 1 << 20, "sha256:0", bus, controller)


def shape(
    *disks: Disk,
    nics: tuple[str, ...] = ("virtio",),
    count: int = 1,
    offers: Offers = stock,
    firmware: str = "bios",
) -> Shape:
    return shape_for(Machine(disks, firmware, nics), count, offers, has_uefi=True)


def test_what_the_host_has_is_honoured_without_a_word() -> None:
    given = shape(a_disk("scsi", "lsilogic"), a_disk("ide"), nics=("vmxnet3", "e1000"), count=2)
    assert given.disks == (PlacedDisk("scsi", "sda", "lsilogic"), PlacedDisk("ide", "hda"))
    assert given.nics == ("vmxnet3", "e1000")
    assert (given.machine, given.cdrom, given.remarks) == ("pc", PlacedDisk("ide", "hdd"), ())


def test_uefi_keeps_the_cdrom_that_every_guest_can_read() -> None:
    given = shape(a_disk("sata"), firmware="uefi")
    assert (given.machine, given.firmware, given.remarks) == ("pc", "uefi", ())
    assert given.cdrom == PlacedDisk("ide", "hdd")


def test_uefi_starts_from_a_controller_that_its_firmware_knows() -> None:
    given = shape(a_disk("scsi", "vmpvscsi"), a_disk("scsi", "lsilogic"), firmware="uefi")
    assert [disk.controller for disk in given.disks] == ["virtio-scsi", "lsilogic"]
    assert given.cdrom == PlacedDisk("scsi", "sdz", "virtio-scsi")
    assert given.remarks == ("UEFI here does not start from a vmpvscsi controller; disk 1 is on virtio-scsi",)


def test_uefi_without_firmware_on_the_host_is_refused_with_a_remedy() -> None:
    with pytest.raises(Refused, match="no UEFI firmware") as caught:
        shape_for(Machine((a_disk(),), "uefi"), 1, stock, has_uefi=False)
    assert "ovmf" in caught.value.remedy


@pytest.mark.parametrize(
    ("disk", "lacking", "bus", "controller"),
    [
        (a_disk("scsi", "buslogic"), (), "scsi", "lsilogic"),
        (a_disk("scsi", "lsilogic"), ("lsilogic",), "scsi", "lsisas1068"),
        (a_disk("scsi", "vmpvscsi"), ("vmpvscsi",), "scsi", "virtio-scsi"),
        (a_disk("scsi", "lsilogic"), ("scsi",), "virtio", ""),
        (a_disk("ide"), ("ide",), "sata", ""),
        (a_disk("nvme"), (), "virtio", ""),
    ],
)
def test_a_disk_gets_the_nearest_and_a_remark(
    disk: Disk, lacking: tuple[str, ...], bus: str, controller: str
) -> None:
    given = shape(disk, offers=without(*lacking))
    assert (given.disks[0].bus, given.disks[0].controller) == (bus, controller)
    assert len(given.remarks) == 1


@pytest.mark.parametrize(
    ("model", "lacking", "instead"),
    [
        ("vmxnet3", ("vmxnet3",), "e1000e"),
        ("vlance", (), "pcnet"),
        ("rtl8139", ("rtl8139",), "e1000"),
        ("e1000", ("e1000", "e1000e", "rtl8139"), "virtio"),
        ("ne2k_isa", (), "e1000"),
    ],
)
def test_a_network_interface_gets_the_nearest_and_a_remark(
    model: str, lacking: tuple[str, ...], instead: str
) -> None:
    given = shape(nics=(model,), offers=without(*lacking))
    assert given.nics == (instead,)
    assert len(given.remarks) == 1
    assert model in given.remarks[0]
    assert instead in given.remarks[0]


def test_the_vm_decides_how_many_interfaces_there_are() -> None:
    fewer = shape(nics=("e1000", "virtio"), count=1)
    assert fewer.nics == ("e1000",)
    assert fewer.remarks == ("the image has 2 network interfaces and the VM has 1",)
    more = shape(nics=("e1000",), count=3)
    assert (more.nics, more.remarks) == (("e1000",) * 3, ())


def test_a_fourth_ide_disk_goes_where_there_is_room() -> None:
    given = shape(*[a_disk("ide")] * 4)
    assert [disk.bus for disk in given.disks] == ["ide", "ide", "ide", "sata"]
    assert len(given.remarks) == 1


def test_too_many_disks_are_refused() -> None:
    with pytest.raises(Refused, match="27 disks"):
        shape(*[a_disk()] * 27)


def test_windows_reads_its_clock_as_local_time() -> None:
    assert shape_for(Machine((), guest_os="win2000pro"), 0, stock, has_uefi=False).local_time
    assert not shape_for(Machine((), guest_os="debian12-64"), 0, stock, has_uefi=False).local_time


words = st.sampled_from(
    ["ide", "sata", "scsi", "virtio", "lsilogic", "buslogic", "e1000", "vmxnet3", "odd", ""]
)


@given(
    disks=st.lists(st.tuples(words, words), max_size=8),
    nics=st.lists(words, max_size=4),
    count=st.integers(0, 4),
    lacking=st.sets(words, max_size=5),
    firmware=st.sampled_from(["bios", "uefi", "odd"]),
)
def test_whatever_is_asked_for_every_disk_and_interface_gets_one_place(
    disks: list[tuple[str, str]], nics: list[str], count: int, lacking: set[str], firmware: str
) -> None:
    placed = [a_disk(bus, controller) for bus, controller in disks]
    given = shape(*placed, nics=tuple(nics), count=count, offers=without(*lacking), firmware=firmware)
    assert len(given.disks) == len(disks)
    assert len({disk.target for disk in given.disks}) == len(disks)
    assert len(given.nics) == count
    assert all(bool(disk.controller) == (disk.bus == "scsi") for disk in given.disks)


# --- Windows, which starts from no virtio ---------------------------------------------------------


def windows(
    *disks: Disk, nics: tuple[str, ...] = ("e1000",), firmware: str = "bios", offers: Offers = stock
) -> Shape:
    machine = Machine(disks, firmware, nics, guest_os="windows9srv-64")
    return shape_for(machine, len(nics) or 1, offers, has_uefi=True)


def test_windows_keeps_the_controllers_that_it_was_installed_with() -> None:
    given = windows(a_disk("ide"), a_disk("sata"), a_disk("scsi", "lsisas1068"), nics=("e1000e",))
    assert given.disks == (
        PlacedDisk("ide", "hda"),
        PlacedDisk("sata", "sda"),
        PlacedDisk("scsi", "sdb", "lsisas1068"),
    )
    assert (given.nics, given.cdrom, given.remarks) == (("e1000e",), PlacedDisk("ide", "hdd"), ())
    assert (given.local_time, given.has_tablet) == (True, True)


@pytest.mark.parametrize("controller", ["", "lsilogic", "buslogic"])
def test_windows_gets_ide_for_a_controller_that_qemu_has_not(controller: str) -> None:
    given = windows(*(a_disk("scsi", controller) for _ in range(4)))
    assert [disk.bus for disk in given.disks] == ["ide", "ide", "ide", "sata"]
    name = controller or "lsilogic"
    assert given.remarks[0] == (
        f"disk 1 is on bus scsi ({name}), which this host cannot give it; it is on ide"
    )


def test_windows_gets_no_virtio_unless_its_image_has_it() -> None:
    bare = without("lsisas1068", "vmpvscsi", "vmxnet3", "e1000e")
    given = windows(a_disk("scsi", "lsisas"), a_disk("scsi", "pvscsi"), nics=("vmxnet3",), offers=bare)
    assert ([disk.bus for disk in given.disks], given.nics) == (["ide", "ide"], ("e1000",))
    assert windows(a_disk("virtio"), nics=("virtio",)).disks == (PlacedDisk("virtio", "vda"),)
    assert windows(a_disk("ide"), nics=()).nics == ("e1000",)


def test_windows_starts_by_uefi_from_sata_and_finds_its_answers_on_ide() -> None:
    given = windows(a_disk("scsi", "lsisas1068"), firmware="uefi")
    assert given.disks == (PlacedDisk("sata", "sda"),)
    assert given.cdrom == PlacedDisk("ide", "hdd")
    assert given.remarks == ("UEFI here does not start from a lsisas1068 controller; disk 1 is on sata",)
