"""What a host says about itself: for placement, and for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from metier.domain.hardware import Hardware
from metier.domain.host_details import HostDetails, StoreRoom
from metier.drivers.hypervisor.api import HostFacts
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.host import Host
from metier.drivers.hypervisor.vsphere.licence import licence
from metier.drivers.hypervisor.vsphere.permissions import lacks
from metier.drivers.hypervisor.vsphere.properties import read, read_listed
from metier.drivers.hypervisor.vsphere.vmware import identity, vim

_PRODUCT = "summary.config.product"
_STORE_PATHS = (
    "name",
    "summary.capacity",
    "summary.freeSpace",
    "summary.multipleHostAccess",
    "summary.accessible",
    "summary.maintenanceMode",
)
# The ports by which a distributed switch is cabled are listed among its port groups, and are for no VM.
_UPLINKS = "SYSTEM/DVS.UPLINKPG"


def host_facts(endpoint: Endpoint, host: Host) -> HostFacts:
    """Ask a host what it is and has."""
    values = read(
        endpoint,
        host.ref,
        "summary.hardware.memorySize",
        "summary.hardware.numCpuThreads",
        f"{_PRODUCT}.fullName",
        f"{_PRODUCT}.build",
    )
    networks = tuple(_port_groups(endpoint, host.ref))
    reached = frozenset(name for name, target in host.networks.items() if target in networks)
    stores = tuple(_stores(endpoint, host))
    product = str(values.get(f"{_PRODUCT}.fullName") or "VMware ESX")
    hardware = Hardware(
        memory_mib=int(values.get("summary.hardware.memorySize") or 0) >> 20,
        cpus=int(values.get("summary.hardware.numCpuThreads") or 0),
        disk_gib=sum(store.free_gib for store in stores if store.is_used),
        nics=max(1, len(reached)),
        networks=reached,
        image_forms=frozenset(("vmm-host",)),
    )
    details = HostDetails(
        product=product,
        patch_level=str(values.get(f"{_PRODUCT}.build") or ""),
        licence=licence(endpoint, host.ref),
        stores=stores,
        networks=networks,
        lacks=lacks(endpoint, host),
    )
    return HostFacts(hardware, product, accelerated=True, details=details)


def _stores(endpoint: Endpoint, host: Host) -> Iterator[StoreRoom]:
    used = identity(host.datastore.ref)
    found = read_listed(endpoint, host.ref, "datastore", vim.Datastore, *_STORE_PATHS)
    for store in sorted(found, key=lambda store: str(store.values.get("name"))):
        yield store_room(store.values, is_used=identity(store.ref) == used)


def store_room(values: Mapping[str, Any], *, is_used: bool) -> StoreRoom:
    """Describe a datastore; one that cannot be written to now has nothing free, whatever it holds."""
    state = _state(values)
    return StoreRoom(
        name=str(values["name"]),
        capacity_gib=int(values.get("summary.capacity") or 0) >> 30,
        free_gib=int(values.get("summary.freeSpace") or 0) >> 30 if not state else 0,
        is_shared=values.get("summary.multipleHostAccess") is True,
        is_used=is_used,
        state=state,
    )


def _state(values: Mapping[str, Any]) -> str:
    """Say why a datastore cannot be written to now; empty if it can."""
    if values.get("summary.accessible") is False:
        return "not accessible"
    is_maintained = values.get("summary.maintenanceMode") not in (None, "normal")
    return "in maintenance mode" if is_maintained else ""


def _port_groups(endpoint: Endpoint, host: Any) -> Iterator[str]:
    found = read_listed(endpoint, host, "network", vim.Network, "name", "tag")
    yield from sorted(str(group.values.get("name")) for group in found if is_for_vms(group.values))


def is_for_vms(values: Mapping[str, Any]) -> bool:
    """Whether VMs can be put on a port group."""
    return all(tag.key != _UPLINKS for tag in values.get("tag") or ())
