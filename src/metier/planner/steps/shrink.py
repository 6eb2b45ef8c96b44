"""Releases members of tiers that have more than their target (R-RELEASE-1, R-SHRINK)."""

from metier.domain.actions import ReleaseNode
from metier.domain.node import Node
from metier.domain.release import has_too_many, hold_on, is_beyond, leavers
from metier.domain.tier import Tier, TierKind, TierState
from metier.planner.work import Work, about_tier


def shrink_tiers(work: Work) -> None:
    """Release as many members as each tier has too many, or say what that waits for."""
    for tier in work.tiers():
        if tier.state is not TierState.INACTIVE and has_too_many(work.fleet, tier):
            _shrink(work, tier)


def _shrink(work: Work, tier: Tier) -> None:
    """Release what is above the target, and whoever fills a slot beyond the maximum."""
    for node in leavers(work.fleet, tier):
        _release(work, tier, node)
    left = work.fleet.member_nodes(tier.name)
    is_above = len(left) > tier.most
    for node in left:
        hold = hold_on(work.fleet, tier, node) if is_above or is_beyond(tier, node) else None
        if hold is not None:
            work.wait(about_tier(tier), hold.why, hold.rule)


def _release(work: Work, tier: Tier, node: Node) -> None:
    count = len(work.fleet.members(tier.name))
    why = f"{tier.name} has {count} of a target of {tier.target}"
    if tier.kind is TierKind.HOST:
        why += f" and no virtual node of {node.name} is active"
    rule = "R-SHRINK-1" if tier.kind is TierKind.HOST else "R-RELEASE-1"
    work.act(
        ReleaseNode(node=node.name, grace_s=tier.shutdown_s, why=why, rule=rule, expects=node.generation)
    )
