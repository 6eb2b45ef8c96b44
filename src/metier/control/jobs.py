"""Carries long work out: a few jobs at a time, each in a thread of its own, with progress and cancelling."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from metier.control import image_jobs
from metier.control.capture_job import CaptureTools, capture
from metier.control.diff_job import diff
from metier.control.drop_job import drop
from metier.control.image_jobs import Work
from metier.control.inbox import Inbox, JobNews
from metier.control.world import Clock
from metier.domain.errors import MetierError, chain
from metier.domain.fleet import Draft, Fleet
from metier.domain.image import Image
from metier.domain.job import FINAL, Job, JobState
from metier.matrix.api import Cancelled, Stopping

WORK: Mapping[str, Work] = {
    **image_jobs.WORK,
    "image-capture": capture,
    "image-diff": diff,
    "image-drop": drop,
}
"""What each kind of job does."""

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
        tools: CaptureTools,
        clock: Clock,
        begin: "Callable[[JobThread], None]" = threading.Thread.start,
    ) -> None:
        self._inbox, self._tools, self._clock, self._begin = inbox, tools, clock, begin
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
                self._running[job.id] = JobThread(job, fleet, self._inbox, self._tools, self._clock)
                self._begin(self._running[job.id])

    def close(self) -> None:
        """Stop what runs and wait until it has cleaned up behind itself; the next run begins it again."""
        self._closed = True
        for thread in self._running.values():
            thread.interrupt()
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

    def __init__(self, job: Job, fleet: Fleet, inbox: Inbox, tools: CaptureTools, clock: Clock) -> None:
        super().__init__(name=f"metier-job-{job.id}", daemon=True)
        self._fleet, self._inbox, self._tools, self._clock = fleet, inbox, tools, clock
        self._cancelled = threading.Event()
        self._interrupted = threading.Event()
        self._told = clock.now()
        self._job = replace(job, state=JobState.RUNNING, started=self._told, attempts=job.attempts + 1)

    def cancel(self) -> None:
        """Stop at the next report of progress."""
        self._cancelled.set()

    def interrupt(self) -> None:
        """The same, but to be begun again when the controller is back."""
        self._interrupted.set()

    def run(self) -> None:
        """Do the job and tell the loop how it went."""
        self._tell()
        image = None
        try:
            made = WORK[self._job.kind](self._job, self._fleet, self._tools, self._report)
            if isinstance(made, Image):
                image = made
            elif made is not None:
                self._job = replace(self._job, result=made)
            self._end(JobState.DONE)
        except Stopping:
            # An end in order is no failed attempt.
            attempts = self._job.attempts - 1
            self._job = replace(self._job, state=JobState.QUEUED, attempts=attempts)
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
        if self._interrupted.is_set():
            raise Stopping
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
