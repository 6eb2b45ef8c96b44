"""A job as the interface's JSON shows it."""

from metier.domain.job import Job
from metier.operations.parsing import rfc3339
from metier.operations.registry import Row

COLUMNS = ("id", "kind", "subject", "state", "step", "done_bytes", "total_bytes", "created", "by", "error")
"""What the list of jobs shows."""


def job_row(job: Job) -> Row:
    """Return the row of a job."""
    return {
        "id": job.id,
        "kind": job.kind,
        "subject": job.subject,
        "state": job.state.value,
        "step": job.step,
        "done_bytes": job.done_bytes,
        "total_bytes": job.total_bytes,
        "created": rfc3339(job.created),
        "started": rfc3339(job.started),
        "finished": rfc3339(job.finished),
        "by": job.by,
        "error": job.error,
        "remedy": job.remedy,
        "result": dict(job.result),
        "cancel_requested": job.cancel_requested,
        "generation": job.generation,
    }
