"""Which virtual nodes of a host count as active: what R-SHRINK and R-FORCE-1 protect."""

from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node
from metier.domain.tier import TierState


def is_active_guest(fleet: Fleet, node: Node) -> bool:
    """Say whether `node` is a virtual node that works for a guest tier.

    It does when its tier is active, or when it is not yet idle although its tier
    no longer is: what still runs or stops there is not to be cut off.
    """
    if not node.is_virtual or node.tier is None:
        return False
    tier = fleet.tiers.get(node.tier)
    is_wanted = tier is not None and tier.state is TierState.ACTIVE
    return is_wanted or node.lifecycle is not Lifecycle.IDLE


def active_guests(fleet: Fleet, host: NodeId) -> list[Node]:
    """Return the active virtual nodes of a host, in VM order."""
    return [node for node in fleet.virtual_nodes(host) if is_active_guest(fleet, node)]
