"""Metier's mark on a VM: entries in the VM's extra configuration, and the only proof of ownership."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metier.drivers.hypervisor.vsphere.vmware import vim

_PREFIX = "metier."
_NUMBERS = 9  # digits; more is nothing that Metier wrote
_WORDS = (
    "site",
    "node",
    "number",
    "disk-gib",
    "instance",
    "image",
    "facts",
    "staged",
    "staged-folder",
    "was",
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What Metier wrote on a VM.

    Attributes:
        number: n of `VM<n>`.
        disk_gib: Room for an instance that the VM offers, in GiB.
        instance: Id of the instance on it, if any.
        image: Key of the image that the instance stands on; empty if there is none.
        facts: More about what runs there, for people who look at the host.
        staged: Name that a VM had when it was taken over from a person; empty for Metier's own.
        staged_folder: Setting `staged_folder` by which it was handed over; empty if only by its name.
        was: What it was then, as `staged` wrote it.
    """

    site: str
    node: str
    number: int
    disk_gib: int = 0
    instance: str | None = None
    image: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    staged: str = ""
    staged_folder: str = ""
    was: str = ""


def mark_options(mark: Mark) -> list[Any]:
    """Return the entries that make a VM's mark; an empty one removes what was there."""
    words = {
        "site": mark.site,
        "node": mark.node,
        "number": str(mark.number),
        "disk-gib": str(mark.disk_gib),
        "instance": mark.instance or "",
        "image": mark.image,
        "facts": json.dumps(dict(mark.facts), sort_keys=True) if mark.facts else "",
        "staged": mark.staged,
        "staged-folder": mark.staged_folder,
        "was": mark.was,
    }
    return _options(words)


def no_mark() -> list[Any]:
    """Return the entries that take a mark off a VM."""
    return _options(dict.fromkeys(_WORDS, ""))


def _options(words: Mapping[str, str]) -> list[Any]:
    return [vim.option.OptionValue(key=_PREFIX + name, value=text) for name, text in words.items()]


def read_mark(extra: Mapping[str, str]) -> Mark | None:
    """Return the mark in a VM's extra configuration; None if there is none that Metier could have written."""
    number, disk = extra.get(_PREFIX + "number", ""), extra.get(_PREFIX + "disk-gib", "0")
    site, node = extra.get(_PREFIX + "site", ""), extra.get(_PREFIX + "node", "")
    if not (site and node and _is_number(number) and int(number) > 0 and _is_number(disk)):
        return None
    return Mark(
        site=site,
        node=node,
        number=int(number),
        disk_gib=int(disk),
        instance=extra.get(_PREFIX + "instance") or None,
        image=extra.get(_PREFIX + "image", ""),
        staged=extra.get(_PREFIX + "staged", ""),
        staged_folder=extra.get(_PREFIX + "staged-folder", ""),
        was=extra.get(_PREFIX + "was", ""),
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _NUMBERS
