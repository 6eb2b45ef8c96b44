"""Carries a capture out: from a VM on its host into the image matrix."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from metier.control.image_jobs import answers_of, ref_of
from metier.control.tools import Drivers
from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId
from metier.domain.image import Image
from metier.domain.image_use import host_key
from metier.domain.job import Job
from metier.domain.node import Node
from metier.drivers.hypervisor.api import Capturing, Ended, MakeRoom, TakenDisks
from metier.matrix.api import CaptureOrder, Fetched, Matrix, Report

ASK_S = 30.0
COPY_S = 24 * 3600.0
"""A silent host is noticed long before; this bounds one that answers and brings nothing."""


class CaptureTools(Protocol):
    """What a capture works with."""

    @property
    def drivers(self) -> Drivers:
        """Return the opened drivers."""

    @property
    def matrix(self) -> Matrix:
        """Return the image matrix."""


def capture(job: Job, fleet: Fleet, tools: CaptureTools, report: Report) -> Image:
    """Capture what the job's node runs; doing it again after a crash is fine.

    Raises:
        Refusal: It cannot be captured, or changed since it was ordered.
        NoSpace: There is not enough room for it.
        DriverError: The host would not, or could not be reached.
    """
    node, host = _as_ordered(job, fleet)
    assert node.vm_number is not None
    hypervisor = tools.drivers.hypervisor(host)
    if not isinstance(hypervisor, Capturing):
        raise Refusal(
            f"cannot capture {node.name}: the VM manager of {host.name} does not let disks be copied",
            remedy="archive the VM's files on its host and import them: `metier image import`",
        )
    report(f"asking {host.name}", 0, None)
    _require_clean(job, node, hypervisor.ended(node.vm_number, timeout_s=ASK_S))
    parent = fleet.image(ref_of(_table(job.arguments["parent"])))
    source = _Source(hypervisor, host, node.vm_number, str(job.arguments["instance"]), parent, report)
    return tools.matrix.capture_image(capture_order(job, parent), source.fetch, report)


def capture_order(job: Job, parent: Image) -> CaptureOrder:
    """Read a capture's recorded arguments back."""
    return CaptureOrder(
        ref=ref_of(job.arguments),
        parent=parent,
        created=job.created,
        answers=answers_of(job.arguments),
        source=f"captured from {job.arguments['node']}, which ran {parent.ref}",
    )


class _Source:
    """A VM whose disks are copied."""

    def __init__(
        self, capturing: Capturing, host: Node, number: int, instance: str, parent: Image, report: Report
    ) -> None:
        self._capturing, self._parent = capturing, parent
        self._host, self._number, self._instance, self._report = host, number, instance, report

    def fetch(self, into: Path, make_room: MakeRoom) -> Fetched:
        """Copy the disks; keeps `matrix.api.Fetch`."""
        step = f"copying from {self._host.name}"
        taken = self._capturing.take_disks(
            self._number,
            into,
            make_room,
            lambda done, total: self._report(step, done, total),
            timeout_s=COPY_S,
        )
        self._check(taken)
        return Fetched(taken.files, are_children=bool(taken.parent))

    def _check(self, taken: TakenDisks) -> None:
        name = f"VM{self._number} of {self._host.name}"
        if taken.instance != self._instance:
            raise Refusal(
                f"cannot capture {name}: {taken.instance} is on it by now, and not {self._instance}",
                remedy="look at `metier node list`, and capture again",
            )
        if taken.parent and taken.parent != host_key(self._parent):
            raise Refusal(
                f"cannot capture {name}: its disks stand on {taken.parent}, whose content is not that of"
                f" image {self._parent.ref} now",
                remedy="archive the VM's files on its host and import them: `metier image import`",
            )


def _as_ordered(job: Job, fleet: Fleet) -> tuple[Node, Node]:
    """Return node and host if both are still what was to be captured; a job may have waited long."""
    name = NodeId(str(job.arguments["node"]))
    node = fleet.node(name)
    host = fleet.host_of(node)
    if host is None or node.instance is None or node.instance.id != job.arguments["instance"]:
        raise Refusal(
            f"cannot capture {name}: what was on it, {job.arguments['instance']}, is not on it any more"
        )
    if node.engaged:
        raise Refusal(
            f"cannot capture {name}: it was engaged meanwhile",
            remedy=f"disengage it, shut its guest OS down, and capture again: `metier node disengage {name}`",
        )
    return node, host


def _require_clean(job: Job, node: Node, ended: Ended) -> None:
    if ended is Ended.BY_GUEST or job.arguments.get("accept_unclean"):
        return
    how = "its power was cut" if ended is Ended.CUT else "how it went off is not known"
    raise Refusal(
        f"cannot capture {node.name}: {how}, so its file systems may not be clean",
        code="needs-acceptance",
        remedy="start it, shut its guest OS down, and capture again; or say --accept-warnings",
    )


def _table(value: object) -> Mapping[str, Any]:
    assert isinstance(value, Mapping)
    return value
