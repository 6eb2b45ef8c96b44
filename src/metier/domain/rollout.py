"""How far a roll-out is, which slot is next, and what it waits for (R-UPDATE-1, R-UPDATE-2).

The planner moves slots by this, and what tells an operator how far it is asks the same functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from metier.domain.allocation import has_brake_on
from metier.domain.effective import version_of
from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import host_obstacle
from metier.domain.node import Node
from metier.domain.observation import Health
from metier.domain.release import Hold
from metier.domain.status import health, status
from metier.domain.tier import Rollout, Tier, TierState


@dataclass(slots=True)
class Progress:
    """How the members of a tier stand to its new version; who is disengaged is left alone and not counted on.

    Attributes:
        done: Members that run the new version and are normal.
        coming: Slots that were moved and are not normal yet, in the order of their moves.
        arrived: Members of slots that were not moved, and that are normal on the new version all the same.
        behind: Members that may be moved, in the order in which they will be: those that are not normal
            first, for nothing is lost with them, then from the highest slot down.
        held: Members that cannot be moved now, each with the reason.
        aside: Disengaged members that do not run the new version, or are not normal on it.
        normal: How many members are normal, whatever they run.
        unwell: How many are not, and slots that wait for a node, without those that are disengaged.
    """

    done: list[Node] = field(default_factory=list)
    coming: list[int] = field(default_factory=list)
    arrived: list[Node] = field(default_factory=list)
    behind: list[Node] = field(default_factory=list)
    held: list[tuple[Node, str]] = field(default_factory=list)
    aside: list[Node] = field(default_factory=list)
    normal: int = 0
    unwell: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the whole tier runs the new version."""
        return bool(self.done) and not (self.coming or self.arrived or self.behind or self.held or self.aside)


def progress_of(fleet: Fleet, tier: Tier) -> Progress:
    """Return how far the roll-out of `tier` is; it walks its members."""
    found, moved = Progress(), _moved(tier)
    for node in fleet.member_nodes(tier.name):
        found.normal += is_normal(fleet, node)
        found.unwell += node.engaged and not is_normal(fleet, node)
        _sort_in(fleet, tier, found, node, is_moved=node.placement.slot in moved)
    found.behind.sort(key=lambda node: (is_normal(fleet, node), -slot_of(node)))
    found.coming = list(coming(fleet, tier))
    members = fleet.members(tier.name)
    found.unwell += sum(number not in members for number in found.coming)
    return found


def _sort_in(fleet: Fleet, tier: Tier, found: Progress, node: Node, *, is_moved: bool) -> None:
    is_there = is_normal(fleet, node) and version_of(tier, node) == tier.image
    if is_there:
        (found.done if is_moved or not node.engaged else found.arrived).append(node)
    elif not node.engaged:
        found.aside.append(node)
    elif not is_moved:
        why = _obstacle_to(fleet, node)
        if why:
            found.held.append((node, why))
        else:
            found.behind.append(node)


def _obstacle_to(fleet: Fleet, node: Node) -> str:
    """Return what keeps a member from being stopped and started anew now, or nothing."""
    if node.pending is not None:
        return f"{node.pending.action} is in flight on it"
    if node.request is not None:
        return f"an operator ordered {node.request}"
    blocked = host_obstacle(fleet, node)
    return "" if blocked is None else blocked.sentence


def coming(fleet: Fleet, tier: Tier) -> Iterator[int]:
    """Yield the slots that were moved and are not normal yet, the last one first.

    A slot without a node counts while the tier has fewer nodes than its target; one whose node is
    disengaged does not.
    """
    members = fleet.members(tier.name)
    missing = tier.target - len(members)
    for number in reversed(() if tier.rollout is None else tier.rollout.moved):
        name = members.get(number)
        if name is None:
            missing -= 1
            if missing >= 0:
                yield number
            continue
        node = fleet.nodes[name]
        if node.engaged and not (is_normal(fleet, node) and version_of(tier, node) == tier.image):
            yield number


def joins(fleet: Fleet, tier: Tier, number: int) -> bool:
    """Say whether an empty slot that is filled now is to begin with the new version right away."""
    rollout = tier.rollout
    if rollout is None or number in rollout.moved or hold_on_rollout(fleet, tier, rollout) is not None:
        return False
    under_way = sum(1 for _, _ in zip(range(tier.max_unavailable), coming(fleet, tier), strict=False))
    return under_way < tier.max_unavailable


def hold_on_rollout(fleet: Fleet, tier: Tier, rollout: Rollout) -> Hold | None:
    """Return what keeps a roll-out as a whole from going on, if anything does."""
    what = f"the roll-out to {tier.image}"
    if rollout.paused:
        way_out = f"`metier tier resume {tier.name}` or `metier tier rollback {tier.name}`"
        return Hold(f"{what} is paused: {rollout.paused}; {way_out}", "R-UPDATE-2")
    if tier.state is not TierState.ACTIVE:
        return Hold(f"{what} rests until {tier.name} is active again", "R-UPDATE-1")
    if has_brake_on(fleet, tier):
        return Hold(f"{what} rests while nothing is replaced in {tier.name}", "R-STORM-1")
    for name in tier.depends_on:
        other = fleet.tiers.get(name)
        if other is not None and other.state is not TierState.ACTIVE:
            return Hold(f"{what} waits for tier {name}, which is {other.state}", "R-UPDATE-1")
    return None


def is_evidence(fleet: Fleet, tier: Tier, node: Node) -> bool:
    """Say whether a failed member is left as it is, because it failed on the new version (R-UPDATE-2).

    What the loss of its host explains says nothing of the version, and what failed before
    an operator let the roll-out go on was looked at.
    """
    rollout, number = tier.rollout, node.placement.slot
    if rollout is None or number not in rollout.moved or node.lifecycle is not Lifecycle.FAILED:
        return False
    since = rollout.started if tier.resumed_at is None else max(rollout.started, tier.resumed_at)
    is_new = node.failed_at is not None and node.failed_at > since
    return is_new and version_of(tier, node) == tier.image and host_obstacle(fleet, node) is None


def floor(fleet: Fleet, tier: Tier) -> int:
    """Return how many members a roll-out leaves normal when it takes one down.

    Its minimum; only a tier that never has a node more than that goes one below it.
    """
    has_surge = len(fleet.members(tier.name)) > tier.target
    return tier.minimum if has_surge else min(tier.minimum, tier.target - 1)


def is_next(fleet: Fleet, tier: Tier, node: Node) -> bool:
    """Say whether a failed member is left to the roll-out: its slot is to leave the version it failed on."""
    rollout, number = tier.rollout, node.placement.slot
    if rollout is None or number is None or hold_on_rollout(fleet, tier, rollout) is not None:
        return False
    return version_of(tier, node) != tier.image_for(number) and host_obstacle(fleet, node) is None


def begun(tier: Tier, image: ImageRef, now: datetime) -> Tier:
    """Return `tier` at the beginning of a roll-out to `image`, or of the way back to it."""
    return replace(tier, image=image, rollout=Rollout(last_whole(tier), now))


def ended(tier: Tier, image: ImageRef) -> Tier:
    """Return `tier` as a whole on `image`, with the version before it remembered."""
    before = last_whole(tier)
    previous = tier.previous_image if before == image else before
    return replace(tier, image=image, rollout=None, previous_image=previous)


def last_whole(tier: Tier) -> ImageRef:
    """Return the last version that the whole tier ran."""
    return tier.image if tier.rollout is None else tier.rollout.previous


# --- in words -------------------------------------------------------------------------

SHOWN = 3
"""So many slots are named in a sentence; a large tier has more of them at a time."""


def how_far(fleet: Fleet, tier: Tier, progress: Progress) -> str:
    """Return how far a roll-out is, in a sentence's words."""
    count = len(fleet.members(tier.name))
    way = "back on" if tier.rollout is not None and tier.rollout.previous == tier.image else "on"
    said = f"{len(progress.done) + len(progress.arrived)} of {count} slots are {way} {tier.image}"
    slots = [_named(fleet, tier, number) for number in reversed(progress.coming)]
    if slots:
        more = f" and {len(slots) - SHOWN} more" if len(slots) > SHOWN else ""
        said += f", waits for {', '.join(slots[:SHOWN])}{more} to become normal"
    return said


def _named(fleet: Fleet, tier: Tier, number: int) -> str:
    name = fleet.members(tier.name).get(number)
    if name is None:
        return f"slot {number} (without a node)"
    return f"slot {number} ({name}, {status(fleet, fleet.nodes[name])})"


def is_normal(fleet: Fleet, node: Node) -> bool:
    """Say whether a member does its work, as far as is known."""
    return health(fleet, node) is Health.NORMAL


def slot_of(node: Node) -> int:
    """Return the number of the slot that a member fills."""
    assert node.placement.slot is not None
    return node.placement.slot


def _moved(tier: Tier) -> frozenset[int]:
    return frozenset(() if tier.rollout is None else tier.rollout.moved)
