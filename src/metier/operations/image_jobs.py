"""Long work on images: recorded here, done by the loop as jobs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import Image, ImageType
from metier.domain.job import FINAL, Job, JobState
from metier.operations.image_settings import ImageOptions, with_settings
from metier.operations.images import WhichImage, new_ref, row_of
from metier.operations.job_row import job_row
from metier.operations.parsing import one_line
from metier.operations.records import begin_job, expected_image, find_image, job_on
from metier.operations.registry import Caller, Outcome, View, changes, option
from metier.operations.tier_row import requirements_row

_GUEST_TYPES = (ImageType.LINUX, ImageType.WINDOWS, ImageType.OTHER)


def newest_job(fleet: Fleet, kind: str, subject: str) -> Job | None:
    """Return the newest job of a kind on a subject; with an empty version, on any version of it."""
    found = [
        job
        for job in fleet.jobs.values()
        if job.kind == kind
        and (job.subject == subject or (subject[-1:] == "@" and job.subject.startswith(subject)))
    ]
    return max(found, key=lambda job: job.id, default=None)


def unfinished(job: Job | None) -> Sequence[str]:
    """Say what a job is doing; empty once it is done.

    Raises:
        Refusal: It failed or was cancelled.
    """
    if job is None or job.state is JobState.DONE:
        return []
    if job.state in FINAL:
        raise Refusal(
            f"job {job.id} {job.state}: {job.error or job.kind}", code="job-failed", remedy=job.remedy
        )
    share = f", {100 * job.done_bytes // job.total_bytes} %" if job.total_bytes else ""
    return [f"job {job.id}: {job.step or job.state}{share}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportImage(ImageOptions):
    """An archive, and what the capture script asks about it."""

    file: str = option(
        "the archive on the controller: a .tgz or .tar of one .vmx and its .vmdk files, or their folder",
        example="/tmp/filename.tgz",
    )
    name: str = option("what to call the image", example="w2k")
    version: str = option("its version; left out, the next number", "", example="1")
    type: str = option(
        "what kind of system it holds", ImageType.OTHER.value, choices=[kind.value for kind in _GUEST_TYPES]
    )


def still_until_imported(view: View, arguments: ImportImage) -> Sequence[str]:
    """Say how far an import is; raises Refusal once it failed."""
    return unfinished(newest_job(view.fleet, "image-import", f"{arguments.name}@{arguments.version}"))


@changes(
    "image",
    "import",
    ImportImage,
    settled=still_until_imported,
    examples=(
        (
            "metier image import --file /tmp/filename.tgz --name w2k --version 1 --type windows "
            "--minimum-memory-mib 512 --wait"
        ),
    ),
)
def import_image(draft: Draft, arguments: ImportImage, caller: Caller) -> Outcome:
    """Take an archive of a VMware VM into the image matrix as a guest image.

    Space is proved first; nothing is visible before every byte was read back, and
    nothing is left behind if it fails.  Without --minimum-memory-mib the memory in
    the .vmx file is the minimum.
    """
    kind = _guest_type(arguments.type)
    ref = new_ref(draft, arguments.name, arguments.version)
    path = one_line(arguments.file, "--file")
    if not path.startswith("/"):
        raise WrongUsage(
            f"--file {path!r} is not an absolute path",
            remedy="name the file as the controller finds it: /tmp/…",
        )
    # The same checks as for an edit, on an image that does not exist yet.
    settings = with_settings(Image(ref, kind, "vmdk", caller.now, requirements=Requirements()), arguments)
    job = begin_job(draft, "image-import", str(ref), _import_arguments(path, settings), caller)
    return Outcome(f"import of image {ref} begun as job {job.id}", job_row(job), job=job.id)


def _guest_type(text: str) -> ImageType:
    if text not in _GUEST_TYPES:
        raise WrongUsage(
            f"an image of type {text!r} cannot be imported; it can be: {', '.join(_GUEST_TYPES)}",
            remedy="host images are made with `metier image create`",
        )
    return ImageType(text)


def _import_arguments(path: str, image: Image) -> dict[str, object]:
    return {
        "archive": path,
        "name": image.ref.name,
        "version": image.ref.version,
        "type": image.type.value,
        "minimum_memory_mib": image.requirements.memory_mib,
        "requirements": requirements_row(image.requirements),
        "startup_s": image.startup_s,
        "collectors": [asdict(spec) for spec in image.collectors],
    }


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
    if image.is_host_image:
        raise Refusal(f"cannot verify image {image.ref}: a host image has no files")
    job = job_on(draft, str(image.ref))
    if job is not None and job.kind == "image-verify":
        return Outcome(f"image {image.ref} is being verified already", row_of(draft, image.ref), job=job.id)
    ref: ImageRef = image.ref
    job = begin_job(draft, "image-verify", str(ref), {"name": ref.name, "version": ref.version}, caller)
    return Outcome(f"verification of image {ref} begun as job {job.id}", job_row(job), job=job.id)
