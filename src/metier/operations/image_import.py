"""Taking an image in: recorded here, done by the loop as a job."""

from collections.abc import Sequence
from dataclasses import dataclass

from metier.domain.fleet import Draft
from metier.domain.url import is_url, shown_url
from metier.operations.image_package import Package, PackageOptions, package_of
from metier.operations.images import new_ref
from metier.operations.job_ends import newest_job, unfinished
from metier.operations.job_row import job_row
from metier.operations.records import begin_job
from metier.operations.registry import Caller, Outcome, View, changes, option


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportImage(PackageOptions):
    """A package, and what the image that is made of it is called."""

    name: str = option("what to call the image", example="w2k")
    version: str = option("its version; left out, the next number", "", example="1")


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
        "metier image import --url https://example.org/web.ova --name web --type linux --wait",
        "metier image import --file - --name web --type linux",
        (
            "metier image import --url https://esx-1.example/sdk --user root --vm 'My VM' --name app "
            "--type linux --wait"
        ),
        "metier image import --host esx-1 --vm 'My VM' --name app --wait",
    ),
)
def import_image(draft: Draft, arguments: ImportImage, caller: Caller) -> Outcome:
    """Take a VM or a disk into the image matrix as a guest image.

    It may be an archive (.tgz, .tar, .zip) or a folder of one .vmx and its .vmdk
    files, an OVA or OVF, an XVA, or one disk by itself.  Space is proved first;
    nothing is visible before every byte was read back, and nothing is left behind if
    it fails.  Without --minimum-memory-mib the machine's memory is the minimum.
    `metier image inspect` tells beforehand what is in it.

    With --vm a VM that is switched off is taken straight from its VMware host or vCenter,
    which is only read.  Its password is asked for, or is in a file named with
    --vmm-setting-file password=FILE; for a host that is a node, --host is enough.
    """
    ref = new_ref(draft, arguments.name, arguments.version)
    package = package_of(draft, ref, arguments, caller)
    job = begin_job(draft, "image-import", str(ref), package.arguments, caller)
    message = f"import of image {ref} ({package.image.type}) from {place(package)} begun as job {job.id}"
    return Outcome(message, job_row(job), package.doubts(draft), job=job.id)


def place(package: Package) -> str:
    """Return where a package is taken from, without what may be secret."""
    if "vm" in package.arguments:
        return f"VM {package.arguments['vm']} of {package.location}"
    return shown_url(package.location) if is_url(package.location) else package.location.rpartition("/")[2]
