"""Brings physical nodes nearer to what their place asks for: on and serving, or empty and off."""

from datetime import timedelta

from metier.domain.actions import (
    AdvanceNode,
    DiagnoseNode,
    InventoryNode,
    PowerOff,
    PowerOn,
    RemoveVms,
    StageVms,
    StopNode,
)
from metier.domain.evidence import power_seen
from metier.domain.ids import virtual_node_id
from metier.domain.lifecycle import Event, Lifecycle
from metier.domain.node import Node, Place, Request
from metier.domain.observation import Power
from metier.domain.release import AT_REST
from metier.domain.tier import TierKind
from metier.planner.steps.advance import is_off, may_be_switched_off
from metier.planner.steps.orders import (
    STOP_REQUESTS,
    act_on,
    in_active_tier,
    is_rebooting,
    is_wanted,
)
from metier.planner.work import Work, about_node

SWITCH_AGAIN_S = 30
"""A power controller takes some seconds to act and to show it: it is told again after this."""


def _new_host(work: Work, node: Node) -> None:
    if _obeys_at_rest(work, node):
        return
    if not work.fleet.pool.automatic_inventory:
        work.wait(about_node(node), f"{node.name} is not inventoried: automatic_inventory is off", "R-HOST-1")
    elif node.vmm is None:
        work.wait(about_node(node), f"{node.name} has no VM manager to ask what it has", "R-HOST-1")
    elif node.power is not None and power_seen(work.fleet, node)[0] is Power.OFF:
        _switch_on(work, node, "it is off, and is to be asked what it has")
    else:
        act_on(work, InventoryNode, node, "it is new", "R-HOST-1")


def _idle_host(work: Work, node: Node) -> None:
    if _obeys_at_rest(work, node):
        return
    if is_wanted(work, node):
        if node.power is not None and power_seen(work.fleet, node)[0] is not Power.ON:
            why = f"an operator ordered {node.request}" if node.request else f"tier {node.tier} is active"
            _switch_on(work, node, why)
        elif in_active_tier(work, node):
            act_on(work, AdvanceNode, node, "it is on", "R-ALLOC-1", event=Event.BOOT)
    elif node.placement.place is Place.MAINTENANCE and node.to_diagnose:
        act_on(work, DiagnoseNode, node, f"it failed: {node.problem}", "R-FAIL-3")


def _obeys_at_rest(work: Work, node: Node) -> bool:
    """Switch off a node at rest that an operator wants off, and say whether that is its business now."""
    if node.request not in STOP_REQUESTS:
        return False
    if node.power is not None and power_seen(work.fleet, node)[0] is Power.ON:
        _switch_off(work, node, f"an operator ordered {node.request}")
    return True


def _switch_on(work: Work, node: Node, why: str) -> None:
    """Switch a node on, and again if it was not seen on for a while after that."""
    again = None if node.started_at is None else node.started_at + timedelta(seconds=SWITCH_AGAIN_S)
    if again is not None and work.now < again and not is_off(work, node, node.started_at):
        work.look_again(about_node(node), again)
        return
    act_on(work, PowerOn, node, why, "R-ALLOC-1")


def _booting_host(work: Work, node: Node) -> None:
    if not is_wanted(work, node):
        act_on(work, StopNode, node, "it is no longer wanted", "R-RELEASE-2")
    elif node.power is not None and node.retry is not None:
        act_on(work, PowerOn, node, "it could not be switched on", "R-ALLOC-1")
    elif node.power is not None and is_off(work, node, node.started_at):
        act_on(work, PowerOn, node, "it is still seen off", "R-ALLOC-1")


def _running_host(work: Work, node: Node) -> None:
    tier = work.fleet.tiers.get(node.tier) if node.tier else None
    if tier is None or tier.kind is not TierKind.HOST or not in_active_tier(work, node):
        return
    image = work.fleet.images.get(tier.image)
    if image is None or not node.engaged or node.request is not None:
        return
    if not node.staged:
        why = "its VM manager runs"
        act_on(work, StageVms, node, why, "R-HOST-1", offers=image.offers, image=image.ref)
        return
    seen = work.fleet.seen(node.name)
    staged_at = node.staged_at or node.since
    is_fresh = seen.vms_at is not None and staged_at is not None and seen.vms_at > staged_at
    missing = [offer.number for offer in image.offers if seen.vm(offer.number) is None]
    # A VM that is gone may run elsewhere: another one of its number would pass for it, and prove it off.
    is_fenced = any(virtual_node_id(node.name, number) in work.fleet.fenced_by for number in missing)
    if is_fresh and missing and not is_fenced:
        why = "it no longer offers all VMs of its image"
        act_on(work, StageVms, node, why, "R-DRIFT-1", offers=image.offers, image=image.ref)


def _stopping_host(work: Work, node: Node) -> None:
    if is_off(work, node, node.started_at):
        return
    in_order = node.request is Request.SHUTDOWN or (node.request is None and not is_rebooting(node))
    if in_order and _waits_for_guests(work, node):
        return
    if in_order and node.request is None and work.fleet.vms_of.get(node.name):
        work.wait_with_tier(node, f"{node.name} waits until its virtual nodes are deleted", "R-RELEASE-2")
        return
    answers = bool(work.fleet.seen(node.name).vmm_reachable)
    may_cut = may_be_switched_off(work, node)
    is_refused = may_cut and node.retry is not None
    if in_order and node.request is None and node.staged and answers and not is_refused:
        act_on(work, RemoveVms, node, "it leaves its tier", "R-RELEASE-2")
    elif may_cut:
        _switch_off(work, node, node.problem or "it is no longer wanted")
    elif node.staged:
        cannot = "its VM manager does not answer" if not answers else "VMs that are not Metier's run there"
        why = f"{node.name} cannot be brought down: {cannot}, and its power is not to be cut"
        work.wait_with_tier(node, why, "R-DRIFT-2" if answers else "R-FENCE-1")


def _waits_for_guests(work: Work, host: Node) -> bool:
    """Say whether guests still shut down on a stopping host; an ordered shutdown waits only so long."""
    left = [guest.name for guest in work.fleet.virtual_nodes(host.name) if guest.lifecycle not in AT_REST]
    is_late = host.stop_by is None or work.now >= host.stop_by
    can_cut = host.request is not None or not work.fleet.seen(host.name).vmm_reachable
    if not left or (is_late and can_cut and may_be_switched_off(work, host)):
        return False
    work.wait_with_tier(host, f"{host.name} waits for {', '.join(left)} to shut down", "R-FORCE-1")
    if not is_late and host.stop_by is not None:
        work.look_again(about_node(host), host.stop_by)
    return True


def _switch_off(work: Work, node: Node, why: str) -> None:
    again = None if node.asked_at is None else node.asked_at + timedelta(seconds=SWITCH_AGAIN_S)
    if again is None or work.now >= again:
        act_on(work, PowerOff, node, why, "R-RELEASE-2")
    else:
        work.look_again(about_node(node), again)


HOST_STEPS = {
    Lifecycle.NEW: _new_host,
    Lifecycle.IDLE: _idle_host,
    Lifecycle.BOOTING: _booting_host,
    Lifecycle.RUNNING: _running_host,
    Lifecycle.STOPPING: _stopping_host,
}
