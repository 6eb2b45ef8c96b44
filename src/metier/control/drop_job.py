"""Has hosts delete their copies of image versions that no longer exist, each once it can be reached."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from metier.control.tools import Drivers
from metier.domain.errors import DriverError, chain
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import NodeId, natural
from metier.domain.job import Job, JobState
from metier.domain.node import Node
from metier.matrix.api import Report

KIND = "image-drop"

DROP_TIMEOUT_S = 60.0

AGAIN_AFTER = timedelta(minutes=10)
"""A host that would not, or could not be reached, is asked again no sooner: nothing hangs on it."""


class DropTools(Protocol):
    """What dropping works with."""

    @property
    def drivers(self) -> Drivers:
        """Return the opened drivers."""


def drop(job: Job, fleet: Fleet, tools: DropTools, report: Report) -> Mapping[str, object]:
    """Have hosts delete their copy of an image; a host keeps it while an instance stands on it.

    Returns which hosts still have to be asked, and why those that were asked did not do it.
    """
    left: list[str] = []
    why: dict[str, str] = {}
    for name in _wanted(job, fleet):
        host = fleet.nodes.get(NodeId(name))
        if host is None or host.vmm is None:
            continue  # it is gone, and with it what it held
        if not _may_be_asked(fleet, host):
            left.append(name)
            continue
        report(f"deleting the copy on {name}", 0, None)
        try:
            tools.drivers.hypervisor(host).drop_image(str(job.arguments["key"]), timeout_s=DROP_TIMEOUT_S)
        except DriverError as error:
            left.append(name)
            why[name] = chain(error)
    return {"left_on": left, "why": why} if left else {}


def drops_left(fleet: Fleet) -> tuple[int, ...]:
    """Return the jobs that left copies on hosts."""
    return tuple(number for number, job in sorted(fleet.jobs.items()) if _left(job))


def resume_drops(draft: Draft, numbers: Sequence[int], now: datetime) -> None:
    """Queue those of these jobs again that could go on: some time has passed, and a host can be reached."""
    for number in numbers:
        job = draft.jobs.get(number)
        if job is None or job.finished is None or now - job.finished < AGAIN_AFTER:
            continue
        left = _left(job)
        hosts = [draft.nodes.get(NodeId(name)) for name in left]
        if any(host is None or _may_be_asked(draft, host) for host in hosts):
            arguments = {**job.arguments, "hosts": list(left)}
            queued = replace(job, state=JobState.QUEUED, arguments=arguments, result={})
            draft.put_job(replace(queued, started=None, finished=None, attempts=0))


def _left(job: Job) -> Sequence[str]:
    found = job.result.get("left_on", ()) if job.kind == KIND and job.state is JobState.DONE else ()
    return [str(name) for name in found] if isinstance(found, list | tuple) else []


def _wanted(job: Job, fleet: Fleet) -> Sequence[str]:
    """Return the hosts that a job is about: those it left, or at first all."""
    named = job.arguments.get("hosts")
    if isinstance(named, list | tuple):
        return [str(name) for name in named]
    return sorted((name for name, node in fleet.nodes.items() if node.vmm is not None), key=natural)


def _may_be_asked(fleet: Fleet, host: Node) -> bool:
    """Say whether a host answers, and automation may touch it."""
    return host.engaged and bool(fleet.seen(host.name).vmm_reachable)
