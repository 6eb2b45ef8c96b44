"""Finds Metier's VMs among all that a host has, and tells of them; foreign ones are only counted."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import libvirt

from metier.domain.errors import Refused
from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.api import VmReport
from metier.drivers.hypervisor.libvirt.configuration import Attachment, Place
from metier.drivers.hypervisor.libvirt.domain_facts import (
    Configuration,
    power,
    read_configuration,
    state_word,
    usable_address,
)
from metier.drivers.hypervisor.libvirt.faults import code
from metier.drivers.hypervisor.libvirt.mark import owned_number
from metier.drivers.hypervisor.libvirt.offer import probe_prefix


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
    def instance(self) -> str | None:
        """Id of the instance on it, if any."""
        return self.configuration.mark.instance if self.configuration.mark else None


def find(connection: Any, place: Place, number: int) -> Vm | None:
    """Return Metier's VM `number`; None if there is none, whoever may have its name."""
    domain = _named(connection, place, number)
    return None if domain is None else _owned(place, domain, domain.state()[0])


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


def list_owned(connection: Any, place: Place) -> tuple[list[Vm], int]:
    """Return Metier's VMs by number, and how many others are running.

    One call for all states, and one more for each VM that bears a name of ours.
    """
    owned, foreign = [], 0
    names = re.compile(rf"metier-{re.escape(place.node)}-VM[1-9][0-9]*")
    for domain, stats in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
        state, name = stats.get("state.state", libvirt.VIR_DOMAIN_NOSTATE), domain.name()
        vm = _owned(place, domain, state) if names.fullmatch(name) else None
        if vm is not None:
            owned.append(vm)
        elif power(state) is not Power.OFF and not name.startswith(probe_prefix(place)):
            foreign += 1
    return sorted(owned, key=lambda vm: vm.number), foreign


def report(connection: Any, place: Place, networks: Mapping[str, Attachment]) -> VmReport:
    """Return what all VMs of the host are doing."""
    owned, foreign = list_owned(connection, place)
    addresses = _addresses(connection, [vm for vm in owned if vm.power is Power.ON])
    facts = (
        VmFacts(
            vm.number, vm.power, vm.configuration.hardware(networks), vm.instance, addresses.get(vm.number)
        )
        for vm in owned
    )
    return VmReport(tuple(facts), foreign)


def _named(connection: Any, place: Place, number: int) -> Any | None:
    try:
        return connection.lookupByName(place.domain(number))
    except libvirt.libvirtError as error:
        if code(error) == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _owned(place: Place, domain: Any, state: int) -> Vm | None:
    try:
        xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    except libvirt.libvirtError as error:
        if code(error) == libvirt.VIR_ERR_NO_DOMAIN:
            return None  # it went since it was listed
        raise
    configuration = read_configuration(xml)
    number = owned_number(configuration.mark, configuration.name, place)
    return None if number is None else Vm(number, domain, state, configuration)


def _addresses(connection: Any, running: Iterable[Vm]) -> dict[int, str]:
    """Return where guests can be reached, as far as the host knows without asking them."""
    leases: dict[str, dict[str, list[str]]] = {}
    found = {}
    for vm in running:
        texts: list[str] = []
        for nic in vm.configuration.nics:
            if nic.attachment.kind == "network":
                name = nic.attachment.source
                if name not in leases:
                    leases[name] = _leases(connection, name)
                texts += leases[name].get(nic.mac, [])
        address = usable_address(texts) or usable_address(_neighbours(vm))
        if address is not None:
            found[vm.number] = address
    return found


def _leases(connection: Any, network: str) -> dict[str, list[str]]:
    """Return the addresses that a libvirt network gave out, by MAC; one call for all guests."""
    try:
        rows = connection.networkLookupByName(network).DHCPLeases()
    except libvirt.libvirtError:
        return {}  # an address is a help and no condition
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(str(row["mac"]).lower(), []).append(str(row["ipaddr"]))
    return found


def _neighbours(vm: Vm) -> list[str]:
    """Return the addresses that the host's own neighbour table has for a guest."""
    try:
        interfaces = vm.domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP, 0)
    except libvirt.libvirtError:
        return []
    macs = {nic.mac for nic in vm.configuration.nics}
    return [
        str(entry["addr"])
        for interface in interfaces.values()
        if str(interface.get("hwaddr", "")).lower() in macs
        for entry in interface.get("addrs") or ()
    ]
