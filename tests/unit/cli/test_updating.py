"""Following a guided update: each step once, the person's turn, and how it ends."""

from typing import Any, cast

import pytest

from metier.cli import updating
from metier.cli.client import Client, Reply, Request
from metier.cli.failure import Failure
from metier.cli.session import Session

VALUES: dict[str, Any] = {
    "common_output": "table",
    "common_wait": True,
    "common_timeout": 60.0,
    "abort": False,
}


def row(**fields: Any) -> dict[str, Any]:
    return {
        "id": 3,
        "makes": "w2k@4",
        "stage": "starting the guest",
        "stage_number": "2 of 5",
        "told": "waits",
    } | fields


def step(minute: int, did: str) -> dict[str, str]:
    return {"at": f"2026-03-01T12:{minute:02}:05.250000Z", "did": did}


class Told:
    """A controller that shows one row after the other, and then breaks off."""

    def __init__(self, *rows: dict[str, Any] | None) -> None:
        self.rows = list(rows)
        self.asked: list[Request] = []

    def ask(self, request: Request) -> Reply:
        self.asked.append(request)
        if not self.rows:
            raise KeyboardInterrupt
        value = self.rows.pop(0)
        return Reply(200 if value else 304, value, f"e{len(self.rows)}", "")


def follow(told: Told, **values: Any) -> None:
    updating.follow(Session(verbose=False), cast("Client", told), 3, VALUES | values)


TURN = row(
    stage="waiting for you",
    steps=[step(1, "took host-1/VM2"), step(2, "keeps hands off")],
    node="host-1/VM2",
    console="metier node console host-1/VM2",
    address="10.0.1.2",
    host_ip="192.0.2.1",
    vm_number=2,
)


def test_every_step_is_told_once_and_the_turn_of_the_person_with_all_that_is_needed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """S26, S27, S30."""
    done = row(stage="done", steps=[*TURN["steps"], step(9, "all is put back")], tiers_behind=["web"])
    told = Told(row(steps=[step(1, "took host-1/VM2")]), TURN, None, TURN, done)
    follow(told)
    assert capsys.readouterr().out.splitlines() == [
        "12:01:05  took host-1/VM2",
        "12:02:05  keeps hands off",
        "It is your turn: change the guest on host-1/VM2, VM2 of its host.",
        "  console:       metier node console host-1/VM2",
        "  guest address: 10.0.1.2",
        "  host address:  192.0.2.1",
        "Then shut it down from inside, not with Metier; its new version is captured by itself.",
        "12:09:05  all is put back",
        "tiers that run another version: web; to roll it out:",
        "  metier tier update web --image w2k@4",
    ]
    assert [request.path for request in told.asked] == ["/api/v1/procedures/3"] * 5


def test_a_problem_ends_it_with_what_to_do() -> None:
    with pytest.raises(Failure) as caught:
        follow(Told(row(problem="no answer", remedy="try again")))
    assert (caught.value.message, caught.value.remedy, caught.value.exit_status) == (
        "no answer",
        "try again",
        1,
    )


def test_one_that_somebody_gave_up_fails_but_for_who_gave_it_up() -> None:
    aborted = row(stage="aborted", aborted_by="bob")
    with pytest.raises(Failure, match="image update 3 was given up by bob"):
        follow(Told(aborted))
    follow(Told(aborted), abort=True)


def test_a_time_that_is_over_ends_it_with_6() -> None:
    with pytest.raises(Failure) as caught:
        follow(Told(row()), common_timeout=0.0)
    assert caught.value.exit_status == 6


def test_an_interruption_says_that_it_goes_on_and_how_to_come_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        follow(Told(row()))
    assert "it goes on without you; the same command shows how far it is" in capsys.readouterr().err


def test_remarks_are_warnings_and_hostile_words_are_made_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    follow(Told(row(stage="done", steps=[step(1, "took \x1b[31m")], remarks=["tier update refused"])))
    said = capsys.readouterr()
    assert "\x1b" not in said.out
    assert said.err == "warning: tier update refused\n"


def test_for_programs_nothing_is_told_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    follow(Told(TURN, row(stage="done")), common_output="json")
    assert capsys.readouterr().out == ""


def test_it_is_followed_where_asked_and_not_without_a_terminal() -> None:
    assert updating.is_followed(VALUES)
    assert not updating.is_followed(VALUES | {"common_wait": False})
