"""Says how far each tier is: silence about an unmet target would be a bug."""

from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node
from metier.domain.observation import Health
from metier.domain.status import health, status
from metier.domain.tier import Tier, TierState
from metier.planner.work import Work, about_tier


def report_tiers(work: Work) -> None:
    """Say for every tier in scope which members are not as it wants them, and if it is below its minimum."""
    for tier in work.tiers():
        if tier.state is TierState.ACTIVE:
            _report_active(work, tier)
        else:
            _report_resting(work, tier)


def _report_resting(work: Work, tier: Tier) -> None:
    at_rest = (Lifecycle.IDLE,) if tier.state is TierState.ALLOCATED else ()
    for node in work.fleet.member_nodes(tier.name):
        if node.lifecycle not in at_rest:
            why = f"{node.name} (slot {node.placement.slot}) is {status(work.fleet, node)}"
            work.wait(about_tier(tier), why, "R-RELEASE-2")


def _report_active(work: Work, tier: Tier) -> None:
    ailing = []
    coming = normal = 0
    for name in work.fleet.members(tier.name).values():
        node = work.fleet.nodes[name]
        if health(work.fleet, node) is Health.NORMAL:
            normal += 1
            continue
        ailing.append(node)
        coming += node.engaged and node.lifecycle not in (Lifecycle.RUNNING, Lifecycle.FAILED)
    for node in sorted(ailing, key=lambda node: node.placement.slot or 0):
        _say_how_it_is(work, tier, node)
    if normal + coming < tier.minimum:
        message = f"{tier.name} has {normal} normal nodes, below its minimum of {tier.minimum}"
        work.find("tier-below-minimum", about_tier(tier), message)


def _say_how_it_is(work: Work, tier: Tier, node: Node) -> None:
    why = f"{node.name} (slot {node.placement.slot}) is {status(work.fleet, node)}"
    if not node.engaged:
        work.wait(about_tier(tier), f"{why} and disengaged", "R-ENGAGE-2")
    elif node.lifecycle in (Lifecycle.RUNNING, Lifecycle.FAILED):
        work.wait(about_tier(tier), why, "R-FAIL-1")
    else:
        work.wait(about_tier(tier), why, "R-ALLOC-1")
