"""Looking at what an import would take in, without taking it."""

from collections.abc import Sequence
from dataclasses import dataclass

from metier.domain.fleet import Draft
from metier.domain.ids import ImageRef
from metier.operations.image_import import place
from metier.operations.image_package import PackageOptions, package_of
from metier.operations.job_ends import newest_job, unfinished
from metier.operations.job_row import job_row
from metier.operations.records import begin_job
from metier.operations.registry import Caller, Outcome, View, changes

_SUBJECT = "package"


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectImage(PackageOptions):
    """A package that is looked at."""


def still_until_inspected(view: View, _arguments: InspectImage) -> Sequence[str]:
    """Say how far the newest inspection is; raises Refusal once it failed."""
    return unfinished(newest_job(view.fleet, "image-inspect", _SUBJECT))


@changes(
    "image",
    "inspect",
    InspectImage,
    settled=still_until_inspected,
    examples=(
        "metier image inspect --file /tmp/filename.tgz",
        "metier image inspect --host esx-1 --vm 'My VM'",
    ),
)
def inspect_image(draft: Draft, arguments: InspectImage, caller: Caller) -> Outcome:
    """Say what is in a package that could be imported, and what would come of it; nothing is imported.

    It tells the machine, its disks with their sizes, the room that each stage of an import
    takes and the room there is, and what cannot be honoured or would be refused.
    Of a VM on a host (--vm) it says so too, with all that is in the way, and fetches nothing.
    """
    # Read again from the job's arguments; two at once need names of their own.
    number = max(draft.jobs, default=0) + 1
    package = package_of(draft, ImageRef("inspected", str(number)), arguments, caller)
    job = begin_job(draft, "image-inspect", _SUBJECT, package.arguments, caller)
    return Outcome(f"inspection of {place(package)} begun as job {job.id}", job_row(job), job=job.id)
