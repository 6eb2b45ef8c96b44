"""Which tiers and nodes a change can concern: what has to be looked at again, and nothing else.

The rule for whoever writes a step: what a step reads about a node or tier other than
the one it plans must have its line here.  The property test in `tests/simulation`
compares every incremental plan with a full one and fails on a line that is missing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from metier.domain.fleet import Changes, Fleet, Kind
from metier.domain.ids import ImageRef, NodeId, SlotId, TierId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, NodeKind
from metier.domain.observation import Observed
from metier.domain.release import has_too_many
from metier.domain.tier import Tier, TierKind, TierState


@dataclass(slots=True)
class Reach:
    """What is concerned so far, between two snapshots.

    Attributes:
        old: The fleet that was last planned from, with that plan begun.
        new: The fleet to plan from.
        hungry: Tiers that lacked nodes after the last plan.
        promised: Nodes harvested for a tier, with that tier.
        everything: The change concerns all there is.
        supplied: What is free may have changed.
        donors: Tiers whose members changed, so that they may be able to give one away.
    """

    old: Fleet
    new: Fleet
    hungry: Collection[TierId] = ()
    promised: Collection[TierId] = ()
    tiers: set[TierId] = field(default_factory=set)
    nodes: set[NodeId] = field(default_factory=set)
    site: bool = False
    everything: bool = False
    supplied: bool = False
    donors: set[TierId] = field(default_factory=set)

    def follow(self, changes: Changes) -> None:
        """Add everything that `changes` concern."""
        for kind, keys in changes.items():
            rule = _RULES.get(kind)
            if rule is not None:
                for key in keys:
                    rule(self, key)
        self._feed_the_hungry()

    def supply(self) -> None:
        """Note that what is free may have changed: every tier that lacks nodes is concerned."""
        self.supplied = True

    def join(self, other: "Reach") -> None:
        """Add all that `other` holds, and what it means for the tiers that are hungry by now."""
        self.supplied = self.supplied or other.supplied
        self.donors |= other.donors
        self._feed_the_hungry()
        self.tiers |= other.tiers
        self.nodes |= other.nodes
        self.site = self.site or other.site
        self.everything = self.everything or other.everything

    def covers(self, other: "Reach") -> bool:
        """Say whether all that `other` holds is here too."""
        if self.everything:
            return True
        has_site = self.site or not other.site
        return has_site and not other.everything and other.tiers <= self.tiers and other.nodes <= self.nodes

    # --- rules, one for each kind of record ---------------------------------------

    def node(self, name: NodeId) -> None:
        """Add what a changed node record concerns."""
        self.nodes.add(name)
        self._fences_of(name)
        self._heir_of(name)
        for fleet in (self.old, self.new):
            node = fleet.nodes.get(name)
            if node is not None:
                self._place(node)
                self._host(node)
                self._instance(node)
        guests = self.new.vms_of.get(name)
        if guests:
            self.nodes.update(guests.values())
            self.supply()

    def _heir_of(self, name: NodeId) -> None:
        """Add whoever fills a slot whose instance was taken off its last VM."""
        was, now = self.old.nodes.get(name), self.new.nodes.get(name)
        if was is None or was.instance is None or (now is not None and now.instance == was.instance):
            return
        heir = self.new.slot(was.instance.slot).node
        if heir is not None:
            self.nodes.add(heir)

    def _place(self, node: Node) -> None:
        if node.tier is not None:
            self.tiers.add(node.tier)
            self.donors.add(node.tier)
            if node.tier in self.promised:
                self.supply()
        else:
            self.supply()
            self.site = self.site or node.kind is NodeKind.PHYSICAL

    def _host(self, guest: Node) -> None:
        host = self.new.nodes.get(guest.host) if guest.host is not None else None
        if host is None:
            return
        self.nodes.add(host.name)
        if host.tier is not None:
            self.donors.add(host.tier)
            tier = self.new.tiers.get(host.tier)
            if tier is not None and has_too_many(self.new, tier):
                self.tiers.add(host.tier)

    def _instance(self, node: Node) -> None:
        """Add who fills the slot that the node's instance is for: it may wait until it can have it."""
        holder = None if node.instance is None else self.new.slot(node.instance.slot).node
        if holder is not None:
            self.nodes.add(holder)

    def observed(self, name: NodeId) -> None:
        """Add what a new observation of a node concerns."""
        was, now = self.old.seen(name), self.new.seen(name)
        node = self.new.nodes.get(name)
        if node is None or was is now:
            return
        self._fences_of(name)
        if not node.is_virtual:
            self._fences_of_guests()
        guests = self.new.vms_of.get(name, {})
        if _says_the_same(was, now):
            self._await(name, node, guests.values(), was)
            return
        self.nodes.add(name)
        self._place_of_seen(node, was, now)
        if not guests:
            return
        if was.power is not now.power or was.vmm_reachable != now.vmm_reachable or now.vmm_failures:
            self.nodes.update(guests.values())
            self.supply()
        else:
            self._guests_seen(guests, was, now)

    def _await(self, name: NodeId, node: Node, guests: Iterable[NodeId], was: Observed) -> None:
        """Add those for which the same again, seen later, is news: what was seen before was too old."""
        oldest = _oldest_stamp(was)
        if _changed_since(node, oldest):
            self.nodes.add(name)
        for guest in guests:
            if _changed_since(self.new.nodes[guest], oldest):
                self.nodes.add(guest)
                self.nodes.add(name)

    def _place_of_seen(self, node: Node, was: Observed, now: Observed) -> None:
        if node.tier is not None:
            if (was.health, was.power, was.vmm_reachable) != (now.health, now.power, now.vmm_reachable):
                self.tiers.add(node.tier)
                self._host(node)
        elif node.kind is NodeKind.PHYSICAL:
            self.site = True

    def _guests_seen(self, guests: Mapping[int, NodeId], was: Observed, now: Observed) -> None:
        oldest = _oldest_stamp(was)
        before = {vm.number: vm for vm in was.vms or ()}
        after = {vm.number: vm for vm in now.vms or ()}
        for number, guest in guests.items():
            if before.get(number) != after.get(number) or _changed_since(self.new.nodes[guest], oldest):
                self.nodes.add(guest)

    def tier(self, name: TierId) -> None:
        """Add what a changed tier concerns: itself, and unless only its numbers changed, its members."""
        self.tiers.add(name)
        self.donors.add(name)
        self.supply()
        was, now = self.old.tiers.get(name), self.new.tiers.get(name)
        if was is None or now is None or not _differ_in_numbers_only(was, now):
            self._members(name)
        elif was.rollout != now.rollout or was.resumed_at != now.resumed_at:
            self._rolled(was, now)

    def _rolled(self, was: Tier, now: Tier) -> None:
        """Add the members of slots that are to run another version, and failed ones: they may be evidence."""
        for number, name in self.new.members(now.name).items():
            is_failed = self.new.nodes[name].lifecycle is Lifecycle.FAILED
            if is_failed or was.image_for(number) != now.image_for(number):
                self.nodes.add(name)

    def _members(self, name: TierId) -> None:
        """Add the members of a tier, their hosts and guests, and the members of tiers that depend on it."""
        for member in self.new.members(name).values():
            self.nodes.add(member)
            self._host(self.new.nodes[member])
            self.nodes.update(self.new.vms_of.get(member, {}).values())
        for other in self.new.tiers.values():
            if name in other.depends_on:
                self.nodes.update(self.new.members(other.name).values())

    def slot(self, slot: SlotId) -> None:
        """Add what a changed slot concerns: its tier, whoever fills it, and the hosts of its fences."""
        self.tiers.add(slot.tier)
        for record in (self.old.slot(slot), self.new.slot(slot)):
            # A host makes no VM anew while the one of that number is fenced.
            self.nodes.update(fence.host for fence in record.fences if fence.host is not None)
            if record.node is not None:
                self.nodes.add(record.node)

    def trouble(self, name: TierId) -> None:
        """Add what a tier's failures concern: the tier and its failed members."""
        self.tiers.add(name)
        for member in self.new.members(name).values():
            if self.new.nodes[member].lifecycle is Lifecycle.FAILED:
                self.nodes.add(member)

    def image(self, ref: ImageRef) -> None:
        """Add the tiers that use a changed image."""
        for tier in self.new.tiers.values():
            if ref in tier.versions:
                self.tier(tier.name)
                self._members(tier.name)

    def pool(self, _key: str) -> None:
        """The pools' settings concern everything."""
        self.everything = True

    # --- what follows ---------------------------------------------------------------

    def _fences_of(self, name: NodeId) -> None:
        for slot in self.new.fenced_by.get(name, ()):
            self.tiers.add(slot.tier)

    def _fences_of_guests(self) -> None:
        """Add the guest tiers with a fence: a VM may have been moved, so every host has a say in it."""
        for name in self.new.fenced:
            tier = self.new.tiers.get(name)
            if tier is not None and tier.kind is TierKind.GUEST:
                self.tiers.add(name)

    def _feed_the_hungry(self) -> None:
        """Add the hungry tiers that may now find free nodes, or take some from a lesser tier."""
        if self.supplied:
            self.tiers.update(self.hungry)
            return
        for hungry in self.hungry:
            tier = self.new.tiers.get(hungry)
            if tier is None or tier.name in self.tiers or tier.state is not TierState.ACTIVE:
                continue
            if any(self._may_give(donor, tier.priority) for donor in self.donors):
                self.tiers.add(hungry)

    def _may_give(self, name: TierId, priority: int) -> bool:
        donor = self.new.tiers.get(name)
        return donor is not None and donor.harvesting and donor.priority < priority


_RULES: dict[Kind, Callable[[Reach, Any], None]] = {
    Kind.NODE: Reach.node,
    Kind.OBSERVED: Reach.observed,
    Kind.TIER: Reach.tier,
    Kind.SLOT: Reach.slot,
    Kind.TROUBLE: Reach.trouble,
    Kind.IMAGE: Reach.image,
    Kind.POOL: Reach.pool,
}
"""Alerts, jobs and timings concern no plan."""


def _differ_in_numbers_only(was: Tier, now: Tier) -> bool:
    """Say whether two versions of a tier want the same of each member, if not as many of them."""
    numbers = {name: getattr(now, name) for name in _NUMBERS}
    return replace(was, **numbers) == now


_NUMBERS = (
    "priority",
    "minimum",
    "target",
    "maximum",
    "harvesting",
    "harvest_to_target",
    "spread",
    "resumed_at",
    "max_unavailable",
    "surge",
    "rollout",
    "previous_image",
    "generation",
)


def _says_the_same(was: Observed, now: Observed) -> bool:
    """Say whether two observations differ in nothing but when they were made."""
    return (
        was.power is now.power
        and was.health is now.health
        and was.failed_checks == now.failed_checks
        and was.vmm_reachable == now.vmm_reachable
        and was.vmm_failures == now.vmm_failures
        and was.foreign_running == now.foreign_running
        and was.strays == now.strays
        and (was.vms is now.vms or was.vms == now.vms)
        and (was.checks is now.checks or was.checks == now.checks)
        and (was.power_error, was.vmm_error, was.address) == (now.power_error, now.vmm_error, now.address)
        and was.patch_level == now.patch_level
        and (was.details is now.details or was.details == now.details)
    )


def _oldest_stamp(seen: Observed) -> datetime | None:
    """Return the oldest of the moments something was seen at; None if something never was."""
    stamps = [at for at in (seen.power_at, seen.health_at, seen.vmm_at, seen.vms_at) if at is not None]
    return min(stamps, default=None)


def _changed_since(node: Node, seen_at: datetime | None) -> bool:
    """Say whether `node` changed after it was last seen, so that seeing it again is news."""
    if seen_at is None:
        return True
    changes = (node.since, node.started_at, node.staged_at)
    return any(at is not None and at >= seen_at for at in changes)
