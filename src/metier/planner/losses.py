"""The answer to what a death would cost: tier by tier, failure domain by failure domain."""

from dataclasses import dataclass
from enum import StrEnum

from metier.domain.ids import NodeId, TierId
from metier.domain.tier import TierKind


class Verdict(StrEnum):
    """How a failure domain's death ends for the tiers."""

    SURVIVED = "survived"
    RESTORED = "restored"
    NOT_SURVIVED = "not survived"


@dataclass(frozen=True, slots=True)
class TierLoss:
    """What one active tier loses with a failure domain, and what it gets back or gives away.

    Attributes:
        now: Members that do their work or are on their way to it, before.
        lost: How many of those are on the dead hosts.
        allocated: Nodes of the free pool that it would be given.
        harvested: Nodes it would take from less important tiers, by tier.
        given: Members that it would give to more important tiers.
        missing: How many more nodes would bring it to its minimum; to its target, if its minimum is safe.
        node: What such a node is: `virtual node of 512 MiB`.
        obstacle: What keeps it from that minimum or target although nodes would not help; else empty.
    """

    tier: TierId
    kind: TierKind
    minimum: int
    target: int
    now: int
    lost: int
    allocated: int = 0
    harvested: tuple[tuple[TierId, int], ...] = ()
    given: int = 0
    missing: int = 0
    node: str = ""
    obstacle: str = ""

    @property
    def left(self) -> int:
        """Members left at once."""
        return self.now - self.lost

    @property
    def regained(self) -> int:
        """Nodes it would get, from the free pool and from other tiers."""
        return self.allocated + sum(number for _, number in self.harvested)

    @property
    def restorable(self) -> int:
        """How many of those lost would be replaced."""
        return min(self.lost, self.regained)

    @property
    def after(self) -> int:
        """Members once all that can be done is done."""
        return self.left + self.regained - self.given

    @property
    def short_of_minimum(self) -> int:
        """By how many members it would stay below its minimum."""
        return max(0, self.minimum - self.after)

    @property
    def short_of_target(self) -> int:
        """By how many members it would stay below its target."""
        return max(0, self.target - self.after)

    @property
    def falls(self) -> bool:
        """Whether it falls below its minimum at once, or further below than it is."""
        return self.left < min(self.minimum, self.now)

    @property
    def stays_below(self) -> bool:
        """Whether it stays there, or ends there by giving."""
        return self.after < min(self.minimum, self.now)


@dataclass(frozen=True, slots=True)
class FailureDomain:
    """Hosts that die together, and what follows.

    Attributes:
        tiers: Those that lose members or pay for the others, most important first.
        unproved: Hosts of it of which nothing could prove that they are down: what ran there
            starts nowhere else before an operator vouches for it (R-FENCE-1).
    """

    name: str
    hosts: tuple[NodeId, ...]
    tiers: tuple[TierLoss, ...] = ()
    unproved: tuple[NodeId, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """How it ends; a tier that is below its minimum already must only not get worse."""
        if any(tier.stays_below for tier in self.tiers):
            return Verdict.NOT_SURVIVED
        return Verdict.RESTORED if any(tier.falls for tier in self.tiers) else Verdict.SURVIVED


@dataclass(frozen=True, slots=True)
class BelowMinimum:
    """A tier that is below its minimum whatever dies."""

    tier: TierId
    now: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Resilience:
    """The answer for every failure domain, in the order of their names."""

    domains: tuple[FailureDomain, ...]
    below_minimum: tuple[BelowMinimum, ...]

    def of(self, verdict: Verdict) -> tuple[FailureDomain, ...]:
        """Return the failure domains that end so."""
        return tuple(domain for domain in self.domains if domain.verdict is verdict)
