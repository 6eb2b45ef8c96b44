"""What is kept of a VM that was moved aside, as JSON beside its `.vmx`.  Talks to nobody."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from metier.domain.hardware import Hardware
from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.vsphere.configuration import Settings

_FORM = 1
# More than any VM has; only a file that lies has more.
_MOST = 1 << 40


@dataclass(frozen=True, slots=True)
class AsideVm:
    """A VM that Metier shut down and unregistered, as it was.

    Attributes:
        name: Its name in the inventory, as VMware spells it.
        home: Where its `.vmx` belongs: `[datastore] folder/name.vmx`.
        folder: Id of the inventory's folder that it was in, and `pool` of its resource pool.
        networks: The operator's names of what its interfaces are on.
        staged: Name of a VM that a person handed over, when it was taken over; empty for Metier's own.
        staged_folder: As in its mark.
        is_readable: Its file is as Metier wrote it; else nothing but its number is known.
    """

    number: int
    name: str = ""
    home: str = ""
    folder: str = ""
    pool: str = ""
    memory_mib: int = 0
    cpus: int = 0
    disk_gib: int = 0
    nics: int = 0
    networks: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    staged: str = ""
    staged_folder: str = ""
    is_readable: bool = True

    def facts(self, forms: frozenset[str], settings: Settings) -> VmFacts:
        """Return it as the loop sees it: off, with the hardware that it had; `forms` are of images."""
        hardware = Hardware(
            memory_mib=self.memory_mib,
            cpus=self.cpus,
            disk_gib=self.disk_gib,
            nics=self.nics,
            networks=frozenset(self.networks),
            image_forms=forms,
        )
        return VmFacts(
            self.number,
            Power.OFF,
            hardware if self.is_readable else None,
            macs=self.macs,
            is_aside=True,
            is_staged=settings.hands_over(self.staged, self.staged_folder),
        )


def to_json(vm: AsideVm) -> bytes:
    """Return what is written into its file."""
    values = {name: value for name, value in asdict(vm).items() if name != "is_readable"}
    return json.dumps({"form": _FORM, **values}, indent=1, sort_keys=True).encode() + b"\n"


def from_json(number: int, content: bytes) -> AsideVm:
    """Read the file of VM `number`; what Metier did not write gives one that is not readable."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or values.get("form") != _FORM or values.get("number") != number:
        return AsideVm(number, is_readable=False)
    try:
        return AsideVm(
            number,
            name=_text(values, "name"),
            home=_text(values, "home"),
            folder=_text(values, "folder"),
            pool=_text(values, "pool"),
            staged=_text(values, "staged"),
            staged_folder=_text(values, "staged_folder"),
            memory_mib=_count(values, "memory_mib"),
            cpus=_count(values, "cpus"),
            disk_gib=_count(values, "disk_gib"),
            nics=_count(values, "nics"),
            networks=_texts(values, "networks"),
            macs=_texts(values, "macs"),
        )
    except ValueError:
        return AsideVm(number, is_readable=False)


def _text(values: Mapping[str, Any], name: str) -> str:
    text = values.get(name)
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError(name)
    return text


def _count(values: Mapping[str, Any], name: str) -> int:
    count = values.get(name)
    if type(count) is not int or not 0 <= count <= _MOST:
        raise ValueError(name)
    return count


def _texts(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    texts = values.get(name)
    if not isinstance(texts, list):
        raise ValueError(name)
    return tuple(_text({name: text}, name) for text in texts)
