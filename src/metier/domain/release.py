"""Which members a tier with too many gives up first, and what holds others (R-RELEASE-1, R-SHRINK)."""

from typing import NamedTuple

from metier.domain.fleet import Fleet, Shape
from metier.domain.guests import active_guests
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import cost, needs_of
from metier.domain.node import Node, Place
from metier.domain.observation import Health
from metier.domain.status import health
from metier.domain.tier import Tier, TierKind

AT_REST = (Lifecycle.IDLE, Lifecycle.NEW)
"""States in which a virtual node does nothing that its host would have to wait for."""


class Hold(NamedTuple):
    """What keeps automation from releasing a member now, and by which rule."""

    why: str
    rule: str


class Standing(NamedTuple):
    """Where a member stands in the line of those to be released; the smallest leaves first.

    Attributes:
        is_within: Its slot is not beyond the tier's maximum.
        is_updated: Its slot does not wait for a roll-out to give it another version.
        price: The negated cost: kind, then points.
        newest: The negated number of its slot.
    """

    is_within: bool
    is_running: bool
    is_healthy: bool
    is_updated: bool
    price: tuple[bool, int]
    newest: int


def is_beyond(tier: Tier, node: Node) -> bool:
    """Say whether a member fills a slot beyond the maximum."""
    return node.placement.slot is not None and node.placement.slot > tier.maximum


def has_too_many(fleet: Fleet, tier: Tier) -> bool:
    """Say whether `tier` has more members than it may keep, or one in a slot beyond its maximum."""
    numbers = fleet.members(tier.name)
    return len(numbers) > tier.most or bool(numbers and max(numbers) > tier.maximum)


def line_to_leave(fleet: Fleet, tier: Tier) -> list[Node]:
    """Return the members that could be released now, in the order in which they would be (R-RELEASE-1)."""
    ready = [node for node in fleet.member_nodes(tier.name) if hold_on(fleet, tier, node) is None]
    return sorted(ready, key=lambda node: standing(fleet, tier, node))


def leavers(fleet: Fleet, tier: Tier) -> list[Node]:
    """Return the members to release now: those that are too many, and whoever is beyond the maximum."""
    count = len(fleet.members(tier.name))
    chosen = []
    for node in line_to_leave(fleet, tier):
        if count > tier.most or is_beyond(tier, node):
            chosen.append(node)
            count -= 1
    return chosen


def standing(fleet: Fleet, tier: Tier, node: Node) -> Standing:
    """Return where a member stands in line.

    Those leave first that are beyond the maximum, do not run, are unhealthy, are not updated
    yet by a roll-out, are dearest, are newest.
    """
    assert node.placement.slot is not None
    price = (False, 0)
    if node.hardware is not None:
        is_physical, points = cost(needs_of(fleet, tier), Shape(node.kind, node.hardware))
        price = (not is_physical, -points)
    return Standing(
        not is_beyond(tier, node),
        node.lifecycle is Lifecycle.RUNNING,
        health(fleet, node) is Health.NORMAL,
        tier.rollout is None or node.placement.slot in tier.rollout.moved,
        price,
        -node.placement.slot,
    )


def hold_on(fleet: Fleet, tier: Tier, node: Node) -> Hold | None:
    """Return what keeps automation from releasing a member of `tier` now, if anything does."""
    if not node.engaged:
        return Hold(f"{node.name} is disengaged", "R-ENGAGE-1")
    if node.pending is not None:
        return Hold(f"{node.name} is busy: {node.pending.action} is in flight", "R-RELEASE-1")
    if node.request is not None:
        return Hold(f"{node.name} is busy: an operator ordered {node.request}", "R-RELEASE-1")
    return _hold_by_guests(fleet, node) if tier.kind is TierKind.HOST else None


def _hold_by_guests(fleet: Fleet, host: Node) -> Hold | None:
    guests = active_guests(fleet, host.name)
    if guests:
        names = ", ".join(f"{guest.vm_slot} ({guest.tier} slot {guest.placement.slot})" for guest in guests)
        return Hold(f"{host.name} still hosts active guests {names}", "R-SHRINK-2")
    for guest in fleet.virtual_nodes(host.name):
        if not guest.engaged:
            return Hold(f"{host.name} hosts {guest.vm_slot}, which is disengaged", "R-SHRINK-3")
        if guest.placement.place is Place.RESERVED:
            return Hold(f"{host.name} hosts {guest.vm_slot}, which is reserved", "R-SHRINK-3")
        if guest.lifecycle not in AT_REST:
            return Hold(f"{host.name} hosts {guest.vm_slot}, which is {guest.lifecycle}", "R-SHRINK-2")
    return None
