"""Taking an image out: recorded here, done by the loop as a job."""

from collections.abc import Sequence
from dataclasses import dataclass

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft
from metier.operations.job_ends import newest_job, unfinished
from metier.operations.job_row import job_row
from metier.operations.parsing import one_line
from metier.operations.paths import NewFile
from metier.operations.records import begin_job, expected_image, find_image
from metier.operations.registry import Caller, Outcome, View, changes, option, positional

FORMS = ("ova", "qcow2", "vmdk", "vhd", "vhdx", "raw")
"""What images can be written as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportImage:
    """An image version, and what it is written to."""

    name: str = positional("the image, NAME@VERSION", example="web@1")
    form: str = option(
        "how to write it: as a whole machine (ova), or its disks alone", FORMS[0], choices=FORMS
    )
    file: NewFile = option(  # noqa: RUF009 - it is a field
        "the file to write, which must not exist; several disks get -1, -2, … before its ending",
        NewFile(""),
        example="/tmp/web.ova",
    )


def still_until_exported(view: View, arguments: ExportImage) -> Sequence[str]:
    """Say how far an export is; raises Refusal once it failed."""
    ref = find_image(view.fleet, arguments.name).ref
    return unfinished(newest_job(view.fleet, "image-export", str(ref)))


@changes(
    "image",
    "export",
    ExportImage,
    settled=still_until_exported,
    examples=("metier image export web@1 --form ova --file /tmp/web.ova --wait",),
)
def export_image(draft: Draft, arguments: ExportImage, caller: Caller) -> Outcome:
    """Write an image version to files, to be used elsewhere.

    Room is proved first, and what was written is read back and compared; the file appears
    in one step, and nothing is left behind if it fails.  From a controller on another
    machine the file is fetched when it is ready.
    """
    image = expected_image(draft, arguments.name, caller)
    ref = image.ref
    if image.machine is None:
        raise Refusal(f"cannot export image {ref}: a host image has no files")
    if arguments.form not in FORMS:
        raise WrongUsage(f"an image cannot be written as {arguments.form!r}; it can be: {', '.join(FORMS)}")
    path = one_line(arguments.file, "--file")
    if not path.startswith("/") or path.endswith("/"):
        raise WrongUsage(
            f"--file {path!r} is not the absolute path of a file" if path else "say which file to write",
            remedy="name the file as the controller is to write it: --file /tmp/…",
        )
    recorded: dict[str, object] = {
        "name": ref.name,
        "version": ref.version,
        "form": arguments.form,
        "target": path,
    }
    job = begin_job(draft, "image-export", str(ref), recorded, caller)
    return Outcome(
        f"export of image {ref} as {arguments.form} begun as job {job.id}", job_row(job), job=job.id
    )
