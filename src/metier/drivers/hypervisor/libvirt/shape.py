"""Which virtual hardware a guest gets: what its image expects, as far as this host offers it.  Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from metier.domain.errors import Refused
from metier.domain.image import Disk, Machine

Offers = Callable[[str, str, str], bool]
"""Whether the host has a model: `(machine type, kind, model)`; kind is `bus`, `scsi` or `nic`."""

# For what a host lacks: what comes nearest, best first.  Nearest means: likely to have a driver in a
# guest that was made for the first.  Each list ends with what every QEMU has.
NEAREST_NIC = {
    "vlance": ("pcnet", "rtl8139", "e1000"),
    "pcnet": ("rtl8139", "e1000", "virtio"),
    "vmxnet": ("vmxnet3", "e1000", "virtio"),
    "vmxnet2": ("vmxnet3", "e1000", "virtio"),
    "vmxnet3": ("e1000e", "e1000", "virtio"),
    "e1000e": ("e1000", "virtio"),
    "e1000": ("e1000e", "rtl8139", "virtio"),
    "rtl8139": ("e1000", "virtio"),
    "virtio": ("e1000",),
}
NEAREST_SCSI = {
    "buslogic": ("lsilogic", "virtio-scsi"),
    "lsilogic": ("lsisas1068", "virtio-scsi"),
    "lsisas1068": ("lsilogic", "virtio-scsi"),
    "lsisas1078": ("lsisas1068", "lsilogic", "virtio-scsi"),
    "vmpvscsi": ("virtio-scsi", "lsilogic"),
    "virtio-scsi": ("lsilogic",),
}
NEAREST_BUS = {"ide": ("sata", "virtio"), "sata": ("ide", "virtio"), "scsi": ("virtio",), "virtio": ("sata",)}
# Windows starts only from controllers that it was installed with or has a driver for in every version, and
# virtio is none of them.  A VMware VM's CD-ROM is on IDE, so that driver is there and in use.
WINDOWS_NIC = {
    "vlance": ("pcnet", "rtl8139", "e1000"),
    "pcnet": ("rtl8139", "e1000"),
    "vmxnet": ("e1000", "rtl8139"),
    "vmxnet2": ("e1000", "rtl8139"),
    "vmxnet3": ("e1000e", "e1000"),
    "e1000e": ("e1000", "rtl8139"),
    "e1000": ("e1000e", "rtl8139"),
    "rtl8139": ("e1000",),
    "virtio": ("e1000",),
}
WINDOWS_SCSI = {"lsisas1068": (), "lsisas1078": ("lsisas1068",), "vmpvscsi": (), "virtio-scsi": ()}
WINDOWS_BUS = {"ide": ("sata",), "sata": ("ide",), "scsi": ("ide", "sata"), "virtio": ("sata", "ide")}
# Other names for the same, as VMware and others write them.
_SAME = {
    "pvscsi": "vmpvscsi",
    "lsisas": "lsisas1068",
    "lsi": "lsilogic",
    "virtio-net": "virtio",
    "flexible": "pcnet",
}
# libvirt's own choice for a SCSI disk without a model.
_DEFAULT_SCSI = "lsilogic"
# One IDE controller has four places, and the CD-ROM takes one.
_MAX_IDE_DISKS = 3
MAX_DISKS = 26
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# UEFI too: on q35 a CD-ROM needs AHCI, which the kernels of cloud images lack, so they would miss their seed.
MACHINE = "pc"


class Nearest(NamedTuple):
    """What comes nearest to what a host lacks, for one family of guests.

    Attributes:
        last_bus: What is taken if nothing of a table is offered; likewise the others.
        last_scsi: Empty where another bus is better than any other controller.
        usual_nic: What an image gets that names no model.
    """

    bus: Mapping[str, tuple[str, ...]]
    scsi: Mapping[str, tuple[str, ...]]
    nic: Mapping[str, tuple[str, ...]]
    last_bus: str
    last_scsi: str
    last_nic: str
    usual_nic: str


ANY_GUEST = Nearest(NEAREST_BUS, NEAREST_SCSI, NEAREST_NIC, "virtio", "virtio-scsi", "e1000", "virtio")
WINDOWS_GUEST = Nearest(WINDOWS_BUS, WINDOWS_SCSI, WINDOWS_NIC, "sata", "", "e1000", "e1000")


class PlacedDisk(NamedTuple):
    """One disk as the guest will see it.

    Attributes:
        target: Device name for libvirt; also fixes the order.
        controller: Model of its SCSI controller; empty for other buses.
    """

    bus: str
    target: str
    controller: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """The virtual hardware of one VM, apart from memory and CPUs.

    Attributes:
        machine: libvirt's machine type.
        cdrom: Where the seed's CD-ROM is, if the guest gets one.
        nics: One model per interface.
        local_time: The guest expects its clock to show local time.
        has_tablet: It gets a pointer that follows that of the console, which costs it USB.
        remarks: What of the image cannot be honoured here, one sentence each.
    """

    machine: str
    firmware: str
    disks: tuple[PlacedDisk, ...]
    cdrom: PlacedDisk
    nics: tuple[str, ...]
    local_time: bool = False
    has_tablet: bool = False
    remarks: tuple[str, ...] = ()


def shape_for(machine: Machine, nic_count: int, offers: Offers, *, has_uefi: bool) -> Shape:
    """Return what a VM with `nic_count` interfaces gets for an image's machine.

    Raises:
        Refused: The image cannot start on this host at all: it needs UEFI and there is none, or it
            has more disks than a VM can take.
    """
    remarks = list(machine.remarks)
    firmware = _firmware(machine.firmware, has_uefi, remarks)

    def has(kind: str, model: str) -> bool:
        return offers(MACHINE, kind, model)

    is_windows = machine.guest_os.lower().startswith("win")
    nearest = WINDOWS_GUEST if is_windows else ANY_GUEST
    disks = _disks(machine.disks, has, nearest, remarks)
    start = _startable_windows if is_windows else _startable
    disks = start(disks, firmware, has, remarks)
    return Shape(
        machine=MACHINE,
        firmware=firmware,
        disks=disks,
        cdrom=_cdrom(disks, "bios" if is_windows else firmware),
        nics=_nics(machine.nic_models, nic_count, has, nearest, remarks),
        local_time=is_windows,
        has_tablet=is_windows,
        remarks=tuple(remarks),
    )


def _firmware(wanted: str, has_uefi: bool, remarks: list[str]) -> str:
    if wanted == "uefi" and not has_uefi:
        raise Refused(
            "the image starts by UEFI and this host has no UEFI firmware for guests",
            remedy="install it on the host (Debian: apt-get install ovmf) and restart its libvirt",
        )
    if wanted not in ("uefi", "bios"):
        remarks.append(f"firmware {wanted} is unknown here; the guest starts by BIOS")
        return "bios"
    return wanted


def _disks(
    disks: tuple[Disk, ...], has: Callable[[str, str], bool], nearest: Nearest, remarks: list[str]
) -> tuple[PlacedDisk, ...]:
    if len(disks) > MAX_DISKS:
        raise Refused(f"the image has {len(disks)} disks and a VM takes at most {MAX_DISKS}")
    letters: dict[str, int] = {}
    placed = []
    for number, disk in enumerate(disks, 1):
        bus, controller = _bus(disk, number, letters, has, nearest, remarks)
        prefix = {"ide": "hd", "virtio": "vd"}.get(bus, "sd")
        place = letters.get(prefix, 0)
        letters[prefix] = place + 1
        placed.append(PlacedDisk(bus, f"{prefix}{chr(ord('a') + place)}", controller))
    return tuple(placed)


def _startable(
    disks: tuple[PlacedDisk, ...], firmware: str, has: Callable[[str, str], bool], remarks: list[str]
) -> tuple[PlacedDisk, ...]:
    """Put the first disk where UEFI firmware finds it: QEMU's starts from no SCSI controller but virtio's."""
    if firmware != "uefi" or not disks or disks[0].bus != "scsi" or disks[0].controller == "virtio-scsi":
        return disks
    if not has("scsi", "virtio-scsi"):
        return disks
    remarks.append(
        f"UEFI here does not start from a {disks[0].controller} controller; disk 1 is on virtio-scsi"
    )
    return (disks[0]._replace(controller="virtio-scsi"), *disks[1:])


def _startable_windows(
    disks: tuple[PlacedDisk, ...], firmware: str, has: Callable[[str, str], bool], remarks: list[str]
) -> tuple[PlacedDisk, ...]:
    """Put the first disk where UEFI firmware finds it and Windows has a driver: on SATA."""
    if firmware != "uefi" or not disks or disks[0].bus != "scsi" or disks[0].controller == "virtio-scsi":
        return disks
    if not has("bus", "sata"):
        return disks
    remarks.append(f"UEFI here does not start from a {disks[0].controller} controller; disk 1 is on sata")
    return (disks[0]._replace(bus="sata", controller=""), *disks[1:])


def _cdrom(disks: tuple[PlacedDisk, ...], firmware: str) -> PlacedDisk:
    """Return where the seed goes: by UEFI on the SCSI bus that the guest starts from, for it reads that one.

    Kernels of cloud images were seen to find no IDE CD-ROM after UEFI firmware.
    """
    taken = {disk.target for disk in disks}
    if firmware == "uefi" and disks and disks[0].bus == "scsi":
        free = next(name for name in (f"sd{letter}" for letter in _LETTERS[::-1]) if name not in taken)
        return PlacedDisk("scsi", free, disks[0].controller)
    return PlacedDisk("ide", next(name for name in ("hdd", "hdc", "hdb", "hda") if name not in taken))


def _bus(
    disk: Disk,
    number: int,
    taken: dict[str, int],
    has: Callable[[str, str], bool],
    nearest: Nearest,
    remarks: list[str],
) -> tuple[str, str]:
    """Return bus and SCSI model for one disk."""
    wanted = _SAME.get(disk.controller, disk.controller) or _DEFAULT_SCSI
    model = _nearest(wanted, nearest.scsi, lambda model: has("scsi", model), nearest.last_scsi)

    def fits(bus: str) -> bool:
        is_full = bus == "ide" and taken.get("hd", 0) >= _MAX_IDE_DISKS
        return has("bus", bus) and not is_full and (bus != "scsi" or bool(model))

    bus = _nearest(disk.bus, nearest.bus, fits, nearest.last_bus)
    if bus != disk.bus:
        whole = f"{disk.bus} ({wanted})" if disk.bus == "scsi" else disk.bus
        remarks.append(f"disk {number} is on bus {whole}, which this host cannot give it; it is on {bus}")
    if bus != "scsi":
        return bus, ""
    if model != wanted:
        remarks.append(f"SCSI controller {wanted} is not offered by this host; disk {number} is on {model}")
    return bus, model


def _nics(
    wanted: tuple[str, ...],
    count: int,
    has: Callable[[str, str], bool],
    nearest: Nearest,
    remarks: list[str],
) -> tuple[str, ...]:
    if len(wanted) > count:
        remarks.append(f"the image has {len(wanted)} network interfaces and the VM has {count}")
    models = []
    for number in range(count):
        # A VM with more interfaces than the image knows gets more of the image's last kind.
        model = wanted[min(number, len(wanted) - 1)] if wanted else nearest.usual_nic
        named = _SAME.get(model, model)
        given = _nearest(named, nearest.nic, lambda model: has("nic", model), nearest.last_nic)
        if given != named:
            remarks.append(
                f"network interface {number + 1} is a {model}, which this host lacks; it is a {given}"
            )
        models.append(given)
    return tuple(models)


def _nearest(
    wanted: str, table: Mapping[str, tuple[str, ...]], fits: Callable[[str], bool], last: str
) -> str:
    """Return the first of `wanted` and what the table says comes nearest that fits; else `last`."""
    candidates = (wanted, *table[wanted]) if wanted in table else ()
    return next((model for model in candidates if fits(model)), last)
