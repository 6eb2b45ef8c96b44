"""Takes nodes from less important tiers for those below their minimum (R-HARVEST)."""

from collections import Counter
from collections.abc import Iterator

from metier.domain.actions import ReleaseNode
from metier.domain.allocation import has_brake_on, shortage
from metier.domain.harvest import donors, gifts, harvest_goal, spare_nodes
from metier.domain.ids import TierId
from metier.domain.node import Node
from metier.domain.tier import Tier, TierState
from metier.planner.work import Work, about_tier


def harvest_nodes(work: Work) -> None:
    """Release nodes of donors for every active tier in scope that no free node could fill."""
    on_their_way: Counter[TierId | None] | None = None
    for tier in work.tiers():
        missing = shortage(work.fleet, tier, harvest_goal(tier))
        if missing > 0 and tier.state is TierState.ACTIVE and not has_brake_on(work.fleet, tier):
            # Counted once, before the first is taken: what is taken here is for tiers that had their turn.
            if on_their_way is None:
                on_their_way = Counter(work.fleet.nodes[name].promised for name in work.fleet.loose)
            _harvest(work, tier, missing - on_their_way[tier.name])


def _harvest(work: Work, tier: Tier, missing: int) -> None:
    """Take at most so many nodes; a donor that gave all it can spare gives no more."""
    if missing <= 0:
        return
    for donor, node in _donations(work, tier):
        if spare_nodes(work.fleet, donor) > 0:
            _take(work, tier, donor, node)
            missing -= 1
            if missing == 0:
                return


def _donations(work: Work, tier: Tier) -> Iterator[tuple[Tier, Node]]:
    """Yield what may be taken, donor by donor; whoever may be in a while is looked at again then."""
    for donor in donors(work.fleet, tier):
        given, kept = gifts(work.fleet, tier, donor, work.now)
        for _, objection in kept:
            if objection.until is not None:
                work.look_again(about_tier(tier), objection.until)
        for node in given:
            yield donor, node


def _take(work: Work, tier: Tier, donor: Tier, node: Node) -> None:
    count = len(work.fleet.members(tier.name))
    why = (
        f"{tier.name} (priority {tier.priority}) has {count} of {harvest_goal(tier)} and no free node fits; "
        f"{donor.name} (priority {donor.priority}) has more than its minimum of {donor.minimum}"
    )
    work.act(
        ReleaseNode(
            node=node.name,
            promised=tier.name,
            grace_s=donor.shutdown_s,
            why=why,
            rule="R-HARVEST-1",
            expects=node.generation,
        )
    )
