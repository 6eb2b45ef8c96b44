"""Commands that are no operations."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from metier.cli import handmade
from tests.unit.cli.conftest import Metier


def test_a_token_is_made_shown_once_listed_and_forgotten(metier: Metier) -> None:
    token = metier("token", "create", "ci").out.strip()
    assert token.startswith("metier_")
    assert token not in metier("token", "list").out
    assert metier("token", "list", "-o", "name").out == "ci\n"
    assert metier("token", "create", "ci").status == 1
    assert json.loads(metier("token", "create", "two", "-o", "json").out)["name"] == "two"
    assert metier("token", "delete", "ci").out == "token ci deleted\n"
    assert metier("token", "delete", "ci").status == 3


def test_a_login_is_kept_for_its_owner_and_used(
    metier: Metier, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("METIER_STATE")
    assert metier("login", site[1], stdin="good\n").status == 0
    kept = tmp_path / "config" / "metier" / "login.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert metier("status").status == 0
    kept.write_text("{")
    assert metier("status").status == 2


def test_a_login_that_is_refused_is_not_kept(metier: Metier, site: tuple[Path, str], tmp_path: Path) -> None:
    assert metier("login", site[1], stdin="bad\n").status == 1
    assert metier("login", site[1], stdin="").status == 2
    assert not (tmp_path / "config").exists()


class FakeApp:
    """What `metier.app` is to the command line."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def Listen(self, *parts: Any) -> tuple[Any, ...]:  # noqa: N802 - it stands for a class
        return parts

    def serve(self, state: Path, listen: Any) -> None:
        self.calls.append((state, listen))

    def backup(self, state: Path, out: Any) -> None:
        out.write(b'{"backup": 1}\n')

    def restore(self, state: Path, source: Any) -> None:
        self.calls.append((state, source.read()))


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FakeApp:
    found = FakeApp()
    import metier as package

    monkeypatch.setattr(package, "app", found, raising=False)
    monkeypatch.setitem(sys.modules, "metier.app", found)
    return found


def test_serve_passes_on_where_to_listen(metier: Metier, app: FakeApp, tmp_path: Path) -> None:
    assert metier("serve", "--state", str(tmp_path)).status == 0
    words = ("--listen", "0.0.0.0:8443", "--tls-cert", "c.pem", "--tls-key", "k.pem", "--plain-http")
    assert metier("--state", str(tmp_path), "serve", *words).status == 0
    assert app.calls == [
        (tmp_path, (None, None, None, False)),
        (tmp_path, ("0.0.0.0:8443", Path("c.pem"), Path("k.pem"), True)),
    ]
    assert metier("serve", "--tls-cert", "c.pem").status == 2


def test_a_restore_reads_its_file(metier: Metier, app: FakeApp, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(b"lines")
    assert metier("restore", str(copy), "--state", str(tmp_path)).status == 0
    assert app.calls == [(tmp_path, b"lines")]
    missing = metier("restore", str(tmp_path / "none"))
    assert (missing.status, "cannot read" in missing.err) == (1, True)


def test_errors_of_the_controllers_own_parts_keep_their_status(
    metier: Metier, app: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metier.domain.errors import NoSuchThing

    def serve(*_: Any) -> None:
        cause = OSError("the disk is gone")
        raise NoSuchThing("cannot open the state", remedy="look") from cause

    monkeypatch.setattr(app, "serve", serve)
    result = metier("serve")
    assert result.status == 3
    assert result.err == "error: cannot open the state: the disk is gone\n  look\n"


def test_the_lab_is_passed_its_folder(metier: Metier, monkeypatch: pytest.MonkeyPatch) -> None:
    from metier.lab import demo, running

    calls: list[tuple[Any, ...]] = []

    def note(status: int) -> Any:
        def called(*arguments: Any, **named: Any) -> int:
            calls.append((*arguments, *named.values()))
            return status

        return called

    monkeypatch.setattr(running, "lab_up", note(0))
    monkeypatch.setattr(running, "lab_down", note(0))
    monkeypatch.setattr(running, "lab_status", note(1))
    monkeypatch.setattr(demo, "run_demo", note(0))
    assert metier("lab", "up", "x", "--hosts", "3", "-o", "json").status == 0
    assert metier("lab", "down").status == 0
    assert metier("lab", "status", "x").status == 1
    assert metier("demo", "--keep").status == 0
    assert calls == [(Path("x"), "json", 3), (None, "text"), (Path("x"), "text"), (True, "text")]


def test_every_handmade_command_has_help() -> None:
    for command in handmade.COMMANDS.values():
        assert command.help
