"""Which free nodes tiers in need get, in which order and at what cost (R-ALLOC-1, R-ALLOC-3).

The planner allocates by this, and what explains its choices to an operator asks
the same functions, so that what is told is what would happen.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

from metier.domain.choice import Chooser, fitting_shapes
from metier.domain.fleet import Fleet, Shape
from metier.domain.ids import SlotId, TierId, natural
from metier.domain.node import Node
from metier.domain.sharing import Shares
from metier.domain.tier import Tier, TierState


class Allotment(NamedTuple):
    """A free node for an empty slot.

    Attributes:
        cost: In points; see `hardware.surplus`.
        has: How many nodes the tier had before.
        level: `minimum` or `target`: what it was short of.
        goal: How many nodes that is.
        left_to: Tiers to which cheaper nodes are left, since others go short without them.
    """

    node: Node
    slot: SlotId
    cost: int
    has: int
    level: str
    goal: int
    left_to: tuple[TierId, ...] = ()


def by_importance(fleet: Fleet, names: Iterable[TierId]) -> list[Tier]:
    """Return the tiers of these names that exist, in the order in which they are served (R-ALLOC-1)."""
    known = [fleet.tiers[name] for name in names if name in fleet.tiers]
    return sorted(known, key=lambda tier: (-tier.priority, natural(tier.name)))


def shortage(fleet: Fleet, tier: Tier, goal: int) -> int:
    """Return how many nodes `tier` lacks to `goal`; every member counts, engaged or not (R-ALLOC-4)."""
    if tier.state is TierState.INACTIVE:
        return 0
    return max(0, min(goal, tier.maximum) - len(fleet.members(tier.name)))


def has_brake_on(fleet: Fleet, tier: Tier) -> bool:
    """Say whether automation has stopped replacing in `tier` (R-STORM-1)."""
    trouble = fleet.troubles.get(tier.name)
    return trouble is not None and trouble.braked_since is not None


LEVELS: Mapping[str, Callable[[Tier], int]] = {
    "minimum": lambda tier: tier.minimum,
    "target": lambda tier: tier.target,
}
"""What shortages are measured by, in the order in which they are met (R-ALLOC-1)."""


def allotments(fleet: Fleet, tiers: Iterable[Tier]) -> Iterator[Allotment]:
    """Yield who gets what: every shortage below minimum, then every one below target, in tier order.

    Each must be put into its slot, in `fleet`, before the next is asked for.
    """
    short = [tier for tier in tiers if not has_brake_on(fleet, tier) and shortage(fleet, tier, tier.target)]
    chooser = Chooser(fleet)
    chooser.hold_to(_shares(fleet, short, chooser.supply()) if len(short) > 1 else {})
    for level, goal in LEVELS.items():
        for tier in short:
            numbers = _empty_slots(fleet, tier)
            for node, price in chooser.choose(tier, shortage(fleet, tier, goal(tier))):
                has, slot = len(fleet.members(tier.name)), SlotId(tier.name, next(numbers))
                left_to = chooser.left_to(tier, price)
                yield Allotment(node, slot, price[1], has, level, goal(tier), left_to)


def _empty_slots(fleet: Fleet, tier: Tier) -> Iterator[int]:
    taken = set(fleet.members(tier.name))
    return iter([number for number in range(1, tier.maximum + 1) if number not in taken])


def _shares(
    fleet: Fleet, short: Sequence[Tier], supply: Mapping[Shape, int]
) -> Mapping[TierId, Counter[Shape]]:
    """Return how many nodes of each shape each tier is to take; nothing if everybody's cheapest is best."""
    by_price = {tier.name: fitting_shapes(fleet, tier) for tier in short}
    cheapest_first = {
        name: [shape for price in sorted(found) for shape in sorted(found[price], key=_in_words)]
        for name, found in by_price.items()
    }
    shares = Shares(supply, cheapest_first)
    for goal in LEVELS.values():
        for tier in short:
            shares.serve(tier.name, shortage(fleet, tier, goal(tier)) - shares.held[tier.name].total())
    # Who can use a promised node depends on who is short by then: such a round goes by cost alone.
    return shares.held if shares.is_exchanged and not _is_any_promised(fleet) else {}


def _in_words(shape: Shape) -> list[str]:
    """Return what a shape is, to sort by: no order of records may decide."""
    parts = (getattr(shape.hardware, field.name) for field in fields(shape.hardware))
    return [str(sorted(part) if isinstance(part, frozenset) else part) for part in parts]


def _is_any_promised(fleet: Fleet) -> bool:
    names = (name for groups in fleet.free.values() for names in groups.values() for name in names)
    return any(fleet.nodes[name].promised is not None for name in names)
