"""Proof that a node is down: without it, nothing else may run its slot's identity (R-FENCE-1)."""

from datetime import datetime

from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId
from metier.domain.lifecycle import MAY_RUN
from metier.domain.node import Node
from metier.domain.observation import Power
from metier.domain.tier import Fence


def proof_of_down(fleet: Fleet, fence: Fence) -> str | None:
    """Return the evidence that a fenced node is down, in words, or None while there is none.

    Evidence is what was observed after the node was last ordered to start: its VM
    seen off or absent in a good answer of its host, itself or its host seen off by
    its power controller, or an operator's word.
    """
    if fence.attested:
        return f"{fence.attested} vouched for it"
    if fence.host is None or fence.vm_number is None:
        return _seen_off(fleet, fence.node, fence.since)
    return _vm_down(fleet, fence.host, fence.vm_number, fence.since) or _seen_off(
        fleet, fence.host, fence.since
    )


def is_proved_down(fleet: Fleet, node: Node) -> bool:
    """Say whether `node` certainly does not run now."""
    if node.lifecycle not in MAY_RUN:
        return True
    return proof_of_down(fleet, fence_for(node, node.since)) is not None


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


def _vm_down(fleet: Fleet, host: NodeId, number: int, since: datetime) -> str | None:
    seen = fleet.seen(host)
    if seen.vms is None or seen.vms_at is None or seen.vms_at <= since:
        return None
    vm = seen.vm(number)
    if vm is None:
        return f"host {host} no longer has VM{number}"
    return f"host {host} reports VM{number} off" if vm.power is Power.OFF else None


def _seen_off(fleet: Fleet, node: NodeId, since: datetime) -> str | None:
    seen = fleet.seen(node)
    if seen.power is Power.OFF and seen.power_at is not None and seen.power_at > since:
        return f"the power controller of {node} reports it off"
    return None
