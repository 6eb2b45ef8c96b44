"""What jobs on images do, each in the thread of its job."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from metier.control.tools import Drivers
from metier.control.vm_source import source_vm
from metier.domain.errors import Bug, Refusal
from metier.domain.fleet import Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import CollectorSpec, Image, ImageType
from metier.domain.image_health import damaged
from metier.domain.job import FINAL, Job
from metier.matrix.api import Answers, Hints, ImportOrder, Matrix, Report, SourceVm


class JobTools(Protocol):
    """What jobs on images work with."""

    @property
    def drivers(self) -> Drivers:
        """Return the opened drivers."""

    @property
    def matrix(self) -> Matrix:
        """Return the image matrix."""


Made = Image | Mapping[str, object] | None
"""What a job made: an image to be recorded, or what it found or wrote, for `Job.result`."""

Work = Callable[[Job, Fleet, Any, Report], Made]


def _import(job: Job, fleet: Fleet, tools: JobTools, report: Report) -> Made:
    with source_vm(job.arguments, fleet, tools.drivers) as vm:
        return tools.matrix.import_image(import_order(job.arguments, job.created, vm), report)


def _inspect(job: Job, fleet: Fleet, tools: JobTools, report: Report) -> Made:
    with source_vm(job.arguments, fleet, tools.drivers) as vm:
        return tools.matrix.inspect(import_order(job.arguments, job.created, vm), report)


def _verify(job: Job, fleet: Fleet, tools: JobTools, report: Report) -> Made:
    ref = ref_of(job.arguments)
    faults = tools.matrix.verify(fleet.image(ref), report)
    if faults:
        raise Refusal(f"{damaged(ref)}{'; '.join(faults)}", remedy="import it again as a new version")
    return None


def _delete(job: Job, _fleet: Fleet, tools: JobTools, _report: Report) -> Made:
    tools.matrix.delete(ref_of(job.arguments))
    return None


def _export(job: Job, fleet: Fleet, tools: JobTools, report: Report) -> Made:
    form, target = _text(job.arguments, "form"), Path(_text(job.arguments, "target"))
    paths = tools.matrix.export_image(fleet.image(ref_of(job.arguments)), form, target, report)
    return {"files": [str(path) for path in paths]}


WORK: Mapping[str, Work] = {
    "image-delete": _delete,
    "image-export": _export,
    "image-import": _import,
    "image-inspect": _inspect,
    "image-verify": _verify,
}
"""What each kind of job does."""


def awaited_images(fleet: Fleet) -> list[ImageRef]:
    """Return the versions that imports which have not ended are to make."""
    imports = (job for job in fleet.jobs.values() if job.kind == "image-import" and job.state not in FINAL)
    return [ref_of(job.arguments) for job in imports]


def import_order(arguments: Mapping[str, Any], created: datetime, vm: SourceVm | None = None) -> ImportOrder:
    """Read an import's recorded arguments back; `vm` is what they are about, if it is no file."""
    return ImportOrder(
        ref=ref_of(arguments),
        location=_text(arguments, "location"),
        created=created,
        answers=answers_of(arguments),
        hints=Hints(**arguments.get("hints", {})),
        sha256=arguments.get("sha256", ""),
        vmware_only=arguments.get("vmware_only", False),
        vm=vm,
    )


def answers_of(arguments: Mapping[str, Any]) -> Answers:
    """Read back what was answered to the capture questions."""
    requirements: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, list | tuple) else value
        for name, value in arguments.get("requirements", {}).items()
    }
    return Answers(
        type=ImageType(arguments["type"]),
        minimum_memory_mib=arguments.get("minimum_memory_mib", 0),
        requirements=Requirements(**requirements),
        startup_s=arguments.get("startup_s", 300),
        collectors=tuple(CollectorSpec(**spec) for spec in arguments.get("collectors", ())),
    )


def ref_of(arguments: Mapping[str, Any]) -> ImageRef:
    """Return the image version that a job is on."""
    return ImageRef(arguments["name"], arguments["version"])


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise Bug(f"a job without {name} was recorded")
    return value
