"""What a change would alter in what guests are told, slot by slot."""

from collections.abc import Iterator

from metier.control.tools import Texts
from metier.domain.difference import difference
from metier.domain.fleet import Fleet
from metier.domain.forecast import Rewritten
from metier.domain.ids import SlotId, TierId
from metier.domain.personality import Carried
from metier.domain.personalizing import carried_now
from metier.domain.tier import Tier

MOST_SLOTS = 100
"""Of so many slots of a tier it is told: the others differ by their numbers."""


def rewritten(before: Fleet, after: Fleet, texts: Texts) -> tuple[Rewritten, ...]:
    """Return how what each slot is told would differ; tiers that are new, or gone, are left out.

    Raises:
        MetierError: A personality cannot be rendered.
    """
    pairs = [pair for tier in _changed(before, after) for pair in _pairs(before, after, tier)]
    if not pairs:
        return ()
    was, will_be = texts([old for old, _ in pairs]), texts([new for _, new in pairs])
    found = (
        Rewritten(SlotId(TierId(new.tier), new.slot), difference(old_texts, new_texts))
        for (_, new), old_texts, new_texts in zip(pairs, was, will_be, strict=True)
    )
    return tuple(one for one in found if one.difference)


def _changed(before: Fleet, after: Fleet) -> Iterator[Tier]:
    for name, tier in after.tiers.items():
        old = before.tiers.get(name)
        if old is None or old is tier:
            continue
        if (old.personality, old.slots) != (tier.personality, tier.slots):
            yield tier


def _pairs(before: Fleet, after: Fleet, tier: Tier) -> Iterator[tuple[Carried, Carried]]:
    """Yield what each slot of a tier is told before and after, where it is not the same."""
    old, found = before.tiers[tier.name], 0
    for number in range(1, tier.maximum + 1):
        image = after.images.get(tier.image_for(number))
        if image is None or found == MOST_SLOTS:
            return
        pair = carried_now(before, old, number, image), carried_now(after, tier, number, image)
        if pair[0] != pair[1]:
            found += 1
            yield pair
