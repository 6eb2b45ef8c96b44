"""Looks ahead: everything that would follow if every action succeeded at once."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from metier.domain import actions as act
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId
from metier.domain.node import Node
from metier.domain.observation import Health, Observed, Power, VmFacts
from metier.domain.plan import Plan
from metier.planner.effects import Done, settle
from metier.planner.incremental import Planner

ROUNDS = 60
"""More rounds than any orderly change needs: a host tier's activation takes about ten."""

_STEP = timedelta(seconds=1)


def foresee(fleet: Fleet, now: datetime) -> Plan:
    """Return all actions from here to rest, and what is then still waited for.

    Every action is taken to succeed within a second, every guest to answer.  What
    the real world adds (time, failures) is not foreseen.
    """
    actions: list[act.Action] = []
    planner = Planner()
    planned = planner.plan(fleet, now, None)
    for _ in range(ROUNDS):
        work = planned.work
        if not work.actions:
            break
        actions += work.actions
        now += _STEP
        _carry_out(work.fleet, [action for action in work.actions if isinstance(action, act.Work)], now)
        _look_around(work.fleet, work.actions, now + _STEP / 2)
        planned = planner.plan(work.fleet.freeze(), now, work.fleet.changes)
    return replace(planned.plan, actions=tuple(actions))


def _carry_out(draft: Draft, begun: list[act.Work], now: datetime) -> None:
    for action in begun:
        node = draft.nodes[action.node]
        hardware = _inventory(node) if isinstance(action, act.InventoryNode) else None
        settle(draft, action, Done(hardware=hardware), now)
        _SEEN_AFTER.get(type(action), _unchanged)(draft, action, now + _STEP / 2)


def _look_around(draft: Draft, actions: Sequence[act.Action], at: datetime) -> None:
    """Look at everything that was acted on: hosts that are not off answer, guests serve."""
    touched = [draft.nodes[name] for name in dict.fromkeys(a.node for a in actions) if name in draft.nodes]
    for node in touched:
        if node.is_virtual and node.tier is not None:
            seen = draft.seen(node.name)
            healthy = replace(seen, health=Health.NORMAL, health_at=at + _STEP, failed_checks=0)
            draft.put_observed(node.name, healthy)
    for host in dict.fromkeys(node.host or node.name for node in touched):
        if host in draft.nodes and draft.nodes[host].vmm is not None:
            _see_answer(draft, host, at)


def _see_answer(draft: Draft, host: NodeId, at: datetime) -> None:
    seen = draft.seen(host)
    if seen.power is not Power.OFF:
        seen = replace(seen, power=Power.ON, power_at=at, vmm_reachable=True, vmm_at=at, vmm_failures=0)
        draft.put_observed(host, replace(seen, vms=seen.vms or (), vms_at=at))


def _inventory(node: Node) -> Hardware:
    return node.hardware or Hardware(memory_mib=0)


def _unchanged(_draft: Draft, _action: act.Work, _at: datetime) -> None:
    return None


def _guest_power(power: Power) -> Callable[[Draft, act.Work, datetime], None]:
    def show(draft: Draft, action: act.Work, at: datetime) -> None:
        node = draft.nodes[action.node]
        assert node.host is not None
        seen = draft.seen(node.host)
        vms = tuple(replace(vm, power=power) if vm.number == node.vm_number else vm for vm in seen.vms or ())
        draft.put_observed(node.host, replace(seen, vms=vms, vms_at=at))

    return show


def _host_on(draft: Draft, action: act.Work, at: datetime) -> None:
    seen = draft.seen(action.node)
    answers = draft.nodes[action.node].vmm is not None
    draft.put_observed(
        action.node,
        replace(
            seen, power=Power.ON, power_at=at, vmm_reachable=answers, vmm_at=at + 2 * _STEP, vmm_failures=0
        ),
    )


def _host_off(draft: Draft, action: act.Work, at: datetime) -> None:
    draft.put_observed(action.node, Observed(power=Power.OFF, power_at=at))


def _staged(draft: Draft, action: act.Work, at: datetime) -> None:
    assert isinstance(action, act.StageVms)
    seen = draft.seen(action.node)
    known = {vm.number for vm in seen.vms or ()}
    new = tuple(
        VmFacts(
            offer.number,
            Power.OFF,
            Hardware(offer.memory_mib, offer.cpus, offer.disk_gib, nics=len(offer.networks)),
        )
        for offer in action.offers
        if offer.number not in known
    )
    draft.put_observed(action.node, replace(seen, vms=(*(seen.vms or ()), *new), vms_at=at + _STEP))


def _removed(draft: Draft, action: act.Work, at: datetime) -> None:
    draft.put_observed(action.node, replace(draft.seen(action.node), vms=(), vms_at=at))


_SEEN_AFTER: dict[type[act.Action], Callable[[Draft, act.Work, datetime], None]] = {
    act.StartGuest: _guest_power(Power.ON),
    act.ShutdownGuest: _guest_power(Power.OFF),
    act.StopGuest: _guest_power(Power.OFF),
    act.PowerOn: _host_on,
    act.PowerOff: _host_off,
    act.StageVms: _staged,
    act.RemoveVms: _removed,
}
