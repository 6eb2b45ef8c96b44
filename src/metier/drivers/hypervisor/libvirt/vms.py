"""Finds Metier's VMs among all that a host has; foreign ones are only counted."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import libvirt

from metier.domain.errors import Refused
from metier.domain.observation import Power
from metier.drivers.hypervisor.libvirt.configuration import Place
from metier.drivers.hypervisor.libvirt.domain_facts import (
    Configuration,
    power,
    read_configuration,
    state_word,
)
from metier.drivers.hypervisor.libvirt.faults import code
from metier.drivers.hypervisor.libvirt.mark import owned_number
from metier.drivers.hypervisor.libvirt.offer import probe_prefix

Read = Callable[[Any], Configuration | None]
"""Returns what a domain will be when it starts next; None if it is gone."""


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM of Metier's.

    Attributes:
        domain: libvirt's handle.
        state: libvirt's number for what it is doing.
        configuration: What it will be when it starts next.
    """

    number: int
    domain: Any
    state: int
    configuration: Configuration

    @property
    def power(self) -> Power:
        """Whether it is on."""
        return power(self.state)

    @property
    def uuid(self) -> str:
        """Libvirt's id for it."""
        return str(self.domain.UUIDString())

    @property
    def instance(self) -> str | None:
        """Id of the instance on it, if any."""
        return self.configuration.mark.instance if self.configuration.mark else None


def read_fresh(domain: Any) -> Configuration | None:
    """Return what a domain will be when it starts next; None if it went since it was listed."""
    try:
        return read_configuration(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    except libvirt.libvirtError as error:
        if code(error) == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def find(connection: Any, place: Place, number: int) -> Vm | None:
    """Return Metier's VM `number`; None if there is none, whoever may have its name."""
    domain = _named(connection, place, number)
    if domain is None:
        return None
    return _owned(place, domain, domain.state()[0], read_fresh(domain))


def find_or_refuse(connection: Any, place: Place, number: int) -> Vm | None:
    """Return Metier's VM `number`; None if the name is free; raises Refused if it is another's."""
    vm = find(connection, place, number)
    if vm is None and _named(connection, place, number) is not None:
        raise Refused(
            f"VM {place.domain(number)} on {place.node} does not carry this Metier's mark: it is left alone",
            remedy="rename that VM on the host, or leave this number out of the host's image",
        )
    return vm


def get(connection: Any, place: Place, number: int) -> Vm:
    """Return Metier's VM `number`; raises Refused if there is none."""
    vm = find_or_refuse(connection, place, number)
    if vm is None:
        raise Refused(f"{place.node} has no VM{number} of Metier's")
    return vm


def require_off(vm: Vm, place: Place, verb: str) -> None:
    """Raise Refused unless the VM is off."""
    if vm.power is not Power.OFF:
        raise Refused(
            f"cannot {verb} VM{vm.number} of {place.node}: it is {state_word(vm.state)}",
            remedy="stop it first",
        )


def list_owned(connection: Any, place: Place, read: Read = read_fresh) -> tuple[list[Vm], int]:
    """Return Metier's VMs by number, and how many others are running.

    One call for all states, and what `read` takes for each VM that bears a name of ours.
    """
    owned, foreign = [], 0
    names = re.compile(rf"metier-{re.escape(place.node)}-VM[1-9][0-9]*")
    for domain, stats in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
        state, name = stats.get("state.state", libvirt.VIR_DOMAIN_NOSTATE), domain.name()
        vm = _owned(place, domain, state, read(domain)) if names.fullmatch(name) else None
        if vm is not None:
            owned.append(vm)
        elif power(state) is not Power.OFF and not name.startswith(probe_prefix(place)):
            foreign += 1
    return sorted(owned, key=lambda vm: vm.number), foreign


def _named(connection: Any, place: Place, number: int) -> Any | None:
    try:
        return connection.lookupByName(place.domain(number))
    except libvirt.libvirtError as error:
        if code(error) == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _owned(place: Place, domain: Any, state: int, configuration: Configuration | None) -> Vm | None:
    if configuration is None:
        return None
    number = owned_number(configuration.mark, configuration.name, place)
    return None if number is None else Vm(number, domain, state, configuration)
