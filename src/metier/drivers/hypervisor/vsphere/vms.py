"""Finds Metier's VMs among all that a host has; foreign ones are only counted."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from metier.domain.errors import Refused
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId
from metier.domain.observation import Power, Stray, VmFacts
from metier.drivers.hypervisor.vsphere.configuration import Place, Settings
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.host import Host
from metier.drivers.hypervisor.vsphere.mark import Mark, read_mark
from metier.drivers.hypervisor.vsphere.properties import Found, read, read_listed
from metier.drivers.hypervisor.vsphere.vmware import identity, plain, vim, vmodl

# Forms of image that can be put on a VM here; the matrix stores them all as qcow2.
IMAGE_FORMS = frozenset(("qcow2", "raw", "vmdk"))

_PATHS = (
    "name",
    "runtime.powerState",
    "runtime.connectionState",
    "config.instanceUuid",
    "config.extraConfig",
    "config.hardware.memoryMB",
    "config.hardware.numCPU",
    "config.hardware.device",
    "config.firmware",
    "guest.ipAddress",
)
# Suspended guests hold their memory and their disks: neither on nor off.
_POWER = {"poweredOn": Power.ON, "poweredOff": Power.OFF}
_STATE_WORDS = {"poweredOn": "running", "poweredOff": "off", "suspended": "suspended"}


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM, as its host describes it.

    Attributes:
        ref: pyVmomi's handle.
        state: VMware's word for what it is doing; `unknown` where the host has lost sight of it.
        identity: Its instance UUID.
        extra: Its extra configuration.
        mark: What Metier wrote on it, if anything.
        firmware: `bios` or `efi`.
    """

    ref: Any
    name: str
    state: str
    identity: str
    memory_mib: int
    cpus: int
    devices: tuple[Any, ...]
    extra: Mapping[str, str]
    mark: Mark | None
    firmware: str
    address: str | None

    @property
    def power(self) -> Power:
        """Whether it is on."""
        return _POWER.get(self.state, Power.UNKNOWN)

    @property
    def number(self) -> int:
        """N of `VM<n>`; only of a VM that is Metier's."""
        assert self.mark is not None
        return self.mark.number

    @property
    def instance(self) -> str | None:
        """Id of the instance on it, if any."""
        return self.mark.instance if self.mark else None

    def of_kind(self, kind: Any) -> list[Any]:
        """Return its devices of one kind."""
        return [device for device in self.devices if isinstance(device, kind)]

    @property
    def nics(self) -> list[Any]:
        """Return its network interfaces, in order."""
        return self.of_kind(vim.vm.device.VirtualEthernetCard)

    @property
    def macs(self) -> tuple[str, ...]:
        """Return the addresses of its network interfaces."""
        return tuple(str(nic.macAddress).lower() for nic in self.nics if nic.macAddress)

    def facts(self, host: Host, settings: Settings) -> VmFacts:
        """Return it as the loop sees it: staged only as long as the settings hand it over."""
        assert self.mark is not None
        return VmFacts(
            self.number,
            self.power,
            self.hardware(host),
            self.instance,
            self.address if self.power is Power.ON else None,
            self.macs,
            is_staged=settings.hands_over(self.mark.staged, self.mark.staged_folder),
        )

    @property
    def is_staged(self) -> bool:
        """Whether a person made it, and it is to be given back."""
        return bool(self.staged_name)

    @property
    def staged_name(self) -> str:
        """Name that it had when it was taken over from a person; empty for Metier's own."""
        return self.mark.staged if self.mark else ""

    def hardware(self, host: Host) -> Hardware:
        """Return what it is configured with."""
        return Hardware(
            memory_mib=self.memory_mib,
            cpus=self.cpus,
            disk_gib=self.mark.disk_gib if self.mark else 0,
            nics=len(self.nics),
            networks=frozenset(name for nic in self.nics for name in host.names_of(nic.backing)),
            image_forms=IMAGE_FORMS,
        )


class Listed(NamedTuple):
    """All VMs of a host.

    Attributes:
        owned: Metier's VMs of this node, by number.
        others: All others, whoever made them.
        strayed: VMs of other nodes of this site, which somebody moved here; they are others too.
    """

    owned: list[Vm]
    others: list[Vm]
    strayed: list[Vm]

    @property
    def strays(self) -> tuple[Stray, ...]:
        """Return those as the loop sees them, in order."""
        marked = [(vm.mark, vm.power) for vm in self.strayed if vm.mark is not None]
        strays = [Stray(NodeId(mark.node), mark.number, power) for mark, power in marked]
        return tuple(sorted(strays, key=lambda stray: (stray.host, stray.number)))


def list_vms(endpoint: Endpoint, host: Host, place: Place) -> Listed:
    """Return what VMs a host has, in one question."""
    listed = Listed([], [], [])
    owned: dict[int, Vm] = {}
    for vm in _read(endpoint, host):
        if not is_of(place, vm):
            listed.others.append(vm)
        elif vm.mark is not None and vm.mark.node != place.node:
            listed.others.append(vm)
            listed.strayed.append(vm)
        elif vm.number in owned:
            # Two with one identity: a copy that was registered by hand.  The first by name and id is ours.
            first, second = sorted((owned[vm.number], vm), key=lambda one: _rank(place, one))
            owned[vm.number] = first
            listed.others.append(second)
        else:
            owned[vm.number] = vm
    listed.owned.extend(owned[number] for number in sorted(owned))
    return listed


def look_up(endpoint: Endpoint, host: Host, place: Place, number: int) -> Vm | None:
    """Return Metier's VM `number` of a host; None if the name is free; raises Refused if it is another's.

    Asks all VMs for no more than who they are, and this one for all the rest.
    """
    vm = _seen_before(endpoint, host, place, number)
    if vm is not None:
        return vm
    wanted, owned, others = place.vm_id(place.node, number), [], []
    for found in read_listed(endpoint, host.ref, "vm", vim.VirtualMachine, "name", "config.instanceUuid"):
        vm = None
        if found.values.get("config.instanceUuid") == wanted:
            vm = read_vm(endpoint, found.ref)
        if vm is not None and is_of(place, vm) and vm.number == number:
            owned.append(vm)
        else:
            others.append(plain(found.values.get("name", "")))
    if owned:
        return min(owned, key=lambda one: _rank(place, one))
    refuse_name(place, number, others)
    return None


def _seen_before(endpoint: Endpoint, host: Host, place: Place, number: int) -> Vm | None:
    """Return Metier's VM `number`, read anew, if it is still what and where the last look saw it."""
    ref = host.looks.find(place.vm_id(place.node, number))
    if ref is None:
        return None
    try:
        values = read(endpoint, ref, *_PATHS, "runtime.host")
    except vmodl.fault.ManagedObjectNotFound:
        return None
    at, vm = values.get("runtime.host"), _vm(Found(ref, values))
    is_here = at is not None and identity(at) == identity(host.ref)
    return vm if is_here and is_of(place, vm) and vm.number == number else None


def read_vm(endpoint: Endpoint, ref: Any) -> Vm:
    """Return one VM; raises ManagedObjectNotFound if it is gone."""
    return _vm(Found(ref, read(endpoint, ref, *_PATHS)))


def find(listed: Listed, number: int) -> Vm | None:
    """Return Metier's VM `number`; None if there is none, whoever may have its name."""
    return next((vm for vm in listed.owned if vm.number == number), None)


def refuse_name(place: Place, number: int, others: Iterable[str]) -> None:
    """Raise Refused if another VM has the name of VM `number`."""
    name = place.vm(number)
    if name in others:
        raise Refused(
            f"VM {name} on {place.node} does not carry this Metier's mark for VM{number}: it is left alone",
            remedy="rename that VM on the host, or leave this number out of the host's image",
        )


def require_off(vm: Vm, place: Place, verb: str, remedy: str = "stop it first") -> None:
    """Raise Refused unless the VM is off."""
    if vm.power is not Power.OFF:
        word = _STATE_WORDS.get(vm.state, "in an unknown state")
        raise Refused(f"cannot {verb} VM{vm.number} of {place.node}: it is {word}", remedy=remedy)


def _read(endpoint: Endpoint, host: Host) -> Iterator[Vm]:
    for found in host.looks.look(endpoint, host.ref, _PATHS):
        if "name" in found.values:
            yield _vm(found)


def _vm(found: Found) -> Vm:
    values = found.values
    extra = dict(_options(values.get("config.extraConfig")))
    connected = values.get("runtime.connectionState") == "connected"
    return Vm(
        ref=found.ref,
        name=plain(values["name"]),
        state=str(values.get("runtime.powerState")) if connected else "unknown",
        identity=str(values.get("config.instanceUuid", "")),
        memory_mib=int(values.get("config.hardware.memoryMB") or 0),
        cpus=int(values.get("config.hardware.numCPU") or 0),
        devices=tuple(values.get("config.hardware.device") or ()),
        extra=extra,
        mark=read_mark(extra),
        firmware=str(values.get("config.firmware") or "bios"),
        address=_usable(values.get("guest.ipAddress")),
    )


def is_of(place: Place, vm: Vm) -> bool:
    """Whether a VM is one of this site's: marked so, and no copy, which VMware gives another identity."""
    mark = vm.mark
    return mark is not None and mark.site == place.site and vm.identity == place.vm_id(mark.node, mark.number)


def _rank(place: Place, vm: Vm) -> tuple[bool, str]:
    return (vm.name != place.vm(vm.number), str(vm.ref))


def _options(options: Iterable[Any] | None) -> Iterator[tuple[str, str]]:
    for option in options or ():
        if isinstance(option.value, str):
            yield str(option.key), option.value


def _usable(text: Any) -> str | None:
    """Return an address by which a guest can be reached from elsewhere."""
    try:
        address = ipaddress.ip_address(str(text or ""))
    except ValueError:
        return None
    is_own = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    return None if is_own else str(address)
