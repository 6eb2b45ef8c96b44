"""Metier's mark on a VM: an element of its own in the VM's metadata, and the only proof of ownership."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

from metier.drivers.hypervisor.libvirt.configuration import Place

NAMESPACE = "urn:metier:vm:1"
ET.register_namespace("metier", NAMESPACE)

# What XML 1.0 cannot hold at all, whatever the escape.
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Mark:
    """What Metier wrote on a VM.

    Attributes:
        number: n of `VM<n>`; 0 on the short-lived guests of a probe.
        disk_gib: Room for an instance that the VM offers, in GiB.
        instance: Id of the instance attached to it, if any.
        facts: More about what runs there, for people who look at the host.
    """

    site: str
    node: str
    number: int
    disk_gib: int = 0
    instance: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def clean(text: str) -> str:
    """Return `text` without the characters that XML cannot hold."""
    return _NO_XML.sub("", text)


def mark_element(mark: Mark) -> ET.Element:
    """Return the `<metadata>` of a VM."""
    metadata = ET.Element("metadata")
    attributes = {
        "site": mark.site,
        "node": mark.node,
        "number": str(mark.number),
        "disk-gib": str(mark.disk_gib),
    }
    if mark.instance is not None:
        attributes["instance"] = mark.instance
    element = ET.SubElement(metadata, f"{{{NAMESPACE}}}vm", attributes)
    for name, value in sorted(mark.facts.items()):
        fact = ET.SubElement(element, f"{{{NAMESPACE}}}fact", {"name": clean(name)})
        fact.text = clean(value)
    return metadata


def read_mark(domain: ET.Element) -> Mark | None:
    """Return the mark on a domain, or None if it has none that Metier could have written."""
    element = domain.find(f"metadata/{{{NAMESPACE}}}vm")
    if element is None:
        return None
    number, disk = element.get("number", ""), element.get("disk-gib", "0")
    if not (number.isascii() and number.isdigit() and disk.isascii() and disk.isdigit()):
        return None
    facts = {fact.get("name", ""): fact.text or "" for fact in element.findall(f"{{{NAMESPACE}}}fact")}
    return Mark(
        site=element.get("site", ""),
        node=element.get("node", ""),
        number=int(number),
        disk_gib=int(disk),
        instance=element.get("instance"),
        facts=facts,
    )


def owned_number(mark: Mark | None, name: str, place: Place) -> int | None:
    """Return n if the mark makes domain `name` Metier's VM n of this place, else None.

    A copy that somebody made of one of our VMs carries the mark as well, under another name:
    it is not ours.
    """
    if mark is None or (mark.site, mark.node) != (place.site, place.node) or mark.number < 1:
        return None
    return mark.number if name == place.domain(mark.number) else None
