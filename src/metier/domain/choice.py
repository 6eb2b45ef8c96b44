"""Which of the free nodes that fit a tier it takes, and in which order (R-ALLOC-3)."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from typing import NamedTuple

from metier.domain.fleet import Fleet, Shape
from metier.domain.ids import NodeId, TierId, natural
from metier.domain.matching import (
    cost,
    host_obstacle,
    needs_of,
    node_obstacle,
    promise_obstacle,
    shape_obstacles,
)
from metier.domain.node import Node
from metier.domain.tier import Spread, Tier

Price = tuple[bool, int]
"""What a node costs a tier; see `matching.cost`."""

Shapes = tuple[Shape, ...]
"""Shapes that cost a tier the same."""


class Rank(NamedTuple):
    """Where a node stands among those that cost a tier the same; the smallest is taken first.

    Attributes:
        uses: How many nodes of the tier are on its host; negated for a tier that packs.
        failures: How often it failed, and its host if it is virtual.
        room: The negated number of free nodes on its host that cost the tier the same.
        by_name: The name of its host (its own if it is physical) as lists are sorted.
    """

    uses: int
    failures: int
    room: int
    by_name: tuple[str | int, ...]
    host: NodeId


def rank(fleet: Fleet, tier: Tier, node: Node) -> Rank:
    """Return where a node that fits `tier` stands among those of its cost as things are."""
    assert node.hardware is not None
    price = cost(needs_of(fleet, tier), Shape(node.kind, node.hardware))
    host = node.host or node.name
    uses = sum((fleet.nodes[name].host or name) == host for name in fleet.members(tier.name).values())
    room = _room(fleet, fitting_shapes(fleet, tier).get(price, ()), host)
    return Rank(
        -uses if tier.spread is Spread.PACK else uses,
        failures_of(fleet, node),
        -room,
        natural(host),
        host,
    )


def failures_of(fleet: Fleet, node: Node) -> int:
    """Return how often a node failed, and its host if it is virtual: both forebode the next time."""
    host = fleet.host_of(node)
    return node.failures if host is None else node.failures + host.failures


def fitting_shapes(fleet: Fleet, tier: Tier) -> dict[Price, Shapes]:
    """Return the shapes of free nodes that fit `tier` by what they cost."""
    needs = needs_of(fleet, tier)
    found: dict[Price, Shapes] = {}
    for shape in fleet.free:
        if not shape_obstacles(needs, tier, shape):
            price = cost(needs, shape)
            found[price] = (*found.get(price, ()), shape)
    return found


def _room(fleet: Fleet, shapes: Shapes, host: NodeId) -> int:
    return sum(len(fleet.free.get(shape, _NOTHING).get(host, ())) for shape in shapes)


_Entry = tuple[int, int, tuple[str | int, ...], NodeId]
"""A host in a queue: its failures, its negated room, and its name twice: as it is sorted, and as it is."""


class Chooser:
    """Finds candidates in one plan; remembers which hosts are usable, and their order.

    All tiers to which the same shapes cost the same share a queue of hosts.  An entry
    there is never larger than the rank of any node on its host, for room only shrinks
    and failures only add up: so a host is looked at closely only once it comes up.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._queues: dict[Shapes, list[_Entry]] = {}
        self._usable: dict[NodeId, bool] = {}
        self._shares: Mapping[TierId, Counter[Shape]] = {}

    def supply(self) -> Counter[Shape]:
        """Count the free nodes that can be taken at all."""
        supply: Counter[Shape] = Counter()
        for shape, groups in self._fleet.free.items():
            for names in groups.values():
                first = self._fleet.nodes[names[0]]
                if first.vmm is not None or (first.is_virtual and self._is_usable(first)):
                    supply[shape] += len(names)
        return supply

    def hold_to(self, shares: Mapping[TierId, Counter[Shape]]) -> None:
        """Give each tier only so many nodes of each shape from here on."""
        self._shares = shares

    def left_to(self, tier: Tier, price: Price) -> tuple[TierId, ...]:
        """Return the tiers that are left nodes that would cost `tier` less than `price`."""
        if not self._shares:
            return ()
        found = fitting_shapes(self._fleet, tier)
        cheaper = [shape for cost in found if cost < price for shape in found[cost]]
        return tuple(
            name
            for name, share in self._shares.items()
            if name != tier.name and any(share[shape] for shape in cheaper)
        )

    def choose(self, tier: Tier, count: int) -> Iterator[tuple[Node, Price]]:
        """Yield at most `count` nodes to allocate to `tier`, best first, each with its cost.

        Each must be allocated before the next is asked for, and the last before another tier chooses.
        """
        used: Counter[NodeId] | None = None
        for price, shapes, most in self._helpings(tier, count):
            if count == 0:
                return
            if used is None:
                used = Counter(self._used_hosts(tier))
            for node in self._of_shapes(shapes, tier, used, min(count, most)):
                self._note_taken(tier, node)
                yield node, price
                count -= 1

    def _helpings(self, tier: Tier, count: int) -> Iterator[tuple[Price, Shapes, int]]:
        """Yield what a tier may take, cheapest first: so many nodes of these shapes; as it is held to."""
        fitting = fitting_shapes(self._fleet, tier) if count > 0 else {}
        for price in sorted(fitting):
            if not self._shares:
                yield price, fitting[price], count
                continue
            for shape in fitting[price]:
                most = self._shares[tier.name][shape]
                if most:
                    yield price, (shape,), most

    def _note_taken(self, tier: Tier, node: Node) -> None:
        if self._shares and node.hardware is not None:
            self._shares[tier.name][Shape(node.kind, node.hardware)] -= 1

    def _used_hosts(self, tier: Tier) -> Iterator[NodeId]:
        for name in self._fleet.members(tier.name).values():
            yield self._fleet.nodes[name].host or name

    def _of_shapes(self, shapes: Shapes, tier: Tier, used: Counter[NodeId], count: int) -> Iterator[Node]:
        ahead = [host for host in used if self._is_open(shapes, host)] if tier.spread is Spread.PACK else []
        line = _Line(self._fleet, shapes, self._queue(shapes), tier, used, ahead)
        while count > 0 and (node := line.first()) is not None:
            yield node
            line.go_on()
            count -= 1
        line.close()

    def _is_open(self, shapes: Shapes, host: NodeId) -> bool:
        groups = (self._fleet.free[shape].get(host) for shape in shapes if shape in self._fleet.free)
        first = next((names[0] for names in groups if names), None)
        return first is not None and self._is_usable(self._fleet.nodes[first])

    def _queue(self, shapes: Shapes) -> list[_Entry]:
        """Return the queue of the usable hosts that have free nodes of these shapes."""
        queue = self._queues.get(shapes)
        if queue is None:
            first = {
                host: names[0] for shape in shapes for host, names in self._fleet.free.get(shape, {}).items()
            }
            queue = [
                _entry(self._fleet, shapes, host)
                for host, name in first.items()
                if self._is_usable(self._fleet.nodes[name])
            ]
            heapify(queue)
            self._queues[shapes] = queue
        return queue

    def _is_usable(self, node: Node) -> bool:
        if node.host is None:
            return True
        if node.host not in self._usable:
            self._usable[node.host] = host_obstacle(self._fleet, node) is None
        return self._usable[node.host]


class _Line:
    """The hosts of one cost in the order in which one tier takes nodes from them.

    What came up from the queue is kept apart until the tier is served: its rank depends on the tier.
    """

    def __init__(
        self,
        fleet: Fleet,
        shapes: Shapes,
        queue: list[_Entry],
        tier: Tier,
        used: Counter[NodeId],
        ahead: Collection[NodeId],
    ) -> None:
        """Begin with the hosts `ahead` of whatever the queue holds."""
        self._fleet, self._shapes, self._queue, self._tier, self._used = fleet, shapes, queue, tier, used
        self._sign = -1 if tier.spread is Spread.PACK else 1
        self._ahead = frozenset(ahead)
        self._aside: list[_Entry] = []
        # The rank of a host without its best node is the least that any node on it can have.
        self._own: list[Rank] = []
        self._best: dict[NodeId, Node] = {}
        for host in ahead:
            self._put(_entry(fleet, shapes, host))

    def first(self) -> Node | None:
        """Return the node to take next, if there is one."""
        while True:
            self._let_come_up()
            if not self._own:
                return None
            best = self._best.get(self._own[0].host)
            if best is not None:
                return best
            self._look_closely(self._own[0])

    def go_on(self) -> None:
        """Note that the first node was allocated."""
        rank = heappop(self._own)
        del self._best[rank.host]
        self._used[rank.host] += 1
        if rank.room < -1:
            self._put((_failures_at(self._fleet, rank.host), rank.room + 1, *rank[3:]))

    def close(self) -> None:
        """Let the next tier have the hosts that still have nodes."""
        left = [_entry_of(self._fleet, rank) for rank in self._own if rank.host not in self._ahead]
        for entry in (*left, *self._aside):
            heappush(self._queue, entry)

    def _let_come_up(self) -> None:
        while self._queue and (not self._own or (0, *self._queue[0]) < self._own[0]):
            entry = heappop(self._queue)
            if entry[-1] in self._ahead:
                self._aside.append(entry)
            else:
                self._put(entry)

    def _put(self, entry: _Entry) -> None:
        heappush(self._own, Rank(self._sign * self._used[entry[-1]], *entry))

    def _look_closely(self, least: Rank) -> None:
        """Find the best node on the host that comes first, which may then not come first any more."""
        groups = [self._fleet.free.get(shape, _NOTHING).get(least.host, ()) for shape in self._shapes]
        nodes = [self._fleet.nodes[name] for names in groups for name in names]
        nodes.sort(key=lambda node: (node.failures, natural(node.name)))
        best = next(filter(self._is_candidate, nodes), None)
        if best is not None:
            self._best[least.host] = best
            failures = failures_of(self._fleet, best)
            heapreplace(self._own, Rank(least.uses, failures, -len(nodes), *least[3:]))
            return
        heappop(self._own)
        if nodes and least.host not in self._ahead:
            self._aside.append(_entry_of(self._fleet, least))

    def _is_candidate(self, node: Node) -> bool:
        return not (node_obstacle(self._tier, node) or promise_obstacle(self._fleet, self._tier, node))


_NOTHING: Mapping[NodeId, tuple[NodeId, ...]] = {}


def _entry(fleet: Fleet, shapes: Shapes, host: NodeId) -> _Entry:
    return _failures_at(fleet, host), -_room(fleet, shapes, host), natural(host), host


def _entry_of(fleet: Fleet, rank: Rank) -> _Entry:
    return _failures_at(fleet, rank.host), rank.room, rank.by_name, rank.host


def _failures_at(fleet: Fleet, host: NodeId) -> int:
    return fleet.nodes[host].failures
