"""Settings of a tier as they are in force: its own, else its image's."""

from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef
from metier.domain.image import CollectorSpec
from metier.domain.node import NO_IMAGE, Node
from metier.domain.tier import Tier

DEFAULT_STARTUP_S = 300


def version_of(tier: Tier, member: Node) -> ImageRef:
    """Return the image version that a member of `tier` runs, or is to run at its next start."""
    if member.instance is not None and member.instance.image != NO_IMAGE:
        return member.instance.image
    number = member.placement.slot
    return tier.image if number is None else tier.image_for(number)


def startup_s(fleet: Fleet, tier: Tier, version: ImageRef | None = None) -> int:
    """Return how many seconds a member may take from seen on to answering.

    `version` is what it runs; None stands for the tier's own.
    """
    if tier.startup_s is not None:
        return tier.startup_s
    image = fleet.images.get(version or tier.image)
    return DEFAULT_STARTUP_S if image is None else image.startup_s


def collectors(fleet: Fleet, tier: Tier, version: ImageRef | None = None) -> tuple[CollectorSpec, ...]:
    """Return the collectors that judge a tier's members; `version` as in `startup_s`."""
    if tier.collectors is not None:
        return tier.collectors
    image = fleet.images.get(version or tier.image)
    return () if image is None else image.collectors


def is_judged(fleet: Fleet, node: Node) -> bool:
    """Say whether collectors judge `node`; where none do, what is remembered of its health says nothing."""
    tier = fleet.tiers.get(node.tier) if node.tier is not None else None
    return tier is not None and bool(collectors(fleet, tier, version_of(tier, node)))


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
