"""Starts the next piece of work on each node: whatever brings it nearer to what its place asks for."""

from datetime import timedelta

from metier.domain.actions import (
    Action,
    AdvanceNode,
    DiagnoseNode,
    FinishRequest,
    InventoryNode,
    PowerOff,
    PowerOn,
    PrepareGuest,
    RemoveVms,
    RetireGuest,
    ShutdownGuest,
    StageVms,
    StartGuest,
    StopGuest,
    StopNode,
)
from metier.domain.evidence import power_seen
from metier.domain.ids import SlotId, natural
from metier.domain.lifecycle import Event, Lifecycle
from metier.domain.matching import host_obstacle
from metier.domain.node import Instance, Node, Place, Request
from metier.domain.observation import Power
from metier.domain.tier import Tier, TierKind, TierState
from metier.planner.steps.advance import is_off, may_be_switched_off
from metier.planner.work import Subject, Work, about_node, about_tier

ASK_AGAIN_S = 15
"""A guest that is still booting ignores the power button: it is pressed again after this."""


def drive_nodes(work: Work) -> None:
    """Begin at most one piece of work on every node in scope that has none in flight."""
    for node in list(work.nodes()):
        if node.pending is None:
            _drive(work, work.fleet.nodes[node.name])


def _drive(work: Work, node: Node) -> None:
    _finish_request(work, node)
    node = work.fleet.nodes[node.name]
    may_touch = node.engaged or node.request is not None or node.lifecycle is Lifecycle.STOPPING
    if not may_touch:
        return
    if node.retry is not None and work.now < node.retry.not_before:
        work.look_again(about_node(node), node.retry.not_before)
        _say_it_rests(work, node)
        return
    step = (_GUEST_STEPS if node.is_virtual else _HOST_STEPS).get(node.lifecycle)
    if step is not None:
        step(work, node)


def _say_it_rests(work: Work, node: Node) -> None:
    assert node.retry is not None
    subject = Subject(tier=node.tier) if node.tier else about_node(node)
    work.wait(subject, f"{node.name} is tried again after a pause: {node.retry.reason}", "R-FAIL-1")
    if node.retry.attempts > 1:
        work.find("action-refused", about_node(node), f"{node.name}: {node.retry.reason}")


def is_wanted(work: Work, node: Node) -> bool:
    """Say whether `node` should be running now."""
    if node.request is not None:
        return node.request is Request.POWER_ON
    return node.tier is not None and work.fleet.tiers[node.tier].state is TierState.ACTIVE


def _finish_request(work: Work, node: Node) -> None:
    if node.request is None or node.pending is not None:
        return
    is_down = node.lifecycle in (Lifecycle.IDLE, Lifecycle.NEW) and not node.staged
    if node.request is Request.POWER_ON:
        on = power_seen(work.fleet, node)[0] is Power.ON
        reached = node.lifecycle in (Lifecycle.RUNNING, Lifecycle.FAILED) or (node.tier is None and on)
    else:
        reached = is_down and not (node.power and power_seen(work.fleet, node)[0] is Power.ON)
    if reached:
        why = f"what was ordered, {node.request}, is done"
        work.act(FinishRequest(node=node.name, why=why, rule="operator", expects=node.generation))


# --- virtual nodes -----------------------------------------------------------


def _idle_guest(work: Work, node: Node) -> None:
    power, _ = power_seen(work.fleet, node)
    if not is_wanted(work, node):
        if power is Power.ON and is_newer_than_rest(work, node):
            _put_back(work, node)
        elif node.instance is not None and node.tier is None:
            _act(work, StopNode, node, "its last instance is still attached", "R-RELEASE-2")
        elif node.placement.place is Place.MAINTENANCE and node.to_diagnose and node.engaged:
            _act(work, DiagnoseNode, node, f"it failed: {node.problem}", "R-FAIL-3")
        return
    if node.tier is None:
        return
    tier = work.fleet.tiers[node.tier]
    blocked = _dependency(work, tier)
    if blocked:
        work.wait(about_tier(tier), blocked, "R-ALLOC-1")
        return
    if power is Power.ON and is_newer_than_rest(work, node):
        _put_back(work, node)
        return
    _prepare(work, tier, node)


def is_newer_than_rest(work: Work, node: Node) -> bool:
    """Say whether a virtual node was looked at since it came to rest."""
    _, at = power_seen(work.fleet, node)
    return at is not None and node.since is not None and at > node.since


def _put_back(work: Work, node: Node) -> None:
    work.find("vm-moved-power", about_node(node), f"the VM of {node.name} was started by another tool")
    _act(work, StopNode, node, "its VM was started by another tool", "R-DRIFT-1")


def _dependency(work: Work, tier: Tier) -> str:
    """Return which tier that `tier` depends on holds it up, in words, or nothing."""
    for name in tier.depends_on:
        other = work.fleet.tiers.get(name)
        if other is not None and other.state is not TierState.ACTIVE:
            return f"waits for tier {name}, which is {other.state}"
    return ""


def _prepare(work: Work, tier: Tier, node: Node) -> None:
    slot_id, image = _slot_of(node), work.fleet.images.get(tier.image)
    if image is None:
        work.wait(about_tier(tier), f"image {tier.image} is gone", "R-ALLOC-2")
        return
    if _is_blocked(work, tier, node):
        return
    assert node.host is not None
    settings = tier.slot_settings(slot_id.number)
    instance = work.fleet.slot(slot_id).instance
    if instance is None or instance.image != tier.image or instance.store != node.host:
        instance = Instance(f"{tier.name}-{slot_id.number}-{work.next_id()}", tier.image, node.host, slot_id)
    work.act(
        PrepareGuest(
            node=node.name,
            slot=slot_id,
            image=image,
            instance=instance,
            hostname=tier.hostname(slot_id.number),
            address=settings.address,
            gateway=settings.gateway,
            why=f"it fills slot {slot_id.number} of {tier.name}, which is active",
            rule="R-ALLOC-1",
            expects=node.generation,
        )
    )


def _slot_of(node: Node) -> SlotId:
    assert node.placement.tier is not None
    assert node.placement.slot is not None
    return SlotId(node.placement.tier, node.placement.slot)


def _is_blocked(work: Work, tier: Tier, node: Node) -> bool:
    obstacle = host_obstacle(work.fleet, node)
    if obstacle is None or node.request is not None:
        return False
    work.wait(about_tier(tier), f"{node.name} waits: {obstacle.sentence}", "R-ALLOC-2")
    return True


def _preparing_guest(work: Work, node: Node) -> None:
    if node.tier is None or not is_wanted(work, node):
        _act(work, StopNode, node, "it is no longer wanted", "R-RELEASE-2")
        return
    tier, slot_id = work.fleet.tiers[node.tier], _slot_of(node)
    image = work.fleet.images.get(tier.image)
    if node.instance is None or image is None or node.instance.image != tier.image:
        _act(work, StopNode, node, "its tier's image changed", "R-RELEASE-2")
        return
    settings = tier.slot_settings(slot_id.number)
    work.act(
        PrepareGuest(
            node=node.name,
            slot=slot_id,
            image=image,
            instance=node.instance,
            hostname=tier.hostname(slot_id.number),
            address=settings.address,
            gateway=settings.gateway,
            why="putting its instance in place is not finished",
            rule="R-ALLOC-1",
            expects=node.generation,
        )
    )


def _prepared_guest(work: Work, node: Node) -> None:
    if not is_wanted(work, node):
        _act(work, StopNode, node, "it is no longer wanted", "R-RELEASE-2")
        return
    slot = work.fleet.slot(_slot_of(node))
    if slot.fences or _is_blocked(work, work.fleet.tiers[slot.id.tier], node):
        return
    _act(
        work, StartGuest, node, f"slot {slot.id.number} of {slot.id.tier} is ready to run on it", "R-FENCE-1"
    )


def _failed_guest(work: Work, node: Node) -> None:
    if node.tier is None:
        _act(work, StopNode, node, "it failed and fills no slot", "R-RELEASE-2")


def _unwanted_guest(work: Work, node: Node) -> None:
    if not is_wanted(work, node) and node.tier is None:
        _act(work, StopNode, node, "it fills no slot", "R-RELEASE-2")


def _stopping_guest(work: Work, node: Node) -> None:
    power, _ = power_seen(work.fleet, node)
    host = work.fleet.host_of(node)
    if is_off(work, node, node.started_at):
        if node.tier is None:
            _retire(work, node)
    elif host is None or work.fleet.seen(host.name).vmm_reachable is False:
        work.wait(
            about_node(node),
            f"{node.name} cannot be stopped: its host {node.host} does not answer",
            "R-FENCE-1",
        )
    elif node.stop_by is not None and work.now >= node.stop_by:
        _act(work, StopGuest, node, "its power is cut: its time to shut down is over", "R-RELEASE-2")
    elif power is not Power.OFF:
        _ask_to_shut_down(work, node)


def _ask_to_shut_down(work: Work, node: Node) -> None:
    assert node.stop_by is not None
    again = None if node.asked_at is None else node.asked_at + timedelta(seconds=ASK_AGAIN_S)
    if again is None or work.now >= again:
        _act(work, ShutdownGuest, node, "its guest OS is asked to shut down", "R-RELEASE-2")
    else:
        work.look_again(about_node(node), min(again, node.stop_by))


def _retire(work: Work, node: Node) -> None:
    """Clean the VM of a node that left its slot; its instance goes unless the tier keeps it or a slot uses it."""
    discard = node.instance
    if discard is not None:
        slot = work.fleet.slot(discard.slot)
        tier = work.fleet.tiers.get(discard.slot.tier)
        in_use = slot.instance == discard and slot.node is not None
        kept = slot.instance == discard and tier is not None and tier.keep_instances
        if in_use or kept:
            discard = None
    work.act(
        RetireGuest(
            node=node.name,
            discard=discard,
            why="it is seen off and fills no slot",
            rule="R-RELEASE-2",
            expects=node.generation,
        )
    )


# --- host nodes --------------------------------------------------------------


def _new_host(work: Work, node: Node) -> None:
    if not work.fleet.pool.automatic_inventory:
        work.wait(about_node(node), f"{node.name} is not inventoried: automatic_inventory is off", "R-HOST-1")
    elif node.vmm is None:
        work.wait(about_node(node), f"{node.name} has no VM manager to ask what it has", "R-HOST-1")
    else:
        _act(work, InventoryNode, node, "it is new", "R-HOST-1")


def _idle_host(work: Work, node: Node) -> None:
    if is_wanted(work, node):
        seen_on = power_seen(work.fleet, node)[0] is Power.ON
        if node.power is not None and not seen_on:
            _act(work, PowerOn, node, _why_on(work, node), _rule(node, "R-ALLOC-1"))
        elif node.tier is not None:
            _act(work, AdvanceNode, node, "it is on", _rule(node, "R-ALLOC-1"), event=Event.BOOT)
    elif node.placement.place is Place.MAINTENANCE and node.to_diagnose and node.engaged:
        _act(work, DiagnoseNode, node, f"it failed: {node.problem}", "R-FAIL-3")


def _booting_host(work: Work, node: Node) -> None:
    if not is_wanted(work, node):
        _act(work, StopNode, node, "it is no longer wanted", "R-RELEASE-2")
    elif node.power is not None and is_off(work, node, node.started_at):
        _act(work, PowerOn, node, "it is still seen off", _rule(node, "R-ALLOC-1"))


def _running_host(work: Work, node: Node) -> None:
    tier = work.fleet.tiers.get(node.tier) if node.tier else None
    if tier is None or tier.kind is not TierKind.HOST or tier.state is not TierState.ACTIVE:
        return
    image = work.fleet.images.get(tier.image)
    if image is None or not node.engaged:
        return
    seen = work.fleet.seen(node.name)
    missing = seen.vms is not None and any(seen.vm(offer.number) is None for offer in image.offers)
    fresh = seen.vms_at is not None and node.since is not None and seen.vms_at > node.since
    if not node.staged or (fresh and missing and not _just_staged(node)):
        why = "its VM manager runs" if not node.staged else "it no longer offers all VMs of its image"
        rule = "R-HOST-1" if not node.staged else "R-DRIFT-1"
        work.act(StageVms(node=node.name, offers=image.offers, why=why, rule=rule, expects=node.generation))


def _just_staged(node: Node) -> bool:
    return not node.staged


def _stopping_host(work: Work, node: Node) -> None:
    if node.request is Request.SHUTDOWN or not (node.request or node.problem):
        if _waits_for_guests(work, node):
            return
        if node.request is None and node.staged and work.fleet.seen(node.name).vmm_reachable:
            _act(work, RemoveVms, node, "it leaves its tier", "R-RELEASE-2")
            return
    if may_be_switched_off(work, node):
        _cut_power(work, node)


def _waits_for_guests(work: Work, host: Node) -> bool:
    assert host.stop_by is not None
    left = [guest for guest in work.fleet.virtual_nodes(host.name) if guest.lifecycle not in _AT_REST]
    if not left or (work.now >= host.stop_by and host.request is not None):
        return False
    names = ", ".join(guest.name for guest in left)
    work.wait(about_node(host), f"{host.name} waits for {names} to shut down", "R-FORCE-1")
    if host.tier:
        work.wait(Subject(tier=host.tier), f"{host.name} waits for {names} to shut down", "R-FORCE-1")
    work.look_again(about_node(host), max(host.stop_by, work.now + timedelta(seconds=1)))
    return True


_AT_REST = (Lifecycle.IDLE, Lifecycle.NEW)


def _cut_power(work: Work, node: Node) -> None:
    again = None if node.asked_at is None else node.asked_at + timedelta(seconds=2 * ASK_AGAIN_S)
    if again is None or work.now >= again:
        _act(work, PowerOff, node, node.problem or "it is no longer wanted", _rule(node, "R-RELEASE-2"))
    else:
        work.look_again(about_node(node), again)


def _rule(node: Node, otherwise: str) -> str:
    return "operator" if node.request is not None else otherwise


def _why_on(work: Work, node: Node) -> str:
    if node.request is not None:
        return f"an operator ordered {node.request}"
    return f"tier {node.tier} is active"


def _act(work: Work, kind: type[Action], node: Node, why: str, rule: str, **more: object) -> None:
    work.act(kind(node=node.name, why=why, rule=_rule(node, rule), expects=node.generation, **more))


_GUEST_STEPS = {
    Lifecycle.IDLE: _idle_guest,
    Lifecycle.PREPARING: _preparing_guest,
    Lifecycle.PREPARED: _prepared_guest,
    Lifecycle.BOOTING: _unwanted_guest,
    Lifecycle.STARTING: _unwanted_guest,
    Lifecycle.RUNNING: _unwanted_guest,
    Lifecycle.FAILED: _failed_guest,
    Lifecycle.STOPPING: _stopping_guest,
}

_HOST_STEPS = {
    Lifecycle.NEW: _new_host,
    Lifecycle.IDLE: _idle_host,
    Lifecycle.BOOTING: _booting_host,
    Lifecycle.RUNNING: _running_host,
    Lifecycle.STOPPING: _stopping_host,
}
