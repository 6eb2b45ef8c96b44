"""Where things are in a server's inventory: what each is in, up to the root."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.properties import read
from metier.drivers.hypervisor.vsphere.vmware import vim

# Deeper than any inventory is; only a server that lies has more.
_DEEPEST = 64


class Above(NamedTuple):
    """A thing of the inventory that another is in.

    Attributes:
        ref: pyVmomi's handle.
        name: As VMware spells it.
    """

    ref: Any
    name: str


def upwards(endpoint: Endpoint, ref: Any) -> Iterator[Above]:
    """Yield a thing, what it is in, and so on; costs a question each."""
    at = ref
    for _ in range(_DEEPEST):
        if at is None:
            return
        values = read(endpoint, at, "name", "parent")
        yield Above(at, str(values.get("name", "")))
        at = values.get("parent")


def path_of(above: Sequence[Above]) -> str:
    """Return what `upwards` told as one path from the top, as VMware writes it."""
    return "/".join(one.name for one in reversed(above))


def datacenter_in(above: Sequence[Above]) -> tuple[Any, str] | None:
    """Return the datacenter of what `upwards` told, and its path as HTTP has it; None if there is none."""
    at = next((place for place, one in enumerate(above) if isinstance(one.ref, vim.Datacenter)), None)
    return None if at is None else (above[at].ref, path_of(without_root(above)[at:]))


def without_root(above: Sequence[Above]) -> Sequence[Above]:
    """Return what `upwards` told without the root folder, whose name no path has in it."""
    is_root = bool(above) and isinstance(above[-1].ref, vim.Folder)
    return above[:-1] if is_root else above
