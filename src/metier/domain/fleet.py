"""The Fleet: everything the planner plans from, as one immutable snapshot.

`Fleet` is read; a `Draft` is a Fleet under change that remembers what changed.
Both keep indexes (members of tiers, VMs of hosts, free nodes by shape), so that
no question needs a walk over all nodes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from metier.domain.alert import Alert
from metier.domain.errors import NoSuchThing
from metier.domain.hardware import Hardware
from metier.domain.ids import ImageRef, NodeId, SlotId, TierId
from metier.domain.image import Image
from metier.domain.job import Job
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, NodeKind, Place
from metier.domain.observation import NOTHING_SEEN, Observed
from metier.domain.pool import PoolSettings
from metier.domain.procedure import Procedure
from metier.domain.tier import Slot, Tier, Trouble
from metier.domain.timing import Activity, Expected, Stopwatch, Timing, TimingId


@dataclass(frozen=True, slots=True)
class Shape:
    """What free nodes that cost the same have in common."""

    kind: NodeKind
    hardware: Hardware


class Kind(StrEnum):
    """The kinds of record a Fleet is made of; also what the store keeps apart."""

    NODE = "node"
    TIER = "tier"
    SLOT = "slot"
    TROUBLE = "trouble"
    IMAGE = "image"
    POOL = "pool"
    ALERT = "alert"
    JOB = "job"
    PROCEDURE = "procedure"
    OBSERVED = "observed"
    TIMING = "timing"


RECORD_TYPES: dict[Kind, type[Any]] = {
    Kind.NODE: Node,
    Kind.TIER: Tier,
    Kind.SLOT: Slot,
    Kind.TROUBLE: Trouble,
    Kind.IMAGE: Image,
    Kind.POOL: PoolSettings,
    Kind.ALERT: Alert,
    Kind.JOB: Job,
    Kind.PROCEDURE: Procedure,
    Kind.OBSERVED: Observed,
    Kind.TIMING: Timing,
}

SITE = "site"
"""Key of the one `PoolSettings` record."""

_Record = TypeVar("_Record", Node, Tier, Slot, Trouble, Image, Alert, Job, Procedure, PoolSettings, Timing)

Changes = dict[Kind, dict[Any, Any]]
"""New record by kind and key; None for one that was removed."""


def is_spare(node: Node) -> bool:
    """Say whether `node` itself is ready to be allocated; its host may still not be."""
    return (
        node.placement.place is Place.FREE
        and node.lifecycle is Lifecycle.IDLE
        and node.engagement.engaged
        and node.hardware is not None
        and node.pending is None
        and node.request is None
    )


class Fleet:
    """An immutable snapshot: intent, decisions and observations.

    Attributes:
        tier_members: Nodes by slot number, by tier.
        vms_of: Virtual nodes by VM number, by host.
        free: Spare nodes by shape and then by host (by themselves if physical).
        loose: Nodes that are neither in a tier nor spare: on their way, withheld or broken.
        fenced: Numbers of the slots that have fences, by tier.
        fenced_by: Slots with a fence for a node, by that node and by its host.
        stopwatches: What is being timed, by node.  In memory alone: what a restart interrupted is no measure.
        usual: What `timing.expected_s` worked out, filled as it is asked for.
        generation: Counts up by one with every Draft that was frozen.
    """

    __slots__ = (
        "alerts",
        "fenced",
        "fenced_by",
        "free",
        "generation",
        "images",
        "jobs",
        "loose",
        "nodes",
        "observed",
        "pool",
        "procedures",
        "slots",
        "stopwatches",
        "tier_members",
        "tiers",
        "timings",
        "troubles",
        "usual",
        "vms_of",
    )

    nodes: dict[NodeId, Node]
    observed: dict[NodeId, Observed]
    tiers: dict[TierId, Tier]
    slots: dict[SlotId, Slot]
    troubles: dict[TierId, Trouble]
    images: dict[ImageRef, Image]
    alerts: dict[int, Alert]
    jobs: dict[int, Job]
    procedures: dict[int, Procedure]
    timings: dict[TimingId, Timing]
    pool: PoolSettings
    tier_members: dict[TierId, dict[int, NodeId]]
    vms_of: dict[NodeId, dict[int, NodeId]]
    free: dict[Shape, dict[NodeId, tuple[NodeId, ...]]]
    loose: dict[NodeId, None]
    fenced: dict[TierId, dict[int, SlotId]]
    fenced_by: dict[NodeId, dict[SlotId, SlotId]]
    stopwatches: dict[NodeId, Stopwatch]
    usual: dict[Activity, Expected]
    generation: int

    def __init__(self) -> None:
        self.nodes, self.observed, self.tiers, self.slots = {}, {}, {}, {}
        self.troubles, self.images, self.alerts, self.jobs = {}, {}, {}, {}
        self.procedures = {}
        self.pool = PoolSettings()
        self.tier_members, self.vms_of, self.free, self.loose = {}, {}, {}, {}
        self.fenced, self.fenced_by = {}, {}
        self.timings, self.stopwatches, self.usual = {}, {}, {}
        self.generation = 0

    @classmethod
    def of(cls, records: Changes, generation: int = 0) -> "Fleet":
        """Build a Fleet from stored records, by kind and key."""
        draft = Draft(cls(), stamp=False)
        for kind, by_key in records.items():
            for key, record in by_key.items():
                draft.put(kind, key, record)
        fleet = draft.freeze()
        fleet.generation = generation
        return fleet

    def records(self) -> Changes:
        """Return everything it is made of, by kind and key: what `of` builds it from."""
        records: Changes = {kind: dict(getattr(self, field)) for kind, field in _FIELDS.items()}
        records[Kind.POOL] = {SITE: self.pool}
        return records

    def edit(self) -> "Draft":
        """Begin a Draft on top of this snapshot, which stays as it is."""
        return Draft(self)

    def node(self, name: NodeId) -> Node:
        """Return a node; raises NoSuchThing."""
        found = self.nodes.get(name)
        if found is None:
            raise NoSuchThing(f"there is no node {name}", remedy="see `metier node list`")
        return found

    def tier(self, name: TierId) -> Tier:
        """Return a tier; raises NoSuchThing."""
        found = self.tiers.get(name)
        if found is None:
            raise NoSuchThing(f"there is no tier {name}", remedy="see `metier tier list`")
        return found

    def image(self, ref: ImageRef) -> Image:
        """Return an image version; raises NoSuchThing."""
        found = self.images.get(ref)
        if found is None:
            raise NoSuchThing(f"there is no image {ref}", remedy="see `metier image list`")
        return found

    def seen(self, name: NodeId) -> Observed:
        """Return what was last observed of a node; nothing, if it never was."""
        return self.observed.get(name, NOTHING_SEEN)

    def members(self, tier: TierId) -> Mapping[int, NodeId]:
        """Return the nodes of a tier by slot number."""
        return self.tier_members.get(tier, {})

    def member_nodes(self, tier: TierId) -> list[Node]:
        """Return the nodes of a tier in slot order."""
        return [self.nodes[name] for _, name in sorted(self.members(tier).items())]

    def virtual_nodes(self, host: NodeId) -> list[Node]:
        """Return the virtual nodes of a host in VM order."""
        return [self.nodes[name] for _, name in sorted(self.vms_of.get(host, {}).items())]

    def slot(self, slot: SlotId) -> Slot:
        """Return what is kept for a slot; an empty one if nothing is."""
        return self.slots.get(slot) or Slot(slot)

    def slots_of(self, tier: Tier) -> Iterator[Slot]:
        """Yield the kept slots of a tier in order, also those beyond its maximum; walks all there are."""
        yield from sorted(
            (s for s in self.slots.values() if s.id.tier == tier.name), key=lambda s: s.id.number
        )

    def fenced_slots(self, tier: TierId) -> list[Slot]:
        """Return the slots of a tier that have fences, in order."""
        return [self.slots[slot] for _, slot in sorted(self.fenced.get(tier, {}).items())]

    def host_of(self, node: Node) -> Node | None:
        """Return the host node of a virtual node, None for a physical one or a host that is gone."""
        return None if node.host is None else self.nodes.get(node.host)


_FIELDS = {
    Kind.NODE: "nodes",
    Kind.TIER: "tiers",
    Kind.SLOT: "slots",
    Kind.TROUBLE: "troubles",
    Kind.IMAGE: "images",
    Kind.ALERT: "alerts",
    Kind.JOB: "jobs",
    Kind.PROCEDURE: "procedures",
    Kind.OBSERVED: "observed",
    Kind.TIMING: "timings",
}


class Draft(Fleet):
    """A Fleet under change; reads see what was already put.

    It copies a table of its base when it first writes to it, never the whole Fleet.

    Attributes:
        changes: What was put or removed, for the store and for choosing what to plan again.
    """

    __slots__ = ("_base", "_owned", "_stamp", "changes")

    def __init__(self, base: Fleet, *, stamp: bool = True) -> None:
        self._base = base
        for name in Fleet.__slots__:
            setattr(self, name, getattr(base, name))
        self._owned: set[object] = set()
        self._stamp = stamp
        self.changes: Changes = {}
        self.generation = base.generation + 1

    def edit(self) -> "Draft":
        """Begin a Draft on top of this one, for looking ahead."""
        return Draft(self.freeze())

    def freeze(self) -> Fleet:
        """Return the snapshot with every change in it; the base itself if nothing changed."""
        if not self.changes and not self._owned:
            return self._base
        fleet = Fleet()
        for name in Fleet.__slots__:
            setattr(fleet, name, getattr(self, name))
        if not self.changes:
            fleet.generation = self._base.generation
        self._owned.clear()
        return fleet

    def put(self, kind: Kind, key: Any, record: Any) -> None:
        """Put a record of any kind under its key; None removes it."""
        match kind:
            case Kind.NODE if record is None:
                self.remove_node(key)
            case Kind.NODE:
                self.put_node(record)
            case Kind.SLOT:
                self._put_slot(key, record)
            case Kind.POOL:
                self.put_pool(record)
            case Kind.TIMING:
                self._put_timing(key, record)
            case _:
                self._put(kind, key, record)

    def put_node(self, node: Node) -> Node:
        """Put a node and bring the indexes up to date; returns it as stamped."""
        node = self._stamped(node)
        self._reindex(self.nodes.get(node.name), node)
        self._put(Kind.NODE, node.name, node)
        return node

    def change_node(self, name: NodeId, **fields: Any) -> Node:
        """Replace fields of a node; returns the new one."""
        return self.put_node(replace(self.nodes[name], **fields))

    def remove_node(self, name: NodeId) -> None:
        """Remove a node, what was observed of it, and what it took."""
        self._reindex(self.nodes.get(name), None)
        self._put(Kind.NODE, name, None)
        if name in self.observed:
            self._put(Kind.OBSERVED, name, None)
        self.put_stopwatch(name, None)
        self._remove_timings(name)

    def put_observed(self, name: NodeId, seen: Observed, *, quiet: bool = False) -> None:
        """Put what was observed of a node; quietly, when only its age changed and nobody need plan."""
        if quiet:
            self._own("observed")[name] = seen
        else:
            self._put(Kind.OBSERVED, name, seen)

    def put_tier(self, tier: Tier) -> None:
        """Put a tier."""
        self._put(Kind.TIER, tier.name, self._stamped(tier))

    def remove_tier(self, name: TierId) -> None:
        """Remove a tier with its slots and troubles; its members must have left."""
        for slot in list(self.slots_of(self.tiers[name])):
            self._put_slot(slot.id, None)
        if name in self.troubles:
            self._put(Kind.TROUBLE, name, None)
        self._put(Kind.TIER, name, None)

    def put_slot(self, slot: Slot) -> None:
        """Put what is kept for a slot; an empty one is dropped."""
        empty = slot.node is None and slot.instance is None and not slot.fences
        if not empty:
            self._put_slot(slot.id, self._stamped(slot))
        elif slot.id in self.slots:
            self._put_slot(slot.id, None)

    def put_trouble(self, trouble: Trouble) -> None:
        """Put what is remembered of a tier's failures."""
        self._put(Kind.TROUBLE, trouble.tier, self._stamped(trouble))

    def put_image(self, image: Image) -> None:
        """Put an image version."""
        self._put(Kind.IMAGE, image.ref, self._stamped(image))

    def remove_image(self, ref: ImageRef) -> None:
        """Remove an image version, and what its guests took."""
        self._put(Kind.IMAGE, ref, None)
        self._remove_timings(str(ref))

    def put_alert(self, alert: Alert) -> None:
        """Put an alert."""
        self._put(Kind.ALERT, alert.id, self._stamped(alert))

    def remove_alert(self, alert: int) -> None:
        """Remove an alert."""
        self._put(Kind.ALERT, alert, None)

    def put_job(self, job: Job) -> None:
        """Put a job."""
        self._put(Kind.JOB, job.id, self._stamped(job))

    def put_procedure(self, procedure: Procedure) -> None:
        """Put an update procedure."""
        self._put(Kind.PROCEDURE, procedure.id, self._stamped(procedure))

    def put_timing(self, timing: Timing) -> None:
        """Put what a subject took."""
        self._put_timing(timing.id, self._stamped(timing))

    def put_stopwatch(self, name: NodeId, running: Stopwatch | None) -> None:
        """Put what a node is being timed for, None to stop; nobody is told of it and nothing is stored."""
        if running is not None:
            self._own("stopwatches")[name] = running
        elif name in self.stopwatches:
            del self._own("stopwatches")[name]

    def put_pool(self, pool: PoolSettings) -> None:
        """Put the pools' automation settings."""
        self.pool = self._stamped(pool)
        self.changes.setdefault(Kind.POOL, {})[SITE] = self.pool

    def _put_slot(self, slot: SlotId, record: Slot | None) -> None:
        old, new = _fence_positions(self.slots.get(slot)), _fence_positions(record)
        for field, outer, inner in old - new:
            self._move(field, (outer, inner, slot), None)
        for field, outer, inner in new - old:
            self._move(field, None, (outer, inner, slot))
        self._put(Kind.SLOT, slot, record)

    def _put_timing(self, key: TimingId, record: Timing | None) -> None:
        self._put(Kind.TIMING, key, record)
        # A new table, not an emptied one: snapshots from before go on with theirs.
        self.usual = {}

    def _remove_timings(self, subject: str) -> None:
        for activity in Activity:
            key = TimingId(activity, subject)
            if key in self.timings:
                self._put_timing(key, None)

    def _stamped(self, record: _Record) -> _Record:
        if not self._stamp or record.generation == self.generation:
            return record
        return replace(record, generation=self.generation)

    def _put(self, kind: Kind, key: Any, record: Any) -> None:
        table = self._own(_FIELDS[kind])
        if record is None:
            table.pop(key, None)
        else:
            table[key] = record
        self.changes.setdefault(kind, {})[key] = record

    def _own(self, field: str) -> dict[Any, Any]:
        if field not in self._owned:
            setattr(self, field, dict(getattr(self, field)))
            self._owned.add(field)
        table: dict[Any, Any] = getattr(self, field)
        return table

    def _own_inner(self, field: str, key: Any) -> dict[Any, Any]:
        table = self._own(field)
        if (field, key) not in self._owned:
            table[key] = dict(table.get(key, {}))
            self._owned.add((field, key))
        inner: dict[Any, Any] = table[key]
        return inner

    def _reindex(self, old: Node | None, new: Node | None) -> None:
        self._move("tier_members", _membership(old), _membership(new))
        self._move("vms_of", _vm_position(old), _vm_position(new))
        before, after = _spare_position(old), _spare_position(new)
        if before != after:
            self._change_free(before, remove=True)
            self._change_free(after, remove=False)
        if _is_loose(old) != _is_loose(new):
            self._change_loose(old or new)

    def _move(self, field: str, old: tuple[Any, Any, Any] | None, new: tuple[Any, Any, Any] | None) -> None:
        if old == new:
            return
        if old is not None:
            outer, inner, name = old
            table = self._own_inner(field, outer)
            if table.get(inner) == name:
                del table[inner]
            if not table:
                self._drop_inner(field, outer)
        if new is not None:
            outer, inner, name = new
            self._own_inner(field, outer)[inner] = name

    def _drop_inner(self, field: str, key: Any) -> None:
        del self._own(field)[key]
        self._owned.discard((field, key))

    def _change_loose(self, node: Node | None) -> None:
        assert node is not None
        table = self._own("loose")
        if table.pop(node.name, self) is self:
            table[node.name] = None

    def _change_free(self, position: tuple[Shape, NodeId, NodeId] | None, *, remove: bool) -> None:
        if position is None:
            return
        shape, group, name = position
        groups = self._own_inner("free", shape)
        names = groups.get(group, ())
        names = tuple(other for other in names if other != name) if remove else (*names, name)
        if names:
            groups[group] = names
        else:
            groups.pop(group, None)
        if not groups:
            self._drop_inner("free", shape)


def _is_loose(node: Node | None) -> bool:
    return node is not None and node.placement.place is not Place.TIER and not is_spare(node)


def _membership(node: Node | None) -> tuple[TierId, int, NodeId] | None:
    if node is None or node.placement.tier is None or node.placement.slot is None:
        return None
    return node.placement.tier, node.placement.slot, node.name


def _fence_positions(slot: Slot | None) -> set[tuple[str, Any, Any]]:
    """Return where the indexes of fences name a slot: index, outer key, inner key."""
    if slot is None or not slot.fences:
        return set()
    names = {name for fence in slot.fences for name in (fence.node, fence.host) if name is not None}
    return {("fenced", slot.id.tier, slot.id.number), *(("fenced_by", name, slot.id) for name in names)}


def _vm_position(node: Node | None) -> tuple[NodeId, int, NodeId] | None:
    if node is None or node.host is None or node.vm_number is None:
        return None
    return node.host, node.vm_number, node.name


def _spare_position(node: Node | None) -> tuple[Shape, NodeId, NodeId] | None:
    if node is None or node.hardware is None or not is_spare(node):
        return None
    return Shape(node.kind, node.hardware), node.host or node.name, node.name
