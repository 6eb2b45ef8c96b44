"""What is done about failed members: reboot, replace, or leave alone (R-FAIL, R-STORM-1)."""

from datetime import datetime, timedelta

from metier.domain.actions import Brake, ReleaseNode, StopNode
from metier.domain.guests import active_guests
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import host_obstacle
from metier.domain.node import Node, Place
from metier.domain.observation import Health
from metier.domain.status import health
from metier.domain.tier import Tier, TierState, Trouble
from metier.planner.work import Subject, Work, about_node, about_tier

STORM_LEAST = 3
"""Fewer failures than this are no storm, whatever share of a small tier they are."""


def handle_failures(work: Work) -> None:
    """Do what each tier's switches allow about its failed members."""
    for tier, node in list(work.members()):
        if node.lifecycle is not Lifecycle.FAILED:
            continue
        work.find(
            "node-failed",
            about_node(node),
            f"{node.name}, slot {node.placement.slot} of {tier.name}: {node.problem}",
        )
        if node.engaged and node.pending is None and tier.state is TierState.ACTIVE:
            _handle(work, tier, node)


def report_storms(work: Work) -> None:
    """Say for every tier in scope whose automation is braked that it waits for an operator."""
    for tier in work.tiers():
        if is_braked(work, tier):
            message = "too many of its nodes failed at once; nothing is replaced until an operator resumes it"
            work.find("storm", about_tier(tier), message)
            work.wait(about_tier(tier), f"{message}: metier tier resume {tier.name}", "R-STORM-1")


def is_braked(work: Work, tier: Tier) -> bool:
    """Say whether automation has stopped replacing in `tier`."""
    return work.fleet.troubles.get(tier.name, Trouble(tier.name)).braked_since is not None


def _handle(work: Work, tier: Tier, node: Node) -> None:
    if is_braked(work, tier):
        return
    storm = _storm(work, tier)
    if storm:
        work.act(Brake(node=node.name, tier=tier.name, why=storm, rule="R-STORM-1", expects=node.generation))
    elif tier.reboot_on_failure and _may_reboot(work, node):
        why = f"{node.problem}; it is rebooted"
        work.act(StopNode(node=node.name, for_reboot=True, why=why, rule="R-FAIL-2", expects=node.generation))
    elif tier.move_to_maintenance and _may_leave(work, tier, node):
        why = f"{node.problem}; it is replaced"
        work.act(
            ReleaseNode(
                node=node.name, to=Place.MAINTENANCE, why=why, rule="R-FAIL-3", expects=node.generation
            )
        )
    elif not tier.move_to_maintenance:
        why = f"{node.name} failed and stays in slot {node.placement.slot}: {node.problem}"
        work.wait(about_tier(tier), why, "R-FAIL-4")


def _may_reboot(work: Work, node: Node) -> bool:
    window = timedelta(seconds=work.fleet.pool.reboot_window_s)
    if node.rebooted_at is not None and work.now < node.rebooted_at + window:
        return False
    if node.is_virtual:
        return host_obstacle(work.fleet, node) is None
    return node.power is not None and not _protected(work, node)


def _may_leave(work: Work, tier: Tier, node: Node) -> bool:
    keepers = [] if node.is_virtual else active_guests(work.fleet, node.name)
    disengaged = [guest for guest in work.fleet.virtual_nodes(node.name) if not guest.engaged]
    for guest in [*keepers, *disengaged]:
        why = f"{node.name} failed and may still run {guest.name}{_in_slot(guest)}"
        work.wait(about_tier(tier), why, "R-SHRINK-3")
    return not keepers and not disengaged


def _protected(work: Work, host: Node) -> bool:
    guests = active_guests(work.fleet, host.name)
    if any(health(work.fleet, guest) is Health.NORMAL for guest in guests):
        return True
    return any(not guest.engaged for guest in work.fleet.virtual_nodes(host.name))


def _in_slot(node: Node) -> str:
    return f" ({node.tier} slot {node.placement.slot})" if node.tier else " (disengaged)"


def _storm(work: Work, tier: Tier) -> str:
    """Return why this is a storm, or nothing."""
    horizon = work.now - timedelta(seconds=work.fleet.pool.storm_window_s)
    here = _recent(work.fleet.troubles.get(tier.name), horizon)
    share = 100 * here / max(1, len(work.fleet.members(tier.name)))
    if here >= STORM_LEAST and share > tier.max_unhealthy_percent:
        return f"{here} failures in {tier.name} within {work.fleet.pool.storm_window_s} s"
    everywhere = sum(_recent(trouble, horizon) for trouble in work.fleet.troubles.values())
    members = sum(len(members) for members in work.fleet.tier_members.values())
    limit = work.fleet.pool.site_max_unhealthy_percent
    if everywhere >= STORM_LEAST and 100 * everywhere / max(1, members) > limit:
        return f"{everywhere} failures on the whole site within {work.fleet.pool.storm_window_s} s"
    return ""


def _recent(trouble: Trouble | None, horizon: datetime) -> int:
    return sum(at > horizon for at in trouble.failures) if trouble is not None else 0


def report_maintenance(work: Work) -> None:
    """Keep the alert up for nodes in the maintenance pool that failed."""
    for node in work.loose():
        if node.problem and node.placement.place is Place.MAINTENANCE:
            code = "node-failed" if node.to_diagnose else "maintenance-failed"
            work.find(code, Subject(node=node.name), f"{node.name} is in maintenance: {node.problem}")
