"""Starts the next piece of work on each node: whatever brings it nearer to what its place asks for."""

from metier.domain.actions import FinishRequest
from metier.domain.evidence import power_seen
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, Place, Request
from metier.domain.observation import Power
from metier.domain.release import AT_REST
from metier.planner.steps.drive_guests import GUEST_STEPS
from metier.planner.steps.drive_hosts import HOST_STEPS
from metier.planner.steps.orders import in_active_tier
from metier.planner.work import Work, about_node

_WITHHELD = (Place.QUARANTINED, Place.RESERVED)


def drive_nodes(work: Work) -> None:
    """Begin at most one piece of work on every node in scope that has none in flight."""
    for node in work.nodes():
        if node.retry is not None and node.retry.attempts > 1:
            work.find("action-refused", about_node(node), f"{node.name}: {node.retry.reason}")
        if node.pending is None:
            _drive(work, node)


def _drive(work: Work, node: Node) -> None:
    if node.request is not None:
        _finish_request(work, node)
        node = work.fleet.nodes[node.name]
    if not _may_touch(node):
        return
    if node.retry is not None and work.now < node.retry.not_before:
        _say_it_rests(work, node)
        return
    step = (GUEST_STEPS if node.is_virtual else HOST_STEPS).get(node.lifecycle)
    if step is not None:
        step(work, node)


def _may_touch(node: Node) -> bool:
    if node.request is not None or node.lifecycle is Lifecycle.STOPPING:
        return True
    return node.engaged and node.placement.place not in _WITHHELD


def _say_it_rests(work: Work, node: Node) -> None:
    assert node.retry is not None
    work.look_again(about_node(node), node.retry.not_before)
    why = f"{node.name} is tried again after a pause: {node.retry.reason}"
    work.wait_with_tier(node, why, "R-FAIL-1")


def _finish_request(work: Work, node: Node) -> None:
    why = ""
    if _is_reached(work, node):
        why = f"what was ordered, {node.request}, is done"
    elif _has_nothing_to_run(work, node):
        why = f"{node.request} has become void: no active tier gives it anything to run"
    if why:
        work.act(FinishRequest(node=node.name, why=why, rule="operator", expects=node.generation))


def _is_reached(work: Work, node: Node) -> bool:
    is_on = power_seen(work.fleet, node)[0] is Power.ON
    if node.request is not Request.POWER_ON:
        return node.lifecycle in AT_REST and not node.staged and not is_on
    has_run = node.lifecycle in (Lifecycle.RUNNING, Lifecycle.FAILED)
    return has_run or (is_on and not in_active_tier(work, node))


def _has_nothing_to_run(work: Work, node: Node) -> bool:
    return node.is_virtual and node.request is Request.POWER_ON and not in_active_tier(work, node)
