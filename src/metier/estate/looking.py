"""Looks at a whole estate: names, sizes, verdicts and waves of all its VMs."""

import re
from collections.abc import Iterable
from dataclasses import replace

from metier.estate.guests import image_type
from metier.estate.inventory import Estate
from metier.estate.judging import judged
from metier.estate.sizes import sizes_of
from metier.estate.waves import Looked, wave_numbers

_UNFIT = re.compile(r"[^a-z0-9._-]+")
_LONGEST_NAME = 63


def looked_at(estate: Estate) -> tuple[Looked, ...]:
    """Return what was found out about each VM, in the order of the list."""
    names = image_names(vm.name for vm in estate.vms)
    looked = [Looked(vm, name, judged(vm), sizes_of(vm)) for vm, name in zip(estate.vms, names, strict=True)]
    waves = wave_numbers(looked)
    return tuple(replace(one, wave=wave) for one, wave in zip(looked, waves, strict=True))


def image_names(names: Iterable[str]) -> list[str]:
    """Return a name for each VM's image: its own as far as an image can be called so, and each once."""
    taken: set[str] = set()
    counts: dict[str, int] = {}
    found = []
    for name in names:
        base = _UNFIT.sub("-", name.lower()).strip("._-")[:_LONGEST_NAME].rstrip("._-") or "vm"
        fit = base
        while fit in taken:
            counts[base] = counts.get(base, 1) + 1
            end = f"-{counts[base]}"
            fit = base[: _LONGEST_NAME - len(end)] + end
        taken.add(fit)
        found.append(fit)
    return found


def import_line(one: Looked) -> str:
    """Return the command that takes a VM in, once it was exported to one file."""
    kind = image_type(one.vm.guest_os)
    return f"metier image import --name {one.image} --type {kind} --file {one.image}.ova --wait"
