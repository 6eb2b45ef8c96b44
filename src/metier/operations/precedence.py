"""What a node costs a tier, and why one candidate comes before another (R-ALLOC-3)."""

from dataclasses import replace

from metier.domain.choice import failures_of, rank
from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware, Requirements, surplus
from metier.domain.matching import needs_of
from metier.domain.node import Node
from metier.domain.tier import Spread, Tier

_NUMBERS = (
    ("memory_mib", "MiB of memory"),
    ("cpus", "CPU"),
    ("disk_gib", "GiB of disk"),
    ("nics", "NIC"),
)


def points(fleet: Fleet, tier: Tier, node: Node) -> int | None:
    """Return what a node costs a tier, in points; None while it is not known what it has."""
    return None if node.hardware is None else surplus(needs_of(fleet, tier), node.hardware)


def cost_of(fleet: Fleet, tier: Tier, node: Node) -> list[str]:
    """Return what a node has beyond what the tier asks for, with its points: `4 for 256 MiB of memory`."""
    if node.hardware is None:
        return []
    needs, has = needs_of(fleet, tier), node.hardware
    numbers = [_part(needs, has, field, noun) for field, noun in _NUMBERS]
    words = [
        f"{_worth(needs, has, attributes=has.attributes - {word})} for attribute {word}"
        for word in sorted(has.attributes - needs.attributes)
    ]
    return [part for part in numbers if part] + words


def _part(needs: Requirements, has: Hardware, field: str, noun: str) -> str:
    asked = getattr(needs, field)
    more = getattr(has, field) - asked
    worth = _worth(needs, has, **{field: asked})
    return f"{worth} for {more} {_plural(noun, more)}" if worth else ""


def _plural(noun: str, count: int) -> str:
    return f"{noun}s" if noun.isupper() and count != 1 else noun


def _worth(needs: Requirements, has: Hardware, **less: object) -> int:
    """Return how much cheaper a node would be with `less`: nobody but `surplus` says what counts how much."""
    return surplus(needs, has) - surplus(needs, replace(has, **less))  # type: ignore[arg-type]  # fields by name


def comes_first(fleet: Fleet, tier: Tier, first: Node, other: Node) -> str:
    """Say why of two candidates for `tier` the first one is taken before the other."""
    costs = points(fleet, tier, first), points(fleet, tier, other)
    ranks = rank(fleet, tier, first), rank(fleet, tier, other)
    if (costs[0], ranks[0]) > (costs[1], ranks[1]):
        return "with what other tiers that lack nodes get, it is the better choice"
    if costs[0] != costs[1]:
        return f"it costs {costs[0]}, {other.name} costs {costs[1]}"
    return f"at the same cost of {costs[0]}, {_breaks_tie(fleet, tier, first, other)}"


def _breaks_tie(fleet: Fleet, tier: Tier, first: Node, other: Node) -> str:
    """Say what decides between candidates that cost the same."""
    mine, its = rank(fleet, tier, first), rank(fleet, tier, other)
    if mine.uses != its.uses:
        more = "more" if tier.spread is Spread.PACK else "fewer"
        used = f"({abs(mine.uses)}, {its.host} has {abs(its.uses)})"
        return f"its host {mine.host} has {more} nodes of {tier.name} {used}"
    if mine.failures != its.failures:
        return _failed_less(fleet, first, other)
    if mine.room != its.room:
        free = f"({-mine.room}, {its.host} has {-its.room})"
        return f"its host {mine.host} has more free nodes of that cost {free}"
    return "it comes first by name"


def _failed_less(fleet: Fleet, first: Node, other: Node) -> str:
    """Compare failures; their hosts' are named only where they make a difference."""
    mine, its = failures_of(fleet, first), failures_of(fleet, other)
    if mine - first.failures == its - other.failures:
        return f"it failed less often ({_times(first.failures)}, {other.name} {_times(other.failures)})"
    return f"it and its host failed less often ({_times(mine)}, {other.name} and its host {_times(its)})"


def _times(count: int) -> str:
    return f"{count} time{'' if count == 1 else 's'}"
