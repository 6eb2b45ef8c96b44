"""One VM's properties, as vSphere's API has them, in our words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from metier.estate.cells import word
from metier.estate.inventory import EstateDisk, EstateNic, EstateVm, Power

PROPERTIES = (
    "name",
    "snapshot",
    "config.bootOptions.efiSecureBootEnabled",
    "config.files.vmPathName",
    "config.firmware",
    "config.ftInfo",
    "config.guestFullName",
    "config.hardware.device",
    "config.hardware.memoryMB",
    "config.hardware.numCPU",
    "config.keyId",
    "config.template",
    "runtime.connectionState",
    "runtime.consolidationNeeded",
    "runtime.host",
    "runtime.powerState",
    "summary.storage.committed",
)
"""What is asked of each VM; all of it is known to vSphere 6.5 and later."""

_NO_STORES: Mapping[str, str] = {}
_KIB = 1 << 10
_POWER = {"poweredOn": Power.ON, "poweredOff": Power.OFF, "suspended": Power.SUSPENDED}
_FIRMWARE = {"efi": "uefi", "bios": "bios"}
_MOST_SNAPSHOTS = 10_000
_FORMS = {
    "FlatVer1": "flat",
    "FlatVer2": "flat",
    "SeSparse": "sesparse",
    "SparseVer1": "sparse",
    "SparseVer2": "sparse",
}
# Datastores whose disks are objects, and no files that could be read.
_OBJECT_STORES = {"vsan": "vsan", "vvol": "vvol"}
_DATASTORE = re.compile(r"\[([^\[\]]+)\] ")
_PASSED_THROUGH = {
    "VirtualPCIPassthrough": "PCI device",
    "VirtualUSB": "USB device",
    "VirtualSCSIPassthrough": "SCSI device",
}


def machine_of(values: Mapping[str, Any], host: str, stores: Mapping[str, str] = _NO_STORES) -> EstateVm:
    """Return a VM by its properties; those that are missing are unknown.

    `stores` has the kind of each datastore by its name: `VMFS`, `NFS`, `vsan`.
    """
    say = values.get
    devices = list(say("config.hardware.device") or ())
    connection = str(say("runtime.connectionState", ""))
    return EstateVm(
        name=word(unquote(str(say("name", "")))) or "(without a name)",
        power=_POWER.get(str(say("runtime.powerState", "")), Power.UNKNOWN),
        memory_mib=say("config.hardware.memoryMB"),
        cpus=say("config.hardware.numCPU"),
        guest_os=word(str(say("config.guestFullName", ""))),
        firmware=_FIRMWARE.get(str(say("config.firmware", "")), ""),
        secure_boot=bool(say("config.bootOptions.efiSecureBootEnabled")),
        disks=tuple(_disks(devices, stores)) if devices else None,
        nics=tuple(_nics(devices)) if devices else None,
        used_bytes=say("summary.storage.committed"),
        # A VM without snapshots has no such property; neither has one that may not be looked at.
        snapshots=_count(say("snapshot")) if devices else None,
        needs_consolidation=bool(say("runtime.consolidationNeeded")),
        is_template=bool(say("config.template")),
        is_encrypted=say("config.keyId") is not None,
        has_tpm=any(_kind(device) == "VirtualTPM" for device in devices),
        is_fault_tolerant=say("config.ftInfo") is not None,
        connection="" if connection == "connected" else connection,
        passed_through=tuple(_passed_through(devices)),
        host=word(host),
        called=_called(values),
    )


def _called(values: Mapping[str, Any]) -> str:
    """Return its name, if that can be typed as it is, or else its .vmx."""
    name = unquote(str(values.get("name", "")))
    return name if name == word(name) else word(str(values.get("config.files.vmPathName", "")))


def _kind(device: Any) -> str:
    return type(device).__name__.rpartition(".")[2]


def _disks(devices: Sequence[Any], stores: Mapping[str, str]) -> Iterator[EstateDisk]:
    controllers = {device.key: device for device in devices}
    for device in devices:
        if _kind(device) != "VirtualDisk":
            continue
        controller, backing = controllers.get(device.controllerKey), device.backing
        capacity = device.capacityInBytes or (device.capacityInKB or 0) * _KIB
        sharing = str(getattr(backing, "sharing", None) or "sharingNone")
        bus = str(getattr(controller, "sharedBus", None) or "noSharing")
        yield EstateDisk(
            label=word(device.deviceInfo.label if device.deviceInfo else "") or f"disk {device.key}",
            capacity_bytes=capacity or None,
            thin=getattr(backing, "thinProvisioned", None),
            raw=_raw(backing),
            mode=word(str(getattr(backing, "diskMode", None) or "")),
            is_shared=sharing != "sharingNone" or bus != "noSharing",
            controller="" if controller is None else _kind(controller).removeprefix("Virtual"),
            form=_form(backing, stores),
            is_child=getattr(backing, "parent", None) is not None,
        )


def _form(backing: Any, stores: Mapping[str, str]) -> str:
    kind = _kind(backing).partition("BackingInfo")[0]
    match = _DATASTORE.match(str(getattr(backing, "fileName", None) or ""))
    store = stores.get(match[1], "").lower() if match else ""
    return _OBJECT_STORES.get(store, _FORMS.get(kind, ""))


def _raw(backing: Any) -> str:
    if "RawDisk" not in _kind(backing):
        return ""
    mode = str(getattr(backing, "compatibilityMode", None) or "")
    return next((kind for kind in ("physical", "virtual") if kind in mode), "unknown")


def _nics(devices: Sequence[Any]) -> Iterator[EstateNic]:
    for device in devices:
        if hasattr(device, "macAddress"):
            network = getattr(device.backing, "deviceName", None) or ""
            yield EstateNic(_kind(device).removeprefix("Virtual").removesuffix("EthernetCard"), word(network))


def _passed_through(devices: Sequence[Any]) -> Iterator[str]:
    for device in devices:
        kind = _PASSED_THROUGH.get(_kind(device))
        if kind:
            label = device.deviceInfo.label if device.deviceInfo else ""
            yield f"{kind} {word(label)}".strip()


def _count(info: Any) -> int:
    """Return how many snapshots there are in a tree of them."""
    ahead = list(getattr(info, "rootSnapshotList", None) or ())
    count = 0
    while ahead and count < _MOST_SNAPSHOTS:
        count += 1
        ahead += ahead.pop().childSnapshotList or ()
    return count
