"""Compares two image versions for a job."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from metier.control.image_jobs import JobTools, ref_of
from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.domain.ids import image_ref
from metier.domain.image import Image
from metier.domain.job import Job
from metier.matrix.api import Report


@runtime_checkable
class Comparing(Protocol):
    """An image matrix that holds bytes which can be compared."""

    def diff(
        self, before: Image, after: Image, report: Report, *, files: bool, below: str, show_all: bool
    ) -> Mapping[str, object]:
        """Return what changed, JSON-ready; of files only what is `below` a folder, the first or all."""


def diff(job: Job, fleet: Fleet, tools: JobTools, report: Report) -> Mapping[str, object]:
    """Say what changed from one version to another.

    Raises:
        Refusal: The matrix holds no bytes, or they cannot be read.
    """
    matrix: Any = tools.matrix
    before, after = fleet.image(image_ref(str(job.arguments["before"]))), fleet.image(ref_of(job.arguments))
    if not isinstance(matrix, Comparing):
        raise Refusal(
            f"cannot compare {before.ref} with {after.ref}: a simulated image matrix holds no bytes",
            remedy="compare them where they really are",
        )
    return matrix.diff(
        before,
        after,
        report,
        files=bool(job.arguments.get("files", True)),
        below=str(job.arguments.get("path", "")),
        show_all=bool(job.arguments.get("all", False)),
    )
