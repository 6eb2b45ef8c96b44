"""Host images, and the settings of all images."""

from dataclasses import dataclass, replace

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef, plain_name
from metier.domain.image import Image, ImageType
from metier.domain.image_use import host_key, in_sentences, uses
from metier.operations.image_row import image_row
from metier.operations.image_settings import ImageOptions, OfferOptions, offered_vms, with_settings
from metier.operations.records import (
    begin_job,
    expected_image,
    job_on,
    next_version,
    tiers_using,
)
from metier.operations.registry import Caller, Form, Outcome, Row, changes, option, positional


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateImage(OfferOptions):
    """A new host image."""

    name: str = positional("what to call the image", example="vmm")
    version: str = option("its version; left out, the next number", "", example="1")
    type: str = option(
        "what it runs; only host images are created so, guest images are imported",
        ImageType.VMM_HOST.value,
        choices=[kind.value for kind in ImageType],
    )


@changes(
    "image",
    "create",
    CreateImage,
    form=Form.CREATE,
    examples=(
        "metier image create vmm --vms 3 --vm-memory 512",
        "metier image create vmm --version 2 --vm memory=512 --vm memory=2048,cpus=2,disk=20",
    ),
)
def create_image(draft: Draft, arguments: CreateImage, caller: Caller) -> Outcome:
    """Create a host image: it says which VMs each host of a host tier offers.

    A host must have as much memory as all its VMs together, unless you say
    otherwise with --minimum-memory-mib.
    """
    if arguments.type != ImageType.VMM_HOST:
        raise WrongUsage(
            f"an image of type {arguments.type} cannot be created from nothing",
            remedy="import its files: `metier image import`",
        )
    ref = new_ref(draft, arguments.name, arguments.version)
    offers = offered_vms(arguments)
    needs = Requirements(memory_mib=sum(offer.memory_mib for offer in offers))
    blank = Image(
        ref,
        ImageType.VMM_HOST,
        "vmm-host",
        caller.now,
        requirements=needs,
        offers=offers,
        source=f"created by {caller.name}",
    )
    draft.put_image(with_settings(blank, arguments))
    notes = () if offers else (f"hosts with image {ref} have no VMs but those that were staged on them",)
    return Outcome(f"image {ref} created", row_of(draft, ref), notes)


def new_ref(fleet: Fleet, name: str, version: str) -> ImageRef:
    """Return the reference for a new version; without a version, the next number.

    Raises:
        WrongUsage: Name or version cannot be one.
        Refusal: There is such a version, or one is being imported or deleted.
    """
    name = plain_name(name, "image")
    number = next_version(fleet, name)
    ref = ImageRef(name, plain_name(version, "image version") if version else number)
    if ref in fleet.images:
        raise Refusal(
            f"image {ref} exists already, and a version never changes",
            remedy=f"choose another version; the next number is {number}",
        )
    job = job_on(fleet, str(ref))
    if job is not None:
        raise Refusal(
            f"job {job.id} is at work on image {ref}: {job.kind}",
            remedy=f"choose another version, the next number is {number}; or see `metier job show {job.id}`",
        )
    return ref


def row_of(fleet: Fleet, ref: ImageRef) -> Row:
    """Return the row of an image version of `fleet`."""
    return image_row(fleet.images[ref], tiers_using(fleet, ref))


@dataclass(frozen=True, slots=True, kw_only=True)
class EditImage(ImageOptions):
    """Changes to an image's settings; what is not given stays."""

    name: str = positional("the image to change, NAME@VERSION", example="web@1")


@changes(
    "image",
    "edit",
    EditImage,
    form=Form.EDIT,
    examples=("metier image edit web@1 --minimum-memory-mib 512 --startup-seconds 120",),
)
def edit_image(draft: Draft, arguments: EditImage, caller: Caller) -> Outcome:
    """Change an image's settings in place; its content never changes."""
    image = expected_image(draft, arguments.name, caller)
    after = with_settings(image, arguments)
    if after == image:
        return Outcome(f"image {image.ref} is so already", row_of(draft, image.ref))
    draft.put_image(after)
    return Outcome(f"image {image.ref} changed", row_of(draft, image.ref))


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichImage:
    """Which image version."""

    name: str = positional("the image, NAME@VERSION", example="web@1")


@changes("image", "activate", WhichImage, examples=("metier image activate web@1",))
def activate_image(draft: Draft, arguments: WhichImage, caller: Caller) -> Outcome:
    """Let tiers be put on an image version again."""
    return _set_active(draft, arguments, caller, active=True)


@changes("image", "deactivate", WhichImage, examples=("metier image deactivate web@1",))
def deactivate_image(draft: Draft, arguments: WhichImage, caller: Caller) -> Outcome:
    """Keep an image version from being put on further tiers; those that are on it stay on it."""
    return _set_active(draft, arguments, caller, active=False)


def _set_active(draft: Draft, arguments: WhichImage, caller: Caller, *, active: bool) -> Outcome:
    image = expected_image(draft, arguments.name, caller)
    word = "active" if active else "inactive"
    if image.active == active:
        return Outcome(f"image {image.ref} is {word} already", row_of(draft, image.ref))
    draft.put_image(replace(image, active=active))
    users = tiers_using(draft, image.ref)
    notes = (f"tier {', '.join(users)} stays on image {image.ref}",) if users and not active else ()
    verb = "activated" if active else "deactivated"
    return Outcome(f"image {image.ref} {verb}", row_of(draft, image.ref), notes)


@changes(
    "image",
    "delete",
    WhichImage,
    form=Form.DELETE,
    examples=("metier image delete web@1", "metier image delete web@1 web@2 --plan"),
)
def delete_image(draft: Draft, arguments: WhichImage, caller: Caller) -> Outcome:
    """Delete an image version that is inactive and that nothing uses; other versions stay whole.

    Hosts delete their copies too, those that cannot be reached once they can.  With --plan it says
    how many bytes become free.
    """
    image = expected_image(draft, arguments.name, caller)
    ref = image.ref
    _check_unused(draft, image)
    if image.active:
        raise Refusal(
            f"cannot delete image {ref}: it is active",
            remedy=f"deactivate it first: `metier image deactivate {ref}`",
        )
    draft.remove_image(ref)
    if image.is_host_image:
        return Outcome(f"image {ref} deleted")
    named: dict[str, object] = {"name": ref.name, "version": ref.version}
    job = begin_job(draft, "image-delete", str(ref), named, caller)
    begin_job(draft, "image-drop", str(ref), {**named, "key": host_key(image)}, caller)
    return Outcome(f"image {ref} deleted; job {job.id} removes its files", job=job.id)


def _check_unused(fleet: Fleet, image: Image) -> None:
    """Raise Refusal while anybody needs an image version (R-DELETE-1), naming all who do."""
    found = [use for use in uses(fleet, image.ref) if use.kind != "host"]
    if not found:
        return
    if any(use.kind == "tier" for use in found):  # what its slots and nodes hold goes with the tier
        found = [use for use in found if use.kind not in ("slot", "node")]
    remedies = dict.fromkeys(use.remedy for use in found)
    raise Refusal(
        f"cannot delete image {image.ref}: {'; '.join(in_sentences(found))}", remedy="; ".join(remedies)
    )
