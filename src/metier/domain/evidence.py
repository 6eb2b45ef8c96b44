"""Proof that a node is down: without it, nothing else may run its slot's identity (R-FENCE-1)."""

from datetime import datetime

from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId
from metier.domain.lifecycle import MAY_RUN
from metier.domain.node import Node
from metier.domain.observation import Observed, Power
from metier.domain.tier import Fence, TierKind


def proof_of_down(fleet: Fleet, fence: Fence) -> str | None:
    """Return the evidence that a fenced node is down, in words, or None while there is none.

    Evidence is what was observed after the node was last ordered to start: its VM seen off by
    its host, itself or its host seen off by its power controller, or an operator's word.  A VM
    that is gone may have been moved: then every host must have been asked since, and none have it.
    """
    if fence.attested:
        return f"{fence.attested} vouched for it"
    if fence.host is None or fence.vm_number is None:
        return _seen_off(fleet, fence.node, fence.since)
    if fence.is_lost:
        return _nowhere(fleet, fence)
    by_host = _vm_off(fleet, fence.host, fence.vm_number, fence.since)
    evidence = by_host or _seen_off(fleet, fence.host, fence.since)
    if evidence is None:
        return _nowhere(fleet, fence)
    return None if _found(fleet, fence) else evidence


def is_proved_down(fleet: Fleet, node: Node) -> bool:
    """Say whether `node` certainly does not run now."""
    if node.lifecycle not in MAY_RUN:
        return True
    fence = fence_for(node, node.since)
    if node.host is None or node.vm_number is None:
        return _seen_off(fleet, node.name, fence.since) is not None
    by_host = _vm_off(fleet, node.host, node.vm_number, fence.since)
    return (by_host or _seen_off(fleet, node.host, fence.since)) is not None


def is_lost(fleet: Fleet, node: Node) -> bool:
    """Say whether the VM of a virtual node is gone from its host's last good answer since it was started."""
    if node.host is None or node.vm_number is None:
        return False
    seen, since = fleet.seen(node.host), node.started_at or node.since
    if seen.vms is None or seen.vms_at is None or since is None:
        return False
    return seen.vms_at > since and seen.vm(node.vm_number) is None


def whereabouts(fleet: Fleet, fence: Fence) -> tuple[NodeId | None, NodeId | None]:
    """Return where the VM of a fenced node is now though it was moved, and else a host that may have it.

    Such a host was not seen, well, since the fence was raised; None and None if it is nowhere.
    """
    found = _found(fleet, fence)
    if found is not None:
        return found, None
    since = fence.raised or fence.since
    unseen = (name for name in _hosts_in_use(fleet) if not _was_looked_at(fleet.seen(name), since))
    return None, min(unseen, default=None)


def _hosts_in_use(fleet: Fleet) -> set[NodeId]:
    """Return the hosts on which a VM may run: in host tiers, with virtual nodes, or not known to be down."""
    tiers = [tier.name for tier in fleet.tiers.values() if tier.kind is TierKind.HOST]
    hosts = {name for tier in tiers for name in fleet.members(tier).values()} | set(fleet.vms_of)
    suspects = (fleet.nodes.get(name) for name in fleet.fenced_by)
    return hosts | {node.name for node in suspects if node is not None and node.vmm is not None}


def _found(fleet: Fleet, fence: Fence) -> NodeId | None:
    """Return the host to which the VM of a fenced node was moved, if it is seen to run there."""
    lost = (fence.host, fence.vm_number)
    for name, seen in fleet.observed.items():
        if any((one.host, one.number) == lost and one.power is not Power.OFF for one in seen.strays):
            return name
    return None


def _nowhere(fleet: Fleet, fence: Fence) -> str | None:
    assert fence.host is not None
    assert fence.vm_number is not None
    seen, raised = fleet.seen(fence.host), fence.raised
    if raised is None or (seen.vm(fence.vm_number) is not None and not fence.is_lost):
        return None
    if not fence.is_lost and (seen.vms is None or seen.vms_at is None or seen.vms_at <= raised):
        return None
    found, unseen = whereabouts(fleet, fence)
    if found is not None or unseen is not None:
        return None
    return f"host {fence.host} no longer has VM{fence.vm_number}, and no other host has it"


def _was_looked_at(seen: Observed, since: datetime) -> bool:
    if seen.power is Power.OFF and seen.power_at is not None and seen.power_at > since:
        return True
    return bool(seen.vmm_reachable) and seen.vms_at is not None and seen.vms_at > since


def power_seen(fleet: Fleet, node: Node) -> tuple[Power, datetime | None]:
    """Return whether `node` was last seen on, and when that was asked; a VM is seen by its host."""
    if node.host is None or node.vm_number is None:
        seen = fleet.seen(node.name)
        return seen.power, seen.power_at
    seen = fleet.seen(node.host)
    if seen.power is Power.OFF and seen.power_at is not None:
        return Power.OFF, seen.power_at
    vm = seen.vm(node.vm_number)
    return (vm.power if vm is not None else Power.UNKNOWN), seen.vms_at


def fence_for(node: Node, now: datetime | None) -> Fence:
    """Return the fence that `node` leaves on its slot."""
    since = node.started_at or now
    assert since is not None
    return Fence(node.name, node.host, node.vm_number, since, raised=now)


def _vm_off(fleet: Fleet, host: NodeId, number: int, since: datetime) -> str | None:
    seen = fleet.seen(host)
    if seen.vms is None or seen.vms_at is None or seen.vms_at <= since:
        return None
    vm = seen.vm(number)
    return f"host {host} reports VM{number} off" if vm is not None and vm.power is Power.OFF else None


def _seen_off(fleet: Fleet, node: NodeId, since: datetime) -> str | None:
    seen = fleet.seen(node)
    if seen.power is Power.OFF and seen.power_at is not None and seen.power_at > since:
        return f"the power controller of {node} reports it off"
    return None
