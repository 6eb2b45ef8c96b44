"""Reads what a host says of its VMs: state, configuration, addresses.  Pure."""

import ipaddress
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import libvirt

from metier.domain.hardware import Hardware
from metier.domain.observation import Power
from metier.drivers.hypervisor.libvirt.configuration import Attachment
from metier.drivers.hypervisor.libvirt.domain_xml import KEPT, Nic
from metier.drivers.hypervisor.libvirt.mark import Mark, read_mark

# Forms of image that can be put on a VM here; the matrix stores them all as qcow2.
IMAGE_FORMS = frozenset(("qcow2", "raw", "vmdk"))

# Paused and suspended guests hold their memory and their disks: neither on nor off.
_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: Power.ON,
    libvirt.VIR_DOMAIN_BLOCKED: Power.ON,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.ON,
    libvirt.VIR_DOMAIN_SHUTOFF: Power.OFF,
    libvirt.VIR_DOMAIN_CRASHED: Power.OFF,
}
_STATE_WORDS = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting down",
    libvirt.VIR_DOMAIN_SHUTOFF: "off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}
_KIB = {
    "b": 1 / 1024,
    "bytes": 1 / 1024,
    "KB": 1000 / 1024,
    "k": 1,
    "KiB": 1,
    "MB": 10**6 / 1024,
    "M": 1 << 10,
}
_KIB |= {"MiB": 1 << 10, "GB": 10**9 / 1024, "G": 1 << 20, "GiB": 1 << 20, "T": 1 << 30, "TiB": 1 << 30}


@dataclass(frozen=True, slots=True)
class Configuration:
    """A domain's configuration as its XML says it.

    Attributes:
        size: Its elements of `KEPT`, as they are.
        paths: Files of its disks on the host, the CD-ROM's not among them.
    """

    name: str
    mark: Mark | None
    memory_mib: int
    cpus: int
    architecture: str
    nics: tuple[Nic, ...]
    size: tuple[ET.Element, ...]
    paths: tuple[str, ...]

    def hardware(self, networks: Mapping[str, Attachment]) -> Hardware:
        """Return it as the facts of a node, with the operator's names for its networks."""
        reached = {nic.attachment for nic in self.nics}
        return Hardware(
            memory_mib=self.memory_mib,
            cpus=self.cpus,
            disk_gib=self.mark.disk_gib if self.mark else 0,
            architecture=self.architecture,
            nics=len(self.nics),
            networks=frozenset(name for name, target in networks.items() if target in reached),
            image_forms=IMAGE_FORMS,
        )


def power(state: int) -> Power:
    """Return what a domain's state means; unknown for everything in between."""
    return _POWER.get(state, Power.UNKNOWN)


def state_word(state: int) -> str:
    """Return a domain's state in a word for messages."""
    return _STATE_WORDS.get(state, "in an unknown state")


def read_configuration(xml: str) -> Configuration:
    """Read a domain's XML; what is not there counts as zero or none."""
    domain = ET.fromstring(xml)
    kind = domain.find("os/type")
    return Configuration(
        name=domain.findtext("name", ""),
        mark=read_mark(domain),
        memory_mib=_memory_mib(domain),
        cpus=_number(domain.find("vcpu")),
        architecture=(kind.get("arch") if kind is not None else None) or "x86_64",
        nics=tuple(_nics(domain)),
        size=tuple(element for name in KEPT for element in domain.findall(name)),
        paths=tuple(_paths(domain)),
    )


def usable_address(texts: Iterable[str]) -> str | None:
    """Return the first address by which a guest can be reached from elsewhere, IPv4 first."""
    found = []
    for text in texts:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if not (
            address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
        ):
            found.append(address)
    return str(min(found, key=lambda address: address.version)) if found else None


def _memory_mib(domain: ET.Element) -> int:
    """Return what the guest has now; a balloon may leave it less than its maximum."""
    element = domain.find("currentMemory")
    if element is None:
        element = domain.find("memory")
    unit = "KiB" if element is None else element.get("unit", "KiB")
    return int(_number(element) * _KIB.get(unit, 1)) >> 10


def _number(element: ET.Element | None) -> int:
    text = (element.text or "").strip() if element is not None else ""
    return int(text) if text.isascii() and text.isdigit() else 0


def _nics(domain: ET.Element) -> Iterable[Nic]:
    for interface in domain.iterfind("devices/interface"):
        kind = interface.get("type", "")
        source, mac = interface.find("source"), interface.find("mac")
        if source is not None and mac is not None and kind in ("bridge", "network"):
            yield Nic(Attachment(kind, source.get(kind, "")), mac.get("address", "").lower())


def _paths(domain: ET.Element) -> Iterable[str]:
    for disk in domain.iterfind("devices/disk"):
        source = disk.find("source")
        if disk.get("device", "disk") == "disk" and source is not None and source.get("file"):
            yield source.get("file", "")
