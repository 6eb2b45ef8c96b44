"""How far a tier is wanted: allocate, activate, deactivate, deallocate."""

from dataclasses import dataclass, replace

from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import natural
from metier.domain.tier import Tier, TierKind, TierState
from metier.operations.host_warnings import accept_or_raise, guest_warnings
from metier.operations.records import expected_tier
from metier.operations.registry import Caller, Outcome, changes, positional
from metier.operations.tier_row import tier_row
from metier.operations.tier_settled import (
    still_until_active,
    still_until_allocated,
    still_until_empty,
    still_until_stopped,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichTier:
    """Which tier."""

    name: str = positional("the tier", example="web")


@changes(
    "tier",
    "allocate",
    WhichTier,
    settled=still_until_allocated,
    examples=("metier tier allocate web",),
)
def allocate(draft: Draft, arguments: WhichTier, caller: Caller) -> Outcome:
    """Have a tier take as many nodes as its target; they do not run before it is activated."""
    tier = expected_tier(draft, arguments.name, caller)
    if tier.state is not TierState.INACTIVE:
        word = "allocated" if tier.state is TierState.ALLOCATED else "allocated and active"
        return Outcome(f"tier {tier.name} is {word} already", tier_row(draft, tier))
    return _enter(draft, tier, TierState.ALLOCATED, "allocated")


@changes(
    "tier",
    "activate",
    WhichTier,
    settled=still_until_active,
    examples=("metier tier activate web --wait",),
)
def activate(draft: Draft, arguments: WhichTier, caller: Caller) -> Outcome:
    """Have a tier's nodes run; nodes are allocated first if they are not yet."""
    tier = expected_tier(draft, arguments.name, caller)
    if tier.state is TierState.ACTIVE:
        return Outcome(f"tier {tier.name} is active already", tier_row(draft, tier))
    return _enter(draft, tier, TierState.ACTIVE, "activated", _inactive_dependencies(draft, tier))


@changes(
    "tier",
    "deactivate",
    WhichTier,
    settled=still_until_stopped,
    examples=("metier tier deactivate web", "metier tier deactivate hosts --accept-warnings --wait"),
)
def deactivate(draft: Draft, arguments: WhichTier, caller: Caller) -> Outcome:
    """Stop a tier's nodes; they stay allocated to it.

    A host tier's virtual nodes are deleted, and guest tiers that lose nodes
    alert and reallocate.  Deactivate the guest tiers first to avoid that.
    """
    tier = expected_tier(draft, arguments.name, caller)
    if tier.state is not TierState.ACTIVE:
        return Outcome(f"tier {tier.name} is {tier.state}, not active, already", tier_row(draft, tier))
    _accept_stop(draft, tier, "deactivating", caller)
    return _enter(draft, tier, TierState.ALLOCATED, "deactivated", _active_dependents(draft, tier))


@changes(
    "tier",
    "deallocate",
    WhichTier,
    settled=still_until_empty,
    examples=("metier tier deallocate web --wait",),
)
def deallocate(draft: Draft, arguments: WhichTier, caller: Caller) -> Outcome:
    """Stop a tier's nodes and return them to the free pool; an active tier is deactivated as well."""
    tier = expected_tier(draft, arguments.name, caller)
    if tier.state is TierState.INACTIVE:
        return Outcome(f"tier {tier.name} is deallocated already", tier_row(draft, tier))
    _accept_stop(draft, tier, "deallocating", caller)
    return _enter(draft, tier, TierState.INACTIVE, "deallocated", _active_dependents(draft, tier))


def _accept_stop(fleet: Fleet, tier: Tier, verb: str, caller: Caller) -> None:
    if tier.kind is TierKind.HOST:
        warnings = guest_warnings(fleet, set(fleet.members(tier.name).values()))
        accept_or_raise(f"{verb} host tier {tier.name} has consequences", warnings, caller)


def _enter(draft: Draft, tier: Tier, state: TierState, verb: str, warnings: tuple[str, ...] = ()) -> Outcome:
    draft.put_tier(replace(tier, state=state))
    return Outcome(f"tier {tier.name} {verb}", tier_row(draft, draft.tiers[tier.name]), warnings)


def _inactive_dependencies(fleet: Fleet, tier: Tier) -> tuple[str, ...]:
    return tuple(
        f"tier {tier.name} depends on tier {name}, which is {fleet.tiers[name].state}: it waits for that tier"
        for name in tier.depends_on
        if name in fleet.tiers and fleet.tiers[name].state is not TierState.ACTIVE
    )


def _active_dependents(fleet: Fleet, tier: Tier) -> tuple[str, ...]:
    names = [
        other.name
        for other in fleet.tiers.values()
        if tier.name in other.depends_on and other.state is TierState.ACTIVE
    ]
    return tuple(f"tier {name}, which is active, depends on it" for name in sorted(names, key=natural))
