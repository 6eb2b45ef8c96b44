"""Who takes how many nodes of which shape, so that no tier goes short without need (R-ALLOC-3).

Each tier in its turn takes the cheapest shapes that are left.  One that would go short may be
left a shape by a tier served before, if that one takes another that fits it too; and so on,
from tier to tier.  Nobody served before has a node less for it.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from metier.domain.fleet import Shape
from metier.domain.ids import TierId


class Shares:
    """What is free by shape, shared out to one tier after the other.

    Attributes:
        held: How many nodes of each shape each tier has so far.
        is_exchanged: Some tier left to another what it would have taken.
    """

    def __init__(self, free: Mapping[Shape, int], fitting: Mapping[TierId, Sequence[Shape]]) -> None:
        """Begin with so many `free`; `fitting` has the shapes that each tier can use, cheapest first."""
        self.held: dict[TierId, Counter[Shape]] = {tier: Counter() for tier in fitting}
        self.is_exchanged = False
        self._free = Counter(free)
        self._fitting = fitting
        self._holders: dict[Shape, dict[TierId, None]] = {}
        # From these shapes no exchange leads to a free one, and none ever will: what they
        # fit is all in use, by tiers that can use nothing else.
        self._exhausted: set[Shape] = set()

    def serve(self, tier: TierId, count: int) -> None:
        """Give a tier `count` more nodes, or as many as can be."""
        for shape in self._fitting[tier]:
            number = min(count, self._free[shape])
            if number > 0:
                self._give(tier, shape, number)
                self._free[shape] -= number
                count -= number
        while count > 0 and self._exchange(tier):
            count -= 1

    def _give(self, tier: TierId, shape: Shape, number: int) -> None:
        self.held[tier][shape] += number
        self._holders.setdefault(shape, {})[tier] = None

    def _exchange(self, tier: TierId) -> bool:
        """Give a tier one node by the shortest chain of exchanges that ends at a free one, if any."""
        came_by: dict[Shape, tuple[TierId, Shape | None]] = {
            shape: (tier, None) for shape in self._fitting[tier] if shape not in self._exhausted
        }
        queue = deque(came_by)
        while queue:
            shape = queue.popleft()
            if self._free[shape]:
                self._pass_on(shape, came_by)
                return True
            for holder in self._holders.get(shape, ()):
                for other in self._fitting[holder] if self.held[holder][shape] else ():
                    if other not in came_by and other not in self._exhausted:
                        came_by[other] = holder, shape
                        queue.append(other)
        self._exhausted |= came_by.keys()
        return False

    def _pass_on(self, free: Shape, came_by: Mapping[Shape, tuple[TierId, Shape | None]]) -> None:
        """Let every tier of a chain take what the one after it takes no more."""
        self._free[free] -= 1
        self.is_exchanged = True
        taken: Shape | None = free
        while taken is not None:
            tier, left = came_by[taken]
            self._give(tier, taken, 1)
            if left is not None:
                self.held[tier][left] -= 1
            taken = left
