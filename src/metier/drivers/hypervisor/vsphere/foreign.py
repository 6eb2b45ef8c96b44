"""Describes a VM that somebody else made: what it is, in `.vmx` words, and what keeps it from being copied.

Talks to nobody.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.drivers.hypervisor.vsphere.vmware import kind_of, vim

PATHS = (
    "name",
    "datastore",
    "snapshot",
    "runtime.bootTime",
    "runtime.connectionState",
    "runtime.consolidationNeeded",
    "runtime.powerState",
    "config.bootOptions",
    "config.changeVersion",
    "config.extraConfig",
    "config.firmware",
    "config.guestId",
    "config.hardware.device",
    "config.hardware.memoryMB",
    "config.hardware.numCPU",
    "config.instanceUuid",
)
"""What is asked of the VM; all of it is known to vSphere 5.5 and later."""

EXPORT = "export it: ovftool vi://HOST/NAME NAME.ova, and import that file"

_device = vim.vm.device
_FILE = re.compile(r"\[([^\[\]]+)\] (.+\.vmdk)")
_UNFIT = re.compile(r'[\x00-\x1f\x7f"|]')
_LONGEST_TEXT = 200
_MOST_SNAPSHOTS = 1000
_SHOWN_SNAPSHOTS = 10
_LAST_BUS = 9

_SCSI = {
    "VirtualLsiLogicController": "lsilogic",
    "VirtualLsiLogicSASController": "lsisas1068",
    "ParaVirtualSCSIController": "pvscsi",
    "VirtualBusLogicController": "buslogic",
}
_BUSES = {
    **dict.fromkeys(_SCSI, "scsi"),
    "VirtualAHCIController": "sata",
    "VirtualSATAController": "sata",
    "VirtualNVMEController": "nvme",
    "VirtualIDEController": "ide",
}
_NICS = {
    "VirtualVmxnet3": "vmxnet3",
    "VirtualVmxnet2": "vmxnet2",
    "VirtualVmxnet": "vmxnet",
    "VirtualE1000e": "e1000e",
    "VirtualE1000": "e1000",
    "VirtualPCNet32": "vlance",
    "VirtualSriovEthernetCard": "sriov",
}
# In the order in which VMware's BIOS looks for a disk to boot from.
_ORDER = ("scsi", "sata", "nvme", "ide")
_OTHERS = {
    "VirtualPCIPassthrough": "pciPassthru",
    "VirtualSerialPort": "serial",
    "VirtualParallelPort": "parallel",
}
_FLAT = (_device.VirtualDisk.FlatVer2BackingInfo, _device.VirtualDisk.FlatVer1BackingInfo)
_POWER = {
    "poweredOn": "it runs: shut its guest OS down from inside",
    "suspended": "it is suspended, and its disks wait for its memory: resume it, and shut its guest OS down",
}


@dataclass(frozen=True, slots=True)
class Drive:
    """One hard disk.

    Attributes:
        label: What VMware calls it: `Hard disk 1`.
        slot: Its place in `.vmx` words: `scsi0:0`.
        controller: pyVmomi's handle of its controller; None if the server names none.
        file: Its descriptor, as `[datastore] folder/file.vmdk`; empty where it is not in a file.
        faults: Why it cannot be copied, one sentence each.
    """

    label: str
    slot: str
    controller: Any
    file: str
    capacity_bytes: int
    mode: str
    faults: tuple[str, ...]

    @property
    def place(self) -> tuple[str, str]:
        """Its datastore, and the file there; both empty where it is not in a file."""
        match = _FILE.fullmatch(self.file)
        return (match[1], match[2]) if match else ("", "")


def drives_of(values: Mapping[str, Any], reached: Collection[str]) -> tuple[Drive, ...]:
    """Return a VM's hard disks in the order of their places; `reached` are the datastores that are there."""
    devices = list(values.get("config.hardware.device") or ())
    controllers = {device.key: device for device in devices}
    drives = [
        _drive(device, controllers.get(device.controllerKey), reached)
        for device in devices
        if isinstance(device, _device.VirtualDisk)
    ]
    return tuple(sorted(drives, key=_rank))


def obstacles_of(values: Mapping[str, Any], drives: Sequence[Drive]) -> tuple[str, ...]:
    """Say why a VM cannot be copied as it is, one sentence each, with the way out."""
    return tuple(dict.fromkeys([*_obstacles(values), *(fault for drive in drives for fault in drive.faults)]))


def vmx_of(values: Mapping[str, Any], drives: Sequence[Drive], state: str) -> str:
    """Return a VM's configuration as `.vmx` text; `state` is a remark in it that any change changes."""
    lines = {
        ".encoding": "UTF-8",
        "displayName": str(values.get("name", "")),
        "guestOS": guest_os(str(values.get("config.guestId") or "")),
        "memsize": str(int(values.get("config.hardware.memoryMB") or 0)),
        "numvcpus": str(int(values.get("config.hardware.numCPU") or 0)),
        "firmware": "efi" if values.get("config.firmware") == "efi" else "bios",
        **dict(_boot(values, drives)),
        **dict(_disks(drives)),
        **dict(_others(values.get("config.hardware.device") or ())),
    }
    text = "".join(f'{key} = "{_escaped(value)}"\n' for key, value in lines.items())
    return f"# {_escaped(state)}\n{text}"


def guest_os(guest_id: str) -> str:
    """Return what a `.vmx` calls a guest OS that the API calls `debian12_64Guest`."""
    return guest_id.removesuffix("Guest").replace("_", "-").lower()


def snapshots_of(tree: Any) -> list[str]:
    """Return the names of all snapshots."""
    ahead = list(getattr(tree, "rootSnapshotList", None) or ())
    names: list[str] = []
    while ahead and len(names) < _MOST_SNAPSHOTS:
        one = ahead.pop(0)
        names.append(str(one.name))
        ahead += one.childSnapshotList or ()
    return names


def _drive(disk: Any, controller: Any, reached: Collection[str]) -> Drive:
    bus = _BUSES.get(kind_of(controller), "")
    if bus and not 0 <= int(controller.busNumber) <= _LAST_BUS:
        bus = ""
    label = str(getattr(disk.deviceInfo, "label", "") or f"disk {disk.key}")
    drive = Drive(
        label=label,
        slot=f"{bus}{int(controller.busNumber)}:{int(disk.unitNumber or 0)}" if bus else "",
        controller=controller,
        file=str(getattr(disk.backing, "fileName", None) or ""),
        capacity_bytes=int(disk.capacityInBytes or (disk.capacityInKB or 0) << 10),
        mode=str(getattr(disk.backing, "diskMode", None) or ""),
        faults=(),
    )
    faults = tuple(f"{label} {fault}" for fault in _faults(drive, disk.backing, reached))
    return replace(drive, faults=faults)


def _faults(drive: Drive, backing: Any, reached: Collection[str]) -> Iterator[str]:
    kind = kind_of(backing)
    if "RawDisk" in kind:
        mode = str(getattr(backing, "compatibilityMode", None) or "").removesuffix("Mode")
        yield (
            f"is a raw device mapping{f' in {mode} mode' if mode else ''}: copy it into a virtual disk "
            "(vmkfstools -i SOURCE.vmdk -d thin TARGET.vmdk)"
        )
        return
    if not isinstance(backing, _FLAT):
        yield f"is not in a flat file ({kind}), which alone can be read over HTTP: {EXPORT}"
        return
    if getattr(backing, "parent", None) is not None:
        yield (
            "holds only the difference to another disk, as a linked clone does: "
            "clone the VM in full, and import the clone"
        )
    yield from _doubts(drive, backing, reached)


def _doubts(drive: Drive, backing: Any, reached: Collection[str]) -> Iterator[str]:
    sharing = str(getattr(backing, "sharing", None) or "sharingNone")
    bus = str(getattr(drive.controller, "sharedBus", None) or "noSharing")
    if sharing != "sharingNone" or bus != "noSharing":
        yield "may be written by other VMs at the same time: give each a disk of its own first"
    if getattr(backing, "keyId", None) is not None:
        yield "is encrypted: decrypt it by the storage policy 'Datastore Default'"
    if not drive.slot:
        yield f"is on a controller that Metier does not know ({kind_of(drive.controller)}): {EXPORT}"
    if drive.capacity_bytes <= 0 or drive.capacity_bytes % 512:
        yield f"has {drive.capacity_bytes} bytes, which no disk has: {EXPORT}"
    datastore = drive.place[0]
    if not datastore:
        yield f"has no file that can be read: {EXPORT}"
    elif datastore not in reached:
        yield f"lies on datastore {datastore}, which its host does not reach: bring it back first"


def _rank(drive: Drive) -> tuple[int, str, int]:
    controller, _, unit = drive.slot.partition(":")
    bus = controller.rstrip("0123456789")
    return (_ORDER.index(bus) if bus in _ORDER else len(_ORDER), controller, int(unit or 0))


def _obstacles(values: Mapping[str, Any]) -> Iterator[str]:
    connection = values.get("runtime.connectionState")
    if connection != "connected":
        yield f"its server calls it {connection}: see that it is connected again"
    power = str(values.get("runtime.powerState"))
    if power != "poweredOff":
        yield _POWER.get(power, "nobody says whether it is off: see that it is")
    snapshots = snapshots_of(values.get("snapshot"))
    if snapshots:
        shown = ", ".join(_printable(name) for name in snapshots[:_SHOWN_SNAPSHOTS])
        yield (
            f"it has snapshots ({shown}{', …' if len(snapshots) > _SHOWN_SNAPSHOTS else ''}): "
            "delete them all, which makes its disks whole, or import a full clone of it"
        )
    elif values.get("runtime.consolidationNeeded"):
        yield "its disks need consolidation: Snapshots, Consolidate"
    devices = values.get("config.hardware.device") or ()
    if not any(isinstance(device, _device.VirtualDisk) for device in devices):
        yield "it has no hard disk, so there is nothing to import"


def _boot(values: Mapping[str, Any], drives: Sequence[Drive]) -> Iterator[tuple[str, str]]:
    """Yield in what order it looks for a disk to boot from, where that was set."""
    options = values.get("config.bootOptions")
    slots = {drive.slot: None for drive in drives if drive.slot}
    order = [
        str(extra.value)
        for extra in values.get("config.extraConfig") or ()
        if str(extra.key).lower() == "bios.hddorder"
    ]
    wished = [slot.strip() for slot in ",".join(order).lower().split(",") if slot.strip() in slots]
    if wished:
        yield "bios.hddOrder", ",".join(dict.fromkeys(wished))
    if getattr(options, "efiSecureBootEnabled", None):
        yield "uefi.secureBoot.enabled", "TRUE"
    if values.get("config.firmware") == "efi":
        yield "nvram", "nvram"


def _disks(drives: Sequence[Drive]) -> Iterator[tuple[str, str]]:
    for number, drive in enumerate(drives):
        if not drive.slot:
            continue
        name = drive.slot.partition(":")[0]
        yield f"{name}.present", "TRUE"
        if kind_of(drive.controller) in _SCSI:
            yield f"{name}.virtualDev", _SCSI[kind_of(drive.controller)]
        yield f"{drive.slot}.present", "TRUE"
        yield f"{drive.slot}.fileName", f"disk{number}.vmdk"
        if drive.mode:
            yield f"{drive.slot}.mode", drive.mode.replace("_", "-")


def _others(devices: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yield network cards, and what the import says that it leaves out."""
    nics = [device for device in devices if isinstance(device, _device.VirtualEthernetCard)]
    for number, nic in enumerate(nics):
        name = f"ethernet{number}"
        yield f"{name}.present", "TRUE"
        yield f"{name}.virtualDev", _NICS.get(kind_of(nic), kind_of(nic))
        if getattr(nic.connectable, "startConnected", True) is False:
            yield f"{name}.startConnected", "FALSE"
        if str(nic.addressType or "").lower() == "manual" and nic.macAddress:
            yield f"{name}.addressType", "static"
            yield f"{name}.address", str(nic.macAddress)
    counts: dict[str, int] = {}
    for device in devices:
        word = _OTHERS.get(kind_of(device))
        if word:
            counts[word] = counts.get(word, -1) + 1
            yield f"{word}{counts[word]}.present", "TRUE"
        if kind_of(device) == "VirtualTPM":
            yield "vtpm.present", "TRUE"


def _escaped(text: str) -> str:
    """Return a text as it may stand in a `.vmx`, cut to a readable length."""
    return _UNFIT.sub(lambda found: f"|{ord(found[0]):02X}", text[:_LONGEST_TEXT])


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST_TEXT])
