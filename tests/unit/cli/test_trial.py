"""Serving a simulated site and breaking it, from the command line."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metier.sim.sample import sample_site
from metier.web.app import Parts, build_app
from tests.builders import NOW
from tests.unit.cli.conftest import Metier
from tests.unit.web.fake_operations import FAKE_OPERATIONS
from tests.unit.web.serving import a_site
from tests.unit.web.test_faults import Accidents


class Simulated(NamedTuple):
    site: Path | None
    hosts: int | None
    speed: float
    folder: Path | None


class FakeApp:
    """What `metier.app` is to the command line."""

    Simulated = Simulated

    def __init__(self) -> None:
        self.served: list[Simulated] = []

    def Listen(self, *parts: Any) -> tuple[Any, ...]:  # noqa: N802 - it stands for a class
        return parts

    def serve_simulated(self, what: Simulated, _listen: Any, tell: Any) -> None:
        self.served.append(what)
        tell(what.folder or Path("/temporary"), sample_site(NOW, 3))


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FakeApp:
    found = FakeApp()
    import metier as package

    monkeypatch.setattr(package, "app", found, raising=False)
    monkeypatch.setitem(sys.modules, "metier.app", found)
    return found


def test_the_sample_is_served_in_a_folder_of_its_own_whatever_the_environment_says(
    metier: Metier, app: FakeApp
) -> None:
    said = metier("serve", "--simulated").out
    assert app.served == [Simulated(None, None, 1.0, None)]
    assert said.startswith("serving a simulated site of 3 machines and 4 tiers, in real time; nothing real")
    assert "  export METIER_STATE=/temporary\n" in said
    assert said.endswith("it ends with Ctrl-C; the folder is removed then\n")


def test_what_is_asked_for_is_passed_on(metier: Metier, app: FakeApp, tmp_path: Path) -> None:
    words = ("--speed", "60", "--state", str(tmp_path))
    said = metier("serve", "--simulated", "site.json", *words).out
    assert metier("serve", "--simulated", "--hosts", "12", *words).status == 0
    assert app.served == [
        Simulated(Path("site.json"), None, 60.0, tmp_path),
        Simulated(None, 12, 60.0, tmp_path),
    ]
    assert "60 times as fast as real time" in said
    assert "the folder stays" in said


@pytest.mark.parametrize(
    "words",
    [
        ("site.json",),
        ("--speed", "2"),
        ("--hosts", "3"),
        ("--simulated", "site.json", "--hosts", "3"),
        ("--simulated", "--speed", "0"),
        ("--simulated", "--speed", "nan"),
        ("--simulated", "--hosts", "1"),
    ],
)
def test_what_makes_no_sense_is_refused(metier: Metier, app: FakeApp, words: tuple[str, ...]) -> None:
    assert metier("serve", *words).status == 2
    assert not app.served


def test_something_befalls_a_simulated_site(metier: Metier, server: Any) -> None:
    accidents = Accidents()
    server[0].app = build_app(a_site(), lambda _: None, Parts(FAKE_OPERATIONS, faults=accidents))
    assert metier("befall", "host-1", "dies").out == "host-1 dies: it did\n"
    assert json.loads(metier("befall", "host-1 dies", "-o", "json").out)["message"] == "host-1 dies: it did"
    assert accidents.happened == ["host-1 dies"] * 2
    assert "MACHINE dies" in metier("befall", "--list").out
    assert metier("befall", "host-9", "dies").status == 3


def test_befall_wants_a_sentence_or_the_list(metier: Metier) -> None:
    assert metier("befall").status == 2
    assert metier("befall", "--list", "host-1", "dies").status == 2


def test_nothing_befalls_a_real_site(metier: Metier) -> None:
    refused = metier("befall", "host-1", "dies")
    assert refused.status == 1
    assert "error: this controller runs a real site; nothing was done\n" in refused.err
