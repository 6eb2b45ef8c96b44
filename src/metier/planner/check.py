"""Judges plans it did not make: says, in sentences, what of a plan must never be.

It shares no code with the steps that plan, so that one mistake cannot hide another.
What it costs grows with the number of actions, never with the size of the fleet.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from metier.domain import actions as act
from metier.domain.actions import Action
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, SlotId, TierId
from metier.domain.lifecycle import MAY_RUN, Event, Lifecycle
from metier.domain.node import Node, Place
from metier.domain.observation import Health, Power
from metier.domain.tier import Fence, Tier, TierKind, TierState


@dataclass(slots=True)
class _Case:
    """One plan on trial, heard action by action.

    Attributes:
        earlier: What the plan did before the action in hand, by node.
        lifted: Fences the plan has lifted so far, by slot and earlier holder.
        given: Instances the plan has given out so far, with the node of each.
    """

    before: Fleet
    after: Fleet
    earlier: dict[NodeId, list[Action]] = field(default_factory=dict)
    lifted: set[tuple[SlotId, NodeId]] = field(default_factory=set)
    given: dict[str, NodeId] = field(default_factory=dict)

    def remember(self, action: Action) -> None:
        """Put the action in hand behind us."""
        self.earlier.setdefault(action.node, []).append(action)
        if isinstance(action, act.LiftFence):
            self.lifted.add((action.slot, action.node))
        if isinstance(action, act.PrepareGuest):
            self.given[action.instance.id] = action.node

    def did(self, node: NodeId, *kinds: type[Action]) -> bool:
        """Say whether the plan has done one of `kinds` to `node` so far."""
        return any(isinstance(action, kinds) for action in self.earlier.get(node, ()))

    def was(self, name: NodeId | None) -> Node | None:
        """Return a node as it was before the plan."""
        return None if name is None else self.before.nodes.get(name)

    def tier_is_active(self, node: Node) -> bool:
        """Say whether `node` was a member of an active tier."""
        tier = None if node.tier is None else self.before.tiers.get(node.tier)
        return tier is not None and tier.state is TierState.ACTIVE


def check(before: Fleet, actions: Sequence[Action], after: Fleet) -> tuple[str, ...]:
    """Return a sentence for everything in a plan that must never happen; empty for a sound plan.

    `before` is the fleet that was planned from, `after` the same with all `actions` begun; a
    Draft will do.
    """
    case = _Case(before, after)
    sentences: list[str] = []
    for action in actions:
        for rule in _ABOUT_ONE_ACTION:
            sentences += rule(case, action)
        case.remember(action)
    for about_result in _ABOUT_THE_RESULT:
        sentences += about_result(case)
    sentences += _rollout_faults(before, actions, after)
    return tuple(dict.fromkeys(sentences))


# --- each action -------------------------------------------------------------

_WITHOUT_EXPECTATION = (act.DiscoverNode, act.LiftFence)
"""The node of these may not exist yet, or not any more."""

_ONLY_RECORDS = (
    act.AdvanceNode,
    act.LiftFence,
    act.FinishRequest,
    act.RecordInventory,
    act.DiscoverNode,
    act.TierDecision,
)
"""What these do is note down what already is: that touches nobody."""

_UNDISTURBING = (act.EngageNode, act.LiftFence, act.FinishRequest, act.TierDecision)
"""Decisions that may be taken while a driver works on the node."""


def _decided_on_what_is(case: _Case, action: Action) -> Iterator[str]:
    if isinstance(action, _WITHOUT_EXPECTATION):
        return
    touched = case.earlier.get(action.node, ())
    moved_on = any(not isinstance(earlier, act.LiftFence | act.TierDecision) for earlier in touched)
    node = case.was(action.node)
    if node is None and not moved_on:
        yield f"{_name(action)} is meant for {action.node}, which does not exist"
        return
    generation = case.after.generation if moved_on or node is None else node.generation
    if action.expects != generation:
        yield (
            f"{_name(action)} on {action.node} was decided on generation {action.expects}, "
            f"but the node is at {generation}"
        )


def _leaves_the_disengaged_alone(case: _Case, action: Action) -> Iterator[str]:
    node = case.was(action.node)
    if node is None or node.engaged or isinstance(action, _ONLY_RECORDS):
        return
    if isinstance(action, act.EngageNode):
        if node.engagement.until is None:
            yield f"{action.node} is disengaged without an end, and automation would engage it"
        return
    if case.did(action.node, act.EngageNode) or _an_operator_wants_it(case, node):
        return
    yield f"{_name(action)} is meant for {action.node}, which is disengaged"


def _an_operator_wants_it(case: _Case, node: Node) -> bool:
    if node.request is not None or node.lifecycle is Lifecycle.STOPPING:
        return True
    if node.tier is not None and not case.tier_is_active(node):
        return True
    host = case.was(node.host)
    if host is None:
        return node.is_virtual
    is_down = _is_off(case.before, host.name)
    return host.request is not None or not case.tier_is_active(host) or (is_down and not host.engaged)


def _works_on_a_node_once(case: _Case, action: Action) -> Iterator[str]:
    node = case.was(action.node)
    is_work = isinstance(action, act.Work)
    if is_work and case.did(action.node, act.Work):
        yield f"{_name(action)} on {action.node} is a second piece of work in one plan"
    if node is None or node.pending is None:
        return
    if is_work or not isinstance(action, _UNDISTURBING):
        yield f"{_name(action)} on {action.node} is decided while {node.pending.action} is in flight"


def _keeps_out_of_withheld_nodes(case: _Case, action: Action) -> Iterator[str]:
    node = case.was(action.node)
    if node is None or node.request is not None or isinstance(action, _ONLY_RECORDS):
        return
    if isinstance(action, act.EngageNode | act.DeleteNode):
        return
    if node.placement.place in (Place.QUARANTINED, Place.RESERVED):
        yield f"{_name(action)} is meant for {action.node}, which is {node.placement.place}"


_ENDS_A_HOST = (act.ReleaseNode, act.StopNode, act.PowerOff, act.RemoveVms)


def _keeps_hosts_of_guests(case: _Case, action: Action) -> Iterator[str]:
    host = case.was(action.node)
    if host is None or host.is_virtual or not isinstance(action, _ENDS_A_HOST):
        return
    ordered = host.request is not None or (host.tier is not None and not case.tier_is_active(host))
    was_begun = host.lifecycle is Lifecycle.STOPPING or case.did(host.name, act.StopNode, act.ReleaseNode)
    if ordered or was_begun:
        return
    has_failed = host.lifecycle is Lifecycle.FAILED or case.did(host.name, act.FailNode)
    is_reboot = has_failed and isinstance(action, act.StopNode) and action.for_reboot
    if is_reboot and _is_off(case.before, host.name):
        return
    for guest in case.before.virtual_nodes(host.name):
        if not guest.engaged and not case.did(guest.name, act.DeleteNode, act.EngageNode):
            yield f"{_name(action)} on host {host.name} would end {guest.name}, which is disengaged"
        elif is_reboot and guest.tier is not None and not _is_healthy(case, guest):
            continue
        elif _works_for_a_tier(case, guest):
            yield f"{_name(action)} on host {host.name} would end {guest.name}, active in tier {guest.tier}"


def _works_for_a_tier(case: _Case, guest: Node) -> bool:
    if guest.tier is None or case.did(guest.name, act.ReleaseNode, act.DeleteNode):
        return False
    is_at_rest = guest.lifecycle is Lifecycle.IDLE or case.did(guest.name, act.AdvanceNode)
    return case.tier_is_active(guest) or not is_at_rest


def _is_healthy(case: _Case, guest: Node) -> bool:
    tier = case.before.tiers.get(guest.tier) if guest.tier is not None else None
    image = case.before.images.get(tier.image) if tier is not None else None
    of_image = image.collectors if image is not None else ()
    if tier is None or not (of_image if tier.collectors is None else tier.collectors):
        return False
    seen = case.before.seen(guest.name)
    return guest.lifecycle is Lifecycle.RUNNING and seen.health is Health.NORMAL and seen.failed_checks == 0


def _deletes_only_what_is_gone(case: _Case, action: Action) -> Iterator[str]:
    node = case.was(action.node)
    if not isinstance(action, act.DeleteNode) or node is None:
        return
    if node.host is None or node.vm_number is None:
        yield f"{action.node} is a physical node, and automation would delete it"
    elif _works_for_a_tier(case, node):
        seen = case.before.seen(node.host)
        is_gone = seen.vms is not None and seen.vm(node.vm_number) is None
        if not is_gone and not _is_off(case.before, node.host):
            yield f"{action.node} would be deleted while its VM may run for tier {node.tier}"


def _spares_vms_of_others(case: _Case, action: Action) -> Iterator[str]:
    node = case.was(action.node)
    if not isinstance(action, act.PowerOff) or node is None or node.request is not None:
        return
    others = case.before.seen(node.name).foreign_running
    if others and not _is_off(case.before, node.name):
        yield f"{node.name} would be switched off while it runs {others} VMs that are not Metier's"


_NEEDS_A_HOST = (act.AllocateNode, act.PrepareGuest, act.StartGuest)


def _starts_on_running_hosts(case: _Case, action: Action) -> Iterator[str]:
    node = case.after.nodes.get(action.node)
    if node is None or not node.is_virtual or not isinstance(action, _NEEDS_A_HOST):
        return
    host = None if node.host is None else case.after.nodes.get(node.host)
    if host is None or host.lifecycle is not Lifecycle.RUNNING:
        state = "gone" if host is None else host.lifecycle
        yield f"{_name(action)} is meant for {action.node}, but its host {node.host} is {state}"


def _needs_the_vm_off(case: _Case, action: Action) -> Iterator[str]:
    node = case.was(action.node)
    if node is None or node.host is None or node.vm_number is None:
        return
    if isinstance(action, act.PrepareGuest | act.RetireGuest):
        vm = case.before.seen(node.host).vm(node.vm_number)
        if vm is not None and vm.power is Power.ON and not _is_off(case.before, node.host):
            yield f"{_name(action)} is meant for {action.node}, whose VM is on"


# --- one identity, one holder --------------------------------------------------


def _lifts_fences_on_evidence(case: _Case, action: Action) -> Iterator[str]:
    if not isinstance(action, act.LiftFence):
        return
    for fence in case.after.slot(action.slot).fences:
        if fence.node == action.node:
            yield f"the fence of {action.node} on slot {action.slot} was lifted and still stands"
    for fence in case.before.slot(action.slot).fences:
        is_itself = fence.host is None and case.after.slot(action.slot).node == fence.node
        if fence.node == action.node and not is_itself and not _is_down(case.before, fence):
            yield f"the fence of {action.node} on slot {action.slot} is lifted without evidence"


def _is_down(fleet: Fleet, fence: Fence) -> bool:
    """Say whether `fence` is answered by an operator's word, or by a sighting after it was raised."""
    if fence.attested:
        return True
    lost = (fence.host, fence.vm_number)
    strays = (stray for seen in fleet.observed.values() for stray in seen.strays)
    if any((stray.host, stray.number) == lost and stray.power is not Power.OFF for stray in strays):
        return False
    if fence.is_lost:
        return True
    for name in (fence.host, fence.node):
        seen = None if name is None else fleet.seen(name)
        if seen is None or seen.power is not Power.OFF or seen.power_at is None:
            continue
        if seen.power_at > fence.since:
            return True
    if fence.host is None or fence.vm_number is None:
        return False
    seen = fleet.seen(fence.host)
    if seen.vms is None or seen.vms_at is None or seen.vms_at <= fence.since:
        return False
    vm = seen.vm(fence.vm_number)
    return vm is None or vm.power is Power.OFF


def _starts_only_unfenced_slots(case: _Case, action: Action) -> Iterator[str]:
    if not isinstance(action, act.StartGuest):
        return
    slot_id = _slot_of(case.after.nodes.get(action.node))
    if slot_id is None:
        yield f"{action.node} would be started without a slot to run"
        return
    for fence in case.before.slot(slot_id).fences:
        if (slot_id, fence.node) not in case.lifted:
            yield f"{action.node} would be started as {slot_id} while {fence.node} may still run as it"
    holder = case.after.slot(slot_id).node
    if holder != action.node:
        yield f"{action.node} would be started as {slot_id}, whose node is {holder}"


def _fences_what_may_run(case: _Case, action: Action) -> Iterator[str]:
    node = case.was(action.node)
    slot_id = _slot_of(node)
    if node is None or slot_id is None or not isinstance(action, act.ReleaseNode | act.DeleteNode):
        return
    if node.lifecycle not in MAY_RUN or case.did(node.name, act.AdvanceNode):
        return
    is_fenced = any(fence.node == node.name for fence in case.after.slot(slot_id).fences)
    if not is_fenced and not _is_down(case.before, _own_fence(node)):
        yield f"{node.name} would leave slot {slot_id} unfenced while it may still run as it"


def _stops_on_evidence(case: _Case, action: Action) -> Iterator[str]:
    node = case.was(action.node)
    if not isinstance(action, act.AdvanceNode) or action.event is not Event.STOPPED or node is None:
        return
    if node.is_virtual and not _is_down(case.before, _own_fence(node)):
        yield f"{node.name} counts as stopped, though nobody saw it off"


def _own_fence(node: Node) -> Fence:
    since = node.started_at or node.since
    return Fence(node.name, node.host, node.vm_number, since or _LONG_AGO)


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _gives_an_instance_one_node(case: _Case, action: Action) -> Iterator[str]:
    if not isinstance(action, act.PrepareGuest):
        return
    instance, node = action.instance, case.after.nodes.get(action.node)
    if action.slot != instance.slot:
        yield f"instance {instance.id} of slot {instance.slot} is meant for slot {action.slot}"
    if _slot_of(node) != action.slot:
        yield f"{action.node} is prepared for slot {action.slot}, which it does not fill"
    if node is not None and instance.store != node.host:
        yield f"instance {instance.id} lies on {instance.store}, out of reach of {action.node}"
    if instance.id in case.given:
        yield f"instance {instance.id} is given to both {case.given[instance.id]} and {action.node}"


def _keeps_to_the_brake(case: _Case, action: Action) -> Iterator[str]:
    node = case.was(action.node)
    if (
        node is None
        or node.tier is None
        or node.lifecycle is not Lifecycle.FAILED
        or node.request is not None
    ):
        return
    trouble = case.after.troubles.get(node.tier)
    if trouble is None or trouble.braked_since is None or not case.tier_is_active(node):
        return
    replaces = isinstance(action, act.ReleaseNode) and action.to is Place.MAINTENANCE
    if replaces or (isinstance(action, act.StopNode) and action.for_reboot):
        yield f"{_name(action)} on {action.node} although the brake of tier {node.tier} is on"


_ABOUT_ONE_ACTION: tuple[Callable[[_Case, Action], Iterator[str]], ...] = (
    _decided_on_what_is,
    _leaves_the_disengaged_alone,
    _works_on_a_node_once,
    _keeps_out_of_withheld_nodes,
    _keeps_hosts_of_guests,
    _deletes_only_what_is_gone,
    _spares_vms_of_others,
    _starts_on_running_hosts,
    _needs_the_vm_off,
    _lifts_fences_on_evidence,
    _starts_only_unfenced_slots,
    _fences_what_may_run,
    _stops_on_evidence,
    _gives_an_instance_one_node,
    _keeps_to_the_brake,
)


# --- the result ----------------------------------------------------------------


def _places_and_slots_agree(case: _Case) -> Iterator[str]:
    for name in case.earlier:
        slot_id = _slot_of(case.after.nodes.get(name))
        if slot_id is not None:
            before = case.before.members(slot_id.tier).get(slot_id.number)
            if before is not None and before != name and _slot_of(case.after.nodes.get(before)) == slot_id:
                yield f"{name} is put in slot {slot_id}, which is still {before}'s"
            holder, listed = case.after.slot(slot_id).node, case.after.members(slot_id.tier)
            if holder != name or listed.get(slot_id.number) != name:
                yield f"{name} is placed in slot {slot_id}, which is {holder}'s"
        left = _slot_of(case.was(name))
        if left is not None and left != slot_id and case.after.slot(left).node == name:
            yield f"{name} left slot {left}, which still names it"


def _tiers_keep_to_their_maximum(case: _Case) -> Iterator[str]:
    for tier_id in _tiers_given_nodes(case):
        tier, members = case.after.tiers.get(tier_id), case.after.members(tier_id)
        if tier is None:
            yield f"nodes are allocated to tier {tier_id}, which does not exist"
        elif len(members) > max(tier.maximum, len(case.before.members(tier_id))):
            yield f"tier {tier_id} would have {len(members)} nodes, above its maximum of {tier.maximum}"


def _tiers_given_nodes(case: _Case) -> dict[TierId, None]:
    given = (action for done in case.earlier.values() for action in done)
    return {action.slot.tier: None for action in given if isinstance(action, act.AllocateNode)}


def _hosts_keep_their_new_guests(case: _Case) -> Iterator[str]:
    """No guest is given work on a host that this plan brings down."""
    for name, done in case.earlier.items():
        if any(isinstance(action, act.ReleaseNode | act.StopNode) for action in done):
            for guest in case.after.virtual_nodes(name) if name in case.after.nodes else ():
                if case.did(guest.name, *_NEEDS_A_HOST):
                    yield f"{guest.name} is given work on host {name}, which is brought down"


_ABOUT_THE_RESULT: tuple[Callable[[_Case], Iterator[str]], ...] = (
    _places_and_slots_agree,
    _tiers_keep_to_their_maximum,
    _hosts_keep_their_new_guests,
)


# --- roll-outs -----------------------------------------------------------------

_OF_ROLL_OUTS = (act.MoveSlot, act.PauseRollout, act.EndRollout)


def _rollout_faults(before: Fleet, actions: Sequence[Action], after: Fleet) -> Iterator[str]:
    """Yield a sentence for everything in a plan that no roll-out may do; arguments as of `check`."""
    for action in actions:
        if isinstance(action, _OF_ROLL_OUTS):
            yield from _is_due(before.tiers.get(action.tier), action)
        if isinstance(action, act.MoveSlot | act.StopNode | act.ReleaseNode):
            yield from _spares_the_disengaged(after, action)
        if isinstance(action, act.MoveSlot):
            yield from _goes_on(before, before.tiers.get(action.tier), action)
    for name in dict.fromkeys(one.tier for one in actions if isinstance(one, act.MoveSlot)):
        yield from _keeps_its_pace(after, name)


def _is_due(tier: Tier | None, action: act.TierDecision) -> Iterator[str]:
    what = type(action).__name__
    if tier is None or tier.rollout is None:
        yield f"{what} is meant for tier {action.tier}, which has no roll-out"
    elif tier.kind is not TierKind.GUEST:
        yield f"{what} is meant for tier {tier.name}, a {tier.kind} tier"
    elif tier.state is not TierState.ACTIVE:
        yield f"{what} is meant for tier {tier.name}, which is {tier.state}"


def _goes_on(before: Fleet, tier: Tier | None, action: act.MoveSlot) -> Iterator[str]:
    if tier is None or tier.rollout is None:
        return
    if tier.rollout.paused:
        yield f"slot {action.number} of tier {tier.name} is moved while the roll-out is paused"
    if not 1 <= action.number <= tier.maximum:
        # A member beyond a maximum that was lowered is on its way out.
        member = before.members(tier.name).get(action.number)
        if member is None:
            yield f"slot {action.number} of tier {tier.name} is moved, and its maximum is {tier.maximum}"


def _spares_the_disengaged(after: Fleet, action: Action) -> Iterator[str]:
    node = after.nodes.get(action.node)
    if action.rule == "R-UPDATE-1" and node is not None and not node.engagement.engaged:
        yield f"{type(action).__name__} of a roll-out is meant for {node.name}, which is disengaged"


def _keeps_its_pace(after: Fleet, name: TierId) -> Iterator[str]:
    """Say that more slots are between versions than may be, counting those that a node fills."""
    tier = after.tiers.get(name)
    if tier is None or tier.rollout is None:
        return
    members = after.members(name)
    nodes = [after.nodes[members[number]] for number in tier.rollout.moved if number in members]
    ailing = [node.name for node in nodes if node.engagement.engaged and not _serves(after, node)]
    if len(ailing) > tier.max_unavailable:
        yield (
            f"tier {name} rolls out {len(ailing)} slots at a time ({', '.join(ailing)}), "
            f"and may {tier.max_unavailable}"
        )


def _serves(fleet: Fleet, node: Node) -> bool:
    return node.lifecycle is Lifecycle.RUNNING and fleet.seen(node.name).health is not Health.CRITICAL


def _name(action: Action) -> str:
    return type(action).__name__


def _slot_of(node: Node | None) -> SlotId | None:
    if node is None or node.placement.tier is None or node.placement.slot is None:
        return None
    return SlotId(node.placement.tier, node.placement.slot)


def _is_off(fleet: Fleet, name: NodeId) -> bool:
    return fleet.seen(name).power is Power.OFF
