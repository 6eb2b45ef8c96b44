"""What a `.vmx` file means: the machine that its guest expects."""

import re
from collections.abc import Iterator

from metier.domain.errors import Refusal
from metier.drivers.formats.machine import (
    FLEXIBLE,
    MOST_CPUS,
    MOST_MEMORY_MIB,
    SRIOV,
    VMXNET,
    VMXNET2,
    MachineFound,
    Model,
    bounded,
    unknown_nic,
)
from metier.drivers.formats.vmx.disks import disks_of
from metier.drivers.formats.vmx.settings import Settings

_NIC = re.compile(r"ethernet(?P<number>[0-9]{1,2})\.present")
_DEVICE = re.compile(r"(?P<device>[a-z0-9_.:]+)\.present")


_NICS = {
    "e1000": Model("e1000"),
    "e1000e": Model("e1000e"),
    "vmxnet3": Model("vmxnet3"),
    "vlance": Model("pcnet"),
    "flexible": FLEXIBLE,
    "vmxnet": VMXNET,
    "vmxnet2": VMXNET2,
    "sriov": SRIOV,
}

_ENCRYPTED = ("encryption.keySafe", "encryption.data", "encryptedVM.guid", "dataFileKey")

# Devices that every VM has or that make no difference to a server's guest.
_QUIET_DEVICES = re.compile(
    r"(ide|scsi|sata|nvme|ethernet|pcibridge|floppy|serial|parallel|vmci|usb|ehci|xhci|usb_xhci|hpet|sound|svga|mks"
    r"|mouse|keyboard|tools|battery|smc|ahci|board-id|uhci|vwm|virtualmouse|hid|ulm|monitor)[0-9a-z_:.]*"
)
_QUIET_SETTINGS = re.compile(
    r"(\.encoding|config\.version|virtualhw|displayname|annotation|extendedconfigfile|nvram|uuid|vc\.|pci|vmci|hpet"
    r"|tools|toolscripts|sched|monitor|mks|svga|sound|usb|ehci|xhci|cleanshutdown|softpoweroff|replay|migrate|vmotion"
    r"|isolation|remotedisplay|log|powertype|gui|msg|snapshot|ide|scsi|sata|nvme|ethernet|floppy|serial|parallel|numa"
    r"|policy|time|bios|efi|chipset|acpi|mem|vcpu|hgfs|unity|rtc|priority|workingdir|checkpoint|mainmem|keyboard"
    r"|mouse|cpuid|vmx|viv|deploymentplatform|vmgenid|featmask|guestos|virtualdev|dvfilter|disk|evcompat|host|hard"
    r"|svga|ctkenabled|ftcpt|nic|sharedfolder|tpm|vtpm|gpu|hypervisor|vhv|debugstub|installed|suspend|work|undopoints"
    r"|config|redologdir|autostart|answer|inventory|prefvmx|fileSearchpath|migration|vm\.|swap|crypto).*",
    re.IGNORECASE,
)


def machine_of(settings: Settings) -> MachineFound:
    """Read the machine out of a `.vmx` file's settings.

    Raises:
        Refusal: It describes no VMware VM with at least one disk, or one that is encrypted.
    """
    _refuse_strangers(settings)
    remarks = list(settings.remarks)
    disks = tuple(disks_of(settings, remarks))
    nics = tuple(_nics(settings, remarks))
    firmware = "uefi" if settings.text("firmware", "bios").strip().lower() == "efi" else "bios"
    remarks += _remarks(settings, firmware)
    return MachineFound(
        disks=disks,
        firmware=firmware,
        nic_models=nics,
        memory_mib=settings.number("memsize", MOST_MEMORY_MIB),
        cpus=settings.number("numvcpus", MOST_CPUS),
        guest_os=settings.text("guestOS")[:128],
        remarks=bounded([*remarks, *_left_over(settings)]),
    )


def _refuse_strangers(settings: Settings) -> None:
    if settings.text("guestOS").lower().startswith("xen"):
        raise Refusal(
            f"cannot import {settings.file}: it is a Xen guest image, and -r takes VMware VMs only",
            remedy="export it as an .xva, and take that in: metier image import NAME --file X.xva",
        )
    if any(settings.text(key) for key in _ENCRYPTED):
        raise Refusal(
            f"cannot import {settings.file}: the VM is encrypted",
            remedy="remove the encryption in VMware (Settings, Options, Access Control), then pack it again",
        )


def _nics(settings: Settings, remarks: list[str]) -> Iterator[str]:
    numbers = sorted(int(match["number"]) for match in settings.matching(_NIC))
    for number in numbers:
        name = f"ethernet{number}"
        if not settings.flag(f"{name}.present"):
            continue
        nic = _nic(settings, name)
        if nic.remark:
            remarks.append(f"{name} {nic.remark}")
        if settings.text(f"{name}.addressType").lower() == "static" and settings.text(f"{name}.address"):
            remarks.append(f"{name} has a fixed MAC address, which is not kept: each node gets its own")
        if not settings.flag(f"{name}.startConnected", default=True):
            remarks.append(f"{name} starts disconnected under VMware; here it is connected")
        yield nic.model


def _nic(settings: Settings, name: str) -> Model:
    word = settings.text(f"{name}.virtualDev").strip().lower()
    if not word:
        # VMware's own default: a PCnet card for the guests of its day, an e1000 for 64-bit ones.
        return Model("e1000" if "64" in settings.text("guestOS") else "pcnet")
    return _NICS.get(word) or unknown_nic(word)


def _remarks(settings: Settings, firmware: str) -> Iterator[str]:
    word = settings.text("firmware", "bios").strip().lower()
    if word not in ("bios", "efi", ""):
        yield f"firmware {word[:40]!r} is unknown; BIOS is used"
    if firmware == "uefi" and settings.text("nvram"):
        yield "the UEFI variables (.nvram) are not taken over: the guest boots by its disk's default entry"
    if settings.flag("uefi.secureBoot.enabled"):
        yield "UEFI Secure Boot is switched off"
    if settings.flag("vtpm.present"):
        yield "the virtual TPM is left out: what the guest sealed with it stays sealed"
    if settings.text("checkpoint.vmState"):
        yield "the VM was suspended: it starts from its disks as after a power failure"
    if settings.flag("vhv.enable"):
        yield "hardware virtualization inside the guest is not offered"
    for name in ("serial", "parallel"):
        for number in range(4):
            if settings.flag(f"{name}{number}.present"):
                yield f"{name}{number} is not taken over"


def _left_over(settings: Settings) -> Iterator[str]:
    """Name the devices and settings that have no counterpart."""
    devices = {match["device"]: None for match in settings.matching(_DEVICE) if settings.flag(match[0])}
    for device in devices:
        if not _QUIET_DEVICES.fullmatch(device) and device != "vtpm":
            yield f"{device[:60]} has no counterpart and is left out"
    unknown = [key for key in settings.not_asked() if not _QUIET_SETTINGS.fullmatch(key)]
    unknown = [key for key in unknown if key.rpartition(".")[0] not in devices]
    if unknown:
        shown = ", ".join(key[:60] for key in unknown[:8])
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        yield f"these settings mean nothing here: {shown}{more}"
