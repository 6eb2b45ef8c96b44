"""What an operator sets for a VMware host, and what follows from it for names there."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from metier.domain.errors import Refused, WrongUsage
from metier.domain.ids import plain_name
from metier.drivers.settings import setting

# Metier's own namespace for all ids that are derived from names.
_IDS = uuid.UUID("6d657469-6572-5000-8000-767370686572")
_FILE_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,149}")
_THUMBPRINT = re.compile(r"[0-9a-f]{64}")
_DEFAULT_PORT = 443
# Names in VMware's inventory may hold nearly everything; paths on a datastore are written in brackets.
_LONGEST_NAME = 80


class Secret(str):
    """A word that no message, log or dump may show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


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


def _thumbprint(text: str) -> str:
    plain = text.replace(":", "").lower()
    if text and _THUMBPRINT.fullmatch(plain) is None:
        raise ValueError("must be a SHA-256 thumbprint: 64 hexadecimal digits, with or without colons")
    return plain


def _file(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("must be an absolute path on the controller")
    return text


def _name(text: str) -> str:
    if not text.isprintable() or len(text) > _LONGEST_NAME or any(c in text for c in "[]"):
        raise ValueError(f"must be up to {_LONGEST_NAME} printable characters, without brackets")
    return text


def _networks(text: str) -> Mapping[str, str]:
    networks: dict[str, str] = {}
    for entry in text.split(","):
        name, equals, target = entry.strip().partition("=")
        if not (name and equals and target):
            raise ValueError("write NAME=PORT GROUP, separated by commas")
        if name in networks:
            raise ValueError(f"network {name} is given twice")
        networks[name] = _name(target.strip())
    return networks


def _site(text: str) -> str:
    if _FILE_WORD.fullmatch(text) is None:
        raise ValueError("use letters, digits, dots, dashes and underscores")
    return text


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
    password: str = setting("Its password; never shown again.", parse=Secret)
    thumbprint: str = setting(
        "SHA-256 thumbprint of the server's certificate; without it an authority must vouch for it.",
        parse=_thumbprint,
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
    site: str = setting(
        "Name that tells this Metier's VMs from those of another Metier on the same host.",
        parse=_site,
        default="metier",
    )


@dataclass(frozen=True, slots=True)
class Place:
    """One host node, and the names that things of it have there.

    Attributes:
        node: Metier's name for it.
        host: Name of the host in its vCenter; empty where it is reached directly.
    """

    node: str
    host: str
    site: str
    networks: Mapping[str, str] = field(default_factory=dict)

    def vm(self, number: int) -> str:
        """Name of VM `number`."""
        return f"metier-{self.node}-VM{number}"

    def vm_id(self, node: str, number: int) -> str:
        """Instance UUID of VM `number` of a node of this site; a clone of it gets another from VMware."""
        return str(uuid.uuid5(_IDS, f"{self.site}/{node}/VM{number}"))

    @property
    def folder(self) -> str:
        """Folder of Metier's on the datastore; hosts that share the datastore share it."""
        return f"metier/{self.site}"


def place_of(node: str, settings: Settings) -> Place:
    """Return the names for `node`; raises WrongUsage if it cannot be a physical node."""
    if settings.thumbprint and settings.ca:
        raise WrongUsage("driver vsphere takes either a thumbprint or a ca, not both")
    return Place(plain_name(node, "node"), settings.host, settings.site, settings.networks)


def file_word(text: str, noun: str) -> str:
    """Return `text` if it can be part of a file's name in a store; raises Refused."""
    if _FILE_WORD.fullmatch(text) is None:
        raise Refused(f"{text!r} cannot name the files of an {noun}: use letters, digits, dots and dashes")
    return text
