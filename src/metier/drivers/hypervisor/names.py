"""What a setting may hold, and what things of a host node are called, on every kind of host."""

import re
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from metier.domain.errors import Refused
from metier.drivers.settings import setting

T = TypeVar("T")

# What may become part of a file name in a store; the rest of a name's length is left for our own words.
_FILE_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,149}")


def file_word(text: str, noun: str) -> str:
    """Return `text` if it can be part of a file's name in a store; raises Refused."""
    if _FILE_WORD.fullmatch(text) is None:
        raise Refused(f"{text!r} cannot name the files of an {noun}: use letters, digits, dots and dashes")
    return text


def _site(text: str) -> str:
    if _FILE_WORD.fullmatch(text) is None:
        raise ValueError("use letters, digits, dots, dashes and underscores")
    return text


def site_setting() -> Any:
    """Return the setting `site`, the same for every driver of hosts that several Metiers may share."""
    return setting(
        "Name that tells this Metier's VMs from those of another Metier on the same host.",
        parse=_site,
        default="metier",
    )


def networks_of(text: str, read: Callable[[str], T], form: str) -> dict[str, T]:
    """Return the networks that a setting lists as `NAME=TARGET,NAME=TARGET`.

    Args:
        text: The setting.
        read: Returns what a target means; raises ValueError.
        form: What is said of an entry that is not written so.

    Raises:
        ValueError: An entry is malformed, or a network is given twice.
    """
    networks: dict[str, T] = {}
    for entry in text.split(","):
        name, equals, target = entry.strip().partition("=")
        if not (name and equals and target):
            raise ValueError(form)
        meant = read(target)
        if name in networks:
            raise ValueError(f"network {name} is given twice")
        networks[name] = meant
    return networks


def vm_name(node: str, number: int) -> str:
    """Return the name of VM `number` of a node, on its host."""
    return f"metier-{node}-VM{number}"


def vm_path(site: str, node: str, number: int) -> str:
    """Return what tells VM `number` of a node from all others of all sites."""
    return f"{site}/{node}/VM{number}"


def derived_id(namespace: uuid.UUID, path: str) -> str:
    """Return an id that is always the same for a path, so that to make a thing twice is to make it once."""
    return str(uuid.uuid5(namespace, path))
