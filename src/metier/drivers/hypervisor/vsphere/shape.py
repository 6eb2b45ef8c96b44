"""Which virtual hardware a guest gets: what its image expects, as far as VMware has it.  Talks to nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from metier.domain.errors import Refused
from metier.domain.image import Disk, Machine
from metier.drivers.hypervisor.vsphere.vmware import vim

_device = vim.vm.device

_NICS = {
    "vmxnet3": _device.VirtualVmxnet3,
    "vmxnet2": _device.VirtualVmxnet2,
    "vmxnet": _device.VirtualVmxnet,
    "e1000": _device.VirtualE1000,
    "e1000e": _device.VirtualE1000e,
    "vlance": _device.VirtualPCNet32,
    "pcnet": _device.VirtualPCNet32,
    "flexible": _device.VirtualPCNet32,
}
_SCSI = {
    "lsilogic": _device.VirtualLsiLogicController,
    "lsi": _device.VirtualLsiLogicController,
    "lsisas1068": _device.VirtualLsiLogicSASController,
    "lsisas": _device.VirtualLsiLogicSASController,
    "buslogic": _device.VirtualBusLogicController,
    "vmpvscsi": _device.ParaVirtualSCSIController,
    "pvscsi": _device.ParaVirtualSCSIController,
}
# What comes nearest to hardware that VMware has not: likely to have a driver in a guest made for the first.
# Windows has none for the paravirtual ones in every version.
_NEAREST_NIC = {False: "vmxnet3", True: "e1000e"}
_NEAREST_SCSI = {False: "vmpvscsi", True: "lsisas1068"}
_DEFAULT_SCSI = "lsilogic"
# A SCSI controller has 16 places and sits on the seventh itself; IDE has two, and the CD-ROM takes one.
_SCSI_PLACES = tuple(unit for unit in range(16) if unit != 7)
_SATA_PLACES = tuple(range(30))
_IDE_PLACES = (0, 1)
_FIRMWARE = {"bios": "bios", "uefi": "efi"}


class PlacedDisk(NamedTuple):
    """One disk as the guest will see it.

    Attributes:
        controller: pyVmomi's class of its controller.
        unit: Its place there.
    """

    controller: Any
    unit: int


@dataclass(frozen=True, slots=True)
class Shape:
    """The virtual hardware of one VM, apart from memory and CPUs.

    Attributes:
        firmware: VMware's word for it.
        nics: pyVmomi's class for each interface.
        remarks: What of the image cannot be honoured here, one sentence each.
    """

    firmware: str
    disks: tuple[PlacedDisk, ...]
    nics: tuple[Any, ...]
    guest_id: str
    remarks: tuple[str, ...] = ()


def shape_for(machine: Machine, nic_count: int) -> Shape:
    """Return what a VM with `nic_count` interfaces gets for an image's machine.

    Raises:
        Refused: It has more disks of a kind than a controller takes.
    """
    remarks = list(machine.remarks)
    is_windows = machine.guest_os.lower().startswith("win")
    firmware = _FIRMWARE.get(machine.firmware)
    if firmware is None:
        remarks.append(f"firmware {machine.firmware} is unknown here; the guest starts by BIOS")
    return Shape(
        firmware=firmware or "bios",
        disks=_disks(machine.disks, remarks, is_windows=is_windows),
        nics=_nics(machine.nic_models, nic_count, remarks, is_windows=is_windows),
        guest_id=_guest_id(machine, is_windows=is_windows),
        remarks=tuple(remarks),
    )


def nearest_guest_id(guest_id: str) -> str:
    """Return the word for a guest that every host knows, for one that an older host does not."""
    return "otherGuest64" if "64" in guest_id else "otherGuest"


def kept_nics(nics: Sequence[Any], wanted: tuple[str, ...]) -> list[str]:
    """Return remarks on interfaces that stay as they are and that the image would have of another kind."""
    if not wanted:
        return []
    remarks = []
    for number, nic in enumerate(nics):
        model = wanted[min(number, len(wanted) - 1)]
        if not isinstance(nic, _NICS.get(model, type(nic))):
            kind = type(nic).__name__.rpartition("Virtual")[2].lower()
            remarks.append(
                f"network interface {number + 1} of the staged VM stays a {kind}; the image expects a {model}"
            )
    return remarks


def _guest_id(machine: Machine, *, is_windows: bool) -> str:
    """Return VMware's word for a guest; a wrong one costs convenience, an unknown one is refused by hosts."""
    known: Sequence[str] = vim.vm.GuestOsDescriptor.GuestOsIdentifier.values
    wanted = machine.guest_os.lower()
    for candidate in (wanted, f"{wanted.replace('-', '_')}guest", f"{wanted}guest"):
        found = next((word for word in known if word.lower() == candidate), None)
        if found is not None:
            return found
    return "windows9_64Guest" if is_windows else "otherLinux64Guest"


def _disks(disks: tuple[Disk, ...], remarks: list[str], *, is_windows: bool) -> tuple[PlacedDisk, ...]:
    taken: dict[Any, int] = {}
    placed = []
    for number, disk in enumerate(disks, 1):
        controller, places = _controller(disk, number, remarks, is_windows=is_windows)
        index = taken.get(controller, 0)
        if index >= len(places):
            raise Refused(
                f"disk {number} of the image has no place: its controller takes {len(places)} disks"
            )
        taken[controller] = index + 1
        placed.append(PlacedDisk(controller, places[index]))
    return tuple(placed)


def _controller(
    disk: Disk, number: int, remarks: list[str], *, is_windows: bool
) -> tuple[Any, tuple[int, ...]]:
    if disk.bus == "ide":
        return _device.VirtualIDEController, _IDE_PLACES
    if disk.bus == "sata":
        return _device.VirtualAHCIController, _SATA_PLACES
    model = disk.controller or _DEFAULT_SCSI if disk.bus == "scsi" else disk.bus
    if model in _SCSI:
        return _SCSI[model], _SCSI_PLACES
    given = _NEAREST_SCSI[is_windows]
    remarks.append(f"disk {number} is on {model}, which VMware has not; it is on SCSI controller {given}")
    return _SCSI[given], _SCSI_PLACES


def _nics(wanted: tuple[str, ...], count: int, remarks: list[str], *, is_windows: bool) -> tuple[Any, ...]:
    if len(wanted) > count:
        remarks.append(f"the image has {len(wanted)} network interfaces and the VM has {count}")
    models = []
    for number in range(count):
        # A VM with more interfaces than the image knows gets more of the image's last kind.
        model = wanted[min(number, len(wanted) - 1)] if wanted else _NEAREST_NIC[is_windows]
        if model not in _NICS:
            given = _NEAREST_NIC[is_windows]
            remarks.append(
                f"network interface {number + 1} is a {model}, which VMware has not; it is a {given}"
            )
            model = given
        models.append(_NICS[model])
    return tuple(models)
