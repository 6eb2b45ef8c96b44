"""What changed between two image versions: recorded here, found out by the loop as a job."""

from collections.abc import Sequence
from dataclasses import dataclass

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft
from metier.operations.job_ends import newest_job, unfinished
from metier.operations.job_row import job_row
from metier.operations.parsing import one_line
from metier.operations.records import begin_job, expected_image, find_image
from metier.operations.registry import Caller, Outcome, View, changes, option, positional

KIND = "image-diff"
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffImages:
    """Two versions, and which files of theirs are asked about."""

    name: str = positional("the earlier version, NAME@VERSION", example="web@1")
    after: str = positional("the later version, NAME@VERSION", example="web@2")
    files: bool = option("compare the files too, where their file system can be read (on or off)", True)
    path: str = option("only files in this folder of the guest's", "", example="/etc")
    all: bool = option(
        "show all files that changed, up to 20,000, and not just the first 200 (on or off)", False
    )


def still_until_compared(view: View, arguments: DiffImages) -> Sequence[str]:
    """Say how far a comparison is; raises Refusal once it failed."""
    ref = find_image(view.fleet, arguments.after).ref
    return unfinished(newest_job(view.fleet, KIND, str(ref)))


@changes(
    "image",
    "diff",
    DiffImages,
    settled=still_until_compared,
    examples=("metier image diff web@1 web@2 --wait", "metier image diff web@1 web@2 --path /etc --wait"),
)
def diff_images(draft: Draft, arguments: DiffImages, caller: Caller) -> Outcome:
    """Say what changed between two versions: settings, virtual hardware, blocks, and files.

    Files can be read on ext2, ext3, ext4, NTFS, FAT and exFAT, in partitions and in logical
    volumes on one disk; for others it says why not.  The result is in the job.
    """
    before = expected_image(draft, arguments.name, caller)
    after = find_image(draft, arguments.after)
    for image in (before, after):
        if image.machine is None:
            raise Refusal(f"cannot compare image {image.ref}: a host image has no files")
    if before.ref == after.ref:
        raise WrongUsage(f"{before.ref} is the same as itself", remedy="name two versions")
    recorded: dict[str, object] = {
        "name": after.ref.name,
        "version": after.ref.version,
        "before": str(before.ref),
        # As `image_use.named_by` finds it: neither version may be deleted meanwhile.
        "earlier": {"name": before.ref.name, "version": before.ref.version},
        "files": arguments.files,
        "path": _path(arguments.path),
        "all": arguments.all,
    }
    job = begin_job(draft, KIND, str(after.ref), recorded, caller)
    return Outcome(
        f"comparison of image {before.ref} with {after.ref} begun as job {job.id}", job_row(job), job=job.id
    )


def _path(text: str) -> str:
    path = one_line(text, "--path")
    if path and (not path.startswith("/") or len(path) > _LONGEST_PATH):
        raise WrongUsage(
            f"--path {path[:100]!r} is not an absolute path within the guest",
            remedy="say for example --path /etc",
        )
    return path
