"""Files that are sent ahead or fetched by the command line, over connections that break."""

import io
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.cli.client import Answer, Client
from metier.cli.failure import Failure
from metier.cli.receiving import receive
from metier.cli.sending import PAUSES_S, send
from metier.cli.state import Local, remote
from metier.cli.waiting import Progress
from metier.domain.job import Job, JobState
from metier.web.uploads import Uploads
from tests.builders import NOW
from tests.unit.cli.conftest import Metier
from tests.unit.web.fake_controller import FakeController

CONTENT = os.urandom((20 << 20) + 7)


class Flaky(Client):
    """A client whose connection breaks, before or after the controller heard it."""

    def __init__(self, url: str) -> None:
        super().__init__(remote(url, "good"))
        self.faults: list[str] = []
        self.waited_s: list[float] = []

    def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        fault = self.faults.pop(0) if method == "PATCH" and self.faults else ""
        if fault == "unheard":
            raise Failure("the connection broke off", code="unreachable")
        if fault == "half":
            super().exchange(method, path, headers, (body or b"")[: 3 << 20])
            raise Failure("the connection broke off", code="unreachable")
        answer = super().exchange(method, path, headers, body)
        if fault == "unanswered":
            raise Failure("the connection broke off", code="unreachable")
        return answer

    def content(self, path: str, headers: Mapping[str, str]) -> Iterator[Answer | bytes]:
        for number, piece in enumerate(super().content(path, headers)):
            yield piece
            if number == 3 and self.faults:
                self.faults.pop()
                raise Failure("the connection broke off", code="unreachable")

    def wait(self, seconds: float) -> None:
        self.waited_s.append(seconds)


@pytest.fixture
def flaky(site: tuple[Path, str]) -> Flaky:
    return Flaky(site[1])


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "Web Server (1).ova"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("faults", [[], ["unheard"], ["half"], ["", "unanswered", "half", "unheard"]])
def test_a_file_arrives_whole_whatever_breaks(
    flaky: Flaky, archive: Path, uploads: Path, faults: list[str]
) -> None:
    flaky.faults = list(faults)
    sent = Uploads(uploads).path_of(send(flaky, str(archive), wait=flaky.wait))
    assert (sent.name, sent.read_bytes()) == ("Web-Server-1-.ova", CONTENT)
    assert len(flaky.waited_s) == len([fault for fault in faults if fault])


def test_standard_input_is_sent_as_it_comes(
    flaky: Flaky, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CONTENT)))
    flaky.faults = ["half"]
    sent = Uploads(uploads).path_of(send(flaky, "-", wait=flaky.wait))
    assert (sent.name, sent.read_bytes()) == ("standard-input", CONTENT)


def test_a_connection_that_stays_broken_is_given_up(flaky: Flaky, archive: Path) -> None:
    flaky.faults = ["unheard"] * 20
    with pytest.raises(Failure, match="broke off"):
        send(flaky, str(archive), wait=flaky.wait)
    assert flaky.waited_s == list(PAUSES_S)


def test_what_cannot_be_read_is_told(flaky: Flaky, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="No such file"):
        send(flaky, str(tmp_path / "none"))
    with pytest.raises(Failure, match="directory") as failure:
        send(flaky, str(tmp_path))
    assert "pack the folder" in failure.value.remedy


def test_a_local_controller_gets_standard_input_over_its_socket(
    site: tuple[Path, str], uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CONTENT)))
    sent = Uploads(uploads).path_of(send(Client(Local(site[0])), "-"))
    assert (sent.name, sent.read_bytes()) == ("standard-input", CONTENT)


def test_a_local_controller_gets_a_file_if_it_is_told_to(
    metier: Metier, archive: Path, uploads: Path
) -> None:
    result = metier("image", "import", "w2k", "-f", str(archive), "--upload")
    assert result.status == 0, result.err
    (path,) = uploads.glob("*/Web-Server-1-.ova")
    assert path.read_bytes() == CONTENT


# --- fetching -------------------------------------------------------------------------------


def exported(controller: FakeController, uploads: Path, count: int = 1) -> dict[str, Any]:
    target = Uploads(uploads).new_file("web.raw")
    paths = [target.with_name(f"web-{number}.raw") for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(CONTENT[number:])
    files = {"files": [str(path) for path in paths]}
    job = Job(7, "image-export", "web@1", NOW, arguments={"target": str(target)}, result=files)
    controller.edit(lambda draft: draft.put_job(replace(job, state=JobState.DONE)))
    return {"id": 7, "result": files}


@pytest.mark.parametrize("faults", [0, 1, 3])
def test_a_file_is_fetched_whole_whatever_breaks(
    flaky: Flaky, controller: FakeController, uploads: Path, tmp_path: Path, faults: int
) -> None:
    job = exported(controller, uploads)
    flaky.faults = ["cut"] * faults
    assert receive(flaky, job, tmp_path / "a.raw", Progress(shown=False), flaky.wait) == [tmp_path / "a.raw"]
    assert (tmp_path / "a.raw").read_bytes() == CONTENT
    assert not list(uploads.iterdir())
    assert len(flaky.waited_s) == faults


def test_several_files_get_numbers(
    flaky: Flaky, controller: FakeController, uploads: Path, tmp_path: Path
) -> None:
    job = exported(controller, uploads, 2)
    paths = receive(flaky, job, tmp_path / "a.raw", Progress(shown=False), flaky.wait)
    assert [path.name for path in paths] == ["a-1.raw", "a-2.raw"]
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT[1:]]


def test_nothing_is_replaced_or_left(
    flaky: Flaky, controller: FakeController, uploads: Path, tmp_path: Path
) -> None:
    job, folder = exported(controller, uploads), tmp_path / "here"
    folder.mkdir()
    (folder / "a.raw").write_text("mine")
    with pytest.raises(Failure, match="there is such a file"):
        receive(flaky, job, folder / "a.raw", Progress(shown=False), flaky.wait)
    with pytest.raises(Failure, match="No such file"):
        receive(flaky, job, folder / "none" / "a.raw", Progress(shown=False), flaky.wait)
    assert [path.name for path in folder.iterdir()] == ["a.raw"]
    assert (folder / "a.raw").read_text() == "mine"
