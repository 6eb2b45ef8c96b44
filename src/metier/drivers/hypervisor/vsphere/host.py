"""One host in the server's inventory: where its VMs, its datastore and its port groups are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metier.domain.errors import Refused, Unavailable
from metier.drivers.hypervisor.vsphere.configuration import Place, Settings
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.look import Looks
from metier.drivers.hypervisor.vsphere.properties import Found, read, read_all, read_listed
from metier.drivers.hypervisor.vsphere.upwards import datacenter_in, upwards
from metier.drivers.hypervisor.vsphere.vmware import identity, plain, vim

_SHOWN = 20
_PATHS = ("name", "browser", "summary.url", "summary.type")


@dataclass(frozen=True, slots=True)
class Datastore:
    """Where disks are kept.

    Attributes:
        datacenter: Its datacenter; `datacenter_path` is what HTTP calls it.
        browser: VMware's object that lists files.
        identity: The same on whichever server it is met, and no other's; empty where it is not told.
        kind: VMware's word for its file system, in small letters.
    """

    ref: Any
    name: str
    datacenter: Any
    datacenter_path: str
    browser: Any
    identity: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """A host, found.

    Attributes:
        port_groups: The port groups it has, by name.
        networks: The operator's names, and the names of port groups that they stand for.
        looks: What was seen of its VMs.
    """

    ref: Any
    pool: Any
    folder: Any
    datastore: Datastore
    port_groups: Mapping[str, Any]
    networks: Mapping[str, str]
    looks: Looks = field(default_factory=Looks, compare=False)

    def names_of(self, backing: Any) -> Iterator[str]:
        """Yield the operator's names for what an interface is on."""
        port = getattr(backing, "port", None)
        for name, target in self.networks.items():
            group = self.port_groups.get(target)
            is_distributed = group is not None and port is not None and port.portgroupKey == identity(group)
            if is_distributed or plain(getattr(backing, "deviceName", None)) == target:
                yield name


def find_host(endpoint: Endpoint, settings: Settings, place: Place) -> Host:
    """Return the host of a node; raises Refused if the server does not have it."""
    hosts = read_all(endpoint, vim.HostSystem, "name", "parent")
    found = _chosen(endpoint, hosts, place)
    pool = read(endpoint, found.values["parent"], "resourcePool")["resourcePool"]
    datacenter, path = _datacenter(endpoint, found.values["parent"])
    folder = read(endpoint, datacenter, "vmFolder")["vmFolder"]
    port_groups = {
        plain(group.values.get("name")): group.ref
        for group in read_listed(endpoint, found.ref, "network", vim.Network, "name")
    }
    datastore = _datastore(endpoint, found.ref, settings, place)
    return Host(
        found.ref,
        pool,
        folder,
        Datastore(
            datastore.ref,
            str(datastore.values["name"]),
            datacenter,
            path,
            datastore.values["browser"],
            _identity(datastore.values.get("summary.url")),
            str(datastore.values.get("summary.type") or "").lower(),
        ),
        port_groups,
        place.networks,
    )


class State(NamedTuple):
    """How a host is now.

    Attributes:
        patch_level: Of its software.
        is_maintained: It is in maintenance mode, and runs nothing new.
    """

    patch_level: str = ""
    is_maintained: bool = False


def require_connected(endpoint: Endpoint, host: Host, place: Place) -> State:
    """Return how the host is; raises Unavailable unless the server reaches it now."""
    values = read(
        endpoint,
        host.ref,
        "runtime.connectionState",
        "runtime.inMaintenanceMode",
        "summary.config.product.build",
    )
    state = values.get("runtime.connectionState")
    if state != "connected":
        raise Unavailable(
            f"{place.node} is {state or 'in an unknown state'}, says {endpoint.url}",
            remedy="look after the host in vCenter",
        )
    return State(
        str(values.get("summary.config.product.build") or ""),
        values.get("runtime.inMaintenanceMode") is True,
    )


def free_bytes(endpoint: Endpoint, datastore: Datastore) -> int:
    """Return what a datastore has left."""
    return int(read(endpoint, datastore.ref, "summary.freeSpace").get("summary.freeSpace") or 0)


def attachment(endpoint: Endpoint, host: Host, place: Place, name: str) -> Any:
    """Return what an interface on a network is backed by; raises Refused if the host does not have it."""
    target = place.networks.get(name)
    if target is None:
        raise Refused(
            f"{place.node} has no network {name}; it has: {', '.join(sorted(place.networks))}",
            remedy=f"add it to the node's setting networks, for example networks={name}=VM Network",
        )
    group = host.port_groups.get(target)
    if group is None:
        raise Refused(
            f"{place.node} has no port group {target}, meant by network {name}",
            remedy="make it on the host, or change the node's setting networks",
        )
    device = vim.vm.device.VirtualEthernetCard
    if not isinstance(group, vim.dvs.DistributedVirtualPortgroup):
        return device.NetworkBackingInfo(deviceName=target, network=group)
    values = read(endpoint, group, "key", "config.distributedVirtualSwitch")
    switch = read(endpoint, values["config.distributedVirtualSwitch"], "uuid")["uuid"]
    port = vim.dvs.PortConnection(portgroupKey=values["key"], switchUuid=switch)
    return device.DistributedVirtualPortBackingInfo(port=port)


def _names(found: Found) -> tuple[str, str]:
    """Return an object's name as VMware has it, and as people see it."""
    name = str(found.values.get("name"))
    return name, plain(name)


def _chosen(endpoint: Endpoint, hosts: list[Found], place: Place) -> Found:
    if not endpoint.is_vcenter and len(hosts) == 1:
        return hosts[0]
    matching = [host for host in hosts if place.host and place.host in _names(host)]
    if len(matching) == 1:
        return matching[0]
    names = sorted(plain(host.values.get("name")) for host in hosts)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    what = f"host {place.host}" if place.host else "a single host"
    raise Refused(
        f"{endpoint.url} does not have {what}; it has: {shown or 'none that this account sees'}",
        remedy="set the node's setting host to the name that vCenter has for it",
    )


def _datacenter(endpoint: Endpoint, at: Any) -> tuple[Any, str]:
    """Return the datacenter above an object, and its path as HTTP spells it."""
    found = datacenter_in(list(upwards(endpoint, at)))
    if found is None:
        raise Refused(f"{endpoint.url} tells no datacenter of the host")
    return found


def _datastore(endpoint: Endpoint, host: Any, settings: Settings, place: Place) -> Found:
    found = [
        one
        for one in read_listed(endpoint, host, "datastore", vim.Datastore, *_PATHS)
        if not settings.datastore or settings.datastore in _names(one)
    ]
    if len(found) == 1:
        return found[0]
    if settings.datastore:
        raise Refused(f"{place.node} has no datastore {settings.datastore}")
    raise Refused(
        f"{place.node} has {len(found)} datastores",
        remedy="say which one Metier may use: set the node's setting datastore",
    )


def _identity(url: object) -> str:
    """Return the place of a datastore as every host has it, whatever form its release writes that in."""
    return str(url or "").removeprefix("ds://").rstrip("/")
