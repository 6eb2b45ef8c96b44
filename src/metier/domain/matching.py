"""Which nodes a tier can use, what stands in the way of the others, and what each one costs."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from metier.domain.fleet import Fleet, Shape
from metier.domain.hardware import Requirements, shortfalls, surplus
from metier.domain.ids import ImageRef, NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import ENGAGED, FREE, Node, NodeKind, Place
from metier.domain.tier import Tier, TierKind


class Mend(NamedTuple):
    """What an operator's order would make of a node's record."""

    node: NodeId
    fields: Mapping[str, Any]


class Obstacle(NamedTuple):
    """One reason why a node cannot be allocated to a tier.

    Attributes:
        group: What reasons of this sort are counted under: `too little memory`.
        sentence: The reason for this node.
        cure: What would remove it; empty when nothing simple would.
        distance: For choosing the nearest miss: smaller is nearer; 0 unless hardware is missing.
        mend: What the cure comes to; None where hardware is missing, or only trying tells.
    """

    group: str
    sentence: str
    cure: str = ""
    distance: int = 0
    mend: Mend | None = None


_KINDS = {TierKind.HOST: NodeKind.PHYSICAL, TierKind.GUEST: NodeKind.VIRTUAL}


def needs_of(fleet: Fleet, tier: Tier) -> Requirements:
    """Return what tier and image together require of a node: of every version that its slots may run."""
    needs = tier.requirements
    for version in reversed(tier.versions):
        needs = needs.joined_with(_required_by(fleet, version))
    return needs


def needs_for(fleet: Fleet, tier: Tier, version: ImageRef) -> Requirements:
    """Return what tier and one image version together require of a node."""
    return tier.requirements.joined_with(_required_by(fleet, version))


_NOTHING = Requirements()


def _required_by(fleet: Fleet, version: ImageRef) -> Requirements:
    image = fleet.images.get(version)
    return _NOTHING if image is None else image.requirements


def cost(needs: Requirements, shape: Shape) -> tuple[bool, int]:
    """Return what using a node of `shape` costs (R-ALLOC-3): virtual before physical, then the surplus."""
    return shape.kind is NodeKind.PHYSICAL, surplus(needs, shape.hardware)


def shape_obstacles(needs: Requirements, tier: Tier, shape: Shape) -> tuple[Obstacle, ...]:
    """Say why no node of `shape` fits the tier; empty when they do."""
    if shape.kind is not _KINDS[tier.kind]:
        return (Obstacle(f"{shape.kind} nodes", f"a {tier.kind} tier takes {_KINDS[tier.kind]} nodes"),)
    return tuple(
        Obstacle(f"too little {gap.what}", f"it would need {gap.missing}", gap.missing, gap.amount)
        for gap in shortfalls(needs, shape.hardware)
    )


def host_obstacle(fleet: Fleet, node: Node) -> Obstacle | None:
    """Say why nothing can be started on the host of a virtual node, if so."""
    if not node.is_virtual:
        return None
    host = fleet.host_of(node)
    if host is None:
        return Obstacle("host is gone", f"its host {node.host} is gone")
    if not host.engaged:
        return _disengaged("host is disengaged", f"its host {host.name} is disengaged", host)
    if host.lifecycle is not Lifecycle.RUNNING or host.request is not None:
        return Obstacle("host is not running", f"its host {host.name} is not running")
    if fleet.seen(host.name).vmm_reachable is False:
        return Obstacle("host does not answer", f"its host {host.name} does not answer")
    return None


def node_obstacle(tier: Tier, node: Node) -> Obstacle | None:
    """Say why a node itself is not ready for the tier, leaving hardware and host aside."""
    return next(_node_obstacles(tier, node), None)


def _node_obstacles(tier: Tier, node: Node) -> Iterator[Obstacle]:
    place = node.placement.place
    if place is Place.TIER:
        yield Obstacle("in a tier", f"it is in tier {node.tier}")
        return
    if place is not Place.FREE:
        yield _elsewhere(node)
    if not node.engaged:
        yield _disengaged("disengaged", f"it is disengaged{_because(node)}", node)
    if node.hardware is None:
        yield Obstacle("not inventoried", "it is not inventoried", f"inventory {node.name}")
    elif node.lifecycle is not Lifecycle.IDLE or node.pending is not None or node.request is not None:
        yield Obstacle("busy", _business(node))
    if tier.kind is TierKind.HOST and node.vmm is None and not node.is_virtual:
        yield Obstacle("no VM manager", "it has no VM manager", f"give {node.name} a VM manager")


def _elsewhere(node: Node) -> Obstacle:
    place = node.placement.place
    is_reserved = place is Place.RESERVED
    cure = f"release {node.name}" if is_reserved else f"move {node.name} to the free pool"
    mend = Mend(node.name, {"placement": FREE} if is_reserved else _FORGIVEN)
    return Obstacle(f"{place}", f"it is in the {place} pool", cure, mend=mend)


_FORGIVEN: Mapping[str, Any] = {
    "placement": FREE,
    "promised": None,
    "to_diagnose": False,
    "failures": 0,
    "failed_at": None,
    "retry": None,
}
"""What moving a node to the free pool by hand makes of it."""


def _disengaged(group: str, sentence: str, node: Node) -> Obstacle:
    return Obstacle(group, sentence, f"engage {node.name}", mend=Mend(node.name, {"engagement": ENGAGED}))


def _business(node: Node) -> str:
    if node.pending is not None:
        return f"{node.pending.action} is in flight on it"
    return f"an operator ordered {node.request}" if node.request is not None else f"it is {node.lifecycle}"


def promise_obstacle(fleet: Fleet, tier: Tier, node: Node) -> Obstacle | None:
    """Say that a node was harvested for another tier, which is still short."""
    if node.promised is None or node.promised == tier.name or node.promised not in fleet.tiers:
        return None
    if len(fleet.members(node.promised)) >= fleet.tiers[node.promised].target:
        return None
    return Obstacle("promised to another tier", f"it was taken for tier {node.promised}")


def obstacles(fleet: Fleet, node: Node, tier: Tier) -> tuple[Obstacle, ...]:
    """Return everything that keeps `node` from being allocated to `tier`; empty for a candidate."""
    found = list(_node_obstacles(tier, node))
    reasons = (promise_obstacle(fleet, tier, node), host_obstacle(fleet, node))
    found += [reason for reason in reasons if reason is not None]
    if node.hardware is not None:
        found += shape_obstacles(needs_of(fleet, tier), tier, Shape(node.kind, node.hardware))
    return tuple(found)


def _because(node: Node) -> str:
    who = f" by {node.engagement.by}" if node.engagement.by else ""
    return who + (f": {node.engagement.why}" if node.engagement.why else "")
