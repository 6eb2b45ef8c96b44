"""Creating, changing and deleting tiers."""

from dataclasses import dataclass, replace

from metier.domain.errors import Refusal
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import natural, tier_id
from metier.domain.tier import Tier, TierKind, TierState
from metier.operations.procedure_row import refuse_others
from metier.operations.records import check_may_personalize, expected_tier
from metier.operations.registry import Caller, Form, Outcome, changes, option, positional
from metier.operations.tier_row import tier_row
from metier.operations.tier_settings import TierOptions, chosen_image, configured, first_counts, kind_for
from metier.operations.tier_settled import still_until_edited
from metier.operations.tier_update import with_image

_PERSONALITY = ("slot_address", "hostname", "addresses")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTier(TierOptions):
    """A new tier."""

    name: str = positional("what to call the tier", example="web")
    image: str = option("the image its nodes run: NAME@VERSION, or NAME for the newest", example="web@1")


@changes(
    "tier",
    "create",
    CreateTier,
    form=Form.CREATE,
    examples=(
        "metier tier create hosts --image vmm@1 --minimum 1 --target 2 --maximum 2",
        (
            "metier tier create web --image web@1 --target 3 --maximum 5 --depends-on hosts "
            "--collector http:80/health --addresses 10.0.0.20-10.0.0.24/24 --gateway 10.0.0.1"
        ),
    ),
)
def create_tier(draft: Draft, arguments: CreateTier, _caller: Caller) -> Outcome:
    """Create a tier; it is inactive until you allocate and activate it.

    Its kind follows from the image: a host image makes a host tier, any other a
    guest tier.  Of minimum, target and maximum it is enough to give the target.
    """
    name = tier_id(arguments.name)
    twin = next((other for other in draft.tiers if other.lower() == name.lower()), None)
    if twin is not None:
        raise Refusal(
            f"cannot create tier {name}: there is a tier {twin} already",
            remedy="choose another name, or see `metier tier edit`",
        )
    image = chosen_image(draft, arguments.image)
    blank = Tier(name, kind_for(image), image.ref)
    tier = configured(draft, replace(blank, **first_counts(arguments)), arguments)
    draft.put_tier(tier)
    return Outcome(f"tier {name} created", tier_row(draft, draft.tiers[name]), _doubts(draft, tier))


def _doubts(fleet: Fleet, tier: Tier) -> tuple[str, ...]:
    """Say what will stand in the way of a tier, as far as it can be known now."""
    if tier.kind is not TierKind.GUEST:
        return ()
    host_tiers = [other for other in fleet.tiers.values() if other.kind is TierKind.HOST]
    if not host_tiers:
        return (f"there is no host tier yet whose virtual nodes tier {tier.name} could use",)
    if not any(fleet.tiers[name].kind is TierKind.HOST for name in tier.depends_on):
        names = ", ".join(sorted((other.name for other in host_tiers), key=natural))
        return (f"tier {tier.name} depends on no host tier, so its nodes may come from any of them: {names}",)
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EditTier(TierOptions):
    """Changes to a tier; what is not given stays."""

    name: str = positional("the tier to change", example="web")
    image: str | None = option("the image its nodes run", None, example="web@2")


@changes(
    "tier",
    "edit",
    EditTier,
    form=Form.EDIT,
    settled=still_until_edited,
    examples=("metier tier edit hosts --target 1", "metier tier edit web --maximum 8 --target 6 --wait"),
)
def edit_tier(draft: Draft, arguments: EditTier, caller: Caller) -> Outcome:
    """Change a tier; what is not given stays as it is.

    A lower target releases nodes.  A host is only released once none of its
    virtual nodes is active in a guest tier.
    """
    tier = expected_tier(draft, arguments.name, caller)
    after = tier
    if arguments.image is not None:
        after = with_image(draft, tier, arguments.image, caller)
    after = configured(draft, after, arguments)
    _check_personality(tier, after)
    if after == tier:
        return Outcome(f"tier {tier.name} is so already", tier_row(draft, tier))
    draft.put_tier(after)
    changed = draft.tiers[tier.name]
    return Outcome(f"tier {tier.name} changed", tier_row(draft, changed), _edit_notes(tier, after))


def _check_personality(tier: Tier, after: Tier) -> None:
    if tier.slots != after.slots:
        check_may_personalize(tier)


def _edit_notes(tier: Tier, after: Tier) -> tuple[str, ...]:
    with_address = {slot.number for slot in after.slots if slot.address}
    bare = [number for number in range(tier.maximum + 1, after.maximum + 1) if number not in with_address]
    notes = []
    if tier.maximum and bare and set(range(1, tier.maximum + 1)) <= with_address:
        slots = f"slot {bare[0]}" if len(bare) == 1 else f"slots {bare[0]} to {bare[-1]}"
        notes.append(f"{slots} of tier {tier.name} have no address and take one by DHCP")
    is_running = tier.state is TierState.ACTIVE
    if is_running and tier.slots != after.slots:
        notes.append("nodes that run keep their host name and address until they are started again")
    return tuple(notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTier:
    """Which tier."""

    name: str = positional("the tier to delete", example="web")


@changes("tier", "delete", DeleteTier, form=Form.DELETE, examples=("metier tier delete web",))
def delete_tier(draft: Draft, arguments: DeleteTier, caller: Caller) -> Outcome:
    """Delete a tier that is inactive and has no nodes."""
    tier = expected_tier(draft, arguments.name, caller)
    refuse_others(draft, tier, caller)
    if tier.state is not TierState.INACTIVE:
        raise Refusal(
            f"cannot delete tier {tier.name}: it is {tier.state}",
            remedy=f"deallocate it first: `metier tier deallocate {tier.name} --wait`",
        )
    members = [node.name for node in draft.member_nodes(tier.name)]
    if members:
        raise Refusal(
            f"cannot delete tier {tier.name}: {', '.join(members)} is still in it",
            remedy=f"wait until it is empty, see `metier tier explain {tier.name}`",
        )
    dependents = sorted((t.name for t in draft.tiers.values() if tier.name in t.depends_on), key=natural)
    if dependents:
        raise Refusal(
            f"cannot delete tier {tier.name}: tier {', '.join(dependents)} depends on it",
            remedy=f"edit that first: `metier tier edit {dependents[0]} --depends-on ''`",
        )
    left = [slot.instance for slot in draft.slots_of(tier) if slot.instance is not None]
    draft.remove_tier(tier.name)
    notes = tuple(
        f"the data that {instance.slot} kept on {instance.store} has no tier any more" for instance in left
    )
    return Outcome(f"tier {tier.name} deleted", warnings=notes)
