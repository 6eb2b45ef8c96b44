"""Where an update procedure can run its image: on a virtual node that is free, or on a host made for it."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from metier.domain.choice import failures_of, fitting_shapes
from metier.domain.fleet import Fleet, Shape
from metier.domain.hardware import Hardware, shortfalls
from metier.domain.ids import ImageRef, NodeId, natural, virtual_node_id
from metier.domain.image import Image, OfferedVm
from metier.domain.matching import cost, needs_of, obstacles
from metier.domain.node import Node, NodeKind
from metier.domain.tier import Tier, TierKind


class Spot(NamedTuple):
    """Where the image will run.

    Attributes:
        node: The virtual node; of a host that is still to be made, what it will be called.
        host: The physical node that is to become a host; None where the virtual node is there.
        host_image: What that host will run.
    """

    node: NodeId
    host: NodeId | None = None
    host_image: ImageRef | None = None


def free_node(fleet: Fleet, tier: Tier) -> NodeId | None:
    """Return the cheapest free virtual node that fits a guest tier; None if there is none."""
    for _, shapes in sorted(fitting_shapes(fleet, tier).items(), key=lambda item: item[0]):
        names = (name for shape in shapes for group in fleet.free[shape].values() for name in group)
        nodes = sorted(
            (fleet.nodes[name] for name in names),
            key=lambda one: (failures_of(fleet, one), natural(one.name)),
        )
        found = next((node.name for node in nodes if is_fit(fleet, node, tier)), None)
        if found is not None:
            return found
    return None


def is_fit(fleet: Fleet, node: Node, tier: Tier) -> bool:
    """Say whether a virtual node could be allocated to a guest tier this moment, and its VM is clean."""
    return node.is_virtual and node.instance is None and not obstacles(fleet, node, tier)


def new_host(fleet: Fleet, tier: Tier, wanted: ImageRef | None = None) -> Spot | None:
    """Return the free physical node that would do as a host for a guest tier, and the image for it.

    Args:
        fleet: What there is.
        tier: The guest tier.
        wanted: The host image; None tries all that are active, the newest version first.
    """
    images = [image for image in fleet.images.values() if image.is_host_image and image.active]
    # What hosts run already is known to work here.
    used = {tier.image for tier in fleet.tiers.values()}
    for image in sorted(images, key=lambda one: (one.ref in used, natural(one.ref.version)), reverse=True):
        if wanted is None or image.ref == wanted:
            spots = list(_spots(fleet, tier, image))
            if spots:
                return min(spots, key=lambda one: (one[0], natural(one[1].node)))[1]
    return None


def offered_hardware(offer: OfferedVm, host: Hardware) -> Hardware:
    """Return what a VM that an image defines will have on a host."""
    return Hardware(
        offer.memory_mib,
        offer.cpus,
        offer.disk_gib,
        host.architecture,
        len(offer.networks),
        host.attributes,
        frozenset(offer.networks),
    )


def _spots(fleet: Fleet, tier: Tier, image: Image) -> Iterator[tuple[tuple[bool, int], Spot]]:
    """Yield every free physical node that could run a host image with a VM that fits, and its cost."""
    needs, host_tier = needs_of(fleet, tier), Tier(tier.name, TierKind.HOST, image.ref)
    for shape, groups in fleet.free.items():
        if shape.kind is not NodeKind.PHYSICAL:
            continue
        number = _smallest_fit(fleet, tier, image, shape.hardware)
        for name in (name for group in groups.values() for name in group if number):
            if not obstacles(fleet, fleet.nodes[name], host_tier):
                spot = Spot(virtual_node_id(name, number), name, image.ref)
                yield cost(needs, shape), spot


def _smallest_fit(fleet: Fleet, tier: Tier, image: Image, host: Hardware) -> int:
    """Return the number of the cheapest VM of a host image that fits a guest tier; 0 if none does."""
    needs = needs_of(fleet, tier)
    fits = [
        (cost(needs, Shape(NodeKind.VIRTUAL, hardware)), offer.number)
        for offer in image.offers
        if not shortfalls(needs, hardware := offered_hardware(offer, host))
    ]
    return min(fits)[1] if fits else 0


def why_none(fleet: Fleet, tier: Tier) -> str:
    """Say in numbers why there is neither a virtual node for a guest tier, nor one to make a host of."""
    return f"{_why_no_node(fleet, tier)}; and {_why_no_host(fleet, tier)}"


def _why_no_node(fleet: Fleet, tier: Tier) -> str:
    counts = Counter(_why_not(fleet, node, tier) for node in fleet.nodes.values() if node.is_virtual)
    return _counted("virtual node", "is free and fits", counts)


def _why_no_host(fleet: Fleet, tier: Tier) -> str:
    images = [image for image in fleet.images.values() if image.is_host_image and image.active]
    if not images:
        return "no host can be made: there is no active host image"
    needs = needs_of(fleet, tier)
    offers = [offer for image in images for offer in image.offers]
    if all(offer.memory_mib < needs.memory_mib for offer in offers):
        largest = max((offer.memory_mib for offer in offers), default=0)
        return f"no host image offers a VM of {needs.memory_mib} MiB: the largest has {largest} MiB"
    host_tier = Tier(tier.name, TierKind.HOST, images[-1].ref)
    counts = Counter(_why_not(fleet, node, host_tier) for node in fleet.nodes.values() if not node.is_virtual)
    return _counted("physical node", "is free and could be made a host", counts)


def _why_not(fleet: Fleet, node: Node, tier: Tier) -> str:
    found = obstacles(fleet, node, tier)
    if found:
        return found[0].group
    return "with something left on its VM" if node.instance is not None else "with no VM that fits"


def _counted(what: str, verb: str, counts: Counter[str]) -> str:
    if not counts:
        return f"there is no {what}"
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return f"none of {total} {what}{'s' * (total > 1)} {verb}: " + ", ".join(
        f"{count} {group}" for group, count in ordered
    )
