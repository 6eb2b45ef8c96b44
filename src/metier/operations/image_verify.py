"""Reading an image again: recorded here, done by the loop as a job."""

from collections.abc import Sequence

from metier.domain.errors import Refusal
from metier.domain.fleet import Draft
from metier.operations.images import WhichImage, row_of
from metier.operations.job_ends import newest_job, unfinished
from metier.operations.job_row import job_row
from metier.operations.records import begin_job, expected_image, find_image, job_on
from metier.operations.registry import Caller, Outcome, View, changes


def still_until_verified(view: View, arguments: WhichImage) -> Sequence[str]:
    """Say how far a verification is; raises Refusal once it failed."""
    ref = find_image(view.fleet, arguments.name).ref
    return unfinished(newest_job(view.fleet, "image-verify", str(ref)))


@changes(
    "image",
    "verify",
    WhichImage,
    settled=still_until_verified,
    examples=("metier image verify web@1 --wait",),
)
def verify_image(draft: Draft, arguments: WhichImage, caller: Caller) -> Outcome:
    """Read an image version again in full and compare it with its digests."""
    image = expected_image(draft, arguments.name, caller)
    ref = image.ref
    if image.is_host_image:
        raise Refusal(f"cannot verify image {ref}: a host image has no files")
    job = job_on(draft, str(ref))
    if job is not None and job.kind == "image-verify":
        return Outcome(f"image {ref} is being verified already", row_of(draft, ref), job=job.id)
    job = begin_job(draft, "image-verify", str(ref), {"name": ref.name, "version": ref.version}, caller)
    return Outcome(f"verification of image {ref} begun as job {job.id}", job_row(job), job=job.id)
