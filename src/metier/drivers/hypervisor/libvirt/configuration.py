"""What an operator sets for a libvirt host, and what follows from it for names on the host."""

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from metier.domain.ids import plain_name
from metier.drivers.hypervisor.names import derived_id, networks_of, site_setting, vm_name, vm_path
from metier.drivers.settings import one_of, setting

# Metier's own namespace for all ids that are derived from names.
_IDS = uuid.UUID("6d657469-6572-5000-8000-766d6e616d65")
_INTERFACE = re.compile(r"[A-Za-z0-9_.:-]{1,63}")
_FORM = "write NAME=bridge:DEVICE or NAME=network:NAME, separated by commas"


class Attachment(NamedTuple):
    """What a network's name stands for on this host.

    Attributes:
        kind: `bridge` (a bridge device of the host) or `network` (a libvirt network).
        source: Its name there.
    """

    kind: str
    source: str


def _url(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not hold control characters")
    parts = urlsplit(text)
    if not parts.scheme or not parts.path:
        raise ValueError("must be a libvirt URI such as qemu+ssh://root@host-1/system")
    if parts.scheme.split("+")[0] != "qemu":
        raise ValueError("must begin with qemu: other VM managers have drivers of their own")
    if parts.scheme.endswith("+ssh") and "no_tty" not in dict(parse_qsl(parts.query)):
        # A controller has nobody to ask for a password: fail instead of waiting for an answer.
        query = f"{parts.query}&no_tty=1" if parts.query else "no_tty=1"
        return urlunsplit(parts._replace(query=query))
    return text


def _folder(text: str) -> str:
    if not text.startswith("/") or not text.isprintable() or ".." in text.split("/"):
        raise ValueError("must be an absolute path on the host")
    if len(text) > 1 and text.endswith("/"):
        text = text.rstrip("/")
    if text.count("/") < 2:
        raise ValueError("must be a folder of Metier's own, at least two levels deep")
    return text


def _networks(text: str) -> Mapping[str, Attachment]:
    return networks_of(text, _attachment, _FORM)


def _attachment(text: str) -> Attachment:
    kind, colon, source = text.partition(":")
    if not colon or kind not in ("bridge", "network"):
        raise ValueError(_FORM)
    if _INTERFACE.fullmatch(source) is None:
        raise ValueError(f"{source!r} cannot name a {kind}")
    return Attachment(kind, source)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach a libvirt host, and what to use there."""

    url: str = setting(
        "Where the host's libvirt answers: any libvirt URI of its QEMU driver.",
        parse=_url,
        example="qemu+ssh://root@host-1.example/system",
    )
    store: str = setting(
        "Folder on the host that Metier keeps its disks in, and nobody else; made if it is missing.",
        parse=_folder,
        default="/var/lib/metier/vms",
    )
    networks: Mapping[str, Attachment] = setting(
        "What each network that images ask for is on the host: a bridge device or a libvirt network.",
        parse=_networks,
        default="default=network:default",
        example="default=bridge:br0,storage=network:san",
    )
    emulation: str = setting(
        "How guests run: `kvm` or `tcg` (QEMU's emulation); `auto` takes KVM where a guest is seen to run.",
        parse=one_of("auto", "kvm", "tcg"),
        default="auto",
    )
    site: str = site_setting()


@dataclass(frozen=True, slots=True)
class Place:
    """One host node, and the names that things of it have on the host."""

    url: str
    node: str
    site: str
    store: str

    def folder(self, part: str) -> str:
        """Path of one part of the store."""
        return f"{self.store}/{part}"

    def pool(self, part: str) -> str:
        """Name of the libvirt storage pool over that part."""
        return f"metier-{self.node}-{part}"

    def pool_id(self, part: str) -> str:
        """UUID of that pool; always the same, as a VM's."""
        return derived_id(_IDS, f"{self.site}/{self.node}/{part}")

    def domain(self, number: int) -> str:
        """Name of VM `number` on the host."""
        return vm_name(self.node, number)

    def domain_id(self, number: int) -> str:
        """UUID of VM `number`; always the same, so that defining it twice is defining it once."""
        return derived_id(_IDS, vm_path(self.site, self.node, number))

    def mac(self, number: int, nic: int) -> str:
        """MAC address of one interface: always the same, locally administered, 40 bits of a digest."""
        digest = hashlib.sha256(f"{vm_path(self.site, self.node, number)}/{nic}".encode()).digest()
        return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def place_of(node: str, settings: Settings) -> Place:
    """Return the names for `node`; raises WrongUsage if it cannot be a physical node."""
    return Place(settings.url, plain_name(node, "node"), settings.site, settings.store)
