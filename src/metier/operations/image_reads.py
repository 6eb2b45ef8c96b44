"""What an operator can ask about images."""

from collections import defaultdict
from dataclasses import dataclass

from metier.domain.errors import NoSuchThing
from metier.domain.fleet import Fleet
from metier.domain.ids import image_ref, natural, plain_name
from metier.domain.image import Image, ImageType
from metier.domain.image_health import verification, verifications
from metier.operations.image_fit import fit_row
from metier.operations.image_room import measured, sizes
from metier.operations.image_row import COLUMNS, content_row, image_details, image_row
from metier.operations.images import row_of
from metier.operations.records import versions_of
from metier.operations.registry import Form, Row, View, option, positional, reads


@dataclass(frozen=True, slots=True, kw_only=True)
class ListImages:
    """Filters of the list of images; each one narrows it."""

    image: str | None = option("only versions of this image", None, example="web")
    type: str | None = option("only images of this type", None, choices=[kind.value for kind in ImageType])
    active: bool | None = option("only active (on) or inactive (off) versions", None)


@reads(
    "image", "list", ListImages, form=Form.LIST, columns=COLUMNS, examples=("metier image list --image web",)
)
def list_images(view: View, arguments: ListImages) -> list[Row]:
    """List image versions, by name and version."""
    users: dict[object, list[str]] = defaultdict(list)
    for tier in view.fleet.tiers.values():
        for ref in tier.versions:
            users[ref].append(tier.name)
    room, read_again = measured(view), verifications(view.fleet)
    chosen = [
        image
        for image in view.fleet.images.values()
        if arguments.image in (None, image.ref.name)
        and arguments.type in (None, image.type)
        and arguments.active in (None, image.active)
    ]
    chosen.sort(key=lambda image: (natural(image.ref.name), natural(image.ref.version)))
    return [
        {
            **image_row(image, sorted(users[image.ref], key=natural)),
            **sizes(room, image.ref),
            **content_row(read_again.get(image.ref)),
        }
        for image in chosen
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowImage:
    """Which image."""

    name: str = positional("the image: NAME@VERSION, or NAME for its newest version", example="web@1")


@reads("image", "show", ShowImage, columns=COLUMNS, examples=("metier image show web@1",))
def show_image(view: View, arguments: ShowImage) -> Row:
    """Show everything about one image version.

    What it takes by itself and shares, who uses it, when it was last read again, what could not
    be honoured, how many nodes could run it.
    """
    image = _newest(view.fleet, arguments.name)
    row = {**row_of(view.fleet, image.ref), **sizes(measured(view), image.ref)}
    row |= content_row(verification(view.fleet, image.ref))
    return {**row, **image_details(view.fleet, image), **fit_row(view.fleet, image)}


def _newest(fleet: Fleet, text: str) -> Image:
    if "@" in text:
        return fleet.image(image_ref(text))
    versions = versions_of(fleet, plain_name(text, "image"))
    if not versions:
        raise NoSuchThing(f"there is no image {text}", remedy="see `metier image list`")
    return versions[-1]
