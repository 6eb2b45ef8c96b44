"""What every planning step works on: the fleet as it will be, and what was decided so far.

A plan has a *scope*: the tiers and nodes that may need something.  A full plan
has everything in scope.  Whatever a step says (waits, findings, the next moment to
look) it says under a *subject*, which names what has to be looked at for it to be
said, so that a later plan of a smaller scope can replace exactly what it looked at.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from metier.domain.actions import Action
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import NodeId, TierId, natural
from metier.domain.node import Node
from metier.domain.plan import Finding, Waiting
from metier.domain.tier import Tier
from metier.planner.effects import begin


class Subject(NamedTuple):
    """What something is said about, and what it was said for the sake of.

    Attributes:
        name: What lists show: a tier, a node, or `site`.
        node: The node whose planning says it.
        tier: The tier whose planning as a whole says it; with neither, the site's.
    """

    name: str
    node: NodeId | None = None
    tier: TierId | None = None


SITE = Subject("site")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a plan looks at; None stands for everything.

    Attributes:
        tiers: Tiers as a whole: their numbers and slots, not each of their members.
        nodes: Single nodes, in tiers and outside.
        site: What concerns no tier or node by itself.
    """

    tiers: frozenset[TierId] | None = None
    nodes: frozenset[NodeId] | None = None
    site: bool = True


EVERYTHING = Scope()


@dataclass(slots=True)
class Said:
    """What a plan has to say about one subject.

    Attributes:
        wake: The earliest later moment at which time alone could change it.
    """

    waiting: list[Waiting] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    wake: datetime | None = None


class Work:
    """One planning in progress.

    Attributes:
        fleet: The fleet with every action so far already begun.
        actions: Those actions, in order.
        said: By subject.
        scope: What is looked at.
    """

    def __init__(self, fleet: Fleet, now: datetime, scope: Scope = EVERYTHING, epoch: int = 0) -> None:
        self.fleet: Draft = fleet.edit()
        self.now = now
        self.epoch = epoch
        self.actions: list[Action] = []
        self.said: dict[Subject, Said] = {}
        self.scope = scope
        self._touched: set[NodeId] = set()
        self._tiers = self._in_order(self.fleet.tiers if scope.tiers is None else scope.tiers)

    def act(self, action: Action) -> None:
        """Decide `action`: from here on the fleet is as if it had been begun."""
        self.actions.append(action)
        begin(self.fleet, action, self.now, self.next_id(), self.epoch)
        self._touched.add(action.node)

    def next_id(self) -> int:
        """Return a number that no earlier plan used and no later one will."""
        return self.fleet.generation * 1_000_000 + len(self.actions)

    def wait(self, subject: Subject, why: str, rule: str) -> None:
        """Say that something is wanted that no action can bring nearer now."""
        self._about(subject).waiting.append(Waiting(subject.name, why, rule))

    def wait_with_tier(self, node: Node, why: str, rule: str) -> None:
        """Say it of `node`, and of its tier if it is in one: whoever asks for either reads it."""
        self.wait(about_node(node), why, rule)
        if node.tier is not None:
            self.wait(Subject(node.tier, node=node.name), why, rule)

    def find(self, code: str, subject: Subject, message: str) -> None:
        """Say that a problem stands."""
        self._about(subject).findings.append(Finding(code, subject.name, message))

    def look_again(self, subject: Subject, at: datetime) -> None:
        """Ask to be planned again at `at`, when time alone could change the answer."""
        said = self._about(subject)
        said.wake = at if said.wake is None else min(said.wake, at)

    def look_again_in(self, subject: Subject, seconds: float) -> None:
        """The same, from now on."""
        self.look_again(subject, self.now + timedelta(seconds=seconds))

    def tiers(self) -> list[Tier]:
        """Return the tiers in scope, most important first (R-ALLOC-1)."""
        return [self.fleet.tiers[name] for name in self._tiers]

    def members(self) -> Iterator[tuple[Tier, Node]]:
        """Yield the members of tiers that are in scope, in tier and slot order."""
        if self.scope.nodes is None:
            for tier in self.tiers():
                for node in self.fleet.member_nodes(tier.name):
                    yield tier, node
            return
        by_tier: dict[TierId, list[tuple[int, Node]]] = {}
        for name in self.scope.nodes | self._touched:
            found = self.fleet.nodes.get(name)
            if found is not None and found.placement.tier is not None and found.placement.slot is not None:
                by_tier.setdefault(found.placement.tier, []).append((found.placement.slot, found))
        for tier_id in self._in_order(by_tier):
            for _, member in sorted(by_tier[tier_id], key=_slot_number):
                yield self.fleet.tiers[tier_id], member

    def loose(self) -> list[Node]:
        """Return the nodes in scope, or touched by this plan, that are in no tier and not spare."""
        loose: Iterable[NodeId] = self.fleet.loose
        if self.scope.nodes is not None:
            loose = [name for name in self.scope.nodes | self._touched if name in self.fleet.loose]
        return [self.fleet.nodes[name] for name in sorted(loose, key=natural)]

    def nodes(self) -> list[Node]:
        """Return every node in scope that is not spare: members, then loose ones."""
        return [node for _, node in self.members()] + self.loose()

    def _about(self, subject: Subject) -> Said:
        said = self.said.get(subject)
        if said is None:
            said = self.said[subject] = Said()
        return said

    def _in_order(self, names: Iterable[TierId]) -> list[TierId]:
        tiers = self.fleet.tiers
        known = [name for name in names if name in tiers]
        return sorted(known, key=lambda name: (-tiers[name].priority, natural(name)))


def _slot_number(member: tuple[int, Node]) -> int:
    return member[0]


def about_tier(tier: Tier) -> Subject:
    """Say it of a tier, in planning the tier as a whole."""
    return Subject(tier.name, tier=tier.name)


def about_node(node: Node) -> Subject:
    """Say it of a node, in planning that node."""
    return Subject(node.name, node=node.name)


def about_guest(guest: Node, host: Node) -> Subject:
    """Say it of a virtual node, in planning its host."""
    return Subject(guest.name, node=host.name)
