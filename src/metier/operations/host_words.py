"""What a host tells about itself, and where its VM manager keeps a VM, as a node's page shows it."""

from metier.domain.fleet import Fleet
from metier.domain.host_details import StoreRoom
from metier.domain.node import Node
from metier.domain.observation import VmFacts
from metier.operations.registry import Row

ASIDE = "its .vmx was moved aside when Metier shut it down"


def host_details(fleet: Fleet, host: Node) -> Row:
    """Return what a host told when it was last inventoried or staged; nothing for nodes that are none."""
    if host.vmm is None:
        return {}
    seen = fleet.seen(host.name)
    tier = fleet.tiers.get(host.tier) if host.tier else None
    baseline = None if tier is None else host.baseline(tier.image)
    told = seen.details
    return {
        "product": told.product or None,
        "patch_level": seen.patch_level or told.patch_level or None,
        "baseline": None if baseline is None else baseline.patch_level,
        "licence": told.licence or None,
        "datastores": [_store_row(store) for store in told.stores],
        "networks": sorted({*told.networks, *(host.hardware.networks if host.hardware else ())}),
        "lacks": list(told.lacks),
        "staging_remarks": list(seen.staging_remarks),
    }


def vm_details(fleet: Fleet, node: Node) -> Row:
    """Return what a virtual node's host does with its VM that a person has to know."""
    vm = vm_of(fleet, node)
    if vm is None:
        return {}
    return {"is_staged": vm.is_staged, "configuration": configuration_of(fleet, node)}


def configuration_of(fleet: Fleet, node: Node) -> str | None:
    """Return where the configuration of a virtual node's VM went; None while it is where it belongs."""
    vm = vm_of(fleet, node)
    return ASIDE if vm is not None and vm.is_aside else None


def host_oddities(fleet: Fleet, host: Node) -> tuple[str, ...]:
    """Return what of all this explains why something is not as somebody may expect."""
    seen = fleet.seen(host.name)
    return (seen.details.lacks_in_words, *seen.staging_remarks) if host.vmm is not None else ()


def vm_of(fleet: Fleet, node: Node) -> VmFacts | None:
    """Return what its host last reported of a virtual node's VM."""
    if node.host is None or node.vm_number is None:
        return None
    return fleet.seen(node.host).vm(node.vm_number)


def _store_row(store: StoreRoom) -> Row:
    return {
        "name": store.name,
        "capacity_gib": store.capacity_gib,
        "free_gib": store.free_gib,
        "is_shared": store.is_shared,
        "is_used": store.is_used,
        "state": store.state,
    }
