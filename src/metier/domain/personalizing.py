"""What slots are told when their nodes are prepared, and which run with something older."""

from metier.domain.actions import PrepareGuest
from metier.domain.fleet import Fleet
from metier.domain.ids import SlotId
from metier.domain.image import Image
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Instance, Node
from metier.domain.personality import Applied, Carried, Personality, default_form, unplaced
from metier.domain.tier import Slot, Tier

_WITH_SEED = frozenset((Lifecycle.PREPARED, Lifecycle.BOOTING, Lifecycle.STARTING, Lifecycle.RUNNING))


def personality_of(tier: Tier, number: int) -> Personality:
    """Return what was written for a slot, in the tier and for the slot itself."""
    return tier.personality.joined_with(tier.slot_settings(number).personality)


def personality_for(tier: Tier, slot: Slot, instance: Instance) -> Personality:
    """Return what an instance is to be told: what it was told first, for it does not listen again.

    Guests take note of the instance's id, and carry out a personality only once for each.
    """
    applied = slot.applied
    if applied is not None and applied.carried.instance == instance.id:
        return applied.carried.personality
    return personality_of(tier, slot.id.number)


def carried_by(action: PrepareGuest) -> Carried:
    """Return what the guest is told that an action prepares."""
    return Carried(
        personality=action.personality,
        form=action.personality.form or default_form(action.image.type),
        hostname=action.hostname,
        address=action.address,
        gateway=action.gateway,
        tier=action.slot.tier,
        slot=action.slot.number,
        image=action.image.ref.name,
        version=action.image.ref.version,
        instance=action.instance.id,
        node=action.node,
        host=action.instance.store,
        vm_number=action.vm_number,
        mac=action.mac,
        attributes=tuple(sorted(action.attributes)),
    )


def carried_now(fleet: Fleet, tier: Tier, number: int, image: Image) -> Carried:
    """Return what a new instance in a slot would be told now; `image` is the version that it would run."""
    settings, slot = tier.slot_settings(number), fleet.slot(SlotId(tier.name, number))
    node = fleet.nodes.get(slot.node) if slot.node is not None else None
    personality = personality_of(tier, number)
    return Carried(
        personality=personality,
        form=personality.form or default_form(image.type),
        hostname=tier.hostname(number),
        address=settings.address,
        gateway=settings.gateway,
        tier=tier.name,
        slot=number,
        image=image.ref.name,
        version=image.ref.version,
        instance="" if slot.instance is None else slot.instance.id,
        node="" if node is None else node.name,
        host=(node.host or "") if node else "",
        vm_number=(node.vm_number or 0) if node else 0,
        mac="" if node is None else mac_of(fleet, node),
        attributes=tuple(sorted(node.attributes)) if node else (),
    )


def mac_of(fleet: Fleet, node: Node) -> str:
    """Return the hardware address of a virtual node's first interface; empty while it is not known."""
    if node.host is None or node.vm_number is None:
        return ""
    vm = fleet.seen(node.host).vm(node.vm_number)
    return vm.macs[0] if vm is not None and vm.macs else ""


def running_with(fleet: Fleet, slot: SlotId) -> Applied | None:
    """Return what the node was prepared with that fills a slot and is about to run, or runs."""
    held = fleet.slots.get(slot)
    node = fleet.nodes.get(held.node) if held is not None and held.node is not None else None
    if held is None or node is None or node.lifecycle not in _WITH_SEED or held.applied is None:
        return None
    return held.applied if held.applied.carried.node == node.name else None


def outdated_slots(fleet: Fleet, tier: Tier) -> list[int]:
    """Return the slots whose nodes run with another personality than a new instance would get."""
    return [number for number in sorted(fleet.members(tier.name)) if is_outdated(fleet, tier, number)]


def is_outdated(fleet: Fleet, tier: Tier, number: int) -> bool:
    """Say whether a slot's node runs with another personality than a new instance would get."""
    applied = running_with(fleet, SlotId(tier.name, number))
    image = fleet.images.get(tier.image_for(number))
    if applied is None or image is None:
        return False
    return applied.unplaced != unplaced(carried_now(fleet, tier, number, image))
