"""Brings down what an operator no longer wants: tiers that are not active, hosts that stop (R-HOSTDOWN-1)."""

from metier.domain.actions import ReleaseNode, StopNode
from metier.domain.lifecycle import Event, Lifecycle, can
from metier.domain.node import Node, Request
from metier.domain.tier import Tier, TierKind, TierState
from metier.planner.steps.advance import is_off
from metier.planner.steps.orders import STOP_REQUESTS, is_rebooting, was_brought_down
from metier.planner.work import Work

HOST_GRACE_S = 180
"""Seconds a host's guests get to shut down before the host's own power is cut."""

_WHY = {TierState.ALLOCATED: "was deactivated", TierState.INACTIVE: "was deallocated"}


def deactivate_tiers(work: Work) -> None:
    """Stop the members of tiers that are not active, and release them from tiers that are inactive.

    These are an operator's orders: they hold for disengaged members too.
    """
    for tier, node in list(work.members()):
        if tier.state is TierState.ACTIVE or node.pending is not None:
            continue
        if node.lifecycle is not Lifecycle.STOPPING and can(node.lifecycle, Event.STOP) and _runs(node):
            _stop(work, tier, node)
        elif tier.state is TierState.INACTIVE and node.lifecycle in (Lifecycle.IDLE, Lifecycle.NEW):
            why = f"tier {tier.name} was deallocated"
            work.act(ReleaseNode(node=node.name, why=why, rule="operator", expects=node.generation))


def obey_stop_requests(work: Work) -> None:
    """Begin to stop every node in scope that an operator ordered to stop (R-FORCE-1).

    One that was ordered on and is seen off, whatever it should be, is stopped too: it starts anew.
    """
    for node in work.nodes():
        if node.request is None or node.pending is not None or node.lifecycle is Lifecycle.STOPPING:
            continue
        ordered = node.request in STOP_REQUESTS and _runs(node)
        if ordered or (node.request is Request.POWER_ON and _is_down_unasked(work, node)):
            grace_s = _grace_s(work, node) if node.request is Request.SHUTDOWN else 0
            why = f"an operator ordered {node.request}"
            work.act(
                StopNode(node=node.name, grace_s=grace_s, why=why, rule="operator", expects=node.generation)
            )


def _is_down_unasked(work: Work, node: Node) -> bool:
    has_run = node.lifecycle in (Lifecycle.RUNNING, Lifecycle.FAILED)
    return has_run and is_off(work, node, node.started_at)


def empty_stopping_hosts(work: Work) -> None:
    """Take out of their tiers the virtual nodes of hosts that stop, so that they are replaced."""
    for host in work.nodes():
        if host.vmm is None or host.lifecycle is not Lifecycle.STOPPING:
            continue
        for guest in work.fleet.virtual_nodes(host.name):
            may_touch = guest.engaged or was_brought_down(work, host)
            if guest.tier is not None and guest.pending is None and may_touch:
                _take_out(work, host, guest)


def _take_out(work: Work, host: Node, guest: Node) -> None:
    assert guest.tier is not None
    is_reboot = is_rebooting(host)
    grace_s = 0 if is_reboot else work.fleet.tiers[guest.tier].shutdown_s
    why = f"its host {host.name} is being shut down"
    rule = "R-FORCE-1" if host.request is not None else "R-FAIL-2" if is_reboot else "R-HOSTDOWN-1"
    work.act(ReleaseNode(node=guest.name, grace_s=grace_s, why=why, rule=rule, expects=guest.generation))


def _stop(work: Work, tier: Tier, node: Node) -> None:
    grace_s = 0 if node.problem else _grace_s(work, node)
    why = f"tier {tier.name} {_WHY[tier.state]}"
    rule = "R-HOSTDOWN-1" if tier.kind is TierKind.HOST else "operator"
    work.act(StopNode(node=node.name, grace_s=grace_s, why=why, rule=rule, expects=node.generation))


def _grace_s(work: Work, node: Node) -> int:
    if not node.is_virtual:
        return HOST_GRACE_S
    return work.fleet.tiers[node.tier].shutdown_s if node.tier else 60


def _runs(node: Node) -> bool:
    return node.lifecycle not in (Lifecycle.NEW, Lifecycle.INVENTORYING, Lifecycle.IDLE) or node.staged
