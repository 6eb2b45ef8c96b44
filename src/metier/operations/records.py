"""Finds the records that a request names, and checks what it expects of them."""

from typing import Protocol

from metier.domain.errors import GenerationMismatch, NoSuchThing, Refusal
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import ImageRef, image_ref, natural, node_id, plain_name, tier_id
from metier.domain.image import Image
from metier.domain.job import FINAL, Job
from metier.domain.node import Node
from metier.domain.tier import Tier, TierKind, TierState
from metier.operations.registry import Caller


class _Generational(Protocol):
    @property
    def generation(self) -> int: ...


def check_expected(caller: Caller, record: _Generational, name: str) -> None:
    """Raise GenerationMismatch unless `record` is what the caller saw."""
    if caller.expects is not None and caller.expects != record.generation:
        raise GenerationMismatch(
            f"{name} was changed meanwhile: it is at generation {record.generation}, not {caller.expects}",
            remedy="read it again, then repeat the change",
        )


def find_node(fleet: Fleet, name: str) -> Node:
    """Return the node of that name; raises WrongUsage, NoSuchThing."""
    return fleet.node(node_id(name))


def find_tier(fleet: Fleet, name: str) -> Tier:
    """Return the tier of that name; raises WrongUsage, NoSuchThing."""
    return fleet.tier(tier_id(name))


def expected_node(fleet: Fleet, name: str, caller: Caller) -> Node:
    """Return the node of that name as the caller saw it.

    Raises:
        WrongUsage: It cannot be a name.
        NoSuchThing: There is no such node.
        GenerationMismatch: It was changed since.
    """
    node = find_node(fleet, name)
    check_expected(caller, node, f"node {node.name}")
    return node


def expected_tier(fleet: Fleet, name: str, caller: Caller) -> Tier:
    """Return the tier of that name as the caller saw it; raises as `expected_node` does."""
    tier = find_tier(fleet, name)
    check_expected(caller, tier, f"tier {tier.name}")
    return tier


def versions_of(fleet: Fleet, name: str) -> list[Image]:
    """Return the versions of an image, oldest number first, words last."""
    found = [image for image in fleet.images.values() if image.ref.name == name]
    return sorted(found, key=lambda image: natural(image.ref.version))


def find_image(fleet: Fleet, text: str) -> Image:
    """Return the image version `NAME@VERSION`, or `NAME` if it has but one.

    Raises:
        WrongUsage: It cannot be a name.
        NoSuchThing: There is no such image.
        Refusal: It is a name with several versions.
    """
    if "@" in text:
        return fleet.image(image_ref(text))
    versions = versions_of(fleet, plain_name(text, "image"))
    if not versions:
        raise NoSuchThing(f"there is no image {text}", remedy="see `metier image list`")
    if len(versions) > 1:
        known = ", ".join(image.ref.version for image in versions)
        raise Refusal(
            f"image {text} has several versions: {known}", remedy=f"name one of them: {versions[-1].ref}"
        )
    return versions[0]


def expected_image(fleet: Fleet, text: str, caller: Caller) -> Image:
    """Return an image version as the caller saw it; raises as `find_image` and `expected_node` do."""
    image = find_image(fleet, text)
    check_expected(caller, image, f"image {image.ref}")
    return image


def next_version(fleet: Fleet, name: str) -> str:
    """Return the number after the highest version of an image, or of one that is being imported."""
    refs = [*fleet.images, *(ref for job in live_jobs(fleet) if (ref := _subject_image(job)) is not None)]
    numbers = [int(ref.version) for ref in refs if ref.name == name and ref.version.isdecimal()]
    return str(max(numbers, default=0) + 1)


def tiers_using(fleet: Fleet, ref: ImageRef) -> list[str]:
    """Return the names of the tiers whose slots run an image version or may be told to, sorted."""
    return sorted((tier.name for tier in fleet.tiers.values() if ref in tier.versions), key=natural)


def live_jobs(fleet: Fleet) -> list[Job]:
    """Return the jobs that have not ended, oldest first."""
    return [job for _, job in sorted(fleet.jobs.items()) if job.state not in FINAL]


def job_on(fleet: Fleet, subject: str) -> Job | None:
    """Return the job that is at work on `subject`, if there is one."""
    return next((job for job in live_jobs(fleet) if job.subject == subject), None)


def begin_job(draft: Draft, kind: str, subject: str, arguments: dict[str, object], caller: Caller) -> Job:
    """Record a job for the loop to carry out; its id is one above every other."""
    number = max(draft.jobs, default=0) + 1
    job = Job(number, kind, subject, caller.now, by=caller.name, arguments=arguments)
    draft.put_job(job)
    return draft.jobs[number]


def _subject_image(job: Job) -> ImageRef | None:
    name, at, version = job.subject.partition("@")
    return ImageRef(name, version) if at else None


def check_may_personalize(tier: Tier) -> None:
    """Keep R-HOSTIMAGE-1: a host tier is personalized only while it is not active.

    Raises:
        Refusal: It is an active host tier.
    """
    if tier.kind is TierKind.HOST and tier.state is TierState.ACTIVE:
        raise Refusal(
            f"cannot personalize host tier {tier.name}: it is active",
            remedy=f"deactivate it first: `metier tier deactivate {tier.name}`",
        )
