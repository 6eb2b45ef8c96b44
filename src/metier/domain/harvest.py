"""Which nodes less important tiers give to one in need, and why others do not (R-HARVEST)."""

from datetime import datetime, timedelta
from typing import NamedTuple

from metier.domain.fleet import Fleet, Shape
from metier.domain.guests import active_guests
from metier.domain.hardware import Requirements
from metier.domain.ids import natural
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import cost, host_obstacle, needs_of, shape_obstacles
from metier.domain.node import Node
from metier.domain.tier import Tier, TierState


class Objection(NamedTuple):
    """Why a member may not be taken for another tier.

    Attributes:
        until: When time alone will have ended it; None if it will not.
    """

    why: str
    until: datetime | None = None


class Gifts(NamedTuple):
    """What a donor could give: nodes in the order in which they would be taken, and who may not be."""

    nodes: list[Node]
    kept: list[tuple[Node, Objection]]


def harvest_goal(tier: Tier) -> int:
    """Return up to how many nodes `tier` may harvest."""
    return tier.target if tier.harvest_to_target else tier.minimum


def refusal(fleet: Fleet, tier: Tier, other: Tier) -> str:
    """Return why `other` gives no node at all to `tier` as things are, or nothing."""
    if other.kind is not tier.kind:
        return f"it is a {other.kind} tier"
    if other.state is TierState.INACTIVE:
        return "it is inactive"
    if other.priority >= tier.priority:
        return f"its priority of {other.priority} is not below {tier.priority}"
    if not other.harvesting:
        return "its harvesting is off"
    if spare_nodes(fleet, other) <= 0:
        return f"it has no more than its minimum of {other.minimum}"
    return ""


def spare_nodes(fleet: Fleet, donor: Tier) -> int:
    """Return how many nodes a donor has above its minimum; negative below it."""
    return len(fleet.members(donor.name)) - donor.minimum


def donors(fleet: Fleet, tier: Tier) -> list[Tier]:
    """Return the tiers that may give nodes to `tier`, in the order in which they are asked."""
    willing = [other for other in fleet.tiers.values() if not refusal(fleet, tier, other)]
    return sorted(willing, key=lambda other: (other.priority, natural(other.name)))


def gifts(fleet: Fleet, tier: Tier, donor: Tier, now: datetime) -> Gifts:
    """Return which members of `donor` may be taken for `tier`, the least disturbance first."""
    needs = needs_of(fleet, tier)
    given: list[Node] = []
    kept: list[tuple[Node, Objection]] = []
    for node in fleet.member_nodes(donor.name):
        objection = _objection_to(fleet, tier, needs, node, now)
        if objection is None:
            given.append(node)
        else:
            kept.append((node, objection))

    def disturbance(node: Node) -> tuple[bool, tuple[bool, int], tuple[str | int, ...]]:
        assert node.hardware is not None
        price = cost(needs, Shape(node.kind, node.hardware))
        return node.lifecycle is Lifecycle.RUNNING, price, natural(node.name)

    return Gifts(sorted(given, key=disturbance), kept)


def objection_to(fleet: Fleet, tier: Tier, node: Node, now: datetime) -> Objection | None:
    """Return why a donor's member may not be taken for `tier` now, if so (R-HARVEST-2)."""
    return _objection_to(fleet, tier, needs_of(fleet, tier), node, now)


def _objection_to(
    fleet: Fleet, tier: Tier, needs: Requirements, node: Node, now: datetime
) -> Objection | None:
    why = _objection_to_state(node)
    if why:
        return Objection(why)
    assert node.hardware is not None
    found = shape_obstacles(needs, tier, Shape(node.kind, node.hardware))
    if found:
        return Objection(found[0].sentence)
    cooldown = timedelta(seconds=fleet.pool.harvest_cooldown_s)
    if node.harvested_at is not None and now < node.harvested_at + cooldown:
        until = node.harvested_at + cooldown
        return Objection(f"it was harvested less than {fleet.pool.harvest_cooldown_s} s ago", until)
    return _objection_to_host(fleet, node) if node.is_virtual else _objection_to_guests(fleet, node)


def _objection_to_state(node: Node) -> str:
    if not node.engaged:
        return "it is disengaged"
    if node.pending is not None:
        return f"{node.pending.action} is in flight on it"
    if node.request is not None:
        return f"an operator ordered {node.request}"
    if node.hardware is None:
        return "it is not inventoried"
    if node.lifecycle is Lifecycle.STOPPING or node.lifecycle is Lifecycle.FAILED:
        return f"it is {node.lifecycle}"
    return ""


def _objection_to_host(fleet: Fleet, guest: Node) -> Objection | None:
    blocked = host_obstacle(fleet, guest)
    return None if blocked is None else Objection(blocked.sentence)


def _objection_to_guests(fleet: Fleet, host: Node) -> Objection | None:
    guests = active_guests(fleet, host.name)
    if guests:
        return Objection(f"it hosts active guests {', '.join(guest.name for guest in guests)}")
    withheld = [guest.name for guest in fleet.virtual_nodes(host.name) if not guest.engaged]
    return Objection(f"it hosts {', '.join(withheld)}, disengaged") if withheld else None
