"""Chooses free nodes for a tier: cheapest first, then spread or packed over hosts (R-ALLOC-3)."""

from collections import Counter
from collections.abc import Iterator

from metier.domain.fleet import Draft, Shape
from metier.domain.ids import NodeId, natural
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


class Chooser:
    """Finds candidates in one plan; remembers which hosts are usable and their order."""

    def __init__(self, fleet: Draft) -> None:
        self._fleet = fleet
        self._hosts: dict[Shape, list[NodeId]] = {}
        self._usable: dict[NodeId, bool] = {}

    def choose(self, tier: Tier) -> Iterator[tuple[Node, int]]:
        """Yield the nodes to allocate to `tier`, best first, each with its cost.

        Each must be allocated, or passed over for good, before the next is asked for.
        """
        needs = needs_of(self._fleet, tier)
        fitting = [shape for shape in self._fleet.free if not shape_obstacles(needs, tier, shape)]
        fitting.sort(key=lambda shape: cost(needs, shape))
        used = Counter(self._used_hosts(tier))
        for shape in fitting:
            price = cost(needs, shape)[1]
            for node in self._of_shape(shape, tier, used):
                yield node, price

    def _of_shape(self, shape: Shape, tier: Tier, used: Counter[NodeId]) -> Iterator[Node]:
        if tier.spread is Spread.PACK:
            for host in sorted(self._hosts_of(shape), key=lambda host: -used[host]):
                yield from self._all_of(shape, host, tier)
            return
        level = 0
        while self._hosts_of(shape) and level <= max([*used.values(), 0]):
            for host in list(self._hosts_of(shape)):
                if used[host] == level:
                    node = self._first_of(shape, host, tier)
                    if node is not None:
                        used[host] += 1
                        yield node
            level += 1

    def _all_of(self, shape: Shape, host: NodeId, tier: Tier) -> Iterator[Node]:
        for name in self._names(shape, host):
            node = self._fleet.nodes[name]
            if self._is_candidate(tier, node):
                yield node

    def _first_of(self, shape: Shape, host: NodeId, tier: Tier) -> Node | None:
        return next(self._all_of(shape, host, tier), None)

    def _names(self, shape: Shape, host: NodeId) -> list[NodeId]:
        names = self._fleet.free.get(shape, {}).get(host, ())
        return sorted(names, key=lambda name: (self._fleet.nodes[name].failures, natural(name)))

    def _is_candidate(self, tier: Tier, node: Node) -> bool:
        if node_obstacle(tier, node) or promise_obstacle(self._fleet, tier, node):
            return False
        return self._is_usable(node)

    def _is_usable(self, node: Node) -> bool:
        if node.host is None:
            return True
        if node.host not in self._usable:
            self._usable[node.host] = host_obstacle(self._fleet, node) is None
        return self._usable[node.host]

    def _hosts_of(self, shape: Shape) -> list[NodeId]:
        """Return the hosts with free nodes of `shape` in name order; forgets those used up."""
        groups = self._fleet.free.get(shape, {})
        hosts = self._hosts.get(shape)
        if hosts is None:
            hosts = sorted((host for host in groups if self._host_is_usable(groups[host])), key=natural)
        elif any(host not in groups for host in hosts[:1]):
            hosts = [host for host in hosts if host in groups]
        self._hosts[shape] = hosts
        return hosts

    def _host_is_usable(self, names: tuple[NodeId, ...]) -> bool:
        return self._is_usable(self._fleet.nodes[names[0]])

    def _used_hosts(self, tier: Tier) -> Iterator[NodeId]:
        for name in self._fleet.members(tier.name).values():
            yield self._fleet.nodes[name].host or name
