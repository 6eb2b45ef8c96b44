"""A node as the interface's JSON shows it."""

from collections.abc import Sequence

from metier.domain.effective import address
from metier.domain.evidence import power_seen
from metier.domain.fleet import Fleet
from metier.domain.guests import active_guests
from metier.domain.hardware import Hardware
from metier.domain.ids import SlotId
from metier.domain.node import Node, Place
from metier.domain.observation import Observed
from metier.domain.status import health, status
from metier.domain.tier import Fence
from metier.operations.parsing import rfc3339
from metier.operations.registry import Row

COLUMNS = (
    "name",
    "kind",
    "placement",
    "tier",
    "slot",
    "vm_slot",
    "status",
    "engaged",
    "memory_mib",
    "address",
    "active_guests",
    "reason",
)
"""What the list of nodes shows."""


def node_row(fleet: Fleet, node: Node, waiting: Sequence[str] = ()) -> Row:
    """Return the row of a node; `waiting` is what the plan says it waits for."""
    seen = fleet.seen(node.name)
    fences = fences_before(fleet, node)
    return {
        **_identity(fleet, node),
        "power": power_seen(fleet, node)[0].value,
        "lifecycle": node.lifecycle.value,
        "health": health(fleet, node).value,
        "status": status(fleet, node),
        **_hardware(node),
        **_service(fleet, node, seen),
        "reason": reason(node, waiting, fences),
        "waiting_for": list(waiting),
        "fenced_by": [fence.node for fence in fences],
        **_orders(node),
        "since": rfc3339(node.since),
        "generation": node.generation,
    }


def fences_before(fleet: Fleet, node: Node) -> tuple[Fence, ...]:
    """Return the earlier holders of a member's slot that are not yet proved to be down."""
    if node.placement.tier is None or node.placement.slot is None:
        return ()
    return fleet.slot(SlotId(node.placement.tier, node.placement.slot)).fences


def reason(node: Node, waiting: Sequence[str], fences: Sequence[Fence]) -> str:
    """Return why a node is in its state, in a sentence's words; empty when nothing is out of the way."""
    parts = []
    if not node.engaged:
        parts.append(f"disengaged{_by_whom(node)}")
    if node.problem:
        parts.append(node.problem)
    if node.request is not None:
        parts.append(f"an operator ordered {node.request}")
    if fences:
        parts.append("waits for evidence that " + ", ".join(fence.node for fence in fences) + " is down")
    parts += waiting
    if node.retry is not None and node.retry.reason != node.problem:
        parts.append(f"tried {node.retry.attempts} times: {node.retry.reason}")
    return "; ".join(dict.fromkeys(parts))


def _by_whom(node: Node) -> str:
    engagement = node.engagement
    who = f" by {engagement.by}" if engagement.by else ""
    until = f" until {rfc3339(engagement.until)}" if engagement.until else ""
    return f"{who}{until}" + (f": {engagement.why}" if engagement.why else "")


def _identity(fleet: Fleet, node: Node) -> Row:
    return {
        "name": node.name,
        "kind": node.kind.value,
        "placement": node.placement.place.value,
        "tier": node.placement.tier,
        "slot": node.placement.slot,
        "vm_slot": node.vm_slot,
        "engaged": node.engaged,
        "power_ip": _power_ip(fleet, node),
        "host": node.host,
        "vm_number": node.vm_number,
    }


def _power_ip(fleet: Fleet, node: Node) -> str | None:
    host = fleet.host_of(node)
    return node.power_ip if host is None or node.power_ip is not None else host.power_ip


def _hardware(node: Node) -> Row:
    has: Hardware | None = node.hardware
    if has is None:
        unknown = ("memory_mib", "cpus", "disk_gib", "architecture", "nics", "networks", "image_forms")
        return {"attributes": sorted(node.attributes), **dict.fromkeys(unknown)}
    return {
        "memory_mib": has.memory_mib,
        "cpus": has.cpus,
        "disk_gib": has.disk_gib,
        "architecture": has.architecture,
        "nics": has.nics,
        "attributes": sorted(has.attributes | node.attributes),
        "networks": sorted(has.networks),
        "image_forms": sorted(has.image_forms),
    }


def _service(fleet: Fleet, node: Node, seen: Observed) -> Row:
    tier = None if node.placement.tier is None else fleet.tiers.get(node.placement.tier)
    return {
        "address": address(fleet, node) or seen.address,
        "hostname": None
        if tier is None or node.placement.slot is None
        else tier.hostname(node.placement.slot),
        "image": None if tier is None else str(tier.image),
        "instance": None if node.instance is None else node.instance.id,
        "active_guests": len(active_guests(fleet, node.name)),
        "vmm_reachable": seen.vmm_reachable,
        "foreign_running": seen.foreign_running if node.vmm is not None else None,
        "accelerated": seen.accelerated,
        "failed_checks": [f"{check.collector}: {check.message}" for check in seen.checks if not check.ok],
    }


def _orders(node: Node) -> Row:
    return {
        "engaged_by": node.engagement.by or None,
        "engaged_why": node.engagement.why or None,
        "engaged_at": rfc3339(node.engagement.at),
        "engaged_until": rfc3339(node.engagement.until),
        "request": None if node.request is None else node.request.value,
        "problem": node.problem or None,
        "pending": None if node.pending is None else node.pending.action,
        "failures": node.failures,
        "promised": node.promised,
        "vmm": None if node.vmm is None else node.vmm.driver,
        "power_driver": None if node.power is None else node.power.driver,
    }


def where(node: Node) -> str:
    """Return where a node is kept, in words: `slot 2 of tier web`, `the free pool`."""
    if node.placement.place is Place.TIER:
        return f"slot {node.placement.slot} of tier {node.placement.tier}"
    return f"the {node.placement.place} pool"
