"""Secrets come from files or a terminal and are nowhere in clear; a certificate is confirmed once.

All of a real controller is at work here but for the host: that shows a certificate, and hangs up.
"""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier import app
from metier.cli.main import run
from metier.cli.root import Root, registered
from metier.control.loop import Loop
from metier.control.world import SystemClock
from metier.drivers.certificate import fetched, in_colons
from metier.matrix.settings import read_settings
from metier.operations import load_operations
from metier.operations.registry import OPERATIONS
from metier.store.open import open_store
from metier.store.site_file import dump_site
from metier.web.app import Parts, build_app
from tests.unit.cli.conftest import Result
from tests.unit.drivers.tls import TIMEOUT_S, Running, paper, serving
from tests.unit.web.running import running

Metier = Callable[..., Result]

SECRET = "Tr0ub4dor-and-3"


class Terminal(io.StringIO):
    """What somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    load_operations()
    tools = app._tools(state, read_settings(state))
    loop = Loop(open_store(state), tools, SystemClock(), holder="the test", dump=dump_site)
    loop.start()
    try:
        with running(build_app(loop, lambda _: None, Parts(OPERATIONS)), state):
            yield state
    finally:
        loop.stop()


@pytest.fixture
def metier(state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Metier:
    """Run `metier`; with `typed`, somebody sits at the terminal, and knows the password."""
    monkeypatch.setenv("METIER_STATE", str(state))

    def metier(*arguments: str, stdin: str = "", typed: str | None = None) -> Result:
        piped = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        monkeypatch.setattr(sys, "stdin", piped if typed is None else Terminal(typed))
        if typed is not None:
            monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
            monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: SECRET)
        status = run(Root(registered), "metier", arguments)
        out, err = capsys.readouterr()
        return Result(status, out, err)

    return metier


@pytest.fixture
def esx(tmp_path: Path) -> Iterator[Running]:
    with serving(paper(tmp_path)) as running:
        yield running


@pytest.fixture
def password(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    return f"password={file}"


def add(esx: Running, *more: str) -> tuple[str, ...]:
    return ("node", "add", "esx-1", "--vmm", "vsphere", "--url", esx.server.shown, *more)


def thumbprint(esx: Running) -> str:
    return in_colons(fetched(esx.server, TIMEOUT_S).thumbprint)


def everything(state: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(state.rglob("*")) if file.is_file())


def test_a_secret_typed_on_the_command_line_is_refused_with_the_reason(metier: Metier, esx: Running) -> None:
    for words in (add(esx), ("node", "add", "x", "--vmm", "vsphere")):
        done = metier(*words, "--vmm-setting", f"password={SECRET}")
        assert done.status == 2
        assert "every process on this machine sees it there, and the shell's history keeps it" in done.err
        assert "--vmm-setting-file password=FILE" in done.err
        assert SECRET not in done.err
    assert metier("node", "list", "-o", "name").out.strip() == ""


def test_a_secret_from_a_file_is_nowhere_in_clear(
    metier: Metier, esx: Running, password: str, state: Path
) -> None:
    said = [metier(*add(esx, "--vmm-setting-file", password, "-o", "json"))]
    said.append(metier(*add(esx, "--vmm-setting-file", password)))  # it exists already
    said.append(metier("node", "edit", "esx-1", "--vmm-setting-file", "password=-", stdin=SECRET))
    reads = ("node show esx-1", "event list", "export-site", "node explain esx-1", "status")
    said += [metier(*words.split(), "-o", "json") for words in reads]
    assert [done.status for done in said] == [0, 1, 0, 0, 0, 0, 0, 0], said
    assert "is so already" in said[2].out
    assert '"password": "…"' in said[3].out
    assert SECRET not in str(said)
    kept = everything(state)
    assert b"sealed:" in kept
    assert SECRET.encode() not in kept


def test_a_backup_has_no_key_and_says_so(
    metier: Metier, esx: Running, password: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert metier(*add(esx, "--vmm-setting-file", password)).status == 0
    paper = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", paper)
    done = metier("backup")
    paper.flush()
    copy = paper.buffer.getvalue()  # type: ignore[attr-defined]  # it is the BytesIO above
    assert done.status == 0
    assert b"sealed:" in copy
    key = state / "secrets.key"
    assert key.read_bytes().strip() not in copy
    assert f"keep a copy of {key} apart" in done.err
    assert SECRET.encode() not in copy


def test_without_a_terminal_nothing_is_asked(metier: Metier, esx: Running, password: str) -> None:
    done = metier(*add(esx))
    assert done.status == 2
    assert "lacks setting password, and nobody is there to be asked" in done.err
    assert "--vmm-setting-file password=FILE" in done.err
    done = metier(*add(esx, "--vmm-setting-file", password))
    assert (done.status, "trust it?" in done.err) == (0, False)


def test_the_refusal_without_a_terminal_is_met_at_the_inventory(
    metier: Metier, esx: Running, password: str
) -> None:
    assert metier(*add(esx, "--vmm-setting-file", password)).status == 0
    looks = (metier("node", "show", "esx-1", "-o", "json").out for _ in range(1000))
    shown = next(text for text in looks if "cannot trust" in text)
    assert f"its SHA-256 thumbprint is {thumbprint(esx)}" in shown
    assert not any(esx.said), "the server is told nothing before its certificate is believed"


@pytest.mark.parametrize("answer", ["yes", "Yes", "{}", "perhaps\nyes"])
def test_on_a_terminal_the_certificate_is_shown_and_pinned(metier: Metier, esx: Running, answer: str) -> None:
    seen = thumbprint(esx)
    done = metier(*add(esx), typed=answer.format(seen.lower()) + "\n")
    assert done.status == 0, done.err
    assert "no authority vouches for it" in done.err
    assert f"thumbprint: {seen}" in done.err
    assert "subject: CN=esx-1" in done.err
    assert SECRET not in done.out + done.err
    assert f"thumbprint={seen}" in metier("node", "show", "esx-1").out


def test_a_certificate_that_is_not_trusted_ends_it(metier: Metier, esx: Running) -> None:
    done = metier(*add(esx), typed="no\n")
    assert done.status == 1
    assert "is not trusted, and nothing was changed" in done.err
    assert metier("node", "list", "-o", "name").out.strip() == ""


def test_what_is_pinned_or_has_an_authority_is_not_asked_about(
    metier: Metier, esx: Running, password: str
) -> None:
    pinned = ("--vmm-setting", f"thumbprint={'ab' * 32}")
    assert metier(*add(esx, "--vmm-setting-file", password, *pinned), typed="").status == 0
    assert metier("node", "edit", "esx-1", "--url", esx.server.shown, typed="").status == 0


def test_a_password_that_is_recorded_is_not_asked_for_again(
    metier: Metier, esx: Running, password: str
) -> None:
    assert metier(*add(esx, "--vmm-setting-file", password)).status == 0
    done = metier("node", "edit", "esx-1", "--vmm", "vsphere", "--vmm-setting", "site=other")
    assert done.status == 0, done.err
    done = metier("node", "edit", "esx-1", "--vmm-setting", f"password={SECRET}")
    assert done.status == 2
    assert SECRET not in done.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("password", "is not KEY=FILE"),
        ("password=", "is not KEY=FILE"),
        ("password=/nowhere/at/all", "cannot read /nowhere/at/all"),
        ("password=/dev/null", "it is empty"),
    ],
)
def test_a_file_that_gives_nothing_is_told(metier: Metier, esx: Running, given: str, said: str) -> None:
    done = metier(*add(esx, "--vmm-setting-file", given))
    assert done.status in (1, 2)
    assert said in done.err


def test_standard_input_holds_one_setting(metier: Metier, esx: Running) -> None:
    done = metier(*add(esx, "--vmm-setting-file", "password=-", "--vmm-setting-file", "user=-"), stdin="x")
    assert done.status == 2
    assert "names it twice" in done.err


def test_one_line_end_of_a_file_is_left_away_and_others_are_refused(
    metier: Metier, esx: Running, tmp_path: Path
) -> None:
    file = tmp_path / "two"
    file.write_text(f"{SECRET}\nsecond\n")
    done = metier(*add(esx, "--vmm-setting-file", f"password={file}"))
    assert done.status == 2
    assert "control character" in done.err
    assert SECRET not in done.err
    file.write_text(f"{SECRET}\r\n")
    assert metier(*add(esx, "--vmm-setting-file", f"password={file}")).status == 0


def test_drivers_that_are_not_known_are_refused_by_the_controller(metier: Metier) -> None:
    done = metier("node", "add", "x", "--vmm", "odd", "--url", "https://x", "--vmm-setting", "a=b", typed="")
    assert done.status == 2
    assert "there is no hypervisor driver odd" in done.err


def test_a_node_that_does_not_exist_does_not_keep_others_from_being_changed(
    metier: Metier, esx: Running, password: str
) -> None:
    assert metier(*add(esx, "--vmm-setting-file", password)).status == 0
    done = metier("node", "edit", "nobody", "esx-1", "--vmm-setting", "site=other")
    assert done.status == 3
    assert "esx-1 changed" in done.out


def test_drivers_and_certificates_are_shown(metier: Metier, esx: Running) -> None:
    assert "vsphere" in metier("driver", "list", "--family", "hypervisor").out
    shown = metier("driver", "show", "vsphere").out
    assert "password" in shown
    done = metier("node", "certificate", "--url", esx.server.shown)
    assert thumbprint(esx) in done.out
    assert metier("driver", "show", "odd").status == 3
    assert metier("node", "certificate", "--url", "http://x").status == 2


def test_a_vm_s_host_that_is_no_node_is_met_in_the_same_way(metier: Metier, esx: Running) -> None:
    words = ("image", "import", "--url", esx.server.shown, "--user", "root", "--vm", "web", "--name", "web")
    done = metier(*words, "--vmm-setting", f"password={SECRET}")
    assert (done.status, SECRET in done.err) == (2, False)
    assert "nobody is there to be asked" in metier(*words).err
    assert "nothing was changed" in metier(*words, typed="no\n").err
    done = metier(*words, typed="yes\n")
    assert (done.status, SECRET in done.out + done.err) == (0, False), done.err


def test_a_secret_of_a_job_is_nowhere_in_clear(
    metier: Metier, esx: Running, password: str, state: Path
) -> None:
    words = ("image", "import", "--url", esx.server.shown, "--vm", "web", "--name", "web")
    assert metier(*words, "--vmm-setting-file", password).status == 0
    said = [metier(*read.split(), "-o", "json") for read in ("job list", "event list", "export-site")]
    assert "image-import" in said[0].out
    assert SECRET not in str(said)
    kept = everything(state)
    assert b"sealed:" in kept
    assert SECRET.encode() not in kept
