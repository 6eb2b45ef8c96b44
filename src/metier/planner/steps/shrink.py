"""Releases members of tiers that have more than their target (R-RELEASE-1, R-SHRINK)."""

from metier.domain.actions import ReleaseNode
from metier.domain.fleet import Shape
from metier.domain.guests import active_guests
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import cost, needs_of
from metier.domain.node import Node
from metier.domain.observation import Health
from metier.domain.status import health
from metier.domain.tier import Tier, TierKind, TierState
from metier.planner.work import Work, about_tier


def shrink_tiers(work: Work) -> None:
    """Release as many members as each tier has too many, or say what that waits for."""
    for tier in work.tiers():
        if tier.state is TierState.INACTIVE:
            continue
        members = work.fleet.member_nodes(tier.name)
        too_many = max(len(members) - tier.target, sum(_is_beyond(tier, node) for node in members))
        if too_many > 0:
            _shrink(work, tier, members, too_many)


def _shrink(work: Work, tier: Tier, members: list[Node], too_many: int) -> None:
    ready = [node for node in members if not _held_by(work, tier, node)]
    ready.sort(key=lambda node: _order(work, tier, node))
    for node in ready[:too_many]:
        _release(work, tier, node)
    if len(ready) < too_many:
        _say_what_is_waited_for(work, tier, members)


def _held_by(work: Work, tier: Tier, node: Node) -> str:
    """Return what keeps automation from releasing `node` now, or nothing."""
    if not node.engaged:
        return f"{node.name} is disengaged"
    if node.pending is not None or node.request is not None:
        return f"{node.name} is {node.lifecycle}"
    if tier.kind is not TierKind.HOST:
        return ""
    guests = active_guests(work.fleet, node.name)
    if guests:
        names = ", ".join(f"{guest.vm_slot} ({guest.tier} slot {guest.placement.slot})" for guest in guests)
        return f"{node.name} still hosts active guests {names}"
    for guest in work.fleet.virtual_nodes(node.name):
        if not guest.engaged:
            return f"{node.name} hosts {guest.vm_slot}, which is disengaged"
        if guest.lifecycle not in (Lifecycle.IDLE, Lifecycle.NEW):
            return f"{node.name} hosts {guest.vm_slot}, which is {guest.lifecycle}"
    return ""


def _say_what_is_waited_for(work: Work, tier: Tier, members: list[Node]) -> None:
    rule = "R-SHRINK-2" if tier.kind is TierKind.HOST else "R-ENGAGE-2"
    left = {node.name for node in work.fleet.member_nodes(tier.name)}
    for node in members:
        held_by = _held_by(work, tier, node) if node.name in left else ""
        if held_by:
            rule_here = "R-SHRINK-3" if "disengaged" in held_by else rule
            work.wait(about_tier(tier), held_by, rule_here)


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


def _is_beyond(tier: Tier, node: Node) -> bool:
    return node.placement.slot is not None and node.placement.slot > tier.maximum


def _release(work: Work, tier: Tier, node: Node) -> None:
    count = len(work.fleet.members(tier.name))
    why = f"{tier.name} has {count} of a target of {tier.target}"
    if tier.kind is TierKind.HOST:
        why += f" and no virtual node of {node.name} is active"
    rule = "R-SHRINK-1" if tier.kind is TierKind.HOST else "R-RELEASE-1"
    work.act(
        ReleaseNode(node=node.name, grace_s=tier.shutdown_s, why=why, rule=rule, expects=node.generation)
    )
