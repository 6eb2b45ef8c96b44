"""Watches for whom a simulation is felt: tiers below their numbers, and slots that nobody serves."""

from collections import Counter
from dataclasses import dataclass

from metier.control.round import Round
from metier.domain.fleet import Fleet, Kind
from metier.domain.forecast import Dip, Displaced, Level
from metier.domain.ids import NodeId, SlotId, TierId, natural
from metier.domain.node import Node
from metier.domain.observation import Health
from metier.domain.status import health
from metier.domain.tier import Tier, TierState


@dataclass(slots=True)
class _Low:
    """A dip under way."""

    wanted: int
    from_s: float
    lowest: int


@dataclass(slots=True)
class _Gap:
    """A slot that its node no longer serves, and who does since when."""

    node: NodeId
    slot: SlotId
    from_s: float
    to: NodeId | None = None
    until_s: float = 0.0


class Outages:
    """Follows a controller's rounds; seconds are counted from when it began to."""

    def __init__(self, fleet: Fleet) -> None:
        self._slot_of: dict[NodeId, SlotId] = {}
        self._virtual: set[NodeId] = set()
        self._serving: Counter[TierId] = Counter()
        self._low: dict[tuple[TierId, Level], _Low] = {}
        self._dips: list[Dip] = []
        self._gaps: list[_Gap] = []
        self._open: dict[SlotId, _Gap] = {}
        for tier in fleet.tiers.values():
            for node in fleet.member_nodes(tier.name):
                self._begin(node, slot_served(fleet, node), 0.0)
        for tier in fleet.tiers.values():
            self._measure(tier, 0.0)

    def follow(self, finished: Round, at_s: float) -> None:
        """Take note of what a round changed."""
        fleet, changes = finished.fleet, finished.changes
        tiers: set[TierId] = set(changes.get(Kind.TIER, {}))
        touched = {*changes.get(Kind.NODE, {}), *changes.get(Kind.OBSERVED, {})}
        moves = [(name, slot_served(fleet, fleet.nodes.get(name))) for name in touched]
        for name, slot in sorted(moves):
            was = self._slot_of.get(name)
            if was is not None and was != slot:
                self._end(name, was, at_s)
                tiers.add(was.tier)
        for name, slot in sorted(moves):
            if slot is not None and self._slot_of.get(name) != slot:
                self._begin(fleet.nodes[name], slot, at_s)
                tiers.add(slot.tier)
        for name in tiers:
            self._measure(fleet.tiers.get(name) or name, at_s)

    def dips(self) -> tuple[Dip, ...]:
        """Return all dips, those that have not ended too."""
        lasting = [
            Dip(tier, level, low.wanted, low.from_s, None, low.lowest)
            for (tier, level), low in self._low.items()
        ]
        found = self._dips + lasting
        return tuple(sorted(found, key=lambda dip: (dip.from_s, natural(dip.tier), dip.below)))

    def displaced(self) -> tuple[Displaced, ...]:
        """Return every virtual node whose work was interrupted."""
        found = [
            Displaced(gap.node, gap.slot, gap.to, gap.from_s, gap.until_s - gap.from_s if gap.to else None)
            for gap in self._gaps
        ]
        return tuple(sorted(found, key=lambda one: (one.from_s, natural(one.node))))

    # --- slots --------------------------------------------------------------------

    def _begin(self, node: Node, slot: SlotId | None, at_s: float) -> None:
        if slot is None:
            return
        self._slot_of[node.name] = slot
        if node.is_virtual:
            self._virtual.add(node.name)
        self._serving[slot.tier] += 1
        gap = self._open.pop(slot, None)
        if gap is not None:
            gap.to, gap.until_s = node.name, at_s

    def _end(self, name: NodeId, slot: SlotId, at_s: float) -> None:
        del self._slot_of[name]
        self._serving[slot.tier] -= 1
        if name in self._virtual:
            gap = self._open[slot] = _Gap(name, slot, at_s)
            self._gaps.append(gap)

    # --- tiers --------------------------------------------------------------------

    def _measure(self, tier: Tier | TierId, at_s: float) -> None:
        for level in Level:
            if isinstance(tier, Tier):
                self._compare(tier, level, at_s)
            else:
                self._rise(tier, level, at_s)

    def _compare(self, tier: Tier, level: Level, at_s: float) -> None:
        count, key = self._serving[tier.name], (tier.name, level)
        wanted = tier.minimum if level is Level.MINIMUM else tier.target
        if tier.state is not TierState.ACTIVE or count >= wanted:
            self._rise(tier.name, level, at_s)
        elif key in self._low:
            self._low[key].lowest = min(self._low[key].lowest, count)
        else:
            self._low[key] = _Low(wanted, at_s, count)

    def _rise(self, tier: TierId, level: Level, at_s: float) -> None:
        low = self._low.pop((tier, level), None)
        if low is not None and at_s > low.from_s:
            self._dips.append(Dip(tier, level, low.wanted, low.from_s, at_s - low.from_s, low.lowest))


def slot_served(fleet: Fleet, node: Node | None) -> SlotId | None:
    """Return the slot whose work `node` does as it should; None if it does none."""
    if node is None or node.tier is None or node.placement.slot is None:
        return None
    if health(fleet, node) is not Health.NORMAL:
        return None
    return SlotId(node.tier, node.placement.slot)
