"""What is known of an image version's bytes: when they were last read again, and with what result."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef
from metier.domain.image import Image
from metier.domain.job import Job, JobState

VERIFY = "image-verify"


@dataclass(frozen=True, slots=True)
class Verification:
    """The last time that a version was read again.

    Attributes:
        damage: What was wrong with it, in words; empty if nothing was.
    """

    at: datetime
    job: int
    damage: str = ""


def damaged(ref: ImageRef) -> str:
    """Return the beginning of the error of a job that found a version damaged."""
    return f"image {ref} is damaged: "


def verifications(fleet: Fleet) -> dict[ImageRef, Verification]:
    """Return the last verification of each version that ever had one; one that broke off tells nothing."""
    return {image.ref: found for image, found in _each(fleet)}


def verification(fleet: Fleet, ref: ImageRef) -> Verification | None:
    """Return the last verification of a version."""
    return verifications(fleet).get(ref)


def _each(fleet: Fleet) -> Iterator[tuple[Image, Verification]]:
    known = {str(ref): image for ref, image in fleet.images.items()}
    for _, job in sorted(fleet.jobs.items()):
        image = known.get(job.subject) if job.kind == VERIFY else None
        # A job on an earlier version of the same name, which was deleted, tells nothing of this one.
        if (
            image is not None
            and job.created >= image.created
            and (found := _told(job, image.ref)) is not None
        ):
            yield image, found


def _told(job: Job, ref: ImageRef) -> Verification | None:
    if job.finished is None:
        return None
    if job.state is JobState.DONE:
        return Verification(job.finished, job.id)
    beginning = damaged(ref)
    if job.state is JobState.FAILED and job.error.startswith(beginning):
        return Verification(job.finished, job.id, job.error.removeprefix(beginning))
    return None
