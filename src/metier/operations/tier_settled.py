"""What is still waited for before the effect of a change to a tier is seen."""

from collections.abc import Sequence
from typing import Protocol

from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.domain.ids import tier_id
from metier.domain.lifecycle import Lifecycle
from metier.domain.rollout import how_far, progress_of
from metier.domain.tier import Tier, TierKind, TierState
from metier.operations.registry import View
from metier.operations.tier_row import normal_members


class NamesTier(Protocol):
    """Arguments that name a tier."""

    @property
    def name(self) -> str:
        """The tier's name as it was given."""


def still_until_active(view: View, arguments: NamesTier) -> Sequence[str]:
    """Say what is missing until as many nodes as the target are normal."""
    tier = view.fleet.tiers.get(tier_id(arguments.name))
    if tier is None or tier.state is not TierState.ACTIVE:
        return []
    normal = normal_members(view.fleet, tier)
    return (
        [] if normal >= tier.target else _pending(view, tier, f"{normal} of {tier.target} nodes are normal")
    )


def still_until_allocated(view: View, arguments: NamesTier) -> Sequence[str]:
    """Say what is missing until the tier has as many nodes as its target."""
    tier = view.fleet.tiers.get(tier_id(arguments.name))
    if tier is None or tier.state is TierState.INACTIVE:
        return []
    members = len(view.fleet.members(tier.name))
    if members >= tier.target:
        return []
    return _pending(view, tier, f"{members} of {tier.target} nodes are allocated")


def still_until_stopped(view: View, arguments: NamesTier) -> Sequence[str]:
    """Say what is missing until no member runs; on a host tier, until its virtual nodes are gone too."""
    tier = view.fleet.tiers.get(tier_id(arguments.name))
    if tier is None or tier.state is TierState.ACTIVE:
        return []
    sentences = _not_stopped(view.fleet, tier)
    return _pending(view, tier, *sentences) if sentences else []


def still_until_empty(view: View, arguments: NamesTier) -> Sequence[str]:
    """Say what is missing until the tier has no member and all that were are seen down."""
    tier = view.fleet.tiers.get(tier_id(arguments.name))
    if tier is None or tier.state is not TierState.INACTIVE:
        return []
    members = [node.name for node in view.fleet.member_nodes(tier.name)]
    fenced = [fence.node for slot in view.fleet.fenced_slots(tier.name) for fence in slot.fences]
    sentences = []
    if members:
        sentences.append(f"{', '.join(members)} not yet released")
    if fenced:
        sentences.append(f"{', '.join(fenced)} not yet seen down")
    return _pending(view, tier, *sentences) if sentences else []


def still_until_rolled_out(view: View, arguments: NamesTier) -> Sequence[str]:
    """Say what is missing until the whole tier runs its image version.

    Raises:
        Refusal: The roll-out is paused, so that waiting is in vain.
    """
    tier = view.fleet.tiers.get(tier_id(arguments.name))
    if tier is None or tier.rollout is None:
        return []
    if tier.rollout.paused:
        raise Refusal(
            f"the roll-out of tier {tier.name} to {tier.image} is paused: {tier.rollout.paused}",
            remedy=f"`metier tier resume {tier.name}` to go on, or `metier tier rollback {tier.name}`",
        )
    far = how_far(view.fleet, tier, progress_of(view.fleet, tier))
    return _pending(view, tier, far) if tier.state is TierState.ACTIVE else []


def still_until_edited(view: View, arguments: NamesTier) -> Sequence[str]:
    """Say what is missing until members match the target, and run if the tier is active."""
    tier = view.fleet.tiers.get(tier_id(arguments.name))
    if tier is None or tier.state is TierState.INACTIVE:
        return []
    if tier.rollout is not None and tier.state is TierState.ACTIVE:
        return still_until_rolled_out(view, arguments)
    members = len(view.fleet.members(tier.name))
    if members != tier.target:
        return _pending(view, tier, f"{members} nodes are allocated and the target is {tier.target}")
    return still_until_active(view, arguments)


def _not_stopped(fleet: Fleet, tier: Tier) -> list[str]:
    members = fleet.member_nodes(tier.name)
    sentences = [
        f"{node.name} is {node.lifecycle}" for node in members if node.lifecycle is not Lifecycle.IDLE
    ]
    if tier.kind is TierKind.HOST:
        virtual = [other.name for node in members for other in fleet.virtual_nodes(node.name)]
        if virtual:
            sentences.append(f"{', '.join(virtual)} not yet deleted")
    return sentences


def _pending(view: View, tier: Tier, *sentences: str) -> list[str]:
    others = (why for why in view.waiting_for(tier.name) if not any(told in why for told in sentences))
    return [*(f"tier {tier.name}: {sentence}" for sentence in sentences), *others]
