"""Says how far each tier is: silence about an unmet target would be a bug."""

from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node
from metier.domain.observation import Health
from metier.domain.status import health, status
from metier.domain.tier import Tier, TierState
from metier.planner.work import Work, about_tier

_ON_ITS_WAY = frozenset(
    {
        Lifecycle.IDLE,
        Lifecycle.PREPARING,
        Lifecycle.PREPARED,
        Lifecycle.BOOTING,
        Lifecycle.STARTING,
        Lifecycle.STOPPING,
    }
)


def report_tiers(work: Work) -> None:
    """Say for every active tier in scope which members do not run, and whether it is below its minimum."""
    for tier in work.tiers():
        if tier.state is TierState.ACTIVE:
            _report(work, tier, work.fleet.member_nodes(tier.name))


def _report(work: Work, tier: Tier, members: list[Node]) -> None:
    coming = 0
    for node in members:
        if node.engaged and node.lifecycle in _ON_ITS_WAY:
            coming += 1
            work.wait(
                about_tier(tier),
                f"{node.name} (slot {node.placement.slot}) is {_word(work, node)}",
                "R-ALLOC-1",
            )
        elif not node.engaged and node.lifecycle is not Lifecycle.RUNNING:
            why = f"{node.name} (slot {node.placement.slot}) is {_word(work, node)} and disengaged"
            work.wait(about_tier(tier), why, "R-ENGAGE-2")
    normal = sum(health(work.fleet, node) is Health.NORMAL for node in members)
    if normal + coming < tier.minimum:
        message = f"{tier.name} has {normal} normal nodes, below its minimum of {tier.minimum}"
        work.find("tier-below-minimum", about_tier(tier), message)


def _word(work: Work, node: Node) -> str:
    return status(work.fleet, node)
