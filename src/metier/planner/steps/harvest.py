"""Takes nodes from less important tiers for those below their minimum (R-HARVEST)."""

from collections.abc import Iterator
from datetime import timedelta

from metier.domain.actions import ReleaseNode
from metier.domain.fleet import Shape
from metier.domain.guests import active_guests
from metier.domain.hardware import Requirements
from metier.domain.ids import natural
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import cost, host_obstacle, needs_of, shape_obstacles
from metier.domain.node import Node
from metier.domain.tier import Tier, TierState
from metier.planner.steps.allocate import shortage
from metier.planner.steps.failures import is_braked
from metier.planner.work import Work, about_tier


def harvest_nodes(work: Work) -> None:
    """Release nodes of donors for every active tier in scope that no free node could fill."""
    for tier in work.tiers():
        goal = tier.target if tier.harvest_to_target else tier.minimum
        missing = shortage(work, tier, goal) - _on_their_way(work, tier)
        if missing <= 0 or tier.state is not TierState.ACTIVE or is_braked(work, tier):
            continue
        for donor, node in _donations(work, tier):
            if missing == 0:
                break
            if len(work.fleet.members(donor.name)) > donor.minimum:
                _take(work, tier, donor, node, goal)
                missing -= 1


def _on_their_way(work: Work, tier: Tier) -> int:
    return sum(work.fleet.nodes[name].promised == tier.name for name in work.fleet.loose)


def _donations(work: Work, tier: Tier) -> Iterator[tuple[Tier, Node]]:
    """Yield what may be taken, lowest priority first, then the least disturbance."""
    donors = [
        other
        for other in work.fleet.tiers.values()
        if other.priority < tier.priority
        and other.harvesting
        and other.kind is tier.kind
        and other.state is not TierState.INACTIVE
    ]
    needs = needs_of(work.fleet, tier)
    for donor in sorted(donors, key=lambda other: (other.priority, natural(other.name))):
        if len(work.fleet.members(donor.name)) <= donor.minimum:
            continue
        fitting = [
            node for node in work.fleet.member_nodes(donor.name) if _may_be_taken(work, tier, needs, node)
        ]
        fitting.sort(
            key=lambda node: (node.lifecycle is Lifecycle.RUNNING, _price(needs, node), natural(node.name))
        )
        for node in fitting:
            yield donor, node


def _may_be_taken(work: Work, tier: Tier, needs: Requirements, node: Node) -> bool:
    if not node.engaged or node.pending is not None or node.request is not None or node.hardware is None:
        return False
    if node.lifecycle is Lifecycle.STOPPING or node.lifecycle is Lifecycle.FAILED:
        return False
    if shape_obstacles(needs, tier, Shape(node.kind, node.hardware)):
        return False
    cooldown = timedelta(seconds=work.fleet.pool.harvest_cooldown_s)
    if node.harvested_at is not None and work.now < node.harvested_at + cooldown:
        work.look_again(about_tier(tier), node.harvested_at + cooldown)
        return False
    if active_guests(work.fleet, node.name) or host_obstacle(work.fleet, node):
        return False
    return all(guest.engaged for guest in work.fleet.virtual_nodes(node.name))


def _price(needs: Requirements, node: Node) -> tuple[bool, int]:
    assert node.hardware is not None
    return cost(needs, Shape(node.kind, node.hardware))


def _take(work: Work, tier: Tier, donor: Tier, node: Node, goal: int) -> None:
    count = len(work.fleet.members(tier.name))
    why = (
        f"{tier.name} (priority {tier.priority}) has {count} of {goal} and no free node fits; "
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
