"""What an operator sets for a VMware host, and what follows from it for names there."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from metier.domain.errors import WrongUsage
from metier.domain.ids import plain_name
from metier.drivers.certificate import thumbprint_of
from metier.drivers.hypervisor.names import derived_id, networks_of, site_setting, vm_name, vm_path
from metier.drivers.settings import one_of, setting

# Metier's own namespace for all ids that are derived from names.
_IDS = uuid.UUID("6d657469-6572-5000-8000-767370686572")
_DEFAULT_PORT = 443
# Names in VMware's inventory may hold nearly everything; paths on a datastore are written in brackets.
_LONGEST_NAME = 80


class Url(NamedTuple):
    """Where an ESX host or a vCenter answers."""

    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORT else f":{self.port}"
        return f"https://{host}{port}{self.path}"


def url_of(text: str) -> Url:
    """Return an address in its parts; raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or not text.isprintable():
        raise ValueError("must be an address such as https://esx-1.example/sdk")
    if parts.username or parts.password:
        raise ValueError("must not hold the password: give it as the setting password")
    if parts.query or parts.fragment:
        raise ValueError("must have nothing behind its path")
    return Url(parts.hostname, parts.port or _DEFAULT_PORT, parts.path.rstrip("/") or "/sdk")


def _url(text: str) -> str:
    return str(url_of(text))


def _file(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("must be an absolute path on the controller")
    return text


def _name(text: str) -> str:
    if not text.isprintable() or len(text) > _LONGEST_NAME or any(c in text for c in "[]"):
        raise ValueError(f"must be up to {_LONGEST_NAME} printable characters, without brackets")
    return text


def _networks(text: str) -> Mapping[str, str]:
    form = "write NAME=PORT GROUP, separated by commas"
    return networks_of(text, lambda target: _name(target.strip()), form)


def _staged(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not text.isprintable() or len(set(names)) < len(names):
        raise ValueError("write the names of VMs, each once, separated by commas")
    return names


def _folder(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text.strip("/")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach a VMware host, and what to use there."""

    url: str = setting(
        "Where the ESX host answers, or the vCenter that it is in.",
        parse=_url,
        example="https://esx-1.example/sdk",
    )
    host: str = setting(
        "Name of the host in its vCenter; empty where `url` is the ESX host itself.",
        parse=_name,
        default="",
        example="esx-1.example",
    )
    user: str = setting("Account to log in with.", default="root")
    password: str = setting("Its password.", secret=True)
    thumbprint: str = setting(
        "SHA-256 thumbprint of the server's certificate; without it an authority must vouch for it.",
        parse=thumbprint_of,
        default="",
    )
    ca: str = setting(
        "File on the controller with the authorities' certificates, as PEM; empty: the system's authorities.",
        parse=_file,
        default="",
        example="/etc/metier/vmware-ca.pem",
    )
    datastore: str = setting(
        "Datastore that Metier keeps its disks on; empty where the host has just one.",
        parse=_name,
        default="",
    )
    networks: Mapping[str, str] = setting(
        "What each network that images ask for is on the host: the name of a port group.",
        parse=_networks,
        default="default=VM Network",
        example="default=VM Network,storage=SAN",
    )
    staged: tuple[str, ...] = setting(
        "VMs on the host that are handed over to Metier: their names, or paths, separated by commas.",
        parse=_staged,
        default="",
        example="web a,web b",
    )
    staged_folder: str = setting(
        "Folder of the inventory whose VMs are handed over, below its datacenter's VMs; a resource pool"
        " where `url` is the ESX host itself.",
        parse=_folder,
        default="",
        example="metier/staged",
    )
    instances: str = setting(
        "How a VM's disks are made of its image: `linked` to it, or `copied` whole where a datastore has no"
        " linked disks.",
        parse=one_of("linked", "copied"),
        default="linked",
    )
    site: str = site_setting()

    def hands_over(self, name: str, folder: str) -> bool:
        """Whether a VM is still handed over that was taken over under a name, or for the folder it was in."""
        is_named = any(name in (given, given.rpartition("/")[2]) for given in self.staged)
        return bool(name) and (is_named or (bool(folder) and folder == self.staged_folder))


@dataclass(frozen=True, slots=True)
class Place:
    """One host node, and the names that things of it have there.

    Attributes:
        node: Metier's name for it.
        host: Name of the host in its vCenter; empty where it is reached directly.
        are_copied: Instances are made whole, not linked to their image.
    """

    node: str
    host: str
    site: str
    networks: Mapping[str, str] = field(default_factory=dict)
    are_copied: bool = False

    def vm(self, number: int) -> str:
        """Name of VM `number`."""
        return vm_name(self.node, number)

    def vm_id(self, node: str, number: int) -> str:
        """Instance UUID of VM `number` of a node of this site; a clone of it gets another from VMware."""
        return derived_id(_IDS, vm_path(self.site, node, number))

    @property
    def folder(self) -> str:
        """Folder of Metier's on the datastore; hosts that share the datastore share it."""
        return f"metier/{self.site}"


def place_of(node: str, settings: Settings) -> Place:
    """Return the names for `node`; raises WrongUsage if it cannot be a physical node."""
    if settings.thumbprint and settings.ca:
        raise WrongUsage("driver vsphere takes either a thumbprint or a ca, not both")
    are_copied = settings.instances == "copied"
    return Place(plain_name(node, "node"), settings.host, settings.site, settings.networks, are_copied)
