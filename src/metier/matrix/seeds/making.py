"""Seeds made of personalities; what is on them as text; and what of an order can never be rendered."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from metier.domain.difference import digest_of
from metier.domain.errors import WrongUsage
from metier.domain.fleet import Changes, Fleet, Kind
from metier.domain.ids import ImageRef
from metier.domain.image import Image
from metier.domain.personality import NO_PERSONALITY, Carried, Seed, SeedForm
from metier.domain.personalizing import carried_now
from metier.domain.tier import Tier
from metier.matrix.seeds import configdrive, nocloud, unattend
from metier.matrix.seeds.iso import iso_image
from metier.matrix.seeds.rendering import MOST_SLOTS, rendered, rendered_all

Texts = Mapping[str, str]

_DOS_PATH = re.compile(r"[A-Za-z]:(\\[^\\/:*?\"<>|%^&!\x00-\x1f]+)+")
_POSIX_PATH = re.compile(r"(/[^/\x00-\x1f\x7f]+)+")


class _Form(Protocol):
    """A module that knows one form of seed."""

    LABEL: str

    def documents(self, carried: Carried) -> dict[str, str]:
        """Return what is written for every guest."""

    def files(self, carried: Carried, rendered: Texts) -> dict[str, bytes]:
        """Return the seed's files by path."""


_FORMS: Mapping[SeedForm, _Form] = {
    SeedForm.NOCLOUD: nocloud,
    SeedForm.CONFIGDRIVE: configdrive,
    SeedForm.UNATTEND: unattend,
}


def make_seed(carried: Carried) -> Seed:
    """Return a guest's CD-ROM; keeps `control.tools.Personality`."""
    form, texts = _FORMS[carried.form], rendered(carried)
    content = iso_image(form.LABEL, form.files(carried, texts))
    return Seed(content, digest_of({**form.documents(carried), **texts}))


def texts_of(every: Sequence[Carried]) -> list[Texts]:
    """Return all that guests are told, by name; keeps `control.tools.Texts`.

    Slots without a node are shown with an example of what only a node has.
    """
    filled = [carried if carried.instance else carried.as_example() for carried in every]
    return [
        {**_FORMS[carried.form].documents(carried), **texts}
        for carried, texts in zip(filled, rendered_all(filled), strict=True)
    ]


def check_personalities(before: Fleet, changes: Changes) -> None:
    """Render every slot of every tier whose personality would change, and refuse what cannot be.

    Of a tier with more slots than `MOST_SLOTS`, as many are rendered, and all with settings of their own.

    Raises:
        WrongUsage: A template cannot be rendered, or a path is none in that guest.
        Refusal: Rendering takes too long, or too much memory.
    """
    images: dict[ImageRef, Image] = {**before.images, **changes.get(Kind.IMAGE, {})}
    for name, tier in changes.get(Kind.TIER, {}).items():
        if tier is not None and _is_to_check(before.tiers.get(name), tier):
            every = list(_every_slot(before, tier, images))
            for carried in every:
                _check_paths(carried)
            texts_of(every)


def _is_to_check(before: Tier | None, tier: Tier) -> bool:
    if tier.personality == NO_PERSONALITY and not any(slot.personality for slot in tier.slots):
        return False
    return before is None or _told(before) != _told(tier)


def _told(tier: Tier) -> tuple[object, ...]:
    return (tier.personality, tier.slots, tier.maximum, tier.image)


def _every_slot(fleet: Fleet, tier: Tier, images: Mapping[ImageRef, Image]) -> Iterator[Carried]:
    own = {slot.number for slot in tier.slots if slot.personality is not None}
    for number in sorted({*range(1, min(tier.maximum, MOST_SLOTS) + 1), *own}):
        image = images.get(tier.image_for(number))
        if image is not None and number <= tier.maximum:
            yield carried_now(fleet, tier, number, image)


def _check_paths(carried: Carried) -> None:
    is_windows = carried.form is SeedForm.UNATTEND
    pattern, example = (_DOS_PATH, "C:\\app\\app.ini") if is_windows else (_POSIX_PATH, "/etc/motd")
    for file in carried.personality.files:
        if not pattern.fullmatch(file.path) or ".." in re.split(r"[/\\]", file.path):
            raise WrongUsage(
                f"{file.path!r} is no path in a guest that gets its personality as {carried.form}",
                remedy=f"give an absolute path, such as {example}",
            )
