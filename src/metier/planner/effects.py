"""What each action changes in the Fleet: when it is begun, and when its outcome is known.

The loop, the planner's look-ahead and the simulator all go through these two
functions, so that what is foreseen is what happens.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from metier.domain import actions as act
from metier.domain.errors import Bug
from metier.domain.evidence import fence_for, is_lost, is_proved_down
from metier.domain.fleet import Draft
from metier.domain.hardware import Hardware
from metier.domain.host_details import HostDetails
from metier.domain.ids import ImageRef, SlotId, TierId, virtual_node_id
from metier.domain.lifecycle import Event, Lifecycle, after
from metier.domain.node import (
    DISCOVERED,
    ENGAGED,
    FREE,
    NO_IMAGE,
    NO_SLOT,
    Baseline,
    Instance,
    Node,
    NodeKind,
    Pending,
    Place,
    Placement,
    Request,
    Retry,
)
from metier.domain.personality import Applied
from metier.domain.personalizing import carried_by
from metier.domain.rollout import ended
from metier.domain.tier import TierState, Trouble
from metier.planner import timings

DEADLINES_S = {
    act.InventoryNode: 60,
    act.PowerOn: 120,
    act.PowerOff: 120,
    act.StageVms: 300,
    act.RemoveVms: 300,
    act.PrepareGuest: 6 * 3600,
    act.StartGuest: 120,
    act.ShutdownGuest: 30,
    act.StopGuest: 60,
    act.RetireGuest: 300,
    act.DiagnoseNode: 120,
}
"""How long each kind of work may take, in seconds; preparing may copy a large image to a host."""

UNSURE_START_S = 30
"""After a start whose outcome is unknown, a node seen off within this time may still come up."""

TRUSTED_FAILURES = 2
"""A node that failed more often than this stays in maintenance even if it passes its tests: they miss it."""

_BACKOFF_S = (5, 15, 30, 60, 120, 300)
"""Pauses before the second, third… try: quick for a hiccup, at most five minutes for a dead device."""

LONGEST_PAUSE = timedelta(seconds=_BACKOFF_S[-1])


@dataclass(frozen=True, slots=True)
class Done:
    """The work was done.

    Attributes:
        remarks: What the driver wants an operator to know.
        hardware: What an inventory found.
        digest: Of what a prepared guest is told.
        details: What a host told about itself; None from work that does not ask it.
    """

    remarks: tuple[str, ...] = ()
    hardware: Hardware | None = None
    digest: str = ""
    details: HostDetails | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The work was not done, or it is not known whether it was.

    Attributes:
        reason: In the driver's words.
        final: The same call would fail again (the driver's `Refused`).
        unsure: It may have been done all the same (`OutcomeUnknown`).
    """

    reason: str
    final: bool = False
    unsure: bool = False


Outcome = Done | Failed


def begin(draft: Draft, action: act.Action, now: datetime, action_id: int = 0, epoch: int = 0) -> None:
    """Record that `action` was decided; a `Decision` is thereby complete.

    Raises:
        Bug: The action does not fit the node's state.
    """
    was = draft.nodes.get(action.node)
    if isinstance(action, act.Work):
        _begin_work(draft, action, now, action_id, epoch)
    elif isinstance(action, act.DiscoverNode):
        draft.put_node(_discovered(draft, action, now))
    elif isinstance(action, act.LiftFence):
        _lift_fence(draft, action)
    elif isinstance(action, act.TierDecision):
        _decide_on_tier(draft, action, now)
    else:
        _decide(draft, action, draft.nodes[action.node], now)
    timings.begun(draft, action, was, now)


def settle(draft: Draft, action: act.Work, outcome: Outcome, now: datetime) -> None:
    """Record how work ended; nothing happens if the node is gone or no longer waits for it."""
    node = draft.nodes.get(action.node)
    if node is None or node.pending is None:
        return
    was, node = node, replace(node, pending=None)
    match outcome:
        case Done():
            timings.done(draft, action, was, now)
            _done(draft, action, replace(node, retry=None), outcome, now)
        case Failed():
            timings.broken_off(draft, was)
            _failed(draft, action, node, outcome, now)
        case _:
            assert_never(outcome)


def prolong_start(draft: Draft, action: act.Work, now: datetime) -> None:
    """Take note that a start which was given up is still at work: only what is seen later proves it down."""
    until = now + timedelta(seconds=UNSURE_START_S)
    node = draft.nodes.get(action.node)
    if node is not None and node.started_at is not None and node.started_at < until:
        draft.put_node(replace(node, started_at=until))
    for slot_id in list(draft.fenced_by.get(action.node, ())):
        slot = draft.slots[slot_id]
        fences = (
            replace(fence, since=max(fence.since, until)) if fence.node == action.node else fence
            for fence in slot.fences
        )
        draft.put_slot(replace(slot, fences=tuple(fences)))


def recover(draft: Draft, node: Node, now: datetime) -> None:
    """Drop what an earlier run of the controller had in flight: it is repeated if still wanted."""
    assert node.pending is not None
    was = node.pending.action
    timings.broken_off(draft, node)
    node = replace(node, pending=None)
    if was == act.StartGuest.__name__ and node.lifecycle is Lifecycle.BOOTING:
        started_at = now + timedelta(seconds=UNSURE_START_S)
        node = replace(moved(node, Event.UNSURE, now), started_at=started_at)
    elif was == act.InventoryNode.__name__ and node.lifecycle is Lifecycle.INVENTORYING:
        node = moved(node, Event.FAULT, now)
    elif was in _ASKING:
        node = replace(node, asked_at=None)
    draft.put_node(node)


_ASKING = frozenset(kind.__name__ for kind in (act.ShutdownGuest, act.StopGuest, act.PowerOff))
"""Work after which the planner waits a while for its effect; not if it may never have been done."""


def moved(node: Node, event: Event, now: datetime, **fields: Any) -> Node:
    """Return `node` after `event`, with `fields` replaced; raises Bug if its lifecycle has no such arrow."""
    return replace(node, lifecycle=after(node.lifecycle, event), since=now, **fields)


# --- decisions ---------------------------------------------------------------


def _decide(draft: Draft, action: act.Action, node: Node, now: datetime) -> None:
    match action:
        case act.DeleteNode():
            vacate(draft, node, now)
            draft.remove_node(node.name)
        case act.AllocateNode():
            _allocate(draft, action, node)
        case act.ReleaseNode():
            _release(draft, action, node, now)
        case act.FailNode():
            _fail(draft, action, node, now)
        case _:
            draft.put_node(_redone(draft, action, node, now))


def _decide_on_tier(draft: Draft, action: act.TierDecision, now: datetime) -> None:
    if isinstance(action, act.Brake):
        trouble = draft.troubles.get(action.tier, Trouble(action.tier))
        draft.put_trouble(replace(trouble, braked_since=now))
        return
    tier = draft.tiers[action.tier]
    if tier.rollout is None:
        raise Bug(f"{type(action).__name__} on tier {tier.name}, which has no roll-out")
    match action:
        case act.MoveSlot():
            moved_slots = (*tier.rollout.moved, action.number)
            draft.put_tier(replace(tier, rollout=replace(tier.rollout, moved=moved_slots)))
        case act.PauseRollout():
            draft.put_tier(replace(tier, rollout=replace(tier.rollout, paused=action.reason, paused_by="")))
        case act.EndRollout():
            draft.put_tier(ended(tier, tier.image))
        case _:
            raise Bug(f"no effect is written for {type(action).__name__}")


def _redone(draft: Draft, action: act.Action, node: Node, now: datetime) -> Node:
    """Return what a decision makes of a node that it leaves in its place."""
    match action:
        case act.RecordInventory():
            return replace(moved(node, Event.INVENTORIED, now), hardware=_seen_hardware(draft, node))
        case act.FreeNode():
            return replace(node, placement=FREE, to_diagnose=False)
        case act.AdvanceNode():
            return _advanced(node, action.event, now)
        case act.StopNode():
            rebooted_at = now if action.for_reboot else node.rebooted_at
            return replace(_stopping(node, action.grace_s, now), rebooted_at=rebooted_at)
        case act.EngageNode():
            return replace(node, engagement=ENGAGED)
        case act.FinishRequest():
            again = Request.POWER_ON if node.request is Request.POWER_CYCLE else None
            return replace(node, request=again if node.lifecycle is Lifecycle.IDLE else None)
        case _:
            raise Bug(f"no effect is written for {type(action).__name__}")


def _discovered(draft: Draft, action: act.DiscoverNode, now: datetime) -> Node:
    host = draft.nodes[action.host]
    seen = draft.seen(action.host).vm(action.vm_number)
    return Node(
        name=virtual_node_id(action.host, action.vm_number),
        kind=NodeKind.VIRTUAL,
        placement=DISCOVERED,
        host=action.host,
        vm_number=action.vm_number,
        power_ip=host.power_ip,
        attributes=host.attributes,
        instance=None if seen is None or seen.instance is None else _left_behind(draft, host, seen.instance),
        since=now,
    )


def _left_behind(draft: Draft, host: Node, name: str) -> Instance:
    """Return the instance that a VM has on it though its node is new: its host went, and came back.

    One that no slot has any more is of no image and no slot: it is taken off, and its data stays.
    """
    tier, _, number = name.rpartition("-")[0].rpartition("-")
    slot = draft.slots.get(SlotId(TierId(tier), int(number))) if number.isdigit() else None
    if slot is not None and slot.instance is not None and slot.instance.id == name:
        return slot.instance
    return Instance(name, NO_IMAGE, host.name, NO_SLOT)


def _seen_hardware(draft: Draft, node: Node) -> Hardware | None:
    assert node.host is not None
    assert node.vm_number is not None
    vm = draft.seen(node.host).vm(node.vm_number)
    if vm is None or vm.hardware is None:
        return None
    return replace(vm.hardware, attributes=vm.hardware.attributes | node.attributes)


def _allocate(draft: Draft, action: act.AllocateNode, node: Node) -> None:
    placement = Placement(Place.TIER, action.slot.tier, action.slot.number)
    generation = draft.generation
    draft.put_node(replace(node, placement=placement, promised=None, retry=None, generation=generation))
    draft.put_slot(replace(draft.slot(action.slot), node=node.name))


def vacate(draft: Draft, node: Node, now: datetime) -> None:
    """Empty the slot that `node` fills, if any, fencing it unless the node is proved down."""
    if node.placement.tier is None or node.placement.slot is None:
        return
    slot = draft.slot(SlotId(node.placement.tier, node.placement.slot))
    fences = slot.fences
    if not is_proved_down(draft, node):
        fences = (*fences, replace(fence_for(node, now), is_lost=is_lost(draft, node)))
    draft.put_slot(replace(slot, node=None, fences=fences))


def _release(draft: Draft, action: act.ReleaseNode, node: Node, now: datetime) -> None:
    vacate(draft, node, now)
    node = replace(
        node,
        placement=Placement(action.to),
        promised=action.promised,
        harvested_at=now if action.promised is not None else node.harvested_at,
        to_diagnose=action.to is Place.MAINTENANCE,
    )
    needs_stop = node.lifecycle is not Lifecycle.IDLE or node.instance is not None or node.staged
    draft.put_node(_stopping(node, action.grace_s, now) if needs_stop else node)


def _stopping(node: Node, grace_s: int, now: datetime) -> Node:
    if node.lifecycle is Lifecycle.STOPPING:
        return node
    return replace(
        moved(node, Event.STOP, now), stop_by=now + timedelta(seconds=grace_s), asked_at=None, retry=None
    )


def _advanced(node: Node, event: Event, now: datetime) -> Node:
    node = moved(node, event, now)
    if node.lifecycle is Lifecycle.RUNNING:
        return replace(node, problem="", retry=None)
    if node.lifecycle is Lifecycle.IDLE:
        return replace(node, stop_by=None, asked_at=None, staged=False, retry=None)
    return node


def _fail(draft: Draft, action: act.FailNode, node: Node, now: datetime) -> None:
    draft.put_node(
        replace(
            moved(node, action.event, now),
            problem=action.problem,
            failed_at=now,
            failures=node.failures + 1,
            retry=None,
        )
    )
    if action.own_fault and node.tier is not None:
        trouble = draft.troubles.get(node.tier, Trouble(node.tier))
        horizon = now - timedelta(seconds=draft.pool.storm_window_s)
        recent = tuple(at for at in trouble.failures if at > horizon)
        draft.put_trouble(replace(trouble, failures=(*recent, now)))


def _lift_fence(draft: Draft, action: act.LiftFence) -> None:
    slot = draft.slot(action.slot)
    draft.put_slot(replace(slot, fences=tuple(fence for fence in slot.fences if fence.node != action.node)))


# --- work --------------------------------------------------------------------


def _begin_work(draft: Draft, action: act.Work, now: datetime, action_id: int, epoch: int) -> None:
    node = draft.nodes[action.node]
    if node.pending is not None:
        raise Bug(f"{type(action).__name__} on {node.name} while {node.pending.action} is in flight")
    deadline = now + timedelta(seconds=DEADLINES_S[type(action)])
    pending = Pending(type(action).__name__, action_id, now, deadline, epoch)
    match action:
        case act.InventoryNode():
            node = moved(node, Event.INVENTORY, now)
        case act.PowerOn():
            node = moved(node, Event.BOOT, now) if _is_to_serve(draft, node) else node
            node = replace(node, started_at=now)
        case act.PrepareGuest():
            if node.lifecycle is Lifecycle.PREPARING:
                node = replace(node, instance=action.instance)
            else:
                node = moved(node, Event.PREPARE, now, instance=action.instance)
        case act.StartGuest():
            node = _started(moved(node, Event.BOOT, now), now)
        case act.ShutdownGuest() | act.StopGuest() | act.PowerOff():
            node = replace(node, asked_at=now)
        case _:
            pass
    draft.put_node(replace(node, pending=pending, generation=draft.generation))


def _is_to_serve(draft: Draft, node: Node) -> bool:
    """Say whether an idle node goes on to boot its tier's image; else it is merely on."""
    tier = draft.tiers.get(node.tier) if node.tier is not None else None
    return tier is not None and tier.state is TierState.ACTIVE and node.lifecycle is Lifecycle.IDLE


def _done(draft: Draft, action: act.Work, node: Node, outcome: Done, now: datetime) -> None:
    match action:
        case act.InventoryNode():
            assert outcome.hardware is not None
            hardware = replace(outcome.hardware, attributes=outcome.hardware.attributes | node.attributes)
            node = replace(moved(node, Event.INVENTORIED, now), hardware=hardware, problem="")
            _note_details(draft, node, outcome)
        case act.StageVms():
            _note_details(draft, node, outcome, outcome.remarks)
            node = _first_staged(draft, replace(node, staged=True, staged_at=now), action.image)
        case act.RemoveVms():
            node = replace(node, staged=False)
        case act.PrepareGuest():
            applied = Applied(carried_by(action), outcome.digest)
            draft.put_slot(replace(draft.slot(action.slot), instance=action.instance, applied=applied))
            node = moved(node, Event.PREPARED, now)
        case act.StartGuest() | act.PowerOn():
            node = _started(node, now)
        case act.RetireGuest():
            if action.discard is not None:
                _forget_instance(draft, action.discard)
            node = replace(_advanced(node, Event.STOPPED, now), instance=None)
        case act.DiagnoseNode():
            node = _diagnosed(node)
        case _:
            pass
    draft.put_node(node)


def _note_details(draft: Draft, host: Node, outcome: Done, remarks: tuple[str, ...] | None = None) -> None:
    """Record what a host told about itself, and if it was staged what could not be done of that."""
    was = draft.seen(host.name)
    details = was.details if outcome.details is None else outcome.details
    now = replace(was, details=details, staging_remarks=was.staging_remarks if remarks is None else remarks)
    if now != was:
        draft.put_observed(host.name, now)


def _first_staged(draft: Draft, host: Node, image: ImageRef | None) -> Node:
    """Return `host` with its patch level as the baseline of `image`, unless that has one there already."""
    seen = draft.seen(host.name)
    level = seen.details.patch_level or seen.patch_level
    if image is None or not level or host.baseline(image) is not None:
        return host
    kept = tuple(one for one in host.baselines if one.image in draft.images)
    return replace(host, baselines=(*kept, Baseline(image, level)))


def _diagnosed(node: Node) -> Node:
    if node.failures <= TRUSTED_FAILURES:
        return replace(node, placement=FREE, to_diagnose=False, problem="")
    problem = f"it passed its tests, but failed {node.failures} times; last: {node.problem}"
    return replace(node, to_diagnose=False, problem=problem)


def _forget_instance(draft: Draft, instance: Instance) -> None:
    slot = draft.slot(instance.slot)
    if slot.instance == instance:
        draft.put_slot(replace(slot, instance=None))


def _failed(draft: Draft, action: act.Work, node: Node, outcome: Failed, now: datetime) -> None:
    attempts = node.retry.attempts + 1 if node.retry else 1
    pause_s = _BACKOFF_S[min(attempts, len(_BACKOFF_S)) - 1]
    node = replace(node, retry=Retry(attempts, now + timedelta(seconds=pause_s), outcome.reason))
    match action:
        case act.PrepareGuest() if outcome.final:
            node = _given_up(node, outcome.reason, now)
        case act.StartGuest():
            node = _started(moved(node, Event.UNSURE, now), _unsure_start(outcome, now))
            node = _given_up(node, outcome.reason, now) if outcome.final else node
        case act.InventoryNode():
            node = replace(moved(node, Event.FAULT, now), problem=outcome.reason)
        case act.DiagnoseNode():
            node = replace(node, to_diagnose=False, problem=outcome.reason, retry=None)
        case act.ShutdownGuest() | act.StopGuest() | act.PowerOff():
            node = replace(node, asked_at=None)
        case _:
            pass
    draft.put_node(node)


def _started(node: Node, at: datetime) -> Node:
    """Return `node` as started at `at`, unless an unsure start before it may come true even later."""
    return replace(node, started_at=at if node.started_at is None else max(at, node.started_at))


def _unsure_start(outcome: Failed, now: datetime) -> datetime:
    return now + timedelta(seconds=UNSURE_START_S) if outcome.unsure else now


def _given_up(node: Node, reason: str, now: datetime) -> Node:
    return replace(
        moved(node, Event.FAULT, now), problem=reason, failed_at=now, failures=node.failures + 1, retry=None
    )
