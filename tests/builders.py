"""Small worlds for tests: each builder gives one valid record, and takes any field by name.

A fleet is put together from records in any order:

    fleet = a_fleet(a_host(), a_virtual_node(tier="web", slot=1), a_tier(), an_image())
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from metier.domain.alert import Alert, Severity
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Hardware, Requirements
from metier.domain.ids import ImageRef, NodeId, SlotId, TierId, image_ref
from metier.domain.image import Disk, Image, ImageType, Machine, OfferedVm
from metier.domain.job import Job
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Endpoint, Instance, Node, NodeKind, Place, Placement
from metier.domain.observation import Observed, Power, VmFacts
from metier.domain.pool import PoolSettings
from metier.domain.procedure import Procedure
from metier.domain.tier import Slot, Tier, TierKind, Trouble
from metier.domain.timing import Activity, Timing, TimingId

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

Record = Node | Tier | Slot | Trouble | Image | Alert | Job | Procedure | PoolSettings | Timing

HOST_IMAGE = ImageRef("vmm", "1")
GUEST_IMAGE = ImageRef("web", "1")

HOST_HARDWARE = Hardware(memory_mib=8192, cpus=4, disk_gib=100, image_forms=frozenset({"vmm-host"}))
VM_HARDWARE = Hardware(
    memory_mib=512,
    cpus=1,
    disk_gib=8,
    networks=frozenset({"default"}),
    image_forms=frozenset({"qcow2", "raw", "vmdk"}),
)


def placement(place: Place | str = Place.FREE, tier: str | None = None, slot: int | None = None) -> Placement:
    """Return the place of a node; in a tier, if one is named."""
    if tier is None:
        return Placement(Place(place))
    return Placement(Place.TIER, TierId(tier), 1 if slot is None else slot)


def a_node(
    name: str = "node-1",
    *,
    place: Place | str = Place.FREE,
    tier: str | None = None,
    slot: int | None = None,
    **fields: Any,
) -> Node:
    """Return a physical node without a VM manager: idle, inventoried and in the free pool."""
    values: dict[str, Any] = {
        "kind": NodeKind.PHYSICAL,
        "placement": placement(place, tier, slot),
        "lifecycle": Lifecycle.IDLE,
        "hardware": HOST_HARDWARE,
        "power_ip": "192.0.2.1",
        "power": Endpoint("fake", {}),
        "since": NOW,
    }
    return Node(name=NodeId(name), **(values | fields))


def a_host(
    name: str = "host-1", *, tier: str | None = "hosts", slot: int | None = None, **fields: Any
) -> Node:
    """Return a physical node with a VM manager: running in slot 1 of tier `hosts`, its VMs staged.

    With `tier=None` it is idle in the free pool.
    """
    in_tier = tier is not None
    values: dict[str, Any] = {
        "lifecycle": Lifecycle.RUNNING if in_tier else Lifecycle.IDLE,
        "vmm": Endpoint("fake", {}),
        "staged": in_tier,
    }
    return a_node(name, tier=tier, slot=slot, **(values | fields))


def a_virtual_node(
    host: str = "host-1", number: int = 1, *, tier: str | None = None, slot: int | None = None, **fields: Any
) -> Node:
    """Return virtual node `number` of `host`: idle and free; running, if it is put in a tier."""
    values: dict[str, Any] = {
        "kind": NodeKind.VIRTUAL,
        "lifecycle": Lifecycle.IDLE if tier is None else Lifecycle.RUNNING,
        "hardware": VM_HARDWARE,
        "power": None,
        "host": NodeId(host),
        "vm_number": number,
    }
    return a_node(f"{host}/VM{number}", tier=tier, slot=slot, **(values | fields))


def a_tier(name: str = "web", **fields: Any) -> Tier:
    """Return a guest tier on image `web@1`: inactive, with minimum, target and maximum of 1.

    Of the three numbers it is enough to give one: the others follow it.
    """
    values: dict[str, Any] = {"kind": TierKind.GUEST, "image": GUEST_IMAGE}
    target = fields.get("target", fields.get("maximum", fields.get("minimum", 1)))
    counts = {"minimum": min(1, target), "target": target, "maximum": target}
    return Tier(name=TierId(name), **(values | counts | fields))


def a_host_tier(name: str = "hosts", **fields: Any) -> Tier:
    """Return a host tier on image `vmm@1`, else as `a_tier` does."""
    return a_tier(name, **({"kind": TierKind.HOST, "image": HOST_IMAGE} | fields))


def a_slot(tier: str = "web", number: int = 1, **fields: Any) -> Slot:
    """Return what is kept for a slot; empty unless fields say otherwise."""
    return Slot(SlotId(TierId(tier), number), **fields)


def an_instance(tier: str = "web", number: int = 1, *, store: str = "host-1", **fields: Any) -> Instance:
    """Return the instance of image `web@1` that a slot has on a host."""
    slot = SlotId(TierId(tier), number)
    return Instance(
        **({"id": f"{tier}-{number}-1", "image": GUEST_IMAGE, "slot": slot, "store": store} | fields)
    )


def an_image(ref: str = "web@1", **fields: Any) -> Image:
    """Return a guest image with one disk that asks for 256 MiB of memory."""
    disk = Disk("disk-0.qcow2", capacity_bytes=1 << 30, stored_bytes=1 << 20, digest="sha256:" + "0" * 64)
    values: dict[str, Any] = {
        "type": ImageType.LINUX,
        "form": "vmdk",
        "created": NOW,
        "size_bytes": disk.stored_bytes,
        "digest": disk.digest,
        "requirements": Requirements(memory_mib=256),
        "machine": Machine((disk,)),
        "source": "built by a test",
    }
    return Image(ref=image_ref(ref), **(values | fields))


def a_host_image(ref: str = "vmm@1", *, vms: int = 3, **fields: Any) -> Image:
    """Return a host image that offers `vms` virtual machines of 512 MiB each."""
    offers = tuple(OfferedVm(number, memory_mib=512) for number in range(1, vms + 1))
    values: dict[str, Any] = {
        "type": ImageType.VMM_HOST,
        "form": "vmm-host",
        "created": NOW,
        "offers": offers,
    }
    return Image(ref=image_ref(ref), **(values | fields))


def an_alert(number: int = 1, **fields: Any) -> Alert:
    """Return an open alert about tier `web`."""
    values: dict[str, Any] = {
        "code": "tier-short",
        "severity": Severity.WARNING,
        "subject": "web",
        "message": "tier web has 0 of 1 nodes",
        "since": NOW,
    }
    return Alert(id=number, **(values | fields))


def a_job(number: int = 1, **fields: Any) -> Job:
    """Return a queued import of image `web@1`."""
    values: dict[str, Any] = {"kind": "image-import", "subject": "web@1", "created": NOW, "by": "tester"}
    return Job(id=number, **(values | fields))


def a_procedure(number: int = 1, **fields: Any) -> Procedure:
    """Return an update of image `web@1` to `web@2` that has just begun."""
    values: dict[str, Any] = {
        "image": GUEST_IMAGE,
        "version": ImageRef("web", "2"),
        "created": NOW,
        "tier": TierId("update-web"),
        "by": "tester",
    }
    return Procedure(id=number, **(values | fields))


def a_timing(activity: Activity, subject: str, *seconds: float) -> Timing:
    """Return what a subject took, oldest first."""
    return Timing(TimingId(activity, subject), seconds)


def vm_facts(number: int = 1, power: Power = Power.ON, **fields: Any) -> VmFacts:
    """Return what a host reports of one VM."""
    return VmFacts(number, power, **({"hardware": VM_HARDWARE} | fields))


def a_fleet(*records: Record, observed: Mapping[str, Observed] | None = None) -> Fleet:
    """Return the Fleet of these records; slots of members are kept as the loop would keep them.

    Tiers and images that the nodes need are the caller's to give, so that a test
    says what it depends on.
    """
    draft = Draft(Fleet(), stamp=False)
    for record in records:
        _put(draft, record)
    for node in [record for record in records if isinstance(record, Node)]:
        _fill_slot(draft, node)
    for name, seen in (observed or {}).items():
        draft.put_observed(NodeId(name), seen)
    return draft.freeze()


def _put(draft: Draft, record: Record) -> None:
    match record:
        case Node():
            draft.put_node(record)
        case Tier():
            draft.put_tier(record)
        case Slot():
            draft.put_slot(record)
        case Trouble():
            draft.put_trouble(record)
        case Image():
            draft.put_image(record)
        case Alert():
            draft.put_alert(record)
        case Job():
            draft.put_job(record)
        case Procedure():
            draft.put_procedure(record)
        case PoolSettings():
            draft.put_pool(record)
        case Timing():
            draft.put_timing(record)


def _fill_slot(draft: Draft, node: Node) -> None:
    if node.placement.tier is None or node.placement.slot is None:
        return
    slot = draft.slot(SlotId(node.placement.tier, node.placement.slot))
    if slot.node is None:
        draft.put_slot(replace(slot, node=node.name))
