"""What a tier's member costs, whether it would be chosen again, what keeps it and what would take it."""

from collections.abc import Iterator
from itertools import islice

from metier.domain.allocation import Allotment, by_importance, has_brake_on
from metier.domain.fleet import Fleet
from metier.domain.harvest import gifts, harvest_goal, objection_to, refusal, spare_nodes
from metier.domain.matching import obstacles
from metier.domain.node import Node
from metier.domain.release import Standing, hold_on, line_to_leave, standing
from metier.domain.tier import Tier, TierKind, TierState
from metier.operations.foretold import SHOWN, Change, both, foretold, freed, gone, landing, listed, wants
from metier.operations.node_row import fences_before
from metier.operations.parsing import rfc3339
from metier.operations.precedence import comes_first, cost_of, points
from metier.operations.registry import Row, View


def member_standing(view: View, node: Node, tier: Tier) -> Row:
    """Return how firmly a member is in its slot."""
    return {
        "cost": points(view.fleet, tier, node),
        "cost_of": cost_of(view.fleet, tier, node),
        "alternatives": alternatives(view.fleet, node, tier),
        "kept_by": [*_kept_by(view.fleet, node, tier), *_kept_from_harvest(view, node, tier)],
        "would_leave": [*_would_leave(view.fleet, node, tier), *_would_be_harvested(view, node, tier)],
    }


# --- the same choice today? ----------------------------------------------------------


def alternatives(fleet: Fleet, node: Node, tier: Tier) -> list[str]:
    """Say who would be chosen for a member's slot today, and who would take it if the member were gone."""
    wanted = wants(tier, max(tier.target, len(fleet.members(tier.name))))
    second = _first_for(fleet, tier, both(gone(node.name), wanted))
    today = _today(fleet, node, tier, both(freed(node.name), wanted), second)
    if second is None:
        return [today]
    return [today, f"if it were gone, {second.node.name} would take its place, at a cost of {second.cost}"]


def _first_for(fleet: Fleet, tier: Tier, change: Change) -> Allotment | None:
    return next((one for one in foretold(fleet, change) if one.slot.tier == tier.name), None)


def _today(fleet: Fleet, node: Node, tier: Tier, again: Change, second: Allotment | None) -> str:
    """Say whether the same choice would be made, if the member were free like the others."""
    draft = fleet.edit()
    again(draft)
    free, where = draft.nodes[node.name], landing(fleet, node.name, again)
    if where is not None and where.slot.tier != tier.name:
        return f"if it were free today, {where.slot.tier} would get it, which is served first"
    first = _first_for(fleet, tier, again)
    if first is None:
        why = listed([one.sentence for one in obstacles(draft, free, tier)]) or "it takes no nodes now"
        return f"today {tier.name} would choose neither it nor another: {why}"
    if first.node.name != node.name:
        why = comes_first(draft, tier, first.node, free)
        return f"today {first.node.name} would be chosen instead: {why}; no node is moved for that"
    if second is None:
        return "the same choice would be made today: no other free node fits"
    why = comes_first(draft, tier, free, second.node)
    return f"the same choice would be made today, before {second.node.name}: {why}"


# --- what takes it away, and what keeps it -------------------------------------------


def _would_leave(fleet: Fleet, node: Node, tier: Tier) -> Iterator[str]:
    if tier.state is TierState.INACTIVE:
        yield f"{tier.name} was deallocated: it leaves once it is down"
        return
    line = line_to_leave(fleet, tier)
    names = [member.name for member in line]
    if node.name not in names:
        return
    place = names.index(node.name)
    target = len(fleet.members(tier.name)) - place - 1
    what = "a target" if target >= tier.minimum else "a target and minimum"
    rule = "R-SHRINK-1" if tier.kind is TierKind.HOST else "R-RELEASE-1"
    if place:
        before = listed(names[:place]) if place <= SHOWN else f"{place} others"
        yield f"with {what} of {target}, it would be released, after {before} ({rule})"
    else:
        yield f"with {what} of {target}, it would be released first: {why_first(fleet, tier, line)} ({rule})"


def why_first(fleet: Fleet, tier: Tier, line: list[Node]) -> str:
    """Say why the first of those that could be released goes before the second."""
    if len(line) == 1:
        return "no other member could be"
    first, second = (standing(fleet, tier, node) for node in line[:2])
    word = next(name for name in Standing._fields if getattr(first, name) != getattr(second, name))
    if word == "price":
        mine, its = (points(fleet, tier, node) for node in line[:2])
        return f"it costs more than the others ({mine}, {line[1].name} {its})"
    return _FIRST[word]


_FIRST = {
    "is_within": "its slot is beyond the maximum",
    "is_running": "it does not run",
    "is_healthy": "it is not healthy",
    "is_updated": "the roll-out under way has not come to it yet",
    "newest": "of equals the one in the highest slot goes first",
}


def _kept_by(fleet: Fleet, node: Node, tier: Tier) -> Iterator[str]:
    until = node.engagement.until
    if not node.engaged and until is not None:
        yield f"it is disengaged until {rfc3339(until)}: until then automation leaves it there (R-ENGAGE-1)"
    elif not node.engaged:
        yield "it is disengaged: automation leaves it there (R-ENGAGE-1)"
    elif tier.state is not TierState.INACTIVE:
        hold = hold_on(fleet, tier, node)
        if hold is not None:
            yield f"it would not be released, whatever the target: {hold.why} ({hold.rule})"
    for fence in fences_before(fleet, node):
        yield f"its slot waits for evidence that {fence.node} is down (R-FENCE-1)"


def _takers(fleet: Fleet, tier: Tier) -> list[Tier]:
    """Return the more important tiers that take nodes when they lack some, the most important first."""
    names = [
        other.name
        for other in fleet.tiers.values()
        if other.kind is tier.kind and other.priority > tier.priority and _may_take(fleet, other)
    ]
    return by_importance(fleet, names)


def _may_take(fleet: Fleet, tier: Tier) -> bool:
    is_active = tier.state is TierState.ACTIVE and not has_brake_on(fleet, tier)
    return is_active and harvest_goal(tier) > 0


def _would_be_harvested(view: View, node: Node, tier: Tier) -> Iterator[str]:
    for taker in islice(_takers(view.fleet, tier), SHOWN):
        if not refusal(view.fleet, taker, tier) and _rank(view, node, tier, taker) is not None:
            level = "target" if taker.harvest_to_target else "minimum"
            yield (
                f"{taker.name} (priority {taker.priority}) may take it while no free node fits and it has "
                f"less than its {level} of {harvest_goal(taker)} (R-HARVEST-1)"
            )


def _rank(view: View, node: Node, tier: Tier, taker: Tier) -> int | None:
    """Return a member's place among those that `tier` can give; None if its turn would not come."""
    names = [one.name for one in gifts(view.fleet, taker, tier, view.now).nodes]
    place = names.index(node.name) if node.name in names else None
    return place if place is not None and place < spare_nodes(view.fleet, tier) else None


def _kept_from_harvest(view: View, node: Node, tier: Tier) -> Iterator[str]:
    takers = _takers(view.fleet, tier)
    if not takers or not node.engaged:
        return
    why = refusal(view.fleet, takers[0], tier)
    if why:
        yield f"no more important tier may harvest it from {tier.name}: {why} (R-HARVEST-1)"
        return
    for taker in takers[:SHOWN]:
        objection = objection_to(view.fleet, taker, node, view.now)
        if objection is not None:
            yield f"{taker.name} may not harvest it: {objection.why} (R-HARVEST-2)"
        elif _rank(view, node, tier, taker) is None:
            spare = spare_nodes(view.fleet, tier)
            others = "other node" if spare == 1 else f"{spare} other nodes"
            yield f"{taker.name} would harvest the {others} that {tier.name} can spare first (R-HARVEST-1)"
