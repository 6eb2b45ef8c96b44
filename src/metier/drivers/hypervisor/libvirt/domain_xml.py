"""Builds the XML of Metier's VMs; only ever as a tree, so that no name can break out of its place.  Pure."""

import copy
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import NamedTuple

from metier.drivers.hypervisor.libvirt.configuration import Attachment, Place
from metier.drivers.hypervisor.libvirt.mark import Mark, clean, mark_element
from metier.drivers.hypervisor.libvirt.shape import PlacedDisk, Shape

# What belongs to the virtual node and not to the image: kept as the host has it, whoever set it.
KEPT = (
    "maxMemory",
    "memory",
    "currentMemory",
    "memoryBacking",
    "vcpu",
    "cputune",
    "memtune",
    "blkiotune",
    "numatune",
)
# A narrow SCSI bus has eight places, and the controller takes one.
_SCSI_DISKS = 7
BARE = Shape(machine="pc", firmware="bios", disks=(), cdrom=PlacedDisk("ide", "hdd"), nics=())


@dataclass(frozen=True, slots=True)
class Nic:
    """One network interface: what it is plugged into, and its address."""

    attachment: Attachment
    mac: str


@dataclass(frozen=True, slots=True)
class Media:
    """Paths on the host: one per disk of the shape, the seed's ISO image, and UEFI's variables."""

    disks: tuple[str, ...] = ()
    seed: str | None = None
    nvram: str | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """What a VM is before an image is put on it.

    Attributes:
        size: The elements of `KEPT`: memory, CPUs and how they are served.
        accelerated: Run by KVM; else by QEMU's emulation.
        has_vnc: The host's QEMU can show a screen by VNC.
    """

    place: Place
    number: int
    size: tuple[ET.Element, ...]
    nics: tuple[Nic, ...]
    accelerated: bool
    has_vnc: bool = True


def new_size(memory_mib: int, cpus: int) -> tuple[ET.Element, ...]:
    """Return the size of a VM that does not exist yet."""
    memory = ET.Element("memory", {"unit": "MiB"})
    memory.text = str(memory_mib)
    vcpu = ET.Element("vcpu")
    vcpu.text = str(cpus)
    return (memory, vcpu)


def domain_xml(frame: Frame, mark: Mark, shape: Shape = BARE, media: Media = Media(), title: str = "") -> str:
    """Return the whole configuration of one VM."""
    domain = ET.Element("domain", {"type": "kvm" if frame.accelerated else "qemu"})
    _text(domain, "name", frame.place.domain(frame.number))
    _text(domain, "uuid", frame.place.domain_id(frame.number))
    if title:
        _text(domain, "title", " ".join(clean(title).split()))
    domain.append(mark_element(mark))
    domain.extend(copy.deepcopy(element) for element in frame.size)
    domain.append(_os(shape, media))
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    domain.append(cpu_element(accelerated=frame.accelerated))
    ET.SubElement(domain, "clock", {"offset": "localtime" if shape.local_time else "utc"})
    # A guest that powers off or crashes stays off: what follows is the controller's decision.
    for name, value in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(domain, name, value)
    domain.append(_devices(frame, shape, media))
    return ET.tostring(domain, encoding="unicode")


def cpu_element(*, accelerated: bool) -> ET.Element:
    """Return the CPU that guests see: the host's own, or all that the emulation knows."""
    if accelerated:
        return ET.Element("cpu", {"mode": "host-passthrough"})
    cpu = ET.Element("cpu", {"mode": "maximum"})
    # Five-level page tables make every emulated page walk longer and serve no guest of ours.
    ET.SubElement(cpu, "feature", {"policy": "disable", "name": "la57"})
    return cpu


def no_usb() -> ET.Element:
    """Return what says that a guest has no USB: its polling costs the host time on idle guests."""
    return ET.Element("controller", {"type": "usb", "model": "none"})


def _text(parent: ET.Element, name: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, name, attributes)
    element.text = text
    return element


def _os(shape: Shape, media: Media) -> ET.Element:
    os = ET.Element("os")
    if shape.firmware == "uefi":
        os.set("firmware", "efi")
    _text(os, "type", "hvm", arch="x86_64", machine=shape.machine)
    if shape.firmware == "uefi":
        # The images that arrive here were not signed for a firmware's stock of keys.
        firmware = ET.SubElement(os, "firmware")
        ET.SubElement(firmware, "feature", {"enabled": "no", "name": "secure-boot"})
        if media.nvram is not None:
            ET.SubElement(os, "nvram").text = media.nvram
    return os


def _devices(frame: Frame, shape: Shape, media: Media) -> ET.Element:
    devices = ET.Element("devices")
    seats = _scsi_seats((*shape.disks, shape.cdrom))
    controllers = list(dict.fromkeys(seat.controller for seat in seats.values()))
    for index, (model, _) in enumerate(controllers):
        ET.SubElement(devices, "controller", {"type": "scsi", "index": str(index), "model": model})
    for order, (disk, path) in enumerate(zip(shape.disks, media.disks, strict=True), 1):
        element = _disk(devices, "disk", "qcow2", path, disk)
        # The image's order, whatever the buses: the first disk is the one that it starts from.
        ET.SubElement(element, "boot", {"order": str(order)})
        _seat(element, seats.get(disk.target), controllers)
    if media.seed is not None:
        cdrom = _disk(devices, "cdrom", "raw", media.seed, shape.cdrom)
        ET.SubElement(cdrom, "readonly")
        _seat(cdrom, seats.get(shape.cdrom.target), controllers)
    for number, nic in enumerate(frame.nics):
        devices.append(_interface(nic, shape.nics[number] if number < len(shape.nics) else "virtio"))
    _consoles(devices, has_vnc=frame.has_vnc, has_tablet=shape.has_tablet)
    return devices


class _Seat(NamedTuple):
    """Where a SCSI disk sits: on which controller (its model, and which of that model), in which place."""

    controller: tuple[str, int]
    place: int


def _scsi_seats(disks: tuple[PlacedDisk, ...]) -> dict[str, _Seat]:
    """Return the seat of each SCSI disk by its target."""
    seats: dict[str, _Seat] = {}
    count: dict[str, int] = {}
    for disk in disks:
        if disk.bus == "scsi":
            number = count.get(disk.controller, 0)
            count[disk.controller] = number + 1
            seats[disk.target] = _Seat((disk.controller, number // _SCSI_DISKS), number % _SCSI_DISKS)
    return seats


def _seat(element: ET.Element, seat: _Seat | None, controllers: list[tuple[str, int]]) -> None:
    if seat is not None:
        element.append(_scsi_address(seat, controllers.index(seat.controller)))


def _scsi_address(seat: _Seat, controller: int) -> ET.Element:
    # libvirt counts the disks of a parallel bus by unit, those of all others by target.
    target, unit = (0, seat.place) if seat.controller[0] == "lsilogic" else (seat.place, 0)
    address = {"type": "drive", "controller": str(controller), "bus": "0"}
    return ET.Element("address", address | {"target": str(target), "unit": str(unit)})


def _disk(devices: ET.Element, device: str, form: str, path: str, place: PlacedDisk) -> ET.Element:
    disk = ET.SubElement(devices, "disk", {"type": "file", "device": device})
    driver = {"name": "qemu", "type": form}
    if device == "disk":
        driver["discard"] = "unmap"
    ET.SubElement(disk, "driver", driver)
    ET.SubElement(disk, "source", {"file": path})
    ET.SubElement(disk, "target", {"dev": place.target, "bus": place.bus})
    return disk


def _interface(nic: Nic, model: str) -> ET.Element:
    interface = ET.Element("interface", {"type": nic.attachment.kind})
    ET.SubElement(interface, "mac", {"address": nic.mac})
    ET.SubElement(interface, "source", {nic.attachment.kind: nic.attachment.source})
    ET.SubElement(interface, "model", {"type": model})
    return interface


def _consoles(devices: ET.Element, *, has_vnc: bool, has_tablet: bool) -> None:
    serial = ET.SubElement(devices, "serial", {"type": "pty"})
    ET.SubElement(serial, "target", {"port": "0"})
    console = ET.SubElement(devices, "console", {"type": "pty"})
    ET.SubElement(console, "target", {"type": "serial", "port": "0"})
    channel = ET.SubElement(devices, "channel", {"type": "unix"})
    ET.SubElement(channel, "target", {"type": "virtio", "name": "org.qemu.guest_agent.0"})
    if has_tablet:
        ET.SubElement(devices, "controller", {"type": "usb", "model": "piix3-uhci"})
        ET.SubElement(devices, "input", {"type": "tablet", "bus": "usb"})
    else:
        devices.append(no_usb())
    if has_vnc:
        # A socket that only the host's own libvirt users may open, and no port on any address.
        graphics = ET.SubElement(devices, "graphics", {"type": "vnc"})
        ET.SubElement(graphics, "listen", {"type": "socket"})
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", {"type": "vga"})
