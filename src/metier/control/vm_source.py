"""The VM on somebody's host that an import or an inspection is about."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.control.sealing import login_of
from metier.control.tools import Drivers
from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId
from metier.drivers.hypervisor.api import Capability, Hypervisor, Sourcing
from metier.matrix.api import SeenVm, SourceVm

ASK_S = 120.0
"""An inventory of thousands of VMs is looked through."""

FETCH_S = 24 * 3600.0
"""A silent host is noticed long before; this bounds one that answers and brings nothing."""


@dataclass(frozen=True, slots=True)
class HostedVm:
    """One VM of a host; keeps `matrix.api.SourceVm`."""

    words: str
    name: str
    sourcing: Sourcing

    def look(self) -> SeenVm:
        """Look at it; see `SourceVm`."""
        found = self.sourcing.foreign_vm(self.name, timeout_s=ASK_S)
        return SeenVm(found.vmx, tuple(disk.capacity_bytes for disk in found.disks), found.obstacles)

    def fetch(self, number: int, into: Path, told: Callable[[int, int], None]) -> None:
        """Copy a disk; see `SourceVm`."""
        self.sourcing.fetch_disk(self.name, number, into, told, timeout_s=FETCH_S)


@contextmanager
def source_vm(arguments: Mapping[str, Any], fleet: Fleet, drivers: Drivers) -> Iterator[SourceVm | None]:
    """Open the host of the VM that a job is about; None for one about a file.

    Raises:
        Refusal: The node is gone, or its VM manager does not let VMs of others be copied.
        Refused: It cannot be opened.
    """
    name = arguments.get("vm")
    if name is None:
        yield None
        return
    words = f"VM {name} of {arguments['location']}"
    login = login_of(arguments)
    if login is None:
        host = fleet.node(NodeId(str(arguments["host"])))
        yield _hosted(words, str(name), drivers.hypervisor(host))
        return
    with drivers.visiting(login) as visited:
        yield _hosted(words, str(name), visited)


def _hosted(words: str, name: str, driver: Hypervisor) -> HostedVm:
    if not isinstance(driver, Sourcing) or Capability.FOREIGN_VMS not in driver.CAPABILITIES:
        raise Refusal(
            f"cannot import {words}: that VM manager does not let VMs of others be copied",
            remedy="export the VM there, and import the file: `metier image import --file`",
        )
    return HostedVm(words, name, driver)
