"""Jobs: long work, seen and cancelled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metier.domain.errors import NoSuchThing, Refusal
from metier.domain.fleet import Draft, Fleet
from metier.domain.job import FINAL, Job, JobState
from metier.operations.job_row import COLUMNS, job_row
from metier.operations.records import check_expected
from metier.operations.registry import Caller, Form, Outcome, Row, View, changes, option, positional, reads


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs:
    """Filters of the list of jobs; each one narrows it."""

    state: str | None = option("only jobs in this state", None, choices=[state.value for state in JobState])
    kind: str | None = option("only jobs of this kind", None, example="image-import")
    subject: str | None = option("only jobs on this", None, example="web@1")


@reads(
    "job", "list", ListJobs, form=Form.LIST, columns=COLUMNS, examples=("metier job list --state running",)
)
def list_jobs(view: View, arguments: ListJobs) -> list[Row]:
    """List jobs, oldest first."""
    return [
        job_row(job)
        for _, job in sorted(view.fleet.jobs.items())
        if arguments.state in (None, job.state)
        and arguments.kind in (None, job.kind)
        and arguments.subject in (None, job.subject)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichJob:
    """Which job."""

    id: int = positional("the number of the job", example="3")


def find_job(fleet: Fleet, number: int) -> Job:
    """Return a job; raises NoSuchThing."""
    found = fleet.jobs.get(number)
    if found is None:
        raise NoSuchThing(f"there is no job {number}", remedy="see `metier job list`")
    return found


@reads("job", "show", WhichJob, columns=COLUMNS, examples=("metier job show 3",))
def show_job(view: View, arguments: WhichJob) -> Row:
    """Show how far a job is."""
    return job_row(find_job(view.fleet, arguments.id))


def still_until_cancelled(view: View, arguments: WhichJob) -> Sequence[str]:
    """Say what is missing until a job has ended."""
    job = view.fleet.jobs.get(arguments.id)
    return [] if job is None or job.state in FINAL else [f"job {job.id} is {job.state}: {job.step}"]


@changes("job", "cancel", WhichJob, settled=still_until_cancelled, examples=("metier job cancel 3",))
def cancel_job(draft: Draft, arguments: WhichJob, caller: Caller) -> Outcome:
    """Stop a job; whatever it began is removed."""
    job = find_job(draft, arguments.id)
    check_expected(caller, job, f"job {job.id}")
    if job.state in FINAL:
        raise Refusal(f"cannot cancel job {job.id}: it is {job.state} already")
    if job.kind == "image-delete":
        raise Refusal(f"cannot cancel job {job.id}: image {job.subject} is deleted, only its files remain")
    if job.cancel_requested:
        return Outcome(f"job {job.id} is being cancelled already", job_row(job))
    if job.state is JobState.QUEUED:
        cancelled = replace(job, state=JobState.CANCELLED, cancel_requested=True, finished=caller.now)
    else:
        cancelled = replace(job, cancel_requested=True)
    draft.put_job(cancelled)
    return Outcome(f"job {job.id} cancelled", job_row(cancelled))
