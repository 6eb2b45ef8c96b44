"""The one word that lists show for a node, computed from its axes."""

from metier.domain.effective import is_judged
from metier.domain.fleet import Fleet
from metier.domain.ids import SlotId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, Place
from metier.domain.observation import Health, Power
from metier.domain.tier import TierState

STATUSES = {
    "discovered": "It is known and not yet inventoried.",
    "inventory": "It is being asked what it has.",
    "quarantined": "Metier must not manage it.",
    "reserved": "It serves as an image host.",
    "maintenance": "It is in the maintenance pool.",
    "testing": "It is in the maintenance pool and being tested.",
    "idle": "It is in the free pool, ready to be allocated.",
    "offline": "It is in the free pool and switched off.",
    "allocated": "It fills a slot of a tier that is not active.",
    "preparing": "Its slot's instance is being put in place.",
    "waiting for fence": "It is ready to start, and waits for evidence that its slot's last node is down.",
    "ready": "It is ready to start.",
    "booting": "It was switched on and is not yet seen on.",
    "starting": "It is on; its services have their startup time.",
    "normal": "It runs and all its collectors answer.",
    "critical": "It runs and a collector fails.",
    "unreachable": "Its VM manager does not answer.",
    "shutting down": "It was told to stop and is not yet seen off.",
    "shut down": "It fills a slot of an active tier and is off by an operator's hand.",
    "failed": "It failed; its problem says how.",
}
"""Every status there is, with its meaning."""

_BY_LIFECYCLE = {
    Lifecycle.NEW: "discovered",
    Lifecycle.INVENTORYING: "inventory",
    Lifecycle.PREPARING: "preparing",
    Lifecycle.BOOTING: "booting",
    Lifecycle.STARTING: "starting",
    Lifecycle.STOPPING: "shutting down",
    Lifecycle.FAILED: "failed",
}

_BY_PLACE = {Place.QUARANTINED: "quarantined", Place.RESERVED: "reserved"}


def status(fleet: Fleet, node: Node) -> str:
    """Return the status of `node`: a key of `STATUSES`."""
    if node.placement.place in _BY_PLACE:
        return _BY_PLACE[node.placement.place]
    if node.placement.place is Place.MAINTENANCE and node.lifecycle in (Lifecycle.IDLE, Lifecycle.FAILED):
        return "testing" if node.pending is not None else "maintenance"
    word = _BY_LIFECYCLE.get(node.lifecycle)
    if word is not None:
        return word
    if node.lifecycle is Lifecycle.PREPARED:
        return "waiting for fence" if _is_fenced(fleet, node) else "ready"
    if node.lifecycle is Lifecycle.RUNNING:
        return _running(fleet, node)
    return _idle(fleet, node)


def health(fleet: Fleet, node: Node) -> Health:
    """Return whether a running node does its work; unknown for one that is not running."""
    if node.lifecycle is not Lifecycle.RUNNING:
        return Health.CRITICAL if node.lifecycle is Lifecycle.FAILED else Health.UNKNOWN
    return Health.NORMAL if _running(fleet, node) == "normal" else Health.CRITICAL


def _running(fleet: Fleet, node: Node) -> str:
    seen = fleet.seen(node.name)
    if seen.vmm_reachable is False:
        return "unreachable"
    return "critical" if seen.health is Health.CRITICAL and is_judged(fleet, node) else "normal"


def _idle(fleet: Fleet, node: Node) -> str:
    if node.tier is None:
        off = not node.is_virtual and fleet.seen(node.name).power is Power.OFF
        return "offline" if off else "idle"
    tier = fleet.tiers[node.tier]
    return "shut down" if tier.state is TierState.ACTIVE and not node.engaged else "allocated"


def _is_fenced(fleet: Fleet, node: Node) -> bool:
    if node.placement.tier is None or node.placement.slot is None:
        return False
    return bool(fleet.slot(SlotId(node.placement.tier, node.placement.slot)).fences)
