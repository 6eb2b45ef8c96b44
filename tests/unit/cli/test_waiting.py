"""`--wait`, `--watch` and `--follow`, against a served API."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from metier.cli import running
from metier.cli.waiting import Progress, Speed, job_line
from metier.domain.fleet import Draft
from metier.domain.ids import TierId
from metier.domain.job import Job, JobState
from tests.unit.cli.conftest import Metier
from tests.unit.web.fake_controller import FakeController

DEADLINE_S = 30


def after_each_line(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], None]) -> None:
    """Take one step after each line of progress."""
    remaining = iter(steps)
    say = Progress.say

    def say_and_step(progress: Progress, text: str) -> None:
        say(progress, text)
        next(remaining, lambda: None)()

    monkeypatch.setattr(Progress, "say", say_and_step)


def job_step(controller: FakeController, **fields: object) -> Callable[[], None]:
    def change(draft: Draft) -> None:
        job: Job = draft.jobs[1]
        draft.put_job(replace(job, **fields))  # type: ignore[arg-type]  # each caller knows the fields

    return lambda: controller.edit(change)


def test_wait_ends_when_nothing_is_waited_for_any_more(
    metier: Metier, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.wait_on("web", "web/1 boots")
    after_each_line(
        monkeypatch,
        lambda: controller.wait_on("web", "web/1 starts"),
        lambda: controller.wait_on("web"),
    )
    result = metier("tier", "activate", "web", "--wait", "--timeout", str(DEADLINE_S))
    assert (result.status, result.out) == (0, "tier web activated\n")
    assert [line.partition("] ")[2] for line in result.err.splitlines()] == ["web/1 boots", "web/1 starts"]


def test_a_wait_that_takes_too_long_ends_with_6_and_says_for_what(
    metier: Metier, controller: FakeController
) -> None:
    controller.wait_on("web", "web/1 waits for a node", "web/2 too")
    result = metier("tier", "activate", "web", "--wait", "--timeout", "0")
    assert result.status == 6
    assert "timed out after 0 s waiting for: web/1 waits for a node; web/2 too" in result.err


def test_a_wait_for_what_is_done_at_once_is_over(metier: Metier) -> None:
    assert metier("node", "disengage", "host-1", "--wait").status == 0


def test_a_job_is_followed_to_its_end(
    metier: Metier, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_each_line(
        monkeypatch,
        job_step(controller, step="converting disk 1 of 2", done_bytes=1 << 20, total_bytes=4 << 20),
        job_step(controller, state=JobState.DONE, step=""),
    )
    result = metier("image", "import", "w2k", "-f", "/tmp/filename.tgz", "--wait")
    assert result.status == 0
    assert result.out == "import of w2k@1 begun\nimage-import of w2k@1 done\n"
    assert "image-import w2k@1: converting disk 1 of 2, 25 % of 4.0 MiB" in result.err


def test_a_job_that_fails_ends_with_1_and_its_error(
    metier: Metier, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = job_step(controller, state=JobState.FAILED, error="it has no .vmx file", remedy="add it")
    after_each_line(monkeypatch, failed)
    result = metier("image", "import", "w2k", "-f", "/tmp/filename.tgz", "--wait", "-o", "json")
    assert result.status == 1
    error = json.loads(result.err.splitlines()[-1])["error"]
    assert error["code"] == "job-failed"
    assert error["message"].endswith("failed: it has no .vmx file")
    assert error["remedy"] == "add it"


def test_progress_on_a_terminal_rewrites_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(100))
    progress = Progress(shown=True, clock=lambda: next(seconds))
    progress.is_terminal = True
    monkeypatch.setenv("COLUMNS", "30")
    progress.say("web/1 boots")
    progress.say("x" * 100)
    progress.end()
    err = capsys.readouterr().err
    assert "\n" not in err
    assert err.startswith("\r\x1b[K[   1 s] web/1 boots\r\x1b[K[   2 s] xxx")
    assert err.endswith("\r\x1b[K")


def test_a_job_line_tells_speed_and_time_left() -> None:
    speed = Speed(at=0.0, done_bytes=0)
    speed.look(2.0, 2 << 20)
    row = {"kind": "image-import", "subject": "w2k@1", "step": "copying", "done_bytes": 2 << 20}
    assert job_line({**row, "total_bytes": 8 << 20}, speed) == (
        "image-import w2k@1: copying, 25 % of 8.0 MiB, 1.0 MiB/s, 6 s left"
    )
    assert job_line({**row, "total_bytes": None}, speed) == "image-import w2k@1: copying, 2.0 MiB, 1.0 MiB/s"
    speed.look(3.0, 0)
    assert job_line({**row, "done_bytes": 0}, speed) == "image-import w2k@1: copying"


class Printed(list[str]):
    """What was printed; after each text comes a step, and after the last one Ctrl-C."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], None]) -> None:
        super().__init__()
        self._steps = steps
        monkeypatch.setattr(running, "emit", self._emit)

    def _emit(self, text: str) -> None:
        self.append(text)
        if len(self) > len(self._steps):
            raise KeyboardInterrupt
        self._steps[len(self) - 1]()


def test_watch_prints_again_when_something_changes(
    metier: Metier, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = Printed(monkeypatch, lambda: controller.edit(lambda draft: draft.remove_tier(TierId("hosts"))))
    assert metier("tier", "list", "--watch", "-o", "name").status == 130
    assert [text.split() for text in printed] == [["hosts", "web"], ["web"]]


def test_follow_prints_events_as_they_come(
    metier: Metier, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go_on() -> None:
        controller.record("two")
        controller.announce()

    controller.record("one")
    printed = Printed(monkeypatch, go_on)
    assert metier("event", "list", "--follow").status == 130
    assert printed == ["web  one", "web  two"]
