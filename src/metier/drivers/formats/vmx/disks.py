"""Which disks a `.vmx` file gives its machine, on which buses and in which order."""

import re
from collections.abc import Iterator

from metier.domain.errors import Refusal
from metier.drivers.formats.machine import BUS_LOGIC, LSI_LOGIC, DiskFound, Model, unknown_controller
from metier.drivers.formats.vmx.settings import Settings

_SLOT = re.compile(r"(?P<slot>(?P<bus>scsi|sata|nvme|ide)(?P<controller>[0-9]):(?P<unit>[0-9]{1,3}))\.[a-z]+")

# The order in which VMware's BIOS looks for a disk to boot from, unless bios.hddOrder says otherwise.
_BUS_ORDER = ("scsi", "sata", "nvme", "ide")


_CONTROLLERS = {
    "": LSI_LOGIC,
    "lsilogic": LSI_LOGIC,
    "lsisas1068": Model("lsisas1068"),
    "pvscsi": Model("vmpvscsi"),
    "buslogic": BUS_LOGIC,
}


def disks_of(settings: Settings, remarks: list[str]) -> Iterator[DiskFound]:
    """Yield the hard disks in the order in which the guest boots from them; adds to `remarks`.

    CD-ROM and floppy drives are left out without a word.

    Raises:
        Refusal: There is none, or one that is a device of the host, or two slots name one file.
    """
    found: dict[str, str] = {}
    for slot in _slots(settings):
        file = _file(settings, slot, remarks)
        if file is None:
            continue
        if file.lower() in found:
            raise Refusal(
                f"cannot use {settings.file}: {slot} and {found[file.lower()]} name the same disk {file!r}"
            )
        found[file.lower()] = slot
        bus, controller = _attachment(settings, slot, remarks)
        yield DiskFound(slot, file, bus, controller)
    if not found:
        raise Refusal(f"cannot use {settings.file}: it gives the VM no hard disk")


def _slots(settings: Settings) -> list[str]:
    """Return the slots that are spoken of, in boot order."""
    slots = {}
    for match in settings.matching(_SLOT):
        rank = (_BUS_ORDER.index(match["bus"]), int(match["controller"]), int(match["unit"]))
        slots[match["slot"]] = rank
    wished = settings.text("bios.hddOrder").lower().split(",")
    first = {slot.strip(): place for place, slot in enumerate(wished)}
    return sorted(slots, key=lambda slot: (first.get(slot, len(wished)), slots[slot]))


def _file(settings: Settings, slot: str, remarks: list[str]) -> str | None:
    """Return the bare name of the `.vmdk` in a slot; None where there is no hard disk."""
    given = settings.text(f"{slot}.fileName").strip()
    kind = settings.text(f"{slot}.deviceType").strip().lower()
    if "cdrom" in kind or "atapi" in kind or given.lower().endswith((".iso", ".flp")):
        return None
    controller = slot.partition(":")[0]
    here = settings.flag(f"{slot}.present") and settings.flag(f"{controller}.present", default=True)
    if not here:
        if given:
            remarks.append(f"{slot} names {given[:80]!r} but is not present, and is left out")
        return None
    if kind == "rawdisk" or "passthru" in kind or "passthrough" in kind:
        raise Refusal(
            f"cannot use {settings.file}: {slot} is a device of the host ({kind}), not a disk in a file",
            remedy="copy it into a virtual disk first: vmkfstools -i SOURCE.vmdk -d 2gbsparse TARGET.vmdk",
        )
    return _bare_name(settings.file, slot, given, remarks)


def _bare_name(vmx: str, slot: str, given: str, remarks: list[str]) -> str:
    bare = given.replace("\\", "/").rpartition("/")[2]
    if not bare.lower().endswith(".vmdk"):
        raise Refusal(f"cannot use {vmx}: {slot} names {given[:80]!r}, which is no .vmdk")
    if bare != given:
        remarks.append(f"{slot} names {given[:120]!r}; {bare!r} out of the archive was taken")
    return bare


def _attachment(settings: Settings, slot: str, remarks: list[str]) -> tuple[str, str]:
    """Return bus and controller of a disk; says what differs from VMware's."""
    _remark_mode(settings, slot, remarks)
    name = slot.partition(":")[0]
    if name.startswith("nvme"):
        remarks.append(f"{slot} is an NVMe disk, offered as a SATA disk")
        return "sata", ""
    if not name.startswith("scsi"):
        return name[:-1], ""
    word = settings.text(f"{name}.virtualDev").strip().lower()
    controller = _CONTROLLERS.get(word) or unknown_controller(word)
    remark = f"{name} {controller.remark}"
    if controller.remark and remark not in remarks:
        remarks.append(remark)
    return "scsi", controller.model


def _remark_mode(settings: Settings, slot: str, remarks: list[str]) -> None:
    mode = settings.text(f"{slot}.mode").strip().lower()
    if "nonpersistent" in mode:
        remarks.append(f"{slot} forgets its changes at power-off under VMware ({mode}); here it keeps them")
    elif mode not in ("", "persistent", "independent-persistent"):
        remarks.append(f"{slot} has the mode {mode[:40]!r} under VMware; here it is an ordinary disk")
    sharing = settings.text(f"{slot.partition(':')[0]}.sharedBus").strip().lower()
    if sharing not in ("", "none"):
        remarks.append(f"{slot} is on a bus shared between VMs; here it is the node's own")
