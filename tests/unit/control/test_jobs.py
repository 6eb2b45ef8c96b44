"""Jobs: begun while there is room, told about, cancelled, failed, and queued again after a restart."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from metier.control.image_jobs import import_order
from metier.control.inbox import Inbox, JobNews
from metier.control.jobs import AT_ONCE, ATTEMPTS, Jobs, requeue
from metier.domain.errors import NoSpace
from metier.domain.fleet import Fleet
from metier.domain.ids import image_ref
from metier.domain.image import CollectorSpec, Image, ImageType
from metier.domain.job import JobState
from metier.matrix.api import ImportOrder, Report
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import SimDrivers
from metier.sim.matrix import SimMatrix, imported
from tests.builders import NOW, a_fleet, a_job, an_image

ARGUMENTS = {"name": "web", "version": "1", "location": "/web.tgz", "type": "linux"}


class GatedMatrix(SimMatrix):
    """An image matrix whose imports do what the test says.

    Attributes:
        does: Called with each order's report; may raise.
    """

    def __init__(self, does: Callable[[Report], None] = lambda _: None) -> None:
        super().__init__()
        self.does = does
        self.begun = threading.Semaphore(0)
        self.count = 0

    def import_image(self, order: ImportOrder, report: Report) -> Image:
        """Do what the test says, then believe the archive."""
        self.count += 1
        self.begun.release()
        self.does(report)
        report("unpacking", 0, None)
        return imported(order)

    def verify(self, image: Image, report: Report) -> Sequence[str]:
        """Find fault."""
        return ["disk-0 is not what it was"]


@dataclass(frozen=True)
class Both:
    """What jobs work with."""

    drivers: SimDrivers
    matrix: GatedMatrix


class Bench:
    """Jobs over an inbox that the test empties."""

    def __init__(self, matrix: GatedMatrix, *numbers: int, **fields: Any) -> None:
        self.inbox, self.matrix, self.clock = Inbox(), matrix, VirtualClock(NOW)
        tools = Both(SimDrivers(DataCentre(self.clock)), matrix)
        self.jobs = Jobs(self.inbox, tools, self.clock)
        jobs = [a_job(number, **({"arguments": ARGUMENTS} | fields)) for number in numbers or (1,)]
        self.fleet = a_fleet(an_image(), *jobs)

    def follow(self) -> None:
        """Begin what can begin, and wait for it to tell."""
        self.jobs.follow(self.fleet)

    def news(self, count: int) -> list[JobNews]:
        """Return so many pieces of news, and take them into the fleet."""
        found: list[JobNews] = []
        while len(found) < count:
            for message in self.inbox.take(NOW, NOW.replace(hour=13)):
                assert isinstance(message, JobNews)
                found.append(message)
        draft = self.fleet.edit()
        for piece in found:
            draft.put_job(piece.job)
        self.fleet = draft.freeze()
        return found


def states(news: list[JobNews]) -> list[JobState]:
    return [piece.job.state for piece in news]


def test_a_job_tells_that_it_runs_and_what_it_made() -> None:
    bench = Bench(GatedMatrix())
    bench.follow()
    began, step, ended = bench.news(3)
    assert states([began, step, ended]) == [JobState.RUNNING, JobState.RUNNING, JobState.DONE]
    assert (began.job.attempts, step.job.step) == (1, "unpacking")
    assert ended.image is not None
    assert ended.image.ref == image_ref("web@1")


def test_it_is_begun_once_however_late_its_news_are_read() -> None:
    bench = Bench(GatedMatrix())
    bench.follow()
    for thread in [one for one in threading.enumerate() if one.name == "metier-job-1"]:
        thread.join()
    bench.follow()
    bench.jobs.close()
    assert bench.matrix.count == 1


def test_only_so_many_run_at_once() -> None:
    gate = threading.Event()

    def work(_: Report) -> None:
        gate.wait()

    bench = Bench(GatedMatrix(work), 1, 2, 3)
    bench.follow()
    bench.news(AT_ONCE)
    bench.follow()
    assert sum(job.state is JobState.RUNNING for job in bench.fleet.jobs.values()) == AT_ONCE
    gate.set()
    bench.news(2 * AT_ONCE)
    bench.follow()
    assert bench.news(1)[0].job.id == 3
    bench.jobs.close()


def test_progress_is_told_with_each_step_and_else_now_and_then() -> None:
    bench = Bench(GatedMatrix())

    def work(report: Report) -> None:
        for done in range(3):
            report("converting", done, 9)
        bench.clock.move(NOW.replace(minute=1))
        report("converting", 4, 9)

    bench.matrix.does = work
    bench.follow()
    told = [(piece.job.step, piece.job.done_bytes) for piece in bench.news(5)]
    assert told == [("", 0), ("converting", 0), ("converting", 4), ("unpacking", 0), ("", 0)]


def test_a_cancelled_job_stops_at_its_next_report() -> None:
    gate = threading.Event()

    def work(report: Report) -> None:
        gate.wait()
        report("converting", 1, 9)

    bench = Bench(GatedMatrix(work))
    bench.follow()
    bench.news(1)
    draft = bench.fleet.edit()
    draft.put_job(replace(bench.fleet.jobs[1], cancel_requested=True))
    bench.fleet = draft.freeze()
    bench.follow()
    gate.set()
    (ended,) = bench.news(1)
    assert (ended.job.state, ended.job.error) == (
        JobState.CANCELLED,
        "it was cancelled; nothing of it is left",
    )
    assert ended.image is None


def _full(_: Report) -> None:
    raise NoSpace("unpacking needs 9 GiB and 2 GiB are free", remedy="make room")


def _bug(_: Report) -> None:
    raise KeyError("disk-9")


@pytest.mark.parametrize(
    ("does", "error", "remedy"),
    [
        (_full, "unpacking needs 9 GiB and 2 GiB are free", "make room"),
        (_bug, "internal error: 'disk-9'", "report this as a bug"),
    ],
)
def test_a_failed_job_says_why_and_what_to_do(
    does: Callable[[Report], None], error: str, remedy: str
) -> None:
    bench = Bench(GatedMatrix(does))
    bench.follow()
    ended = bench.news(2)[-1].job
    assert (ended.state, ended.error, ended.remedy) == (JobState.FAILED, error, remedy)


def test_a_damaged_image_fails_its_verification() -> None:
    bench = Bench(GatedMatrix(), kind="image-verify")
    bench.follow()
    assert bench.news(2)[-1].job.error == "image web@1 is damaged: disk-0 is not what it was"


def test_a_job_of_an_unknown_kind_fails() -> None:
    bench = Bench(GatedMatrix(), kind="image-polish")
    bench.follow()
    assert bench.news(2)[-1].job.state is JobState.FAILED


def test_closing_cancels_what_runs_and_begins_nothing() -> None:
    def work(report: Report) -> None:
        while True:
            report("converting", 1, 9)

    bench = Bench(GatedMatrix(work), 1, 2, 3)
    bench.follow()
    bench.jobs.close()
    bench.follow()
    assert bench.matrix.count == AT_ONCE


# --- restarts ----------------------------------------------------------------------------


def requeued(attempts: int) -> Fleet:
    job = a_job(1, state=JobState.RUNNING, attempts=attempts, done_bytes=7)
    draft = a_fleet(job).edit()
    requeue(draft, job)
    return draft.freeze()


def test_what_an_earlier_run_left_is_queued_again() -> None:
    job = requeued(1).jobs[1]
    assert (job.state, job.step, job.done_bytes) == (JobState.QUEUED, "waiting after a restart", 0)


def test_it_is_given_up_when_it_may_be_what_ends_the_controller() -> None:
    job = requeued(ATTEMPTS).jobs[1]
    assert job.state is JobState.FAILED
    assert job.error == "the controller ended 3 times while this job ran"


def test_an_import_s_recorded_arguments_are_read_back() -> None:
    arguments = {
        **ARGUMENTS,
        "minimum_memory_mib": 768,
        "requirements": {"cpus": 2, "attributes": ["ssd"]},
        "startup_s": 60,
        "collectors": [{"collector": "tcp", "port": 80}],
    }
    order = import_order(arguments, NOW)
    answers = order.answers
    assert (order.ref, order.location, order.created) == (image_ref("web@1"), "/web.tgz", NOW)
    assert (answers.requirements.cpus, answers.requirements.attributes) == (2, frozenset({"ssd"}))
    assert answers.collectors == (CollectorSpec("tcp", port=80),)
    assert (answers.type, answers.minimum_memory_mib, answers.startup_s) == (ImageType.LINUX, 768, 60)
