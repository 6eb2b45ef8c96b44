"""What a slot's guest is told at its start, over and above its name and address."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_interface
from typing import NamedTuple

from metier.domain.image import ImageType


class SeedForm(StrEnum):
    """How a personality reaches the guest: each is a small CD-ROM that something in the guest reads."""

    NOCLOUD = "nocloud"
    CONFIGDRIVE = "configdrive"
    UNATTEND = "unattend"


@dataclass(frozen=True, slots=True)
class PersonalFile:
    """A file to be written into the guest.

    Attributes:
        path: Absolute, in the guest.
        content: A template.
        mode: Permissions, as in `0644`.
    """

    path: str
    content: str
    mode: str = "0644"


class Variable(NamedTuple):
    """A word that an operator's templates may use."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Personality:
    """What an operator wrote for all slots of a tier, or for one; texts are templates of the slot's values.

    Attributes:
        form: None takes what fits the image's type.
        user_data: For cloud-init or cloudbase-init; empty for none.
        unattend: Windows' answer file; empty for the default one.
        scripts: Run once, in order, at the first start of an instance.
        variables: Sorted by name; at most one of a name.
        name_servers: Addresses; only told where the slot has a fixed address.
    """

    form: SeedForm | None = None
    user_data: str = ""
    unattend: str = ""
    files: tuple[PersonalFile, ...] = ()
    scripts: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()
    name_servers: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What it consists of, in a few words; empty if nothing was written."""
        parts = [f"form {self.form}"] if self.form else []
        parts += [f"{name} ({_brief(text)})" for name, text in self.texts.items()]
        parts += [f"{name}={value}" for name, value in self.variables]
        parts += [f"name server {server}" for server in self.name_servers]
        return ", ".join(parts)

    @property
    def texts(self) -> Mapping[str, str]:
        """All templates, by what messages and lists call them."""
        whole = {"user-data": self.user_data, "unattend.xml": self.unattend}
        found = {name: text for name, text in whole.items() if text}
        found.update((file.path, file.content) for file in self.files)
        found.update((f"script {place}", script) for place, script in enumerate(self.scripts, 1))
        return found

    def joined_with(self, own: "Personality | None") -> "Personality":
        """Return what a slot with `own` settings has in this tier.

        The slot's texts, form and name servers take the place of the tier's; its variables and files
        take the place of those of the same name; its scripts run after the tier's.
        """
        if own is None:
            return self
        files = {file.path: file for file in (*self.files, *own.files)}
        variables = dict((*self.variables, *own.variables))
        return Personality(
            form=own.form or self.form,
            user_data=own.user_data or self.user_data,
            unattend=own.unattend or self.unattend,
            files=tuple(files.values()),
            scripts=(*self.scripts, *own.scripts),
            variables=tuple(Variable(*pair) for pair in sorted(variables.items())),
            name_servers=own.name_servers or self.name_servers,
        )


def _brief(text: str) -> str:
    """Return what tells a text from others."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{len(text)} characters, {digest[:8]}"


NO_PERSONALITY = Personality()


def default_form(image: ImageType) -> SeedForm:
    """Return the form that guests of a type look for."""
    return SeedForm.UNATTEND if image is ImageType.WINDOWS else SeedForm.NOCLOUD


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """All that one guest is told: the personality, and the values that its templates may use.

    The same always makes the same seed.  Of a slot that no node fills, `node`, `host`, `mac` and
    `instance` are empty and `vm_number` is 0.

    Attributes:
        personality: Of tier and slot, joined.
        form: Never None: what fits the image, if nobody chose.
        address: With prefix length; None for DHCP.
        attributes: The node's, sorted.
    """

    personality: Personality
    form: SeedForm
    hostname: str
    address: str | None
    gateway: str | None
    tier: str
    slot: int
    image: str
    version: str
    instance: str = ""
    node: str = ""
    host: str = ""
    vm_number: int = 0
    mac: str = ""
    attributes: tuple[str, ...] = ()

    def values(self) -> dict[str, object]:
        """Return what templates may use, by name; own variables may not hide the others.

        A slot without a node gets examples, so that its templates can be tried.
        """
        network = ip_interface(self.address) if self.address else None
        return {
            **dict(self.personality.variables),
            "hostname": self.hostname,
            "computer_name": computer_name(self.hostname),
            "address": str(network.ip) if network else "",
            "prefix": network.network.prefixlen if network else "",
            "netmask": str(network.netmask) if network and network.version == 4 else "",
            "gateway": self.gateway or "",
            "name_servers": list(self.personality.name_servers),
            "tier": self.tier,
            "slot": self.slot,
            "image": self.image,
            "version": self.version,
            "instance": self.instance or f"{self.tier}-{self.slot}-0",
            "node": self.node or "host-1/VM1",
            "host": self.host or "host-1",
            "vm": self.vm_number or 1,
            "mac": self.mac or "52:54:00:00:00:01",
            "attributes": list(self.attributes),
            "first_logon_commands": [],
        }

    def as_example(self) -> "Carried":
        """Return the same with an example of what only a node that is prepared has."""
        values = self.values()
        return replace(self, instance=str(values["instance"]), mac=str(values["mac"]))


LONGEST_COMPUTER_NAME = 15
"""What NetBIOS, and so Windows, takes of a name."""


_NUMBER_BEHIND = re.compile(r"-\d{1,6}\Z", re.ASCII)


def computer_name(hostname: str) -> str:
    """Return what Windows is called: the first part of the host name, cut to what NetBIOS takes.

    A number at its end stays, so that the slots of a tier keep different names.
    """
    name = hostname.partition(".")[0]
    number = _NUMBER_BEHIND.search(name)
    behind = number[0] if number and len(name) > LONGEST_COMPUTER_NAME else ""
    return name.removesuffix(behind)[: LONGEST_COMPUTER_NAME - len(behind)].rstrip("-") + behind


VALUES = frozenset(
    Carried(
        personality=NO_PERSONALITY,
        form=SeedForm.NOCLOUD,
        hostname="",
        address=None,
        gateway=None,
        tier="",
        slot=1,
        image="",
        version="",
    ).values()
)
"""The names of the values that every template may use."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a slot's guest was last prepared with.

    Attributes:
        digest: Of all the texts as they were rendered then; empty if nobody told.
    """

    carried: Carried
    digest: str = ""

    @property
    def unplaced(self) -> Carried:
        """What of it does not depend on where it runs."""
        return unplaced(self.carried)


def unplaced(carried: Carried) -> Carried:
    """Return what is told to a guest, but for where it runs."""
    return replace(carried, instance="", node="", host="", vm_number=0, mac="", attributes=())


@dataclass(frozen=True, slots=True)
class Seed:
    """A small CD-ROM for one guest.

    Attributes:
        content: An ISO 9660 image.
        digest: Of all the texts on it, in hex.
    """

    content: bytes
    digest: str = ""
