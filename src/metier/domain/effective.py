"""Settings of a tier as they are in force: its own, else its image's."""

from metier.domain.fleet import Fleet
from metier.domain.image import CollectorSpec
from metier.domain.node import Node
from metier.domain.tier import Tier

DEFAULT_STARTUP_S = 300


def startup_s(fleet: Fleet, tier: Tier) -> int:
    """Return how many seconds a member may take from seen on to answering."""
    if tier.startup_s is not None:
        return tier.startup_s
    image = fleet.images.get(tier.image)
    return DEFAULT_STARTUP_S if image is None else image.startup_s


def collectors(fleet: Fleet, tier: Tier) -> tuple[CollectorSpec, ...]:
    """Return the collectors that judge a tier's members."""
    if tier.collectors is not None:
        return tier.collectors
    image = fleet.images.get(tier.image)
    return () if image is None else image.collectors


def is_judged(fleet: Fleet, node: Node) -> bool:
    """Say whether collectors judge `node`; where none do, what is remembered of its health says nothing."""
    tier = fleet.tiers.get(node.tier) if node.tier is not None else None
    return tier is not None and bool(collectors(fleet, tier))


def address(fleet: Fleet, node: Node) -> str | None:
    """Return where a node answers, without prefix length: its slot's address, else the one seen."""
    if not node.is_virtual:
        return node.power_ip
    if node.placement.tier is not None and node.placement.slot is not None:
        tier = fleet.tiers.get(node.placement.tier)
        fixed = tier.slot_settings(node.placement.slot).address if tier else None
        if fixed is not None:
            return fixed.partition("/")[0]
    if node.host is None or node.vm_number is None:
        return None
    vm = fleet.seen(node.host).vm(node.vm_number)
    return vm.address if vm is not None else None
