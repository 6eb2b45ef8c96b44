"""Fills the slots of tiers from the free pool (R-ALLOC-1 to R-ALLOC-5)."""

from collections import Counter

from metier.domain.actions import AllocateNode, MoveSlot
from metier.domain.allocation import Allotment, allotments, has_brake_on, shortage
from metier.domain.fleet import Shape
from metier.domain.ids import NodeId, natural
from metier.domain.matching import (
    Obstacle,
    host_obstacle,
    needs_of,
    node_obstacle,
    promise_obstacle,
    shape_obstacles,
)
from metier.domain.node import NodeKind
from metier.domain.rollout import joins
from metier.domain.tier import Tier, TierKind, TierState
from metier.planner.work import Work, about_tier


def allocate_nodes(work: Work) -> None:
    """Serve every tier's shortage below minimum, then every shortage below target, by priority."""
    for one in allotments(work.fleet, work.tiers()):
        but = f" but for what is left to {', '.join(one.left_to)}" if one.left_to else ""
        why = (
            f"{one.slot.tier} has {one.has}, below its {one.level} of {one.goal}; "
            f"it is the cheapest fit{but}, with a surplus of {one.cost}"
        )
        _join_rollout(work, one)
        work.act(
            AllocateNode(
                node=one.node.name,
                slot=one.slot,
                cost=one.cost,
                why=why,
                rule="R-ALLOC-1",
                expects=one.node.generation,
            )
        )


def _join_rollout(work: Work, one: Allotment) -> None:
    """Let a slot that is filled while its tier rolls out begin with the new version, as its pace allows."""
    tier = work.fleet.tiers[one.slot.tier]
    if joins(work.fleet, tier, one.slot.number):
        why = f"slot {one.slot.number} of {tier.name} is empty and begins with {tier.image}"
        work.act(
            MoveSlot(
                node=one.node.name,
                tier=tier.name,
                number=one.slot.number,
                why=why,
                rule="R-UPDATE-1",
                expects=one.node.generation,
            )
        )


def report_shortages(work: Work) -> None:
    """Say for every tier in scope that is still short why no free node would do (R-ALLOC-5)."""
    for tier in work.tiers():
        missing = shortage(work.fleet, tier, tier.target)
        if missing > 0 and not has_brake_on(work.fleet, tier):
            _report(work, tier, missing)


def _report(work: Work, tier: Tier, missing: int) -> None:
    message = f"{_needs(missing)}: {_why_none(work, tier)}"
    work.wait(about_tier(tier), message, "R-ALLOC-5")
    if tier.state is TierState.ACTIVE:
        work.find("tier-short", about_tier(tier), f"{tier.name} {message}")
        _report_too_small(work, tier)


def _report_too_small(work: Work, tier: Tier) -> None:
    """Name the manual's usual culprit: virtual nodes with less memory than the guest needs."""
    needed = needs_of(work.fleet, tier).memory_mib
    free = [
        (shape.hardware.memory_mib, min(min(names, key=natural) for names in groups.values()))
        for shape, groups in work.fleet.free.items()
        if shape.kind is NodeKind.VIRTUAL
    ]
    largest, name = max(free, default=(0, NodeId("")))
    if tier.kind is TierKind.GUEST and free and largest < needed:
        message = f"{tier.name} needs {needed} MiB; the largest free virtual node, {name}, has {largest} MiB"
        work.find("guest-too-small", about_tier(tier), message)


def _needs(missing: int) -> str:
    return f"needs {missing} more node{'s' if missing > 1 else ''}"


def _why_none(work: Work, tier: Tier) -> str:
    counts, nearest = _reasons(work, tier)
    if not counts:
        what = "physical node with a VM manager" if tier.kind is TierKind.HOST else "virtual node"
        return f"there is no {what} outside other tiers"
    reasons = ", ".join(
        f"{count} {group}" for group, count in sorted(counts.items(), key=lambda i: (-i[1], i[0]))
    )
    cure = f"; with {nearest[1].cure}, {nearest[0]} would do" if nearest else ""
    return f"no free node fits: {reasons}{cure}"


def _reasons(work: Work, tier: Tier) -> tuple[Counter[str], tuple[str, Obstacle] | None]:
    """Count why the nodes outside tiers were passed over, and find the one that nearly fits."""
    counts: Counter[str] = Counter()
    near: list[tuple[int, str, Obstacle]] = []
    needs = needs_of(work.fleet, tier)
    for shape, groups in work.fleet.free.items():
        found = shape_obstacles(needs, tier, shape)
        number = sum(len(names) for names in groups.values())
        if found:
            counts[found[0].group] += number
            if len(found) == 1 and found[0].cure:
                near.append((found[0].distance, min(min(names) for names in groups.values()), found[0]))
            continue
        for names in groups.values():
            first = work.fleet.nodes[names[0]]
            blocked = host_obstacle(work.fleet, first) or promise_obstacle(work.fleet, tier, first)
            blocked = blocked or node_obstacle(tier, first)
            if blocked:
                counts[blocked.group] += len(names)
    for name in work.fleet.loose:
        node = work.fleet.nodes[name]
        if node.hardware is not None and shape_obstacles(needs, tier, Shape(node.kind, node.hardware)):
            continue
        blocked = node_obstacle(tier, node)
        if blocked:
            counts[blocked.group] += 1
    nearest = min(near, default=None)
    return counts, (nearest[1], nearest[2]) if nearest else None
