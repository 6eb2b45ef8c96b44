"""The description of a virtual machine as VMware products write it: the `.vmx` file and its companions."""

import uuid
from dataclasses import dataclass
from typing import Literal

DiskBus = Literal["buslogic", "lsilogic", "lsisas1068", "pvscsi", "ide", "sata"]
NicModel = Literal["vlance", "e1000", "e1000e", "vmxnet3"]
Firmware = Literal["bios", "efi"]

SCSI_BUSES = frozenset({"buslogic", "lsilogic", "lsisas1068", "pvscsi"})

# Names that depend on the machine's own name alone keep two packings of one machine the same.
UUID_NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")


@dataclass(frozen=True, slots=True)
class VmwareMachine:
    """What a VMware product would say of the lab's guest.

    Attributes:
        name: Display name and stem of all file names.
        memory_mib: Memory in MiB.
        cpus: Number of CPUs.
        disk_bus: The controller that the disk hangs on.
        nic_model: The model of its network interface.
        firmware: What starts it.
        guest_os: VMware's word for the operating system.
        hardware_version: Version of VMware's virtual hardware.
    """

    name: str
    memory_mib: int = 128
    cpus: int = 1
    disk_bus: DiskBus = "pvscsi"
    nic_model: NicModel = "vmxnet3"
    firmware: Firmware = "bios"
    guest_os: str = "other4xlinux-64"
    hardware_version: int = 13


def vmx_text(machine: VmwareMachine, disk_file: str) -> str:
    """Return the text of the `.vmx` file of a machine whose disk is `disk_file`."""
    settings = {
        **general_settings(machine),
        **disk_settings(machine.disk_bus, disk_file),
        **nic_settings(machine),
        **chipset_settings(),
    }
    lines = (f'{key} = "{value}"' for key, value in settings.items())
    return "\n".join(lines) + "\n"


def general_settings(machine: VmwareMachine) -> dict[str, str]:
    """Return who the machine is and how big."""
    settings = {
        ".encoding": "UTF-8",
        "config.version": "8",
        "virtualHW.version": str(machine.hardware_version),
        "displayName": machine.name,
        "guestOS": machine.guest_os,
        "memsize": str(machine.memory_mib),
        "numvcpus": str(machine.cpus),
        "cpuid.coresPerSocket": "1",
        "nvram": f"{machine.name}.nvram",
        "extendedConfigFile": f"{machine.name}.vmxf",
        "uuid.bios": vmware_uuid(machine.name, "bios"),
        "uuid.location": vmware_uuid(machine.name, "location"),
        "powerType.powerOff": "soft",
        "powerType.reset": "soft",
        "tools.syncTime": "FALSE",
    }
    return settings | ({"firmware": "efi"} if machine.firmware == "efi" else {})


def disk_settings(bus: DiskBus, disk_file: str) -> dict[str, str]:
    """Return the disk, its controller and an empty CD drive."""
    slot = {"ide": "ide0:0", "sata": "sata0:0"}.get(bus, "scsi0:0")
    controller = slot.partition(":")[0]
    settings = {f"{controller}.present": "TRUE"} if controller != "ide0" else {}
    if bus in SCSI_BUSES:
        settings["scsi0.virtualDev"] = bus
    return settings | {
        f"{slot}.present": "TRUE",
        f"{slot}.fileName": disk_file,
        f"{slot}.redo": "",
        "ide1:0.present": "TRUE",
        "ide1:0.deviceType": "cdrom-raw",
        "ide1:0.fileName": "auto detect",
        "ide1:0.startConnected": "FALSE",
        "floppy0.present": "FALSE",
    }


def nic_settings(machine: VmwareMachine) -> dict[str, str]:
    """Return the network interface."""
    tail = uuid.uuid5(UUID_NAMESPACE, f"{machine.name}/nic").bytes[:3]
    return {
        "ethernet0.present": "TRUE",
        "ethernet0.virtualDev": machine.nic_model,
        "ethernet0.connectionType": "bridged",
        "ethernet0.addressType": "generated",
        "ethernet0.generatedAddress": "00:0c:29:" + tail.hex(":"),
        "ethernet0.generatedAddressOffset": "0",
        "ethernet0.startConnected": "TRUE",
    }


def chipset_settings() -> dict[str, str]:
    """Return what VMware writes for every machine alike."""
    bridges = {
        f"pciBridge{number}.{key}": value
        for number in (4, 5, 6, 7)
        for key, value in (("present", "TRUE"), ("virtualDev", "pcieRootPort"), ("functions", "8"))
    }
    return {
        "pciBridge0.present": "TRUE",
        **bridges,
        "hpet0.present": "TRUE",
        "vmci0.present": "TRUE",
        "usb.present": "FALSE",
        "sound.present": "FALSE",
        "svga.vramSize": "8388608",
        "serial0.present": "TRUE",
        "serial0.fileType": "file",
        "serial0.fileName": "serial0.txt",
    }


def vmware_uuid(name: str, purpose: str) -> str:
    """Return an identifier in VMware's form: `56 4d 6f … -… 1a`."""
    octets = uuid.uuid5(UUID_NAMESPACE, f"{name}/{purpose}").bytes
    return "-".join(half.hex(" ") for half in (octets[:8], octets[8:]))


def companion_files(machine: VmwareMachine) -> dict[str, str]:
    """Return the small files that VMware keeps beside a machine, by name."""
    identifier = vmware_uuid(machine.name, "team")
    return {
        f"{machine.name}.vmsd": '.encoding = "UTF-8"\n',
        f"{machine.name}.vmxf": (
            '<?xml version="1.0"?>\n<Foundry>\n<VM>\n'
            f'<VMId type="string">{identifier}</VMId>\n'
            "<ClientMetaData>\n<clientMetaDataAttributes/>\n<HistoryEventList/></ClientMetaData>\n"
            f'<vmxPathName type="string">{machine.name}.vmx</vmxPathName></VM></Foundry>\n'
        ),
        # VMware's own is the firmware's memory; nothing reads this stand-in.
        f"{machine.name}.nvram": "",
    }
