"""What no site can be: said in sentences of records that come from outside, before anything plans from them.

It shares no code with the operations and the planner, which keep a live site from getting there.
"""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_interface
from typing import Any, NamedTuple

from metier.domain.errors import WrongUsage
from metier.domain.fleet import Fleet, Kind
from metier.domain.hardware import Hardware
from metier.domain.ids import (
    ImageRef,
    SlotId,
    TierId,
    image_ref,
    node_id,
    physical_node_id,
    tier_id,
    virtual_node_id,
)
from metier.domain.image import CollectorSpec, Image
from metier.domain.node import Node, NodeKind
from metier.domain.observation import Observed
from metier.domain.personality import NO_PERSONALITY, Personality
from metier.domain.pool import PoolSettings
from metier.domain.tier import Rollout, Slot, Tier, TierKind

MOST_SLOTS = 100_000
LONGEST_TEXTS = 1 << 20
_MOST_VMS = 9_999
_LONGEST_CHECK_S = 3600.0


class Fault(NamedTuple):
    """Something wrong with one record."""

    kind: Kind
    key: Any
    why: str

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: {self.why}"


def faults_of(fleet: Fleet) -> list[Fault]:
    """Return everything that no site can be; empty for one that can be planned from."""
    found = [
        Fault(kind, key, why)
        for kind, by_key in fleet.records().items()
        for key, record in by_key.items()
        for why in record_faults(kind, key, record)
    ]
    return found or list(_between(fleet))


def record_faults(kind: Kind, key: Any, record: Any) -> Iterator[str]:
    """Yield what is wrong with one record by itself."""
    judge = _ALONE.get(kind)
    if judge is not None:
        yield from judge(key, record)


# --- one record by itself ------------------------------------------------------


def _node(_key: Any, node: Node) -> Iterator[str]:
    if node.kind is NodeKind.VIRTUAL:
        if node.host is None or node.vm_number is None:
            yield "a virtual node needs a host and a vm_number"
            return
        if not 1 <= node.vm_number <= _MOST_VMS:
            yield f"vm_number {node.vm_number} does not lie from 1 to {_MOST_VMS}"
            return
        if node.name != virtual_node_id(node.host, node.vm_number):
            yield f"it is VM{node.vm_number} of {node.host}, and is not called so"
        yield from _named(physical_node_id, node.host)
    else:
        yield from _named(physical_node_id, node.name)
        if node.host is not None or node.vm_number is not None:
            yield "a physical node has no host and no vm_number"
    if node.placement.slot is not None and not 1 <= node.placement.slot <= MOST_SLOTS:
        yield f"slot {node.placement.slot} does not lie from 1 to {MOST_SLOTS}"
    if node.hardware is not None:
        yield from _hardware(node.hardware)


def _hardware(has: Hardware) -> Iterator[str]:
    yield from _counts(has, "memory_mib", "cpus", "disk_gib", "nics")


def _tier(_key: Any, tier: Tier) -> Iterator[str]:
    yield from _named(tier_id, tier.name)
    if not 0 <= tier.minimum <= tier.target <= tier.maximum <= MOST_SLOTS:
        yield (
            f"minimum {tier.minimum}, target {tier.target} and maximum {tier.maximum} do not rise "
            f"from 0 to at most {MOST_SLOTS}"
        )
    if not 1 <= tier.priority <= 100:
        yield f"priority {tier.priority} does not lie from 1 to 100"
    numbers = [slot.number for slot in tier.slots]
    if len(set(numbers)) < len(numbers):
        yield "slots: one number is there twice"
    if not all(1 <= number <= MOST_SLOTS for number in numbers):
        yield f"slots: a number does not lie from 1 to {MOST_SLOTS}"
    yield from _addresses(tier)
    yield from _counts(tier.requirements, "memory_mib", "cpus", "disk_gib", "nics")
    yield from _counts(tier, "startup_s", "failure_threshold", "shutdown_s", "max_unhealthy_percent")
    yield from _counts(tier, "surge")
    if not 1 <= tier.max_unavailable <= MOST_SLOTS:
        yield f"max_unavailable {tier.max_unavailable} does not lie from 1 to {MOST_SLOTS}"
    if tier.rollout is not None:
        yield from _rollout(tier, tier.rollout)
    yield from _collectors(tier.collectors or ())
    for personality in (tier.personality, *(slot.personality for slot in tier.slots)):
        yield from _personality(personality or NO_PERSONALITY)


def _personality(personality: Personality) -> Iterator[str]:
    length = sum(map(len, personality.texts.values()))
    if length > LONGEST_TEXTS:
        yield f"personality: its texts have {length} characters, more than {LONGEST_TEXTS}"
    names = [name for name, _ in personality.variables]
    if len(set(names)) < len(names):
        yield "personality: one variable is there twice"
    for server in personality.name_servers:
        if not _is_address(ip_address, server):
            yield f"personality: name server {server!r} is no address"


def _is_address(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _rollout(tier: Tier, rollout: Rollout) -> Iterator[str]:
    if tier.kind is TierKind.HOST:
        yield "rollout: a host tier has none"
    if len(set(rollout.moved)) < len(rollout.moved):
        yield "rollout: one number is there twice"
    if not all(1 <= number <= MOST_SLOTS for number in rollout.moved):
        yield f"rollout: a number does not lie from 1 to {MOST_SLOTS}"


def _addresses(tier: Tier) -> Iterator[str]:
    for slot in tier.slots:
        try:
            if slot.address is not None:
                ip_interface(slot.address)
        except ValueError:
            yield f"slots: {slot.address!r} of slot {slot.number} is no address"


def _collectors(specs: tuple[CollectorSpec, ...]) -> Iterator[str]:
    for spec in specs:
        if not 0 < spec.timeout_s <= _LONGEST_CHECK_S:
            yield f"collectors: {spec.timeout_s} is no time that collector {spec.collector!r} can take"


def _slot(_key: Any, slot: Slot) -> Iterator[str]:
    if not 1 <= slot.id.number <= MOST_SLOTS:
        yield f"its number does not lie from 1 to {MOST_SLOTS}"
    if slot.instance is not None and slot.instance.slot != slot.id:
        yield f"its instance {slot.instance.id!r} belongs to slot {slot.instance.slot}"
    if slot.applied is None:
        return
    told = slot.applied.carried
    if told.address is not None and not _is_address(ip_interface, told.address):
        yield f"applied: {told.address!r} is no address"
    yield from (f"applied: {why}" for why in _personality(told.personality))


def _image(_key: Any, image: Image) -> Iterator[str]:
    yield from _named(image_ref, str(image.ref))
    numbers = [offer.number for offer in image.offers]
    if len(set(numbers)) < len(numbers) or not all(1 <= number <= _MOST_VMS for number in numbers):
        yield f"offers: the numbers are not different ones from 1 to {_MOST_VMS}"
    for offer in image.offers:
        yield from _counts(offer, "memory_mib", "cpus", "disk_gib")
    yield from _counts(image.requirements, "memory_mib", "cpus", "disk_gib", "nics")
    yield from _counts(image, "startup_s", "size_bytes")
    yield from _collectors(image.collectors)


def _pool(_key: Any, pool: PoolSettings) -> Iterator[str]:
    yield from _counts(
        pool,
        "idle_off_after_s",
        "warm_spares",
        "harvest_cooldown_s",
        "reboot_window_s",
        "storm_window_s",
        "site_max_unhealthy_percent",
    )


def _seen(key: Any, seen: Observed) -> Iterator[str]:
    yield from _named(node_id, key)
    numbers = [vm.number for vm in seen.vms or ()]
    if len(set(numbers)) < len(numbers) or not all(1 <= number <= _MOST_VMS for number in numbers):
        yield f"vms: the numbers are not different ones from 1 to {_MOST_VMS}"
    for vm in seen.vms or ():
        if vm.hardware is not None:
            yield from _hardware(vm.hardware)


def _counted(_key: Any, record: Any) -> Iterator[str]:
    yield from _counts(record, "id")


_ALONE: Mapping[Kind, Callable[[Any, Any], Iterator[str]]] = {
    Kind.NODE: _node,
    Kind.TIER: _tier,
    Kind.SLOT: _slot,
    Kind.IMAGE: _image,
    Kind.POOL: _pool,
    Kind.ALERT: _counted,
    Kind.JOB: _counted,
    Kind.OBSERVED: _seen,
}


def _named(parse: Callable[[str], Any], name: str) -> Iterator[str]:
    try:
        parse(name)
    except WrongUsage as error:
        yield error.message


# No count of ours comes near it, and sums of such counts stay exact.
_MOST = 1 << 53


def _counts(record: Any, *names: str) -> Iterator[str]:
    for name in names:
        value = getattr(record, name)
        if value is not None and not 0 <= value < _MOST:
            yield f"{name} cannot be {value}"


# --- records beside each other --------------------------------------------------


def _between(fleet: Fleet) -> Iterator[Fault]:
    yield from _hosts(fleet)
    yield from _members(fleet)
    yield from _holders(fleet)
    yield from _tiers(fleet)
    yield from _circles(fleet)
    yield from _given_twice(fleet)
    for name in fleet.observed:
        if name not in fleet.nodes:
            yield Fault(Kind.OBSERVED, name, "there is no such node")
    for tier in fleet.troubles:
        if tier not in fleet.tiers:
            yield Fault(Kind.TROUBLE, tier, "there is no such tier")


def _hosts(fleet: Fleet) -> Iterator[Fault]:
    for node in fleet.nodes.values():
        if node.host is None:
            continue
        host = fleet.nodes.get(node.host)
        if host is None:
            yield Fault(Kind.NODE, node.name, f"its host {node.host} does not exist")
        elif host.is_virtual or host.vmm is None:
            yield Fault(Kind.NODE, node.name, f"its host {node.host} has no VM manager")


def _members(fleet: Fleet) -> Iterator[Fault]:
    holders: dict[SlotId, str] = {}
    for node in fleet.nodes.values():
        if node.placement.tier is None or node.placement.slot is None:
            continue
        slot = SlotId(node.placement.tier, node.placement.slot)
        tier = fleet.tiers.get(slot.tier)
        if tier is None:
            yield Fault(Kind.NODE, node.name, f"it is in tier {slot.tier}, which does not exist")
            continue
        if (tier.kind is TierKind.HOST) is node.is_virtual:
            yield Fault(
                Kind.NODE, node.name, f"a {node.kind} node cannot be in tier {slot.tier}, a {tier.kind} tier"
            )
        first = holders.setdefault(slot, node.name)
        if first != node.name:
            yield Fault(Kind.NODE, node.name, f"it is in slot {slot}, and so is {first}")
        elif fleet.slot(slot).node != node.name:
            yield Fault(
                Kind.NODE, node.name, f"it is in slot {slot}, whose record names {fleet.slot(slot).node}"
            )


def _holders(fleet: Fleet) -> Iterator[Fault]:
    instances: dict[str, SlotId] = {}
    for key, slot in fleet.slots.items():
        if slot.id.tier not in fleet.tiers:
            yield Fault(Kind.SLOT, key, "there is no such tier")
        node = None if slot.node is None else fleet.nodes.get(slot.node)
        where = None if node is None else (node.placement.tier, node.placement.slot)
        if slot.node is not None and where != (slot.id.tier, slot.id.number):
            yield Fault(Kind.SLOT, key, f"it names node {slot.node}, which is not in it")
        if slot.instance is not None and instances.setdefault(slot.instance.id, key) != key:
            first = instances[slot.instance.id]
            yield Fault(Kind.SLOT, key, f"it has instance {slot.instance.id}, and so has slot {first}")


def _tiers(fleet: Fleet) -> Iterator[Fault]:
    for tier in fleet.tiers.values():
        image = fleet.images.get(ImageRef(*tier.image))
        if image is None:
            yield Fault(Kind.TIER, tier.name, f"its image {tier.image} does not exist")
        elif image.is_host_image is not (tier.kind is TierKind.HOST):
            yield Fault(Kind.TIER, tier.name, f"image {tier.image} is none for a {tier.kind} tier")
        if tier.rollout is not None and tier.rollout.previous not in fleet.images:
            yield Fault(Kind.TIER, tier.name, f"rollout: image {tier.rollout.previous} does not exist")
        for other in tier.depends_on:
            if other not in fleet.tiers:
                yield Fault(Kind.TIER, tier.name, f"it depends on tier {other}, which does not exist")


def _circles(fleet: Fleet) -> Iterator[Fault]:
    """Take away the tiers that depend on none of those left; what stays at the end waits for itself."""
    dependents: dict[TierId, list[TierId]] = {}
    waits = dict.fromkeys(fleet.tiers, 0)
    for tier in fleet.tiers.values():
        for other in tier.depends_on:
            if other in fleet.tiers:
                dependents.setdefault(other, []).append(tier.name)
                waits[tier.name] += 1
    free = [name for name, count in waits.items() if count == 0]
    while free:
        for name in dependents.get(free.pop(), ()):
            waits[name] -= 1
            if waits[name] == 0:
                free.append(name)
    for name, count in waits.items():
        if count:
            yield Fault(Kind.TIER, name, "the tiers that it depends on depend on each other in a circle")


def _given_twice(fleet: Fleet) -> Iterator[Fault]:
    """Yield host names and addresses that the settings of two slots give."""
    holders: dict[str, str] = {}
    for tier in fleet.tiers.values():
        for slot in tier.slots:
            for what in (slot.hostname, slot.address):
                name = "" if what is None else what.partition("/")[0].lower()
                holder = f"{tier.name}/{slot.number}"
                if name and holders.setdefault(name, holder) != holder:
                    why = f"slot {slot.number} is given {name}, and so is slot {holders[name]}"
                    yield Fault(Kind.TIER, TierId(tier.name), why)
