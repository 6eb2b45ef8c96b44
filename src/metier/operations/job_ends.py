"""How a job that a change began is waited for."""

from collections.abc import Sequence

from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.domain.job import FINAL, Job, JobState


def newest_job(fleet: Fleet, kind: str, subject: str) -> Job | None:
    """Return the newest job of a kind on a subject; with an empty version, on any version of it."""
    found = [
        job
        for job in fleet.jobs.values()
        if job.kind == kind
        and (job.subject == subject or (subject[-1:] == "@" and job.subject.startswith(subject)))
    ]
    return max(found, key=lambda job: job.id, default=None)


def unfinished(job: Job | None) -> Sequence[str]:
    """Say what a job is doing; empty once it is done.

    Raises:
        Refusal: It failed or was cancelled.
    """
    if job is None or job.state is JobState.DONE:
        return []
    if job.state in FINAL:
        raise Refusal(
            f"job {job.id} {job.state}: {job.error or job.kind}", code="job-failed", remedy=job.remedy
        )
    share = f", {100 * job.done_bytes // job.total_bytes} %" if job.total_bytes else ""
    return [f"job {job.id}: {job.step or job.state}{share}"]
