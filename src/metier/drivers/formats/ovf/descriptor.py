"""What an `.ovf` file describes: the files of the package, and the machine made of them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from metier.domain.errors import Refusal
from metier.drivers.formats.machine import MachineFound, bounded
from metier.drivers.formats.markup import Element, parse_markup
from metier.drivers.formats.ovf.hardware import hardware_of
from metier.drivers.formats.ovf.units import bytes_in, whole_number

_REMEDY = "export each VM into a package of its own"

# CIM numbers; what VMware and VirtualBox call the guest is told as well, and preferred.
_SYSTEMS = {"1": "other", "36": "linux", "79": "rhel", "80": "rhel-64", "93": "ubuntu", "94": "ubuntu-64",
            "95": "debian", "96": "debian-64", "101": "linux-64"}  # fmt: skip

_MOST_BYTES = 1 << 62


class _File(NamedTuple):
    name: str
    is_gzip: bool


@dataclass(frozen=True, slots=True)
class OvfFound:
    """What an `.ovf` says.

    Attributes:
        is_vmware: It was made for a VMware VM.
        files: Bare names of the package's files.
    """

    machine: MachineFound
    is_vmware: bool
    files: tuple[str, ...]


def parse_ovf(data: bytes, file: str) -> OvfFound:
    """Read an `.ovf` file.

    Raises:
        Refusal: It is none; describes several VMs or none with a disk; or names files elsewhere.
    """
    root = parse_markup(data, file)
    if root.name != "Envelope":
        raise Refusal(f"cannot read {file}: it is no OVF description, but begins with {root.name[:40]!r}")
    remarks: list[str] = []
    files = dict(_files(root, file))
    system = _system(root, file)
    disks = dict(_disks(root, files, file))
    disks |= {f"/file/{key}": (found.name, 0, found.is_gzip) for key, found in files.items()}
    hardware, kind = _hardware(root, system, file, remarks)
    machine = hardware_of(hardware, kind, disks, file, remarks)
    remarks += _firmware_remarks(hardware, system)
    remarks += _section_remarks(root, system)
    described = MachineFound(
        disks=machine.disks,
        firmware=_firmware(hardware, system),
        nic_models=machine.nic_models,
        memory_mib=machine.memory_mib,
        cpus=machine.cpus,
        guest_os=_guest_os(system),
        remarks=bounded(remarks),
    )
    return OvfFound(described, "vmx-" in kind.lower(), tuple(found.name for found in files.values()))


def _system(root: Element, file: str) -> Element:
    """Return the one VM; it may lie in collections."""
    systems = list(_systems(root))
    if len(systems) > 1:
        names = ", ".join(_name(system)[:60] for system in systems[:5])
        raise Refusal(f"cannot import {file}: it describes {len(systems)} VMs: {names}", remedy=_REMEDY)
    if not systems:
        raise Refusal(f"cannot import {file}: it describes no VM")
    return systems[0]


def _systems(element: Element) -> Iterator[Element]:
    for child in element.children:
        if child.name == "VirtualSystem":
            yield child
        elif child.name == "VirtualSystemCollection":
            yield from _systems(child)


def _name(system: Element) -> str:
    return system.text_of("Name") or system.get("id", "without name")


def _files(root: Element, file: str) -> Iterator[tuple[str, _File]]:
    for element in root.each("References", "File"):
        name = _bare_name(element.get("href"), file)
        packed = element.get("compression", "identity").lower()
        if element.get("chunkSize"):
            raise Refusal(
                f"cannot use {file}: {name!r} is cut into chunks",
                remedy="export it without chunks (ovftool without --chunkSize)",
            )
        if packed not in ("", "identity", "gzip"):
            raise Refusal(
                f"cannot use {file}: {name!r} is packed by {packed[:40]!r}, which is unknown here",
                remedy="export it without compression",
            )
        yield element.get("id"), _File(name, packed == "gzip")


def _bare_name(href: str, file: str) -> str:
    """Return the file that a reference names, which must lie next to the description."""
    name = unquote(href.removeprefix("./"))
    if not name or name in (".", "..") or len(name) > 1024 or any(c in "/\\:" or ord(c) < 32 for c in name):
        raise Refusal(
            f"cannot use {file}: its file {href[:120]!r} is not a file next to it",
            remedy="the package must hold every file, and no path may lead elsewhere",
        )
    return name


def _disks(
    root: Element, files: Mapping[str, _File], file: str
) -> Iterator[tuple[str, tuple[str, int, bool]]]:
    """Yield each disk by the path under which hardware asks for it."""
    for element in root.each("DiskSection", "Disk"):
        key, reference = element.get("diskId"), element.get("fileRef")
        if element.get("parentRef"):
            raise Refusal(
                f"cannot use {file}: its disk {key[:60]!r} holds only the difference to another",
                remedy="export it without snapshots",
            )
        if reference and reference not in files:
            raise Refusal(f"cannot use {file}: its disk {key[:60]!r} refers to no file of the package")
        amount = whole_number(element.get("capacity"), f"the size of {key[:60]!r}", file, _MOST_BYTES)
        capacity = amount * bytes_in(element.get("capacityAllocationUnits"), file)
        held = files[reference] if reference else _File("", False)
        yield f"/disk/{key}", (held.name, capacity, held.is_gzip)


def _hardware(root: Element, system: Element, file: str, remarks: list[str]) -> tuple[Element, str]:
    """Return the hardware, and the kind of machine it is for; of several the first, and VMware's first."""
    found = list(system.each("VirtualHardwareSection"))
    if not found:
        raise Refusal(f"cannot import {file}: its VM has no hardware")
    kinds = [section.text_of("System", "VirtualSystemType") for section in found]
    chosen = next((number for number, kind in enumerate(kinds) if "vmx-" in kind.lower()), 0)
    if len(found) > 1:
        remarks.append(
            f"the VM is described for {len(found)} kinds of host; {kinds[chosen][:40]!r} was taken"
        )
    return _configured(root, found[chosen], remarks), kinds[chosen]


def _configured(root: Element, section: Element, remarks: list[str]) -> Element:
    """Return a hardware section with the items of the default deployment option alone."""
    options = list(root.each("DeploymentOptionSection", "Configuration"))
    default = next((option for option in options if option.get("default").lower() in ("true", "1")), None)
    default = default or next(iter(options), None)
    if default is not None:
        remarks.append(f"of its {len(options)} deployment options, {default.get('id')[:60]!r} was taken")
    wanted = default.get("id") if default is not None else None
    kept = [
        child
        for child in section.children
        if "configuration" not in child.attributes or wanted in child.get("configuration").split()
    ]
    return Element(section.name, section.attributes, kept)


def _settings(hardware: Element) -> dict[str, str]:
    """Return VMware's own settings."""
    found = [*hardware.each("Config"), *hardware.each("ExtraConfig")]
    return {element.get("key").lower(): element.get("value").strip() for element in found}


def _firmware(hardware: Element, system: Element) -> str:
    word = _settings(hardware).get("firmware", "").lower()
    of_virtualbox = system.first("Machine", "Hardware", "Firmware")
    if not word and of_virtualbox is not None:
        word = of_virtualbox.get("type").lower()
    return "uefi" if word.startswith(("efi", "uefi")) else "bios"


def _firmware_remarks(hardware: Element, system: Element) -> Iterator[str]:
    settings = _settings(hardware)
    word = settings.get("firmware", "").lower()
    if word not in ("", "bios", "efi", "uefi"):
        yield f"firmware {word[:40]!r} is unknown; BIOS is used"
    if settings.get("bootoptions.efisecurebootenabled", "").lower() == "true":
        yield "UEFI Secure Boot is switched off"
    if _firmware(hardware, system) == "uefi" and settings.get("nvram"):
        yield "the UEFI variables (.nvram) are not taken over: the guest boots by its disk's default entry"


def _section_remarks(root: Element, system: Element) -> Iterator[str]:
    """Say which sections are for the eyes of a deployment tool, which does not exist here."""
    properties = [
        prefix + item.get("key")
        for section in system.each("ProductSection")
        for prefix in [f"{section.get('class')}." if section.get("class") else ""]
        for item in section.each("Property")
    ]
    if properties:
        shown = ", ".join(name[:60] for name in properties[:5])
        more = f" and {len(properties) - 5} more" if len(properties) > 5 else ""
        yield f"these properties are not asked for (give the tier a personality instead): {shown}{more}"
    if system.first("EulaSection") is not None:
        yield "it comes with a licence agreement, which nobody has been asked to accept"
    for element in (*root.children, *system.children):
        if element.get("required").lower() == "true" and element.name not in _KNOWN_SECTIONS:
            yield f"its section {element.name[:60]} is not understood"


_KNOWN_SECTIONS = frozenset(
    (
        *("References", "DiskSection", "NetworkSection", "VirtualSystem", "VirtualSystemCollection"),
        *("Strings", "VirtualHardwareSection", "OperatingSystemSection", "AnnotationSection", "Machine"),
        *("ProductSection", "EulaSection", "DeploymentOptionSection", "InstallSection", "BootOrderSection"),
        "StartupSection",
    )
)


def _guest_os(system: Element) -> str:
    section = system.first("OperatingSystemSection")
    if section is None:
        return ""
    told = section.get("osType") or section.text_of("OSType")
    number = section.get("id")
    words = told or section.text_of("Description") or _SYSTEMS.get(number, "")
    return re.sub(r"\s+", " ", words)[:128]
