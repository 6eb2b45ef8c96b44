"""What the guests of a tier are told, as it is rendered now, and whether they run with the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from metier.domain.difference import difference, digest_of
from metier.domain.errors import MetierError, NoSuchThing, chain
from metier.domain.fleet import Fleet
from metier.domain.ids import SlotId
from metier.domain.personality import Applied, Carried, SeedForm, computer_name
from metier.domain.personalizing import carried_now, is_outdated, running_with
from metier.domain.tier import Tier
from metier.operations.parsing import in_range
from metier.operations.records import find_tier
from metier.operations.registry import Form, Row, View, option, positional, reads

_MOST_SLOTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowPersonality:
    """Which tier, and which of its slots."""

    name: str = positional("the tier", example="web")
    slot: int | None = option("the number of the slot; none for a line about each", None, example="1")


@reads(
    "tier",
    "personality",
    ShowPersonality,
    form=Form.VERB,
    examples=("metier tier personality web", "metier tier personality web --slot 1"),
)
def show_personality(view: View, arguments: ShowPersonality) -> Row:
    """Show what the guest of a slot is told, rendered, and how that differs from what it was started with.

    Without a slot: what was written for the tier, and for each slot whether its node
    runs with the same as a new instance would get.
    """
    tier = find_tier(view.fleet, arguments.name)
    if arguments.slot is None:
        return _tier_answer(view.fleet, tier)
    in_range(arguments.slot, f"the slot of tier {tier.name}", 1, tier.maximum)
    return _slot_answer(view, tier, arguments.slot)


def _tier_answer(fleet: Fleet, tier: Tier) -> Row:
    own = {slot.number for slot in tier.slots if slot.personality is not None}
    numbers = sorted({*range(1, min(tier.maximum, _MOST_SLOTS) + 1), *own, *fleet.members(tier.name)})
    return {
        "name": tier.name,
        "personality": tier.personality.summary,
        "templates": dict(tier.personality.texts),
        "values": dict(tier.personality.variables),
        "slots": [_slot_row(fleet, tier, number) for number in numbers],
    }


def _slot_row(fleet: Fleet, tier: Tier, number: int) -> Row:
    own = tier.slot_settings(number).personality
    node = fleet.members(tier.name).get(number)
    return {
        "slot": number,
        "hostname": tier.hostname(number),
        "own": "" if own is None else own.summary,
        "node": node,
        "runs_with": _standing(fleet, tier, number),
    }


def _standing(fleet: Fleet, tier: Tier, number: int) -> str:
    if running_with(fleet, SlotId(tier.name, number)) is None:
        return ""
    return "an older one" if is_outdated(fleet, tier, number) else "the same"


def _slot_answer(view: View, tier: Tier, number: int) -> Row:
    fleet, slot = view.fleet, SlotId(tier.name, number)
    ref = tier.image_for(number)
    image = fleet.images.get(ref)
    if image is None:
        raise NoSuchThing(f"there is no image {ref}, which tier {tier.name} is to run")
    carried, applied = carried_now(fleet, tier, number, image), running_with(fleet, slot)
    texts = view.services.texts([carried])[0]
    return {
        "name": tier.name,
        "slot": number,
        "form": carried.form.value,
        "node": carried.node or None,
        "instance": carried.instance or None,
        "texts": dict(texts),
        "remarks": _remarks(carried),
        "runs_with": _standing(fleet, tier, number),
        **_compared(view, texts, applied),
    }


def _remarks(carried: Carried) -> list[str]:
    found = []
    if not carried.node:
        found.append("no node fills the slot: what only a node has stands here as an example")
    name = computer_name(carried.hostname)
    if carried.form is SeedForm.UNATTEND and name != carried.hostname:
        found.append(f"Windows is called {name}: it takes 15 characters of {carried.hostname}")
    return found


def _compared(view: View, texts: Mapping[str, str], applied: Applied | None) -> Row:
    """Return how what a node was started with differs from what a new instance would get."""
    now: Row = {"digest": digest_of(texts), "started_with": None, "difference": ""}
    if applied is None:
        return now
    told: Row = {**now, "started_with": applied.digest or None}
    try:
        before = view.services.texts([applied.carried])[0]
    except MetierError as error:
        # An older version of Metier may have rendered what this one does not.
        return {**told, "difference": f"not known: {chain(error)}"}
    return {**told, "difference": difference(before, texts)}
