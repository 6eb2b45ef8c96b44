"""What every planning step works on: the fleet as it will be, and what was decided so far.

A plan has a *scope*: the tiers and nodes that may need something.  A full plan
has everything in scope.  Whatever a step says (actions, waits, findings, the
next moment to look) it says under a *subject*, so that a later plan of a smaller
scope can replace exactly what it looked at again.
"""

from collections.abc import Iterator
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
    """What something is said about: a tier, a node, or the site (both empty)."""

    tier: TierId | None = None
    node: NodeId | None = None

    def __str__(self) -> str:
        return self.tier or self.node or "site"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a plan looks at; None stands for everything."""

    tiers: frozenset[TierId] | None = None
    nodes: frozenset[NodeId] | None = None


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
    """

    def __init__(self, fleet: Fleet, now: datetime, scope: Scope = EVERYTHING, epoch: int = 0) -> None:
        self.fleet: Draft = fleet.edit()
        self.now = now
        self.epoch = epoch
        self.actions: list[Action] = []
        self.said: dict[Subject, Said] = {}
        self._scope = scope
        self._touched: dict[NodeId, None] = {}
        self._tiers = self._tiers_in_order(scope)

    def act(self, action: Action) -> None:
        """Decide `action`: from here on the fleet is as if it had been begun."""
        self.actions.append(action)
        begin(self.fleet, action, self.now, self.next_id(), self.epoch)
        self._touched[action.node] = None

    def next_id(self) -> int:
        """Return a number that no earlier plan used and no later one will."""
        return self.fleet.generation * 1_000_000 + len(self.actions)

    def wait(self, subject: Subject, why: str, rule: str) -> None:
        """Say that something is wanted that no action can bring nearer now."""
        self._about(subject).waiting.append(Waiting(str(subject), why, rule))

    def find(self, code: str, subject: Subject, message: str) -> None:
        """Say that a problem stands."""
        self._about(subject).findings.append(Finding(code, str(subject), message))

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
        """Yield the members of the tiers in scope, in tier and slot order."""
        for tier in self.tiers():
            for node in self.fleet.member_nodes(tier.name):
                yield tier, node

    def loose(self) -> list[Node]:
        """Return the nodes in scope, or touched by this plan, that are in no tier and not spare."""
        names = set(self.fleet.loose)
        if self._scope.nodes is not None:
            names &= self._scope.nodes | self._touched.keys()
        return [self.fleet.nodes[name] for name in sorted(names, key=natural)]

    def nodes(self) -> Iterator[Node]:
        """Yield every node in scope that is not spare: members, then loose ones."""
        for _, node in self.members():
            yield node
        yield from self.loose()

    def _about(self, subject: Subject) -> Said:
        return self.said.setdefault(subject, Said())

    def _tiers_in_order(self, scope: Scope) -> list[TierId]:
        tiers = self.fleet.tiers
        names = tiers if scope.tiers is None else [name for name in scope.tiers if name in tiers]
        return sorted(names, key=lambda name: (-tiers[name].priority, natural(name)))


def about_tier(tier: Tier) -> Subject:
    """Name a tier as a subject."""
    return Subject(tier=tier.name)


def about_node(node: Node) -> Subject:
    """Name a node as a subject."""
    return Subject(node=node.name)
