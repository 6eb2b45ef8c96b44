"""`cccapture`: the interview over a simulated site, typed as the manual has it."""

import io
import sys
from typing import Any

import pytest

from metier.cli.inprocess import Said
from metier.cli.interview import a_number, ask
from metier.domain.fleet import Fleet
from metier.domain.node import Engagement
from metier.domain.tier import TierState
from metier.sim.simulation import Simulation
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_tier,
    a_virtual_node,
    an_image,
    an_instance,
)
from tests.scenarios.console import console_of
from tests.simulation.site import build

ANSWERS = ("linux", "web", "", "192.0.2.1", "1", "512", "none", "", "120", "", "yes")


def a_site() -> Fleet:
    """Return a host with a guest that is to be shut down and captured, and a free VM."""
    return a_fleet(
        a_host_image(vms=2),
        an_image(startup_s=60),
        a_host_tier(state=TierState.ACTIVE),
        a_tier("web", state=TierState.ACTIVE),
        a_host(),
        a_virtual_node(tier="web", slot=1, instance=an_instance(), engagement=Engagement(False, "ann", NOW)),
        a_virtual_node(number=2),
    )


class Desk:
    """A console at a simulated site, before which somebody sits or a pipe ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.simulation = Simulation(a_site(), NOW, build=build)
        self._console = console_of(self.simulation)
        self._monkeypatch = monkeypatch
        self.sent: list[dict[str, Any]] = []

    def __call__(self, *words: str, answers: tuple[str, ...] = ()) -> Said:
        from metier.cli import running

        self.sent.clear()
        self._monkeypatch.setattr(running, "change", self._note)
        typed = "".join(f"{answer}\n" for answer in answers)
        return self._console.type(" ".join(("cccapture", *words)), typed)

    def _note(self, _operation: object, _session: object, values: dict[str, Any]) -> None:
        self.sent.append(values)

    def arguments(self) -> dict[str, Any]:
        """Return what was sent, and was said by somebody."""
        (values,) = self.sent
        return {key: value for key, value in values.items() if not key.startswith("common_")}


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


def test_the_manuals_questions_in_the_manuals_order(desk: Desk) -> None:
    """S28, S29, S30."""
    said = desk(answers=ANSWERS)
    assert said.status == 0
    assert desk.arguments() == {
        "type": "linux",
        "name": "web",
        "host": "192.0.2.1",
        "vm": 1,
        "minimum_memory_mib": 512,
        "attribute": ("",),
        "startup_seconds": 120,
    }
    questions = (
        "image type",
        "image name",
        "version [2]",
        "image host (IP address of the host node) [192.0.2.1]",
        "  VM1  web@1  power",
        "  VM2  no image  power",
        "VM to capture",
        "minimum memory in MiB [256]",
        "attributes",
        "local disk",
        "service startup time in seconds [60]",
        "collectors",
        "host-1/VM1, which runs web@1, is captured as image web version 2",
        "Capture? [yes]",
    )
    places = [said.text.find(question) for question in questions]
    assert -1 not in places
    assert places == sorted(places)


def test_empty_answers_keep_what_the_version_before_has(desk: Desk) -> None:
    assert desk(answers=("", "web", "", "", "VM1", "", "", "", "", "", "")).status == 0
    assert desk.arguments() == {"name": "web", "host": "192.0.2.1", "vm": 1}


def test_every_answer_is_an_option_as_well(desk: Desk) -> None:
    words = "-t windows -i w2k -n 7 -h host-1 -g 1 -m 512 -a ssd -d 8 -u 60 -c ping -c tcp:80"
    said = desk(words, answers=("yes",))
    assert said.text.splitlines()[-1] == "Capture? [yes]: yes"
    expected = {
        "type": "windows",
        "name": "w2k",
        "version": "7",
        "host": "host-1",
        "vm": 1,
        "minimum_memory_mib": 512,
        "attribute": ("ssd",),
        "disk": 8,
        "startup_seconds": 60,
        "collector": ("ping", "tcp:80"),
    }
    assert desk.arguments() == expected
    from metier.cli.root import registered

    operation = registered("image")["image", "capture"]
    assert set(expected) <= {part.name for part in operation.arguments}


def test_with_yes_nothing_is_asked(desk: Desk) -> None:
    said = desk("-y", "-i", "web", "--node", "host-1/VM1", "--accept-warnings")
    assert (said.status, said.text) == (0, "")
    assert desk.arguments() == {"name": "web", "node": "host-1/VM1"}
    assert desk.sent[0]["common_accept_warnings"] is True
    assert desk.sent[0]["common_wait"] is True


@pytest.mark.parametrize(
    ("words", "missing"),
    [("-y --node host-1/VM1", "-i NAME"), ("-y -i web", "-h ADDRESS"), ("-y -i web -h host-1", "-g NUMBER")],
)
def test_with_yes_what_has_no_default_must_be_said(desk: Desk, words: str, missing: str) -> None:
    said = desk(words)
    assert said.status == 2
    assert f"add {missing}" in said.text
    assert not desk.sent


def test_whoever_declines_captures_nothing(desk: Desk) -> None:
    said = desk(answers=(*ANSWERS[:-1], "no"))
    assert said.status == 1
    assert said.text.endswith("nothing was captured\n")
    assert not desk.sent


@pytest.mark.parametrize(
    ("place", "wrong", "words"),
    [
        (0, "beos", "'beos' is none of linux, windows, other"),
        (1, "", "an answer is needed"),
        (2, "1", "version 1 exists already; there are: 1"),
        (3, "192.0.2.9", "no host '192.0.2.9' has virtual nodes; those that have: 192.0.2.1"),
        (4, "7", "host-1 has no VM7; it has: 1, 2"),
        (4, "first", "'FIRST' is not a whole number"),
        (5, "plenty", "'plenty' is not a whole number"),
        (10, "perhaps", "say yes or no"),
    ],
)
def test_a_wrong_answer_from_a_pipe_captures_nothing(desk: Desk, place: int, wrong: str, words: str) -> None:
    piped = desk(answers=(*ANSWERS[:place], wrong))
    assert piped.status == 2
    assert words in piped.text
    assert not desk.sent


class Terminal(io.StringIO):
    """Somebody who types, and can try again."""

    def isatty(self) -> bool:
        return True


def test_a_wrong_answer_on_a_terminal_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("plenty\n512\n"))
    assert ask("minimum memory in MiB", a_number, "256") == 512
    again = "minimum memory in MiB [256]: "
    assert capsys.readouterr().err == f"{again}  'plenty' is not a whole number\n{again}"


def test_answers_that_end_early_capture_nothing(desk: Desk) -> None:
    said = desk(answers=ANSWERS[:3])
    assert said.status == 1
    assert "standard input ended before the answer to: image host" in said.text
    assert not desk.sent
