"""What is done about failed members: reboot, replace, or leave alone (R-FAIL, R-STORM-1)."""

from datetime import datetime, timedelta

from metier.domain.actions import Action, Brake, PauseRollout, ReleaseNode, StopNode
from metier.domain.allocation import has_brake_on
from metier.domain.guests import active_guests
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import host_obstacle
from metier.domain.node import Node, Place
from metier.domain.rollout import is_evidence, is_next
from metier.domain.tier import Tier, TierState, Trouble
from metier.planner.steps.advance import healthy_guests, is_off, may_be_switched_off
from metier.planner.work import Work, about_node, about_tier

STORM_LEAST = 3
"""Fewer failures than this are no storm, whatever share of a small tier they are."""


def handle_failures(work: Work) -> None:
    """Do what each tier's switches allow about its failed members."""
    for tier, node in list(work.members()):
        if node.lifecycle is not Lifecycle.FAILED:
            continue
        message = f"{node.name}, slot {node.placement.slot} of {tier.name}: {node.problem}"
        work.find("node-failed", about_node(node), message)
        may_act = node.engaged and node.pending is None and tier.state is TierState.ACTIVE
        if may_act and is_evidence(work.fleet, tier, node):
            _leave_as_evidence(work, tier, node)
        elif may_act and not has_brake_on(work.fleet, tier) and not is_next(work.fleet, tier, node):
            _handle(work, tier, node)


def _leave_as_evidence(work: Work, tier: Tier, node: Node) -> None:
    """Stop the roll-out at the first slot that fails on its new version; another node would fail as well."""
    rollout, number = tier.rollout, node.placement.slot
    assert rollout is not None
    reason = f"slot {number} ({node.name}) failed on {tier.image}: {node.problem}"
    if not rollout.paused:
        why = f"it failed on {tier.image}, so that no other slot is moved to that: {node.problem}"
        work.act(
            PauseRollout(
                node=node.name,
                tier=tier.name,
                reason=reason,
                why=why,
                rule="R-UPDATE-2",
                expects=node.generation,
            )
        )
    why = f"{node.name} failed on {tier.image} and is left as it is: look at it, then `metier tier resume"
    work.wait(about_node(node), f"{why} {tier.name}` or `metier tier rollback {tier.name}`", "R-UPDATE-2")


def report_storms(work: Work) -> None:
    """Say for every tier in scope whose automation is braked that it waits for an operator."""
    for tier in work.tiers():
        if has_brake_on(work.fleet, tier):
            message = "too many nodes failed at once; nothing is replaced until an operator resumes it"
            work.find("storm", about_tier(tier), message)
            work.wait(about_tier(tier), f"{message}: metier tier resume {tier.name}", "R-STORM-1")


def report_maintenance(work: Work) -> None:
    """Keep the alert up for nodes in the maintenance pool that failed."""
    for node in work.loose():
        if node.problem and node.placement.place is Place.MAINTENANCE:
            code = "node-failed" if node.to_diagnose else "maintenance-failed"
            work.find(code, about_node(node), f"{node.name} is in maintenance: {node.problem}")


def _handle(work: Work, tier: Tier, node: Node) -> None:
    """Reboot or replace a failed member, unless so many fail that the fault is probably elsewhere."""
    reaction = _reaction(work, tier, node)
    if reaction is None:
        return
    storm = _storm(work, tier)
    if storm:
        reaction = Brake(node=node.name, tier=tier.name, why=storm, rule="R-STORM-1", expects=node.generation)
    work.act(reaction)


def _reaction(work: Work, tier: Tier, node: Node) -> Action | None:
    """Return what the tier's switches allow now; what is not allowed yet is said."""
    if tier.reboot_on_failure and _may_reboot(work, node):
        why = f"{node.problem}; it is rebooted"
        return StopNode(node=node.name, for_reboot=True, why=why, rule="R-FAIL-2", expects=node.generation)
    if not tier.move_to_maintenance:
        why = f"{node.name} failed and stays in slot {node.placement.slot}: {node.problem}"
        work.wait_with_tier(node, why, "R-FAIL-4")
        if tier.reboot_on_failure:
            _look_again_after_window(work, node)
        return None
    if not _may_leave(work, node):
        return None
    why = f"{node.problem}; it is replaced"
    return ReleaseNode(
        node=node.name, to=Place.MAINTENANCE, why=why, rule="R-FAIL-3", expects=node.generation
    )


def _may_reboot(work: Work, node: Node) -> bool:
    if node.rebooted_at is not None and work.now < node.rebooted_at + _reboot_window(work):
        return False
    if node.is_virtual:
        return host_obstacle(work.fleet, node) is None
    return may_be_switched_off(work, node) and not _is_needed(work, node)


def _reboot_window(work: Work) -> timedelta:
    return timedelta(seconds=work.fleet.pool.reboot_window_s)


def _look_again_after_window(work: Work, node: Node) -> None:
    if node.rebooted_at is not None and work.now < node.rebooted_at + _reboot_window(work):
        work.look_again(about_node(node), node.rebooted_at + _reboot_window(work))


def _is_needed(work: Work, host: Node) -> bool:
    """Say whether something on a failed host would be lost by a reboot; on one that is off nothing is."""
    if is_off(work, host, host.started_at):
        return False
    return bool(healthy_guests(work, host)) or any(
        not guest.engaged for guest in work.fleet.virtual_nodes(host.name)
    )


def _may_leave(work: Work, node: Node) -> bool:
    """Say whether a failed member may be released; a host may not while it may run something (R-SHRINK-3)."""
    keepers = {guest.name: guest for guest in active_guests(work.fleet, node.name)}
    for guest in work.fleet.virtual_nodes(node.name):
        if not guest.engaged or guest.placement.place is Place.RESERVED:
            keepers[guest.name] = guest
    for guest in keepers.values():
        why = f"{node.name} failed and may still run {guest.name} ({_standing(guest)})"
        work.wait_with_tier(node, why, "R-SHRINK-3")
    if keepers:
        _look_again_after_window(work, node)
    return not keepers


def _standing(node: Node) -> str:
    if node.tier is not None:
        return f"{node.tier} slot {node.placement.slot}"
    return "disengaged" if not node.engaged else str(node.placement.place)


def _storm(work: Work, tier: Tier) -> str:
    """Return why this is a storm, or nothing."""
    window_s = work.fleet.pool.storm_window_s
    horizon = work.now - timedelta(seconds=window_s)
    here = _recent(work.fleet.troubles.get(tier.name), horizon)
    share = 100 * here / max(1, len(work.fleet.members(tier.name)))
    if here >= STORM_LEAST and share > tier.max_unhealthy_percent:
        return f"{here} failures in {tier.name} within {window_s} s"
    everywhere = sum(_recent(trouble, horizon) for trouble in work.fleet.troubles.values())
    members = sum(len(members) for members in work.fleet.tier_members.values())
    limit = work.fleet.pool.site_max_unhealthy_percent
    if everywhere >= STORM_LEAST and 100 * everywhere / max(1, members) > limit:
        return f"{everywhere} failures on the whole site within {window_s} s"
    return ""


def _recent(trouble: Trouble | None, horizon: datetime) -> int:
    return sum(at > horizon for at in trouble.failures) if trouble is not None else 0
