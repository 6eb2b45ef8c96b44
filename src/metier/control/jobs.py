"""Carries long work out: a few jobs at a time, each in a thread of its own, with progress and cancelling."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from metier.control.inbox import Inbox, JobNews
from metier.control.world import Clock
from metier.domain.errors import Bug, MetierError, Refusal, chain
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import CollectorSpec, Image, ImageType
from metier.domain.job import FINAL, Job, JobState
from metier.matrix.api import Cancelled, ImportOrder, Matrix

AT_ONCE = 2
"""Image work is bound by disk and CPU: more at once only makes each one slower."""

NEWS_EVERY = timedelta(seconds=0.5)
"""How often progress is recorded: often enough to watch, seldom enough to cost nothing."""

ATTEMPTS = 3
"""A job that this many runs of the controller did not finish is given up: it may be what ends them."""


class Jobs:
    """The jobs at work in this run of the controller."""

    def __init__(
        self,
        inbox: Inbox,
        matrix: Matrix,
        clock: Clock,
        begin: "Callable[[JobThread], None]" = threading.Thread.start,
    ) -> None:
        self._inbox, self._matrix, self._clock, self._begin = inbox, matrix, clock, begin
        self._running: dict[int, JobThread] = {}
        self._closed = False

    def follow(self, fleet: Fleet) -> None:
        """Begin queued jobs while there is room, and pass cancel requests on."""
        for number in [number for number in self._running if _is_over(fleet, number)]:
            del self._running[number]
        for number, thread in self._running.items():
            if number in fleet.jobs and fleet.jobs[number].cancel_requested:
                thread.cancel()
        for job in fleet.jobs.values():
            if len(self._running) >= AT_ONCE or self._closed:
                return
            if job.state is JobState.QUEUED and job.id not in self._running:
                self._running[job.id] = JobThread(job, fleet, self._inbox, self._matrix, self._clock)
                self._begin(self._running[job.id])

    def close(self) -> None:
        """Cancel what runs and wait until it has cleaned up behind itself."""
        self._closed = True
        for thread in self._running.values():
            thread.cancel()
        for thread in self._running.values():
            thread.join()


def _is_over(fleet: Fleet, number: int) -> bool:
    """Say whether the Fleet knows how a job ended; its thread may be through before it does."""
    return number not in fleet.jobs or fleet.jobs[number].state in FINAL


def requeue(draft: Draft, job: Job) -> None:
    """Put a job that an earlier run left unfinished back in the queue, or give it up."""
    if job.attempts < ATTEMPTS:
        draft.put_job(replace(job, state=JobState.QUEUED, step="waiting after a restart", done_bytes=0))
        return
    error = f"the controller ended {job.attempts} times while this job ran"
    remedy = "look for the cause in the controller's log before you start it again"
    draft.put_job(replace(job, state=JobState.FAILED, error=error, remedy=remedy))


class JobThread(threading.Thread):
    """One job at work."""

    def __init__(self, job: Job, fleet: Fleet, inbox: Inbox, matrix: Matrix, clock: Clock) -> None:
        super().__init__(name=f"metier-job-{job.id}", daemon=True)
        self._fleet, self._inbox, self._matrix, self._clock = fleet, inbox, matrix, clock
        self._cancelled = threading.Event()
        self._told = clock.now()
        self._job = replace(job, state=JobState.RUNNING, started=self._told, attempts=job.attempts + 1)

    def cancel(self) -> None:
        """Stop at the next report of progress."""
        self._cancelled.set()

    def run(self) -> None:
        """Do the job and tell the loop how it went."""
        self._tell()
        image = None
        try:
            image = WORK[self._job.kind](self._job, self._fleet, self._matrix, self._report)
            self._end(JobState.DONE)
        except Cancelled:
            self._end(JobState.CANCELLED, error="it was cancelled; nothing of it is left")
        except MetierError as error:
            self._end(JobState.FAILED, error=chain(error), remedy=error.remedy)
        except Exception as error:  # a bug in one job must not end the controller
            self._end(JobState.FAILED, error=f"internal error: {chain(error)}", remedy="report this as a bug")
        self._inbox.put(JobNews(self._job, image))

    def _report(self, step: str, done_bytes: int, total_bytes: int | None) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        now = self._clock.now()
        is_new_step = step != self._job.step
        self._job = replace(self._job, step=step, done_bytes=done_bytes, total_bytes=total_bytes)
        if is_new_step or now - self._told >= NEWS_EVERY:
            self._told = now
            self._tell()

    def _end(self, state: JobState, *, error: str = "", remedy: str = "") -> None:
        step = "" if state is JobState.DONE else self._job.step
        self._job = replace(
            self._job, state=state, finished=self._clock.now(), error=error, remedy=remedy, step=step
        )

    def _tell(self) -> None:
        self._inbox.put(JobNews(self._job))


Report = Callable[[str, int, int | None], None]


def _import(job: Job, _fleet: Fleet, matrix: Matrix, report: Report) -> Image:
    return matrix.import_image(import_order(job.arguments, job.created), report)


def _verify(job: Job, fleet: Fleet, matrix: Matrix, report: Report) -> None:
    ref = _ref(job.arguments)
    faults = matrix.verify(fleet.image(ref), report)
    if faults:
        raise Refusal(
            f"image {ref} is damaged: {'; '.join(faults)}", remedy="import it again as a new version"
        )


def _delete(job: Job, _fleet: Fleet, matrix: Matrix, _report: Report) -> None:
    matrix.delete(_ref(job.arguments))


WORK: Mapping[str, Callable[[Job, Fleet, Matrix, Report], Image | None]] = {
    "image-import": _import,
    "image-verify": _verify,
    "image-delete": _delete,
}
"""What each kind of job does."""


def import_order(arguments: Mapping[str, Any], created: datetime) -> ImportOrder:
    """Read an import's recorded arguments back."""
    requirements: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, list | tuple) else value
        for name, value in arguments.get("requirements", {}).items()
    }
    if not isinstance(arguments["archive"], str):
        raise Bug("an import without an archive was recorded")
    return ImportOrder(
        ref=_ref(arguments),
        archive=Path(arguments["archive"]),
        type=ImageType(arguments["type"]),
        created=created,
        minimum_memory_mib=arguments.get("minimum_memory_mib", 0),
        requirements=Requirements(**requirements),
        startup_s=arguments.get("startup_s", 300),
        collectors=tuple(CollectorSpec(**spec) for spec in arguments.get("collectors", ())),
    )


def _ref(arguments: Mapping[str, Any]) -> ImageRef:
    return ImageRef(arguments["name"], arguments["version"])
