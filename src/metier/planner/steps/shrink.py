"""Releases members of tiers that have more than their target (R-RELEASE-1, R-SHRINK)."""

from typing import NamedTuple

from metier.domain.actions import ReleaseNode
from metier.domain.fleet import Shape
from metier.domain.guests import active_guests
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import cost, needs_of
from metier.domain.node import Node, Place
from metier.domain.observation import Health
from metier.domain.status import health
from metier.domain.tier import Tier, TierKind, TierState
from metier.planner.steps.orders import AT_REST
from metier.planner.work import Work, about_tier


class _Hold(NamedTuple):
    """What keeps automation from releasing a member now, and by which rule."""

    why: str
    rule: str


def shrink_tiers(work: Work) -> None:
    """Release as many members as each tier has too many, or say what that waits for."""
    for tier in work.tiers():
        numbers = work.fleet.members(tier.name)
        has_too_many = len(numbers) > tier.target or (numbers and max(numbers) > tier.maximum)
        if has_too_many and tier.state is not TierState.INACTIVE:
            _shrink(work, tier)


def _shrink(work: Work, tier: Tier) -> None:
    """Release what is above the target, and whoever fills a slot beyond the maximum."""
    members = work.fleet.member_nodes(tier.name)
    held = {node.name: _held_by(work, tier, node) for node in members}
    ready = [node for node in members if held[node.name] is None]
    ready.sort(key=lambda node: _order(work, tier, node))
    for node in ready:
        if len(work.fleet.members(tier.name)) > tier.target or _is_beyond(tier, node):
            _release(work, tier, node)
    left = work.fleet.member_nodes(tier.name)
    is_above = len(left) > tier.target
    for node in left:
        hold = held[node.name]
        if hold is not None and (is_above or _is_beyond(tier, node)):
            work.wait(about_tier(tier), hold.why, hold.rule)


def _is_beyond(tier: Tier, node: Node) -> bool:
    return node.placement.slot is not None and node.placement.slot > tier.maximum


def _held_by(work: Work, tier: Tier, node: Node) -> _Hold | None:
    if not node.engaged:
        return _Hold(f"{node.name} is disengaged", "R-ENGAGE-1")
    if node.pending is not None:
        return _Hold(f"{node.name} is busy: {node.pending.action} is in flight", "R-RELEASE-1")
    if node.request is not None:
        return _Hold(f"{node.name} is busy: an operator ordered {node.request}", "R-RELEASE-1")
    return _held_by_guests(work, node) if tier.kind is TierKind.HOST else None


def _held_by_guests(work: Work, host: Node) -> _Hold | None:
    guests = active_guests(work.fleet, host.name)
    if guests:
        names = ", ".join(f"{guest.vm_slot} ({guest.tier} slot {guest.placement.slot})" for guest in guests)
        return _Hold(f"{host.name} still hosts active guests {names}", "R-SHRINK-2")
    for guest in work.fleet.virtual_nodes(host.name):
        if not guest.engaged:
            return _Hold(f"{host.name} hosts {guest.vm_slot}, which is disengaged", "R-SHRINK-3")
        if guest.placement.place is Place.RESERVED:
            return _Hold(f"{host.name} hosts {guest.vm_slot}, which is reserved", "R-SHRINK-3")
        if guest.lifecycle not in AT_REST:
            return _Hold(f"{host.name} hosts {guest.vm_slot}, which is {guest.lifecycle}", "R-SHRINK-2")
    return None


def _order(work: Work, tier: Tier, node: Node) -> tuple[bool, bool, bool, tuple[bool, int], int]:
    """Sort victims: beyond the maximum, not running, unhealthy, dearest, newest."""
    assert node.placement.slot is not None
    price = (False, 0)
    if node.hardware is not None:
        is_dear, surplus = cost(needs_of(work.fleet, tier), Shape(node.kind, node.hardware))
        price = (not is_dear, -surplus)
    return (
        not _is_beyond(tier, node),
        node.lifecycle is Lifecycle.RUNNING,
        health(work.fleet, node) is Health.NORMAL,
        price,
        -node.placement.slot,
    )


def _release(work: Work, tier: Tier, node: Node) -> None:
    count = len(work.fleet.members(tier.name))
    why = f"{tier.name} has {count} of a target of {tier.target}"
    if tier.kind is TierKind.HOST:
        why += f" and no virtual node of {node.name} is active"
    rule = "R-SHRINK-1" if tier.kind is TierKind.HOST else "R-RELEASE-1"
    work.act(
        ReleaseNode(node=node.name, grace_s=tier.shutdown_s, why=why, rule=rule, expects=node.generation)
    )
