"""Finds Metier's VMs among all that a host has; foreign ones are only counted."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import libvirt

from metier.domain.errors import Refused
from metier.domain.ids import NodeId
from metier.domain.observation import Power, Stray
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
        raise Refused(
            f"{place.node} has no VM{number} of Metier's",
            remedy="look whether somebody undefined it on the host; it is made anew with its other VMs",
        )
    return vm


def require_off(vm: Vm, place: Place, verb: str, remedy: str = "stop it first") -> None:
    """Raise Refused unless the VM is off."""
    if vm.power is not Power.OFF:
        raise Refused(
            f"cannot {verb} VM{vm.number} of {place.node}: it is {state_word(vm.state)}",
            remedy=remedy,
        )


class Listed(NamedTuple):
    """All VMs of a host.

    Attributes:
        owned: Metier's VMs of this node, by number.
        foreign: How many others are running.
        strays: VMs of other nodes of this site, which somebody moved here.
    """

    owned: list[Vm]
    foreign: int
    strays: list[Stray]


_NAMES = re.compile(r"metier-.+-VM[1-9][0-9]*")


def list_vms(connection: Any, place: Place, read: Read = read_fresh) -> Listed:
    """Return what VMs a host has.

    One call for all states, and what `read` takes for each VM that bears a name of ours.
    """
    listed = Listed([], 0, [])
    foreign = 0
    for domain, stats in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
        state, name = stats.get("state.state", libvirt.VIR_DOMAIN_NOSTATE), domain.name()
        configuration = read(domain) if _NAMES.fullmatch(name) else None
        vm = _owned(place, domain, state, configuration)
        if vm is not None:
            listed.owned.append(vm)
            continue
        stray = _stray(place, configuration, state)
        if stray is not None:
            listed.strays.append(stray)
        foreign += power(state) is not Power.OFF and not name.startswith(probe_prefix(place))
    listed.owned.sort(key=lambda vm: vm.number)
    listed.strays.sort(key=lambda stray: (stray.host, stray.number))
    return listed._replace(foreign=foreign)


def _stray(place: Place, configuration: Configuration | None, state: int) -> Stray | None:
    """Return the VM of another node of this site that a domain is, by its mark and its name."""
    mark = None if configuration is None else configuration.mark
    if configuration is None or mark is None or mark.site != place.site or mark.node == place.node:
        return None
    elsewhere = replace(place, node=mark.node)
    number = owned_number(mark, configuration.name, elsewhere)
    return None if number is None else Stray(NodeId(mark.node), number, power(state))


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
