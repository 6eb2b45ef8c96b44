"""Room in the image matrix: measured beside the loop, told by the loop."""

import threading
from datetime import timedelta

import pytest

from metier.control.alerts import AlertBook
from metier.control.inbox import Inbox
from metier.control.matrix_sight import (
    LowSpace,
    MatrixSight,
    freed_note,
    matrix_findings,
    matrix_row,
    still_unknown,
)
from metier.control.matrix_watch import MatrixWatch
from metier.control.round import Memory, run_round
from metier.control.services import LoopServices
from metier.domain.fleet import Changes, Fleet, Kind
from metier.domain.forecast import Forecast
from metier.domain.ids import ImageRef
from metier.domain.image import Image
from metier.domain.job import JobState
from metier.matrix.api import FolderSpace, Usage
from metier.planner.incremental import Planner
from metier.sim.matrix import SimMatrix
from metier.store.memory import MemoryStore
from tests.builders import NOW, a_fleet, a_job, a_tier, an_alert, an_image
from tests.unit.control.site import NotedDrivers, TickingClock, a_datacentre, tools_of

GIB = 1 << 30
A, B, C = (ImageRef("web", version) for version in "123")


def sight(free: int, total: int = 1000 * GIB, **fields: object) -> MatrixSight:
    usage = Usage(
        (FolderSpace("/images", total, free),), {A: 3 * GIB, B: 9 * GIB, C: GIB}, {A: 0, B: 0, C: 0}
    )
    return MatrixSight(NOW, usage)


def fleet_with(*refs: ImageRef) -> Fleet:
    return a_fleet(*(an_image(str(ref)) for ref in refs))


def test_low_is_what_is_below_ten_percent_and_below_twenty_gib() -> None:
    fleet = fleet_with()
    assert matrix_findings(sight(50 * GIB), fleet) == ()  # 5 %, but plenty
    assert matrix_findings(sight(3 * GIB, 20 * GIB), fleet) == ()  # little, but of little
    assert matrix_findings(sight(19 * GIB), fleet)
    assert matrix_findings(sight(GIB, 20 * GIB), fleet)
    assert LowSpace(0, 20 * GIB).limit_bytes(FolderSpace("/x", GIB, 0)) == 0


def test_the_alert_has_numbers_and_names_the_unused_versions_that_would_help() -> None:
    fleet = a_fleet(an_image("web@1"), an_image("web@2"), an_image("web@3"), a_tier(image=B))
    (found,) = matrix_findings(sight(5 * GIB), fleet)
    assert (found.code, found.subject) == ("matrix-low-space", "/images")
    assert found.message == (
        "5.0 GiB of 1000.0 GiB are free, and 20.0 GiB should be; unused, with what deleting each would free:"
        " web@1 (3.0 GiB), web@3 (1.0 GiB)"
    )
    (found,) = matrix_findings(sight(5 * GIB), a_fleet(an_image("web@2"), a_tier(image=B)))
    assert found.message.endswith("every image version is in use")


def test_a_folder_that_is_not_mounted_and_one_that_cannot_be_measured_are_told() -> None:
    (found,) = matrix_findings(sight(0, 0), fleet_with())
    assert found.code == "matrix-folder-missing"
    (found,) = matrix_findings(MatrixSight(NOW, error="Input/output error"), fleet_with())
    assert (found.code, found.message) == (
        "matrix-unknown-space",
        "it cannot be measured: Input/output error",
    )


def test_a_measurement_that_does_not_come_is_told() -> None:
    begun = MatrixSight(NOW)
    assert still_unknown(begun, fleet_with(), NOW + timedelta(minutes=4)) == ()
    (found,) = still_unknown(begun, fleet_with(), NOW + timedelta(minutes=7))
    assert "last asked 7 minutes ago" in found.message
    assert still_unknown(None, fleet_with(), NOW) == ()


def test_the_alert_stands_over_a_restart_and_clears_by_itself() -> None:
    before = an_alert(1, code="matrix-low-space", subject="/images", message="5 GiB free")
    fleet = a_fleet(before)
    memory = Memory(Planner(1), AlertBook(fleet))
    fleet = run_round(fleet, [MatrixSight(NOW)], memory, NOW).fleet
    assert fleet.alerts[1].cleared is None
    low = run_round(fleet, [sight(5 * GIB)], memory, NOW).fleet
    assert (low.alerts[1].cleared, low.alerts[1].message[:7]) == (None, "5.0 GiB")
    assert run_round(low, [], memory, NOW).fleet.alerts[1].cleared is None
    assert run_round(low, [sight(500 * GIB)], memory, NOW).fleet.alerts[1].cleared == NOW


def test_a_version_that_was_found_damaged_is_told_until_it_is_found_whole() -> None:
    image = an_image("web@1", created=NOW)

    def fleet_after(*jobs: tuple[int, JobState, str]) -> Fleet:
        records = [
            a_job(
                number,
                kind="image-verify",
                subject="web@1",
                state=state,
                error=error,
                created=NOW,
                finished=NOW,
            )
            for number, state, error in jobs
        ]
        return a_fleet(image, *records)

    bad = (1, JobState.FAILED, "image web@1 is damaged: disk0.qcow2 differs from what was imported")
    codes = _codes(fleet_after(bad))
    assert "image-damaged" in codes
    # Another job that fails, or was cancelled, says nothing of the bytes.
    assert "image-damaged" in _codes(fleet_after(bad, (2, JobState.CANCELLED, "")))
    assert "image-damaged" in _codes(fleet_after(bad, (2, JobState.FAILED, "the disk cannot be read")))
    assert "image-damaged" not in _codes(fleet_after(bad, (2, JobState.DONE, "")))
    later: Image = an_image("web@1", created=NOW + timedelta(hours=1))
    assert "image-damaged" not in _codes(a_fleet(later, fleet_after(bad).jobs[1]))


def _codes(fleet: Fleet) -> set[str]:
    done = run_round(fleet, [], Memory(Planner(1), AlertBook(fleet)), NOW)
    return {alert.code for alert in done.fleet.alerts.values() if alert.cleared is None}


class OddMatrix(SimMatrix):
    """A matrix whose measuring fails."""

    def usage(self, known: object) -> Usage:
        raise PermissionError(13, "Permission denied")


def test_the_watch_measures_again_and_again_until_it_is_closed() -> None:
    inbox, clock = Inbox(), TickingClock()
    pauses: list[threading.Event] = []

    def pause(woken: threading.Event) -> None:
        pauses.append(woken)
        if len(pauses) == 3:
            watch.close()

    watch = MatrixWatch(SimMatrix(), fleet_with, inbox, clock, LowSpace(), pause)
    watch.start()
    seen: list[object] = []
    while len(seen) < 4:
        seen += inbox.take(clock.now(), None)
    told = [one for one in seen if isinstance(one, MatrixSight)]
    assert [one.usage is None for one in told] == [True, False, False, False]
    assert watch.last() is told[-1]


@pytest.mark.parametrize(
    ("changes", "is_woken"),
    [
        ({Kind.JOB: {1: a_job(1, state=JobState.RUNNING), 2: None}}, False),
        ({Kind.JOB: {1: a_job(1, state=JobState.DONE)}}, True),
        ({Kind.IMAGE: {A: None}}, True),
        ({Kind.NODE: {}}, False),
    ],
)
def test_the_watch_looks_at_once_when_an_image_came_or_a_job_ended(changes: Changes, is_woken: bool) -> None:
    watch = MatrixWatch(SimMatrix(), fleet_with, Inbox(), TickingClock(), LowSpace())
    watch.look_after(changes)
    assert watch.is_woken is is_woken


def test_what_cannot_be_measured_is_an_answer_too() -> None:
    watch = MatrixWatch(OddMatrix(), fleet_with, Inbox(), TickingClock(), LowSpace(), threading.Event.is_set)
    assert watch.measure().error == "Permission denied"


def test_readers_get_sizes_by_folder_and_version() -> None:
    row = matrix_row(sight(5 * GIB))
    assert row["folders"] == [
        {"folder": "/images", "state": "low", "total_bytes": 1000 * GIB, "free_bytes": 5 * GIB}
    ]
    assert row["own_bytes"]["web@2"] == 9 * GIB
    assert matrix_row(MatrixSight(NOW))["measured"] is None


def test_a_preview_of_a_deletion_says_how_many_bytes_become_free() -> None:
    fleet = fleet_with(A, B)
    draft = fleet.edit()
    draft.remove_image(A)
    services = LoopServices(
        MemoryStore(),
        tools_of(NotedDrivers(a_datacentre())),
        lambda: fleet,
        foresee=lambda *_: Forecast(),
        measured=lambda: sight(GIB),
    )
    (note,) = services.foresee(draft.freeze(), NOW).notes
    assert note == f"3.0 GiB become free in the image matrix ({3 * GIB} bytes)"
    assert services.foresee(fleet, NOW).notes == ()
    assert services.matrix()["folders"][0]["state"] == "low"


def test_what_is_shared_becomes_free_with_the_last_version() -> None:
    usage = Usage((), {A: 10, B: 20}, {A: 0, B: 1 << 20})
    assert freed_note(usage, [A, B]) == (
        "30 bytes become free in the image matrix (30 bytes);"
        " 1.0 MiB are shared with other versions, and become free with the last of them"
    )
