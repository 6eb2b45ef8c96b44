"""Another image version for a tier: update, pause, resume, roll back (R-UPDATE-1, R-UPDATE-2)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from metier.domain.choice import Chooser
from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import shortfalls
from metier.domain.ids import ImageRef, SlotId, natural
from metier.domain.image import Image
from metier.domain.matching import needs_for
from metier.domain.rollout import begun, ended, floor
from metier.domain.tier import Tier, TierKind, TierState
from metier.operations.host_warnings import accept_or_raise
from metier.operations.image_fit import doubts
from metier.operations.parsing import one_line
from metier.operations.records import expected_tier
from metier.operations.registry import Caller, Outcome, changes, option, positional
from metier.operations.tier_row import tier_row
from metier.operations.tier_settings import chosen_image, kind_for
from metier.operations.tier_settled import still_until_rolled_out


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTier:
    """Which tier, and to which version."""

    name: str = positional("the tier to update", example="web")
    image: str = option("the image version to update to", example="web@2")


@changes(
    "tier",
    "update",
    UpdateTier,
    settled=still_until_rolled_out,
    examples=("metier tier update web --image web@2 --plan", "metier tier update web --image web@2 --wait"),
)
def update_tier(draft: Draft, arguments: UpdateTier, caller: Caller) -> Outcome:
    """Move a tier to another image version; while it is active slot by slot, so that it goes on serving.

    Each slot must be normal on the new version before the next one is stopped.  One
    that fails pauses the roll-out.  A host tier must not be active.
    """
    tier = expected_tier(draft, arguments.name, caller)
    after = with_image(draft, tier, arguments.image, caller)
    if after is tier:
        way = "on" if tier.rollout is None else "on its way to"
        return Outcome(f"tier {tier.name} is {way} image {tier.image} already", tier_row(draft, tier))
    draft.put_tier(after)
    return Outcome(_changed(tier, after), tier_row(draft, draft.tiers[tier.name]), _notes(draft, after))


def _changed(tier: Tier, after: Tier) -> str:
    if after.rollout is None:
        return f"tier {tier.name} updated from image {tier.image} to {after.image}"
    if after.rollout.previous == after.image:
        return f"tier {tier.name} goes back to image {after.image}"
    return f"tier {tier.name} rolls out image {after.image} in place of {after.rollout.previous}"


def _notes(fleet: Fleet, tier: Tier) -> tuple[str, ...]:
    """Say of a roll-out which members it goes round, and which need another node."""
    if tier.rollout is None:
        return ()
    members = fleet.member_nodes(tier.name)
    aside = [node.name for node in members if not node.engaged]
    unfit = [
        node.name
        for node in members
        if node.hardware is not None and shortfalls(needs_for(fleet, tier, tier.image), node.hardware)
    ]
    notes = []
    if aside:
        notes.append(f"disengaged and left alone, so that the roll-out waits for it: {', '.join(aside)}")
    if unfit:
        notes.append(f"too small for {tier.image}, and replaced from the free pool: {', '.join(unfit)}")
    return tuple(notes)


# --- what another version means ---------------------------------------------------------


def with_image(fleet: Fleet, tier: Tier, text: str, caller: Caller) -> Tier:
    """Return a tier on its way to another image version, or on it if nothing of it runs.

    Raises:
        WrongUsage: The image makes another kind of tier.
        NoSuchThing: There is no such image.
        Refusal: The tier or the image is not in a state for it, or no node could run it.
        NeedsAcceptance: The tier will fall below its minimum, or lose data that it keeps.
    """
    if text == str(tier.image):
        return tier
    image = chosen_image(fleet, text)
    if image.ref == tier.image:
        return tier
    _check_image_fits(tier, image)
    return _on(fleet, tier, image.ref, caller)


def _check_image_fits(tier: Tier, image: Image) -> None:
    if kind_for(image) is not tier.kind:
        raise WrongUsage(
            f"image {image.ref} makes a {kind_for(image)} tier, and tier {tier.name} is a {tier.kind} tier",
            remedy="create another tier for it",
        )
    if tier.kind is TierKind.HOST and tier.state is TierState.ACTIVE:
        raise Refusal(
            f"cannot change the image of active tier {tier.name} from {tier.image} to {image.ref}",
            remedy=f"deactivate it first: `metier tier deactivate {tier.name}`",
        )


def _on(fleet: Fleet, tier: Tier, ref: ImageRef, caller: Caller) -> Tier:
    """Return the tier rolling to a version; as a whole on it where it does not run or has no nodes."""
    if tier.state is not TierState.ACTIVE or not fleet.members(tier.name):
        return ended(tier, ref)
    _check_that_one_would_do(fleet, tier, ref)
    after = begun(tier, ref, caller.now)
    accept_or_raise(
        f"updating tier {tier.name} to {ref} has consequences", _consequences(fleet, after), caller
    )
    return after


def _check_that_one_would_do(fleet: Fleet, tier: Tier, ref: ImageRef) -> None:
    """Refuse a version that no virtual node could run, wherever that node is now."""
    found = doubts(fleet, needs_for(fleet, tier, ref))
    if found:
        raise Refusal(
            f"cannot roll out image {ref} in tier {tier.name}: {'; '.join(found)}",
            remedy="offer larger VMs in a host tier's image, or lower what the image or the tier requires",
        )


def _consequences(fleet: Fleet, after: Tier) -> list[str]:
    """Return what an operator must accept before a roll-out begins."""
    warnings = []
    members = len(fleet.members(after.name))
    least = floor(fleet, after)
    if members <= after.target and least < after.minimum and not _can_surge(fleet, after):
        warnings.append(
            f"tier {after.name} falls below its minimum of {after.minimum} while a slot is changed: "
            f"{_why_no_surge(after)}"
        )
    kept = sorted(_kept_data(fleet, after), key=natural)
    if kept:
        warnings.append(
            f"the data that tier {after.name} keeps of {', '.join(kept)} is deleted as each slot is moved: "
            f"{after.image} begins anew, and so would a roll-back"
        )
    return warnings


def _can_surge(fleet: Fleet, after: Tier) -> bool:
    if after.most <= len(fleet.members(after.name)):
        return False
    draft = fleet.edit()
    draft.put_tier(after)
    return next(Chooser(draft).choose(after, 1), None) is not None


def _why_no_surge(after: Tier) -> str:
    if after.surge == 0:
        return "its surge is 0"
    if after.most <= after.target:
        return f"its maximum of {after.maximum} leaves no slot for another node"
    return "no free node could take its place"


def _kept_data(fleet: Fleet, after: Tier) -> Iterator[str]:
    """Yield the slots whose data would be deleted though the tier keeps data."""
    for number in fleet.members(after.name) if after.keep_instances else ():
        instance = fleet.slot(SlotId(after.name, number)).instance
        if instance is not None and instance.image != after.image:
            yield str(instance.slot)


# --- while it rolls -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichTier:
    """Which tier."""

    name: str = positional("the tier", example="web")


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseTier:
    """Which tier, and why."""

    name: str = positional("the tier whose roll-out to pause", example="web")
    why: str = option("why, for whoever wonders later", "", example="errors in the log of web-3")


@changes("tier", "pause", PauseTier, examples=("metier tier pause web --why 'errors in the log of web-3'",))
def pause(draft: Draft, arguments: PauseTier, caller: Caller) -> Outcome:
    """Let a roll-out move no further slot; the one that is on its way goes on to the new version."""
    tier = expected_tier(draft, arguments.name, caller)
    why = one_line(arguments.why, "the reason")
    if tier.rollout is None:
        raise Refusal(
            f"cannot pause tier {tier.name}: no roll-out is under way", remedy="see `metier tier list`"
        )
    if tier.rollout.paused:
        message = f"the roll-out of tier {tier.name} is paused already: {tier.rollout.paused}"
        return Outcome(message, tier_row(draft, tier))
    said = f"by {caller.name}" + (f": {why}" if why else "")
    draft.put_tier(replace(tier, rollout=replace(tier.rollout, paused=said, paused_by=caller.name)))
    return Outcome(f"the roll-out of tier {tier.name} is paused", tier_row(draft, draft.tiers[tier.name]))


@changes(
    "tier", "resume", WhichTier, settled=still_until_rolled_out, examples=("metier tier resume web --wait",)
)
def resume(draft: Draft, arguments: WhichTier, caller: Caller) -> Outcome:
    """Let automation go on: with a roll-out that is paused, and with replacing nodes after too many failed.

    A node that failed on the new version is then rebooted or replaced as the tier's
    switches say; if it fails once more the roll-out is paused again.
    """
    tier = expected_tier(draft, arguments.name, caller)
    trouble = draft.troubles.get(tier.name)
    was_braked = trouble is not None and trouble.braked_since is not None
    was_paused = tier.rollout is not None and bool(tier.rollout.paused)
    if trouble is not None:
        draft.put_trouble(replace(trouble, braked_since=None, failures=()))
    rollout = None if tier.rollout is None else replace(tier.rollout, paused="", paused_by="")
    draft.put_tier(replace(tier, resumed_at=caller.now, rollout=rollout))
    what = "resumed" if was_braked or was_paused else "was not held back"
    return Outcome(f"tier {tier.name} {what}", tier_row(draft, draft.tiers[tier.name]))


@changes(
    "tier",
    "rollback",
    WhichTier,
    settled=still_until_rolled_out,
    examples=("metier tier rollback web --plan", "metier tier rollback web --wait"),
)
def roll_back(draft: Draft, arguments: WhichTier, caller: Caller) -> Outcome:
    """Take a tier back to the image version that it ran as a whole before; slot by slot while it is active.

    Slots that are still on that version are not restarted, and one that failed on the newer goes first.
    """
    tier = expected_tier(draft, arguments.name, caller)
    ref = tier.previous_image if tier.rollout is None else tier.rollout.previous
    if ref is None:
        raise Refusal(
            f"cannot roll back tier {tier.name}: it never ran another image version than {tier.image}",
            remedy=f"name one: `metier tier update {tier.name} --image NAME@VERSION`",
        )
    if ref == tier.image:
        return Outcome(f"tier {tier.name} is on its way back to {ref} already", tier_row(draft, tier))
    image = draft.images.get(ref)
    if image is None:
        raise Refusal(
            f"cannot roll back tier {tier.name}: image {ref} was deleted",
            remedy=f"name another version: `metier tier update {tier.name} --image NAME@VERSION`",
        )
    _check_image_fits(tier, image)
    after = _on(draft, tier, ref, caller)
    draft.put_tier(after)
    row = tier_row(draft, draft.tiers[tier.name])
    return Outcome(f"tier {tier.name} goes back to image {ref}", row, _notes(draft, after))
