"""What belongs to slots: host name, address, gateway, and what their guests are told at the start."""

from dataclasses import dataclass, replace

from metier.domain.errors import WrongUsage
from metier.domain.fleet import Draft, Fleet
from metier.domain.personality import (
    LONGEST_COMPUTER_NAME,
    NO_PERSONALITY,
    Personality,
    SeedForm,
    computer_name,
    default_form,
)
from metier.domain.personalizing import outdated_slots, personality_of
from metier.domain.tier import SlotSettings, Tier, TierState
from metier.operations.addresses import check_unique, slot_settings
from metier.operations.parsing import in_range
from metier.operations.personality_words import PersonalityOptions, personality_with
from metier.operations.records import check_may_personalize, expected_tier
from metier.operations.registry import Caller, Outcome, changes, option, positional
from metier.operations.tier_row import tier_row
from metier.operations.tier_settings import without_defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalize(PersonalityOptions):
    """Which slot, and what it carries."""

    name: str = positional("the tier", example="web")
    slot: int | None = option("the number of the slot; none for all slots of the tier", None, example="1")
    hostname: str | None = option("its host name; an empty text means the default", None, example="www1")
    address: str | None = option(
        "its address with prefix length; an empty text means DHCP", None, example="10.0.0.7/24"
    )
    gateway: str | None = option("its gateway; an empty text means none", None, example="10.0.0.1")

    @property
    def is_named(self) -> bool:
        """Whether a name or an address is given."""
        return any(word is not None for word in (self.hostname, self.address, self.gateway))


@changes(
    "tier",
    "personalize",
    Personalize,
    examples=(
        "metier tier personalize web --slot 1 --hostname www1 --address 10.0.0.7/24 --gateway 10.0.0.1",
        "metier tier personalize web --user-data web.yaml --add-file /etc/motd=motd.txt --set role=front",
        "metier tier personalize web --slot 2 --set role=back --plan",
    ),
)
def personalize(draft: Draft, arguments: Personalize, caller: Caller) -> Outcome:
    """Set what whichever node fills a slot is called and told: from its next start, or new instance.

    A host name and an address are carried from the next start on.  User-data, files
    and scripts are templates, rendered for every slot before anything is stored; a
    guest carries them out once, when a new instance starts for the first time.
    They are not for secrets: everybody who may see the tier sees them.
    """
    tier = expected_tier(draft, arguments.name, caller)
    _check_given(tier, arguments)
    check_may_personalize(tier)
    if arguments.slot is None:
        after = replace(tier, personality=personality_with(tier.personality, arguments))
        what = f"tier {tier.name}"
    else:
        others = [slot for slot in tier.slots if slot.number != arguments.slot]
        settings = _settings(tier.slot_settings(arguments.slot), arguments)
        after = replace(tier, slots=without_defaults([*others, settings]))
        what = f"slot {arguments.slot} of tier {tier.name}"
    if after == tier:
        return Outcome(f"{what} is so already", tier_row(draft, tier))
    check_unique(draft, after)
    draft.put_tier(after)
    return Outcome(
        f"{what} personalized", tier_row(draft, draft.tiers[tier.name]), _notes(draft, after, arguments)
    )


def put_personality(draft: Draft, tier: Tier, number: int | None, personality: Personality) -> None:
    """Give a tier, or one of its slots, a whole personality, as a site file has it.

    Raises:
        WrongUsage: There is no such slot.
        Refusal: It is an active host tier.
    """
    if number is None:
        after = replace(tier, personality=personality)
    else:
        in_range(number, f"the slot of tier {tier.name}", 1, tier.maximum)
        others = [slot for slot in tier.slots if slot.number != number]
        own = replace(tier.slot_settings(number), personality=_or_none(personality))
        after = replace(tier, slots=without_defaults([*others, own]))
    if after != tier:
        check_may_personalize(tier)
        draft.put_tier(after)


def _check_given(tier: Tier, arguments: Personalize) -> None:
    if arguments.slot is not None:
        in_range(arguments.slot, f"the slot of tier {tier.name}", 1, tier.maximum)
    elif arguments.is_named:
        raise WrongUsage(
            f"a host name or an address of tier {tier.name} is given without a slot",
            remedy="give --slot; for addresses of all slots see `metier tier edit --addresses`",
        )
    if not arguments.is_named and not arguments.is_given:
        what = f"tier {tier.name}" if arguments.slot is None else f"slot {arguments.slot} of tier {tier.name}"
        raise WrongUsage(
            f"nothing is given for {what}",
            remedy="give --hostname, --address, --user-data, --add-file, --script, --set or --form",
        )


def _settings(before: SlotSettings, arguments: Personalize) -> SlotSettings:
    address = before.address if arguments.address is None else arguments.address
    # A gateway goes with its address: the old one does not outlive a new address without one.
    router = (
        arguments.gateway
        if arguments.gateway is not None or arguments.address is not None
        else before.gateway
    )
    name = before.hostname if arguments.hostname is None else arguments.hostname
    own = personality_with(before.personality or NO_PERSONALITY, arguments)
    return slot_settings(before.number, name, address, router, _or_none(own))


def _or_none(own: Personality) -> Personality | None:
    return None if own == NO_PERSONALITY else own


def _notes(draft: Draft, tier: Tier, arguments: Personalize) -> tuple[str, ...]:
    numbers = range(1, tier.maximum + 1) if arguments.slot is None else (arguments.slot,)
    return (*_running_notes(draft, tier, arguments), *_name_notes(draft, tier, numbers))


def _running_notes(draft: Draft, tier: Tier, arguments: Personalize) -> list[str]:
    notes = []
    is_running = tier.state is TierState.ACTIVE and arguments.slot in draft.members(tier.name)
    if is_running and arguments.is_named:
        notes.append("the node that runs there keeps what it has until it is started again")
    if arguments.is_given:
        notes += older_note(draft, tier)
    return notes


def older_note(fleet: Fleet, tier: Tier) -> list[str]:
    """Say how many slots of a tier run with something else than a new instance would be told, if any do."""
    count = len(outdated_slots(fleet, tier))
    if not count:
        return []
    words = "1 slot runs" if count == 1 else f"{count} slots run"
    return [f"{words} with an older personality, and get the new one with their next new instance"]


def _name_notes(draft: Draft, tier: Tier, numbers: range | tuple[int, ...]) -> list[str]:
    """Say which names are cut, where the guests are Windows."""
    cut = []
    for number in numbers:
        image = draft.images.get(tier.image_for(number))
        form = personality_of(tier, number).form or (image and default_form(image.type))
        name = tier.hostname(number).partition(".")[0]
        if form is SeedForm.UNATTEND and len(name) > LONGEST_COMPUTER_NAME:
            cut.append(f"{name} to {computer_name(name)}")
    more = f", and {len(cut) - 3} more" if len(cut) > 3 else ""
    limit = f"Windows takes {LONGEST_COMPUTER_NAME} characters of a name"
    return [f"{limit}: {', '.join(cut[:3])}{more}"] if cut else []
