"""Brings virtual nodes nearer to what their place asks for: running their slot, or off and clean."""

from datetime import timedelta

from metier.domain.actions import (
    DiagnoseNode,
    PrepareGuest,
    RetireGuest,
    ShutdownGuest,
    StartGuest,
    StopGuest,
    StopNode,
)
from metier.domain.evidence import power_seen
from metier.domain.ids import ImageRef, SlotId
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import host_obstacle
from metier.domain.node import NO_IMAGE, Instance, Node, Place
from metier.domain.observation import Power
from metier.domain.personalizing import mac_of, personality_for
from metier.domain.tier import Tier, TierState
from metier.planner.steps.advance import is_off
from metier.planner.steps.orders import act_on, has_spent_instance, is_wanted
from metier.planner.work import Work, about_node

ASK_AGAIN_S = 15
"""A guest that is still booting ignores the power button: it is pressed again after this."""


def _idle_guest(work: Work, node: Node) -> None:
    if _is_on_unasked(work, node):
        work.find("vm-moved-power", about_node(node), f"the VM of {node.name} was started by another tool")
        act_on(work, StopNode, node, "its VM was started by another tool", "R-DRIFT-1")
    elif is_wanted(work, node) and node.tier is not None:
        _make_ready(work, work.fleet.tiers[node.tier], node)
    elif node.tier is not None:
        return
    elif node.instance is not None:
        act_on(work, StopNode, node, "its last instance is still attached", "R-RELEASE-2")
    elif node.placement.place is Place.MAINTENANCE and node.to_diagnose:
        act_on(work, DiagnoseNode, node, f"it failed: {node.problem}", "R-FAIL-3")


def _is_on_unasked(work: Work, node: Node) -> bool:
    """Say whether an idle node's VM was seen on since it came to rest."""
    power, at = power_seen(work.fleet, node)
    return power is Power.ON and at is not None and node.since is not None and at > node.since


def _make_ready(work: Work, tier: Tier, node: Node) -> None:
    blocked = _dependency(work, tier)
    if blocked:
        work.wait_with_tier(node, blocked, "R-ALLOC-1")
    elif node.instance is not None and node.instance.image != _version_for(tier, node):
        act_on(work, StopNode, node, f"its instance is one of {node.instance.image}", "R-RELEASE-2")
    else:
        _prepare(work, tier, node, f"it fills slot {node.placement.slot} of {tier.name}, which is active")


def _dependency(work: Work, tier: Tier) -> str:
    """Return which tier that `tier` depends on holds it up, in words, or nothing."""
    for name in tier.depends_on:
        other = work.fleet.tiers.get(name)
        if other is not None and other.state is not TierState.ACTIVE:
            return f"waits for tier {name}, which is {other.state}"
    return ""


def _prepare(work: Work, tier: Tier, node: Node, why: str) -> None:
    slot_id, image = _slot_of(node), work.fleet.images.get(_version_for(tier, node))
    if image is None:
        work.wait_with_tier(node, f"image {_version_for(tier, node)} is gone", "R-ALLOC-2")
        return
    if _is_blocked(work, node):
        return
    if power_seen(work.fleet, node)[0] is Power.ON:
        work.wait_with_tier(node, f"{node.name} waits: its VM is still seen on", "R-DRIFT-1")
        return
    instance = _instance_for(work, tier, node)
    holder = _holder_of(work, instance, node)
    if holder is not None:
        why = f"{node.name} waits until {instance.id} is taken off {holder.name}, which is {holder.lifecycle}"
        work.wait_with_tier(node, why, "R-FENCE-1")
        return
    settings = tier.slot_settings(slot_id.number)
    work.act(
        PrepareGuest(
            node=node.name,
            slot=slot_id,
            image=image,
            instance=instance,
            hostname=tier.hostname(slot_id.number),
            address=settings.address,
            gateway=settings.gateway,
            personality=personality_for(tier, work.fleet.slot(slot_id), instance),
            vm_number=node.vm_number or 0,
            mac=mac_of(work.fleet, node),
            attributes=node.attributes,
            why=why,
            rule="R-ALLOC-1",
            expects=node.generation,
        )
    )


def _instance_for(work: Work, tier: Tier, node: Node) -> Instance:
    """Return the instance to run: the one already being prepared, the slot's within reach, or a new one."""
    assert node.host is not None
    slot_id, version = _slot_of(node), _version_for(tier, node)
    for instance in (node.instance, work.fleet.slot(slot_id).instance):
        if instance is not None and (instance.image, instance.store, instance.slot) == (
            version,
            node.host,
            slot_id,
        ):
            return instance
    return Instance(f"{tier.name}-{slot_id.number}-{work.next_id()}", version, node.host, slot_id)


def _version_for(tier: Tier, node: Node) -> ImageRef:
    return tier.image_for(_slot_of(node).number)


def _holder_of(work: Work, instance: Instance, taker: Node) -> Node | None:
    """Return another node of the same host whose VM still has `instance` attached."""
    for other in work.fleet.virtual_nodes(instance.store):
        if other.instance == instance and other.name != taker.name:
            return other
    return None


def _slot_of(node: Node) -> SlotId:
    assert node.placement.tier is not None
    assert node.placement.slot is not None
    return SlotId(node.placement.tier, node.placement.slot)


def _is_blocked(work: Work, node: Node) -> bool:
    """Say whether nothing can be started on the node's host; an order passes over a disengaged host."""
    obstacle = host_obstacle(work.fleet, node)
    host = work.fleet.host_of(node)
    is_up = host is not None and host.lifecycle is Lifecycle.RUNNING and host.request is None
    if obstacle is None or (node.request is not None and is_up):
        return False
    work.wait_with_tier(node, f"{node.name} waits: {obstacle.sentence}", "R-ALLOC-2")
    return True


def _preparing_guest(work: Work, node: Node) -> None:
    if node.tier is None or not is_wanted(work, node):
        act_on(work, StopNode, node, "it is no longer wanted", "R-RELEASE-2")
        return
    tier = work.fleet.tiers[node.tier]
    if _is_on_unasked(work, node):
        act_on(work, StopNode, node, "its VM was started by another tool", "R-DRIFT-1")
    elif node.instance is None or node.instance.image != _version_for(tier, node):
        act_on(work, StopNode, node, "its tier's image changed", "R-RELEASE-2")
    else:
        _prepare(work, tier, node, "putting its instance in place is not finished")


def _prepared_guest(work: Work, node: Node) -> None:
    if node.tier is None or not is_wanted(work, node):
        act_on(work, StopNode, node, "it is no longer wanted", "R-RELEASE-2")
        return
    slot = work.fleet.slot(_slot_of(node))
    if slot.fences or _is_blocked(work, node):
        return
    act_on(work, StartGuest, node, f"slot {slot.id.number} of {node.tier} is ready to run on it", "R-ALLOC-1")


def _misplaced_guest(work: Work, node: Node) -> None:
    if node.tier is None:
        act_on(work, StopNode, node, "it fills no slot", "R-RELEASE-2")


def _stopping_guest(work: Work, node: Node) -> None:
    host = work.fleet.host_of(node)
    is_down = is_off(work, node, node.started_at or node.since)
    if is_down and not has_spent_instance(work, node):
        return
    if host is None or work.fleet.seen(host.name).vmm_reachable is False:
        what = "cleaned" if is_down else "stopped"
        why = f"{node.name} cannot be {what}: its host {node.host} does not answer"
        work.wait_with_tier(node, why, "R-RELEASE-2" if is_down else "R-FENCE-1")
    elif is_down:
        _retire(work, node)
    elif _is_gone(work, node):
        work.wait_with_tier(node, f"the VM of {node.name} is gone from {node.host}", "R-DRIFT-1")
    elif node.stop_by is None or work.now >= node.stop_by:
        _cut_off(work, node)
    else:
        _ask_to_shut_down(work, node)


def _is_gone(work: Work, node: Node) -> bool:
    """Say whether the node's VM is missing from its host's last answer; steps/hosts deletes such nodes."""
    if node.host is None or node.vm_number is None:
        return True
    seen = work.fleet.seen(node.host)
    return bool(seen.vmm_reachable) and seen.vms is not None and seen.vm(node.vm_number) is None


def _cut_off(work: Work, node: Node) -> None:
    """Cut a VM's power, and again if it was not seen off for a while after that."""
    was_cut = node.asked_at is not None and (node.stop_by is None or node.asked_at >= node.stop_by)
    again = node.asked_at + timedelta(seconds=ASK_AGAIN_S) if was_cut and node.asked_at else None
    if again is None or work.now >= again:
        act_on(work, StopGuest, node, "its power is cut: its time to shut down is over", "R-RELEASE-2")
    else:
        work.look_again(about_node(node), again)


def _ask_to_shut_down(work: Work, node: Node) -> None:
    assert node.stop_by is not None
    again = None if node.asked_at is None else node.asked_at + timedelta(seconds=ASK_AGAIN_S)
    if again is None or work.now >= again:
        act_on(work, ShutdownGuest, node, "its guest OS is asked to shut down", "R-RELEASE-2")
    else:
        work.look_again(about_node(node), min(again, node.stop_by))


def _retire(work: Work, node: Node) -> None:
    """Clean the VM of a node that is off; its instance goes unless its slot goes on with it.

    One that nobody knows stays on the host: what is there may be all that is left of somebody's data.
    """
    spent = node.instance
    is_kept = spent is None or spent.image == NO_IMAGE or _is_needed(work, spent)
    discard = None if is_kept else spent
    why = "its instance is outdated"
    if node.tier is None:
        why = "it is seen off and fills no slot"
    elif node.request is not None:
        why = "it is seen off, as ordered"
    act_on(work, RetireGuest, node, why, "R-RELEASE-2", discard=discard)


def _is_needed(work: Work, instance: Instance) -> bool:
    slot, tier = work.fleet.slot(instance.slot), work.fleet.tiers.get(instance.slot.tier)
    if tier is None or tier.image_for(slot.id.number) != instance.image or slot.instance != instance:
        return False
    holder = work.fleet.nodes.get(slot.node) if slot.node is not None else None
    return tier.keep_instances if holder is None else holder.host == instance.store


GUEST_STEPS = {
    Lifecycle.IDLE: _idle_guest,
    Lifecycle.PREPARING: _preparing_guest,
    Lifecycle.PREPARED: _prepared_guest,
    Lifecycle.BOOTING: _misplaced_guest,
    Lifecycle.STARTING: _misplaced_guest,
    Lifecycle.RUNNING: _misplaced_guest,
    Lifecycle.FAILED: _misplaced_guest,
    Lifecycle.STOPPING: _stopping_guest,
}
