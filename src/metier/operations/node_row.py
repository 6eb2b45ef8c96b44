"""A node as the interface's JSON shows it."""

from collections.abc import Sequence

from metier.domain.effective import address, version_of
from metier.domain.evidence import power_seen
from metier.domain.fleet import Fleet
from metier.domain.guests import active_guests
from metier.domain.hardware import Hardware
from metier.domain.ids import SlotId
from metier.domain.node import Node, Place
from metier.domain.status import health, status
from metier.domain.tier import Fence
from metier.domain.timing import Activity, measured_s
from metier.operations.host_words import host_details, vm_details
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


def node_row(fleet: Fleet, node: Node, waiting: Sequence[str] = (), copying: str = "") -> Row:
    """Return the row of a node.

    `waiting` is what the plan says it waits for, `copying` what is being copied to it now.
    Lists may have 100,000 of these: what only one node's page shows is in `node_details`.
    """
    place, number = node.placement.tier, node.placement.slot
    tier = None if place is None else fleet.tiers.get(place)
    host = None if node.host is None else fleet.nodes.get(node.host)
    return {
        "name": node.name,
        "kind": node.kind.value,
        "placement": node.placement.place.value,
        "tier": place,
        "slot": number,
        "vm_slot": node.vm_slot,
        "engaged": node.engagement.engaged,
        "power": power_seen(fleet, node)[0].value,
        "lifecycle": node.lifecycle.value,
        "health": health(fleet, node).value,
        "status": status(fleet, node),
        "power_ip": node.power_ip if host is None or node.power_ip is not None else host.power_ip,
        "host": node.host,
        "vm_number": node.vm_number,
        **_hardware(node),
        "address": address(fleet, node) or fleet.seen(node.name).address,
        "hostname": None if tier is None or number is None else tier.hostname(number),
        "image": None if tier is None else str(version_of(tier, node)),
        "active_guests": 0 if node.is_virtual else len(active_guests(fleet, node.name)),
        "reason": reason(node, waiting, fences_before(fleet, node)),
        "request": None if node.request is None else node.request.value,
        "pending": None if node.pending is None else node.pending.action,
        "problem": node.problem or None,
        "copying": copying or None,
        "generation": node.generation,
    }


def node_details(fleet: Fleet, node: Node, waiting: Sequence[str] = ()) -> Row:
    """Return what the page of one node shows beside its row."""
    seen, has, engagement = fleet.seen(node.name), node.hardware, node.engagement
    return {
        "since": rfc3339(node.since),
        "engaged_by": engagement.by or None,
        "engaged_why": engagement.why or None,
        "engaged_at": rfc3339(engagement.at),
        "engaged_until": rfc3339(engagement.until),
        "nics": None if has is None else has.nics,
        "networks": None if has is None else sorted(has.networks),
        "image_forms": None if has is None else sorted(has.image_forms),
        "instance": None if node.instance is None else node.instance.id,
        "waiting_for": list(waiting),
        "fenced_by": [fence.node for fence in fences_before(fleet, node)],
        "failed_checks": [f"{check.collector}: {check.message}" for check in seen.checks if not check.ok],
        "failures": node.failures,
        "promised": node.promised,
        "vmm": None if node.vmm is None else node.vmm.driver,
        "vmm_reachable": seen.vmm_reachable,
        "vmm_error": seen.vmm_error or None,
        "power_driver": None if node.power is None else node.power.driver,
        "power_error": seen.power_error or None,
        "foreign_running": None if node.vmm is None else seen.foreign_running,
        "accelerated": seen.accelerated,
        "boot_s": None if node.is_virtual else measured_s(fleet, Activity.POWER_ON, node.name),
        **host_details(fleet, node),
        **vm_details(fleet, node),
        "virtual_nodes": [virtual.name for virtual in fleet.virtual_nodes(node.name)],
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
    # What it waits for often ends with the very problem: once is enough.
    parts += [line.removesuffix(f": {node.problem}") for line in waiting]
    if node.retry is not None and node.retry.reason != node.problem:
        parts.append(f"tried {node.retry.attempts} times: {node.retry.reason}")
    return "; ".join(dict.fromkeys(parts))


def _by_whom(node: Node) -> str:
    engagement = node.engagement
    who = f" by {engagement.by}" if engagement.by else ""
    until = f" until {rfc3339(engagement.until)}" if engagement.until else ""
    return f"{who}{until}" + (f": {engagement.why}" if engagement.why else "")


def _hardware(node: Node) -> Row:
    has: Hardware | None = node.hardware
    attributes = node.attributes if has is None else node.attributes | has.attributes
    return {
        "memory_mib": None if has is None else has.memory_mib,
        "cpus": None if has is None else has.cpus,
        "disk_gib": None if has is None else has.disk_gib,
        "architecture": None if has is None else has.architecture,
        "attributes": sorted(attributes) if attributes else [],
    }


def where(node: Node) -> str:
    """Return where a node is kept, in words: `slot 2 of tier web`, `the free pool`."""
    if node.placement.place is Place.TIER:
        return f"slot {node.placement.slot} of tier {node.placement.tier}"
    return f"the {node.placement.place} pool"
