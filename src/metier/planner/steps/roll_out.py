"""Moves the slots of an active tier to another image version, a few at a time (R-UPDATE-1, R-UPDATE-2).

Nothing is kept but which slots were moved: each round looks at how the members are, and goes on from there.
"""

from collections.abc import Iterator

from metier.domain.actions import AllocateNode, EndRollout, MoveSlot, ReleaseNode, StopNode
from metier.domain.choice import Chooser
from metier.domain.effective import version_of
from metier.domain.fleet import Shape
from metier.domain.ids import SlotId, TierId
from metier.domain.lifecycle import Event, Lifecycle, can
from metier.domain.matching import needs_for, shape_obstacles
from metier.domain.node import Node
from metier.domain.rollout import (
    SHOWN,
    Progress,
    floor,
    hold_on_rollout,
    how_far,
    is_normal,
    progress_of,
    slot_of,
)
from metier.domain.tier import Rollout, Tier
from metier.planner.steps.orders import act_on
from metier.planner.work import Work, about_tier

_AT_REST = (Lifecycle.IDLE, Lifecycle.STOPPING)
"""What needs no stop to start anew: the next piece of work on such a node does what its slot asks for."""


def roll_out(work: Work) -> None:
    """Take every roll-out in scope as far as it may go now, and say how far that is."""
    for tier in work.tiers():
        if tier.rollout is not None:
            _roll(work, tier, tier.rollout)


def _roll(work: Work, tier: Tier, rollout: Rollout) -> None:
    hold = hold_on_rollout(work.fleet, tier, rollout)
    if hold is not None:
        work.wait(about_tier(tier), hold.why, hold.rule)
        if rollout.paused and not rollout.paused_by:
            message = f"the roll-out of {tier.name} to {tier.image} is paused: {rollout.paused}"
            work.find("update-paused", about_tier(tier), message)
        return
    progress = progress_of(work.fleet, tier)
    if progress.is_over:
        why = f"every slot of {tier.name} runs {tier.image}"
        act_on(work, EndRollout, progress.done[0], why, "R-UPDATE-1", tier=tier.name)
        return
    for node in progress.arrived:
        _move(work, tier.name, node, slot_of(node), f"it runs {tier.image} already")
    _move_ailing(work, tier.name)
    _fill_surge(work, tier.name)
    _move_normal(work, tier.name)
    _say(work, tier.name)


def _now(work: Work, name: TierId) -> tuple[Tier, Progress]:
    """Return the tier and its progress with all that was decided so far in them."""
    tier = work.fleet.tiers[name]
    return tier, progress_of(work.fleet, tier)


# --- moving ---------------------------------------------------------------------------


def _move_ailing(work: Work, name: TierId) -> None:
    """Move members that are not normal: nothing is lost with them."""
    tier, progress = _now(work, name)
    free = tier.max_unavailable - len(progress.coming)
    for node in _ready(work, tier, progress, is_well=False):
        if free <= 0:
            return
        _restart(work, tier, node)
        free -= 1


def _move_normal(work: Work, name: TierId) -> None:
    """Move members that are normal while few enough others are not."""
    tier, progress = _now(work, name)
    free = min(
        tier.max_unavailable - max(progress.unwell, len(progress.coming)),
        progress.normal - floor(work.fleet, tier),
    )
    for node in _ready(work, tier, progress, is_well=True):
        if free <= 0:
            return
        _restart(work, tier, node)
        free -= 1


def _ready(work: Work, tier: Tier, progress: Progress, *, is_well: bool) -> Iterator[Node]:
    """Yield the members to move next, in order, but those for whose slot no node would do."""
    for node in progress.behind:
        if is_normal(work.fleet, node) is is_well and (_fits(work, tier, node) or _has_other(work, tier)):
            yield node


def _fits(work: Work, tier: Tier, node: Node) -> bool:
    """Say whether the new version can run on a member."""
    if node.hardware is None:
        return True
    needs = needs_for(work.fleet, tier, tier.image)
    return not shape_obstacles(needs, tier, Shape(node.kind, node.hardware))


def _has_other(work: Work, tier: Tier) -> bool:
    """Say whether a free node could take the place of one that the new version does not fit."""
    return next(Chooser(work.fleet).choose(tier, 1), None) is not None


def _restart(work: Work, tier: Tier, node: Node) -> None:
    """Move a member's slot and bring the member down, to start anew with the new version or to leave."""
    number, old = slot_of(node), version_of(tier, node)
    _move(work, tier.name, node, number, f"it is next to run {tier.image}")
    grace_s = 0 if node.problem else tier.shutdown_s
    if not _fits(work, tier, node):
        why = f"{tier.image} needs more than it has: another node takes slot {number} of {tier.name}"
        act_on(work, ReleaseNode, node, why, "R-UPDATE-1", grace_s=grace_s)
    elif old != tier.image and node.lifecycle not in _AT_REST and can(node.lifecycle, Event.STOP):
        why = f"slot {number} of {tier.name} is to run {tier.image} instead of {old}"
        act_on(work, StopNode, node, why, "R-UPDATE-1", grace_s=grace_s)


def _fill_surge(work: Work, name: TierId) -> None:
    """Fill slots beyond the target from the free pool, with the new version, so that fewer are missed."""
    tier, progress = _now(work, name)
    members = work.fleet.members(name)
    if len(members) < tier.target or not progress.behind:
        return
    count = min(tier.most - len(members), tier.max_unavailable - len(progress.coming))
    empty = (number for number in range(1, tier.maximum + 1) if number not in members)
    for node, (_, surplus) in Chooser(work.fleet).choose(tier, max(0, count)):
        number = next(empty)
        _move(work, name, node, number, f"it is filled beyond the target, with {tier.image}")
        why = (
            f"slot {number} of {name} is filled beyond the target while it rolls out; "
            f"it is the cheapest fit, with a surplus of {surplus}"
        )
        act_on(work, AllocateNode, node, why, "R-UPDATE-1", slot=SlotId(name, number), cost=surplus)


def _move(work: Work, name: TierId, node: Node, number: int, why: str) -> None:
    rollout = work.fleet.tiers[name].rollout
    if rollout is not None and number not in rollout.moved:
        why = f"slot {number} of {name}: {why}"
        act_on(work, MoveSlot, node, why, "R-UPDATE-1", tier=name, number=number)


# --- saying ---------------------------------------------------------------------------


def _say(work: Work, name: TierId) -> None:
    """Say how far the roll-out is, and what keeps it from going on if nothing is on its way."""
    tier, progress = _now(work, name)
    work.wait(about_tier(tier), f"roll-out: {how_far(work.fleet, tier, progress)}", "R-UPDATE-1")
    if not progress.coming:
        for why in _hindrances(work, tier, progress):
            work.wait(about_tier(tier), f"roll-out: {why}", "R-UPDATE-1")
    for node in progress.aside if not (progress.behind or progress.held) else ():
        why = f"slot {slot_of(node)} ({node.name}) stays on {version_of(tier, node)} while it is disengaged"
        work.wait(about_tier(tier), f"roll-out: {why}", "R-ENGAGE-1")


def _hindrances(work: Work, tier: Tier, progress: Progress) -> Iterator[str]:
    for node, why in progress.held[:SHOWN]:
        yield f"slot {slot_of(node)} ({node.name}) cannot be moved now: {why}"
    unfit = [node for node in progress.behind if not _fits(work, tier, node)]
    if unfit and not _has_other(work, tier):
        for node in unfit[:SHOWN]:
            yield (
                f"slot {slot_of(node)} cannot be moved: {tier.image} needs more than {node.name} has, "
                "and no free node fits"
            )
    least = floor(work.fleet, tier)
    if progress.behind and progress.normal <= least:
        yield f"{tier.name} has {progress.normal} normal nodes, and keeps {least} of them meanwhile"
