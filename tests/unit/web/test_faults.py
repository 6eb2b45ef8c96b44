"""What can befall a simulated site, by the API; on a real one nothing can."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from metier.domain.errors import NoSuchThing
from metier.web.app import Parts, build_app
from tests.unit.web.fake_operations import FAKE_OPERATIONS
from tests.unit.web.running import local_client
from tests.unit.web.serving import a_site

BEFALL = "/api/v1/befall"
ROWS = [{"sentence": "MACHINE dies", "help": "it loses its current", "heals": False}]


class Accidents:
    """A simulated site to which one thing can happen."""

    def __init__(self) -> None:
        self.happened: list[str] = []

    def faults(self) -> Sequence[dict[str, Any]]:
        return ROWS

    def befall(self, sentence: str) -> str:
        if sentence != "host-1 dies":
            raise NoSuchThing("there is no such machine")
        self.happened.append(sentence)
        return f"{sentence}: it did"


@pytest.fixture
def accidents() -> Accidents:
    return Accidents()


@pytest.fixture
def simulated(server: Any, accidents: Accidents) -> Iterator[httpx.Client]:
    switch, state, _ = server
    switch.app = build_app(a_site(), lambda _: None, Parts(FAKE_OPERATIONS, faults=accidents))
    with local_client(state) as client:
        yield client


def test_what_can_happen_is_listed_and_happens(simulated: httpx.Client, accidents: Accidents) -> None:
    assert simulated.get(BEFALL).json() == ROWS
    done = simulated.post(BEFALL, json={"sentence": "host-1 dies"})
    assert (done.status_code, done.json()) == (200, {"message": "host-1 dies: it did", "object": None})
    assert accidents.happened == ["host-1 dies"]


def test_what_cannot_happen_is_refused(simulated: httpx.Client, accidents: Accidents) -> None:
    assert simulated.post(BEFALL, json={"sentence": "host-9 dies"}).status_code == 404
    for body in ({}, {"sentence": 7}, {"sentence": "x" * 1001}, {"sentence": "host-1 dies", "hard": True}):
        assert simulated.post(BEFALL, json=body).status_code == 400
    assert not accidents.happened


def test_on_a_real_site_nothing_happens(local: httpx.Client) -> None:
    for answer in (local.get(BEFALL), local.post(BEFALL, json={"sentence": "host-1 dies"})):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "real-site")
        assert error["message"] == "this controller runs a real site; nothing was done"


def test_nobody_without_a_token_can_do_it(site: tuple[Path, str]) -> None:
    assert httpx.post(f"{site[1]}{BEFALL}", json={"sentence": "host-1 dies"}).status_code == 401
