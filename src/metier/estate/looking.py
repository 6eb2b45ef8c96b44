"""Looks at a whole estate: names, sizes, verdicts and waves of all its VMs."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import replace

from metier.estate.guests import image_type
from metier.estate.inventory import Estate, EstateVm
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
    """Return the command that takes a VM in: straight from its host, or once it was exported to one file."""
    vm = one.vm
    source = f"--file {one.image}.ova"
    if vm.url and vm.called and can_be_fetched(vm):
        source = f"--url {shlex.quote(vm.url)} --user {shlex.quote(vm.user)} --vm {shlex.quote(vm.called)}"
    return f"metier image import --name {one.image} --type {image_type(vm.guest_os)} {source} --wait"


def can_be_fetched(vm: EstateVm) -> bool:
    """Say whether all disks are files that can be read as they lie."""
    return bool(vm.disks) and all(disk.form == "flat" for disk in vm.disks or ())
