"""Moves lifecycles on by what was observed, and calls a failure a failure (R-FAIL-1)."""

from datetime import datetime, timedelta

from metier.domain.actions import AdvanceNode, FailNode
from metier.domain.effective import is_judged, startup_s, version_of
from metier.domain.evidence import power_seen
from metier.domain.guests import active_guests
from metier.domain.lifecycle import Event, Lifecycle
from metier.domain.node import Node
from metier.domain.observation import POWER_CONTRADICTED, Health, Power
from metier.domain.status import health
from metier.domain.tier import Tier
from metier.planner.steps.orders import has_spent_instance
from metier.planner.work import Work, about_node

BOOT_S = 120
"""Seconds from a VM's start order to being seen on: the host has then lost it."""

HOST_BOOT_S = 600
"""Seconds from a host's power-on to its VM manager's first answer: firmware and disks are slow."""


def advance(work: Work) -> None:
    """Advance or fail every node in scope whose observation says so."""
    for node in work.nodes():
        if node.pending is None and node.lifecycle in _STEPS:
            _STEPS[node.lifecycle](work, node)


def is_off(work: Work, node: Node, since: datetime | None) -> bool:
    """Say whether `node` was seen off after `since`; None asks for any such observation."""
    power, at = power_seen(work.fleet, node)
    return power is Power.OFF and at is not None and (since is None or at > since)


def _booting(work: Work, node: Node) -> None:
    power, at = power_seen(work.fleet, node)
    is_on = power is Power.ON and _is_after(at, node.since)
    limit_s = BOOT_S if node.is_virtual else HOST_BOOT_S
    if node.is_virtual and is_off(work, node, node.started_at or node.since):
        _fail(work, node, Event.FAULT, "it went off while it was being started")
    elif is_on if node.is_virtual else _vmm_answers(work, node):
        _advance(work, node, Event.BOOTED, "it is seen on", _own_rule(node))
    elif _is_late(work, node, limit_s):
        _fail(work, node, Event.TIMED_OUT, f"it was not seen on within {limit_s} s of its start")


def _starting(work: Work, node: Node) -> None:
    limit_s = _startup_s(work, node)
    if is_off(work, node, node.started_at):
        _fail(work, node, Event.FAULT, "it went off within its startup time")
    elif _answers(work, node):
        _advance(work, node, Event.ANSWERED, "its services answer", _own_rule(node))
    elif _is_late(work, node, limit_s):
        _fail(
            work,
            node,
            Event.TIMED_OUT,
            f"its services did not answer within the startup time of {limit_s} s{_last_words(work, node)}",
        )


def _running(work: Work, node: Node) -> None:
    if is_off(work, node, node.started_at):
        _fail(work, node, Event.FAULT, "it is off without having been told to")
    elif node.is_virtual:
        _check_services(work, node)
    else:
        _check_vmm(work, node)


def _check_services(work: Work, node: Node) -> None:
    seen = work.fleet.seen(node.name)
    limit = _tier_of(work, node).failure_threshold if is_judged(work.fleet, node) else 0
    if limit and seen.failed_checks >= limit and _is_after(seen.health_at, node.since):
        last = _last_words(work, node)
        _fail(work, node, Event.FAULT, f"its collectors failed {limit} times in a row{last}")


def _check_vmm(work: Work, node: Node) -> None:
    seen = work.fleet.seen(node.name)
    if seen.power_error == POWER_CONTRADICTED:
        work.find("power-contradicted", about_node(node), f"{node.name}: {seen.power_error}")
    limit = _tier_of(work, node).failure_threshold if node.tier else 3
    if seen.vmm_failures < limit:
        return
    message = f"its VM manager did not answer {seen.vmm_failures} times in a row: {seen.vmm_error}"
    healthy = healthy_guests(work, node)
    if not healthy:
        _fail(work, node, Event.FAULT, message)
        return
    work.find("vmm-unreachable", about_node(node), message)
    work.wait(
        about_node(node), f"{node.name} is left as it is while {', '.join(healthy)} still answer", "R-FAIL-1"
    )


def healthy_guests(work: Work, host: Node) -> list[str]:
    """Return the active guests of a host that are known to do their work: their collectors say so."""
    return [guest.name for guest in active_guests(work.fleet, host.name) if _is_healthy(work, guest)]


def _is_healthy(work: Work, guest: Node) -> bool:
    return is_judged(work.fleet, guest) and health(work.fleet, guest) is Health.NORMAL


def _stopping(work: Work, node: Node) -> None:
    if node.is_virtual:
        if is_off(work, node, node.started_at or node.since) and not has_spent_instance(work, node):
            _advance(work, node, Event.STOPPED, "it is seen off", "R-RELEASE-2")
    elif _host_is_down(work, node):
        _advance(work, node, Event.STOPPED, "it no longer serves", "R-RELEASE-2")


def _host_is_down(work: Work, node: Node) -> bool:
    if is_off(work, node, node.started_at):
        return True
    is_empty = not work.fleet.vms_of.get(node.name) and not node.staged
    return is_empty and not may_be_switched_off(work, node)


def may_be_switched_off(work: Work, node: Node) -> bool:
    """Say whether Metier can and may cut a host's power: it never does under VMs that are not its own."""
    if node.power is None:
        return False
    return node.request is not None or work.fleet.seen(node.name).foreign_running == 0


def _failed(work: Work, node: Node) -> None:
    recovered = _answers(work, node) if node.is_virtual else _vmm_answers(work, node)
    if recovered:
        _advance(work, node, Event.ANSWERED, "it answers again", "R-FAIL-1")


def _answers(work: Work, node: Node) -> bool:
    """Say whether a node is seen on and its collectors, if it has any, answered since its last change."""
    power, at = power_seen(work.fleet, node)
    if not node.is_virtual:
        return _vmm_answers(work, node)
    if power is not Power.ON or not _is_after(at, node.since):
        return False
    if node.tier is None:
        return False
    seen = work.fleet.seen(node.name)
    if not is_judged(work.fleet, node):
        return True
    return seen.health is Health.NORMAL and _is_after(seen.health_at, node.since)


def _vmm_answers(work: Work, node: Node) -> bool:
    seen = work.fleet.seen(node.name)
    return bool(seen.vmm_reachable) and _is_after(seen.vmm_at, node.since)


def _is_after(moment: datetime | None, since: datetime | None) -> bool:
    return moment is not None and (since is None or moment > since)


def _is_late(work: Work, node: Node, limit_s: int) -> bool:
    assert node.since is not None
    deadline = node.since + timedelta(seconds=limit_s)
    if work.now >= deadline:
        return True
    work.look_again(about_node(node), deadline)
    return False


def _startup_s(work: Work, node: Node) -> int:
    if node.tier is None:
        return BOOT_S
    tier = _tier_of(work, node)
    return startup_s(work.fleet, tier, version_of(tier, node))


def _tier_of(work: Work, node: Node) -> Tier:
    assert node.tier is not None
    return work.fleet.tiers[node.tier]


def _last_words(work: Work, node: Node) -> str:
    failed = [check for check in work.fleet.seen(node.name).checks if not check.ok]
    return "".join(f"; {check.collector}: {check.message}" for check in failed)


def _own_rule(node: Node) -> str:
    return "R-ALLOC-1" if node.is_virtual else "R-HOST-1"


def _advance(work: Work, node: Node, event: Event, why: str, rule: str) -> None:
    work.act(AdvanceNode(node=node.name, event=event, why=why, rule=rule, expects=node.generation))


def _fail(work: Work, node: Node, event: Event, problem: str) -> None:
    if not node.engaged:
        work.find("node-failed", about_node(node), f"{problem}; it is disengaged and left alone")
        return
    host = work.fleet.host_of(node)
    own_fault = host is None or (
        host.lifecycle is Lifecycle.RUNNING and not work.fleet.seen(host.name).vmm_failures
    )
    work.act(
        FailNode(
            node=node.name,
            event=event,
            problem=problem,
            own_fault=own_fault,
            why=problem,
            rule="R-FAIL-1",
            expects=node.generation,
        )
    )


_STEPS = {
    Lifecycle.BOOTING: _booting,
    Lifecycle.STARTING: _starting,
    Lifecycle.RUNNING: _running,
    Lifecycle.STOPPING: _stopping,
    Lifecycle.FAILED: _failed,
}
