"""Names of things, and the parsers that refuse what cannot be one."""

import re
from functools import lru_cache
from typing import NamedTuple, NewType

from metier.domain.errors import WrongUsage

NodeId = NewType("NodeId", str)
TierId = NewType("TierId", str)

_PLAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
_VIRTUAL = re.compile(r"(?P<host>[^/]+)/VM(?P<number>[1-9][0-9]{0,3})", re.IGNORECASE | re.ASCII)
_DIGITS = re.compile(r"([0-9]+)")
_RULE = "use 1 to 63 letters, digits, dots, dashes and underscores, with a letter or digit at both ends"


class ImageRef(NamedTuple):
    """One image version: what `NAME@VERSION` names."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class SlotId(NamedTuple):
    """Slot `number` (from 1) of `tier`."""

    tier: TierId
    number: int

    def __str__(self) -> str:
        return f"{self.tier}/{self.number}"


def plain_name(text: str, noun: str) -> str:
    """Return `text` if it can name a `noun`.

    Raises:
        WrongUsage: It holds other characters, is empty or longer than 63.
    """
    if _PLAIN.fullmatch(text) is None:
        article = "an" if noun[0] in "aeiou" else "a"
        raise WrongUsage(f"{text!r} cannot name {article} {noun}: {_RULE}")
    return text


def physical_node_id(text: str) -> NodeId:
    """Parse the name of a physical node; raises WrongUsage."""
    return NodeId(plain_name(text, "node"))


def virtual_node_id(host: NodeId, number: int) -> NodeId:
    """Name virtual node `number` (from 1) of `host`: `host-1/VM3`."""
    return NodeId(f"{host}/VM{number}")


def node_id(text: str) -> NodeId:
    """Parse the name of any node; raises WrongUsage."""
    match = _VIRTUAL.fullmatch(text)
    if match is None:
        return physical_node_id(text)
    return virtual_node_id(physical_node_id(match["host"]), int(match["number"]))


def tier_id(text: str) -> TierId:
    """Parse the name of a tier; raises WrongUsage."""
    return TierId(plain_name(text, "tier"))


def image_ref(text: str) -> ImageRef:
    """Parse `NAME@VERSION`; raises WrongUsage when the version is missing."""
    name, at, version = text.partition("@")
    if not at:
        raise WrongUsage(
            f"{text!r} names no image version", remedy=f"say NAME@VERSION, for example {text or 'web'}@1"
        )
    return ImageRef(plain_name(name, "image"), plain_name(version, "image version"))


@lru_cache(maxsize=1 << 18)
def natural(name: str) -> tuple[str | int, ...]:
    """Return the sort key by which `host-2` comes before `host-10`."""
    return tuple(int(part) if part.isdigit() else part for part in _DIGITS.split(name))
