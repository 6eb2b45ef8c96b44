"""What a host's QEMU has: read from its capabilities, and where they are silent, tried with a guest."""

import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import libvirt

from metier.drivers.hypervisor.libvirt.attempt import Attempt
from metier.drivers.hypervisor.libvirt.configuration import Place
from metier.drivers.hypervisor.libvirt.domain_xml import cpu_element, no_usb
from metier.drivers.hypervisor.libvirt.faults import code, words
from metier.drivers.hypervisor.libvirt.mark import Mark, mark_element

ARCHITECTURE = "x86_64"
MACHINE_TYPES = ("pc",)
# Memory of guests that live for a moment; firmware starts in less than half of it.
PROBE_MEMORY_MIB = 32


@dataclass(frozen=True, slots=True)
class Offer:
    """What a host can give guests, by machine type.

    Attributes:
        buses: Disk buses of each machine type.
        has_uefi: There is UEFI firmware for guests.
        has_vnc: Guests can have a screen shown by VNC.
    """

    buses: dict[str, frozenset[str]]
    has_uefi: bool
    has_vnc: bool


def read_offer(connection: Any, kind: str) -> Offer:
    """Ask for the capabilities of guests of `kind` (`kvm` or `qemu`); one call a machine type."""
    trees = {
        machine: ET.fromstring(connection.getDomainCapabilities(None, ARCHITECTURE, machine, kind))
        for machine in MACHINE_TYPES
    }
    return Offer(
        buses={machine: _values(tree, "devices/disk", "bus") for machine, tree in trees.items()},
        has_uefi="efi" in _values(trees["pc"], "os", "firmware"),
        has_vnc="vnc" in _values(trees["pc"], "devices/graphics", "type"),
    )


def knows_kvm(connection: Any) -> bool:
    """Whether libvirt believes that the host has KVM; true proves nothing yet."""
    capabilities = ET.fromstring(connection.getCapabilities())
    return any(
        arch.get("name") == ARCHITECTURE and any(kind.get("type") == "kvm" for kind in arch.findall("domain"))
        for arch in capabilities.iterfind("guest/arch")
    )


def has_model(connection: Any, attempt: Attempt, place: Place, machine: str, kind: str, model: str) -> bool:
    """Try whether the host's QEMU starts with a device; capabilities do not list these models.

    The guest is never run: it is made paused, without disks, and ends at once.
    """
    if kind == "scsi":
        device = ET.Element("controller", {"type": "scsi", "index": "0", "model": model})
    else:
        device = ET.Element("interface", {"type": "user"})
        ET.SubElement(device, "model", {"type": model})
    flags = libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY
    attempt.check()
    try:
        domain = connection.createXML(probe_xml(place, machine, accelerated=False, device=device), flags)
    except libvirt.libvirtError as error:
        return not _says_no_such_model(error)
    try:
        domain.destroy()
    except libvirt.libvirtError as error:
        if code(error) != libvirt.VIR_ERR_NO_DOMAIN:
            raise
    return True


def probe_xml(place: Place, machine: str, *, accelerated: bool, device: ET.Element | None = None) -> str:
    """Return a guest without disks that ends as soon as its firmware finds nothing to start."""
    domain = ET.Element("domain", {"type": "kvm" if accelerated else "qemu"})
    texts = {"name": f"{probe_prefix(place)}{uuid.uuid4().hex[:12]}", "vcpu": "1"}
    for name, text in texts.items():
        ET.SubElement(domain, name).text = text
    domain.append(mark_element(Mark(place.site, place.node, 0)))
    ET.SubElement(domain, "memory", {"unit": "MiB"}).text = str(PROBE_MEMORY_MIB)
    os = ET.SubElement(domain, "os")
    ET.SubElement(os, "type", {"arch": ARCHITECTURE, "machine": machine}).text = "hvm"
    ET.SubElement(os, "bios", {"rebootTimeout": "0"})
    ET.SubElement(ET.SubElement(domain, "features"), "acpi")
    domain.append(cpu_element(accelerated=accelerated))
    for name in ("on_poweroff", "on_reboot", "on_crash"):
        ET.SubElement(domain, name).text = "destroy"
    devices = ET.SubElement(domain, "devices")
    devices.append(no_usb())
    ET.SubElement(devices, "memballoon", {"model": "none"})
    if device is not None:
        devices.append(device)
    return ET.tostring(domain, encoding="unicode")


def probe_prefix(place: Place) -> str:
    """Return how the names of this node's short-lived guests begin."""
    return f"metier-{place.node}-probe-"


def _values(tree: ET.Element, path: str, enum: str) -> frozenset[str]:
    return frozenset(value.text or "" for value in tree.iterfind(f"{path}/enum[@name='{enum}']/value"))


def _says_no_such_model(error: libvirt.libvirtError) -> bool:
    """Whether an error is about the model; any other says nothing about it."""
    if code(error) in (
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_XML_ERROR,
        libvirt.VIR_ERR_XML_DETAIL,
    ):
        return True
    return "not a valid device model name" in words(error)
