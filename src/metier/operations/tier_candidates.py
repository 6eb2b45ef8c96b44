"""Which free nodes a tier would take next, and why the other nodes would not do (R-ALLOC-5)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from typing import NamedTuple

from metier.domain.allocation import Allotment
from metier.domain.fleet import Fleet
from metier.domain.ids import natural
from metier.domain.matching import Obstacle, host_obstacle, needs_of, obstacles, shape_obstacles
from metier.domain.node import Node
from metier.domain.tier import Tier
from metier.operations.foretold import SHOWN
from metier.operations.node_verdict import cures
from metier.operations.precedence import comes_first
from metier.operations.registry import Row


class Miss(NamedTuple):
    """A node that does not fit, and everything that stands in the way."""

    node: Node
    found: Sequence[Obstacle]

    @property
    def is_curable(self) -> bool:
        """Whether something simple would make it fit."""
        return all(obstacle.cure for obstacle in self.found)

    def distance(self) -> tuple[int, int, tuple[str | int, ...]]:
        """Return how near it is to fitting: fewest obstacles, smallest gaps, name."""
        return len(self.found), sum(one.distance for one in self.found), natural(self.node.name)


def candidate_row(fleet: Fleet, tier: Tier, line: Sequence[Allotment]) -> Row:
    """Return how many free nodes fit, who is next of them, and why the others do not fit."""
    misses = list(_misses(fleet, tier))
    counts = Counter(_group(miss) for miss in misses)
    others = (other for other in fleet.tiers.values() if other.kind is tier.kind and other.name != tier.name)
    elsewhere = sum(len(fleet.members(other.name)) for other in others)
    if elsewhere:
        counts["in another tier"] = elsewhere
    free = sum(len(names) for groups in fleet.free.values() for names in groups.values())
    missed_free = sum(miss.node.name not in fleet.loose for miss in misses)
    curable = (miss for miss in misses if miss.is_curable)
    near = nsmallest(SHOWN, curable, key=Miss.distance)
    return {
        "candidates": free - missed_free,
        "next": [{"node": one.node.name, "cost": one.cost} for one in line],
        "next_why": _next_why(fleet, tier, line),
        "reasons": [f"{count} × {group}" for group, count in counts.most_common()],
        "cures": [sentence for miss in near for sentence in cures(fleet, miss.node, tier, miss.found)],
    }


def _misses(fleet: Fleet, tier: Tier) -> Iterator[Miss]:
    """Yield every node outside tiers that does not fit."""
    needs = needs_of(fleet, tier)
    for shape, groups in fleet.free.items():
        unfit = shape_obstacles(needs, tier, shape)
        for names in groups.values():
            is_blocked = host_obstacle(fleet, fleet.nodes[names[0]]) is not None
            for name in names:
                node = fleet.nodes[name]
                if unfit or is_blocked or node.promised is not None or not (node.is_virtual or node.vmm):
                    found = obstacles(fleet, node, tier)
                    if found:
                        yield Miss(node, found)
    for name in fleet.loose:
        node = fleet.nodes[name]
        yield Miss(node, obstacles(fleet, node, tier))


def _group(miss: Miss) -> str:
    """Return what a miss is counted under: missing hardware before all that may pass."""
    return next((one for one in miss.found if one.distance), miss.found[0]).group


def _next_why(fleet: Fleet, tier: Tier, line: Sequence[Allotment]) -> str:
    """Return why the first in line comes before the second; empty where nobody is in line."""
    if not line:
        return ""
    if len(line) == 1:
        return f"no free node but {line[0].node.name} fits"
    return f"{line[0].node.name} comes first: {comes_first(fleet, tier, line[0].node, line[1].node)}"
