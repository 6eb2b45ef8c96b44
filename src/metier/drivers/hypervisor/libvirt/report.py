"""Tells what all VMs of a host are doing, with as few questions as libvirt allows."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import libvirt

from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.api import VmReport
from metier.drivers.hypervisor.libvirt.configuration import Attachment, Place
from metier.drivers.hypervisor.libvirt.domain_facts import Configuration, usable_address
from metier.drivers.hypervisor.libvirt.events import Line
from metier.drivers.hypervisor.libvirt.recall import Recall
from metier.drivers.hypervisor.libvirt.vms import Vm, list_vms, read_fresh

# How long a configuration may be wrong after a change that libvirt does not tell of.
CONFIGURATION_LIFETIME_S = 30.0
# How long a guest's new address may go unnoticed.
ADDRESS_LIFETIME_S = 10.0


class Reporter:
    """Reports on one host through one connection."""

    def __init__(self, line: Line, place: Place, networks: Mapping[str, Attachment]) -> None:
        self._connection = line.connection
        self._place = place
        self._networks = networks
        self._configurations: Recall[Configuration | None] = Recall(line, CONFIGURATION_LIFETIME_S)
        self._neighbours: Recall[list[str]] = Recall(line, ADDRESS_LIFETIME_S)

    def report(self) -> VmReport:
        """Return what all VMs of the host are doing."""
        listed = list_vms(self._connection, self._place, self._read)
        addresses = self._addresses(vm for vm in listed.owned if vm.power is Power.ON)
        facts = tuple(self._facts(vm, addresses.get(vm.number)) for vm in listed.owned)
        return VmReport(facts, listed.foreign, tuple(listed.strays))

    def forget(self, uuid: str) -> None:
        """Read a VM's configuration anew next time: it was changed just now."""
        self._configurations.forget(uuid)

    def _facts(self, vm: Vm, address: str | None) -> VmFacts:
        macs = tuple(nic.mac for nic in vm.configuration.nics)
        hardware = vm.configuration.hardware(self._networks)
        return VmFacts(vm.number, vm.power, hardware, vm.instance, address, macs)

    def _read(self, domain: Any) -> Configuration | None:
        return self._configurations.get(domain.UUIDString(), partial(read_fresh, domain))

    def _addresses(self, running: Iterable[Vm]) -> dict[int, str]:
        """Return where guests can be reached, as far as the host knows without asking them."""
        leases: dict[str, dict[str, list[str]]] = {}
        found = {}
        for vm in running:
            texts: list[str] = []
            for nic in vm.configuration.nics:
                if nic.attachment.kind == "network":
                    name = nic.attachment.source
                    if name not in leases:
                        leases[name] = _leases(self._connection, name)
                    texts += leases[name].get(nic.mac, [])
            address = usable_address(texts) or self._neighbour(vm)
            if address is not None:
                found[vm.number] = address
        return found

    def _neighbour(self, vm: Vm) -> str | None:
        return usable_address(self._neighbours.get(vm.uuid, partial(_neighbours, vm)))


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
