"""What the tests of the command line have: a served API, and `metier` run in this process."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from metier.cli.main import run
from metier.cli.root import Root
from tests.unit.web.fake_operations import FAKE_OPERATIONS
from tests.unit.web.serving import client, controller, local, server, site, uploads

__all__ = ["client", "controller", "local", "server", "site", "uploads"]


class Result(NamedTuple):
    """What a command ended with."""

    status: int
    out: str
    err: str


Metier = Callable[..., Result]


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("METIER_STATE", "METIER_URL", "METIER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def metier(
    site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Metier:
    """Run `metier` against the served controller."""
    monkeypatch.setenv("METIER_STATE", str(site[0]))

    def metier(*arguments: str, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = run(Root(lambda _: FAKE_OPERATIONS), "metier", arguments)
        out, err = capsys.readouterr()
        return Result(status, out, err)

    return metier
