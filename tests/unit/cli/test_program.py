"""The installed program in a process and on a terminal of its own, with all real operations."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metier import __version__
from metier.domain.tier import TierState
from metier.operations import load_operations
from metier.operations.registry import OPERATIONS
from metier.web.app import Parts, build_app
from tests.builders import a_fleet, a_host, a_host_image, a_host_tier, a_tier, a_virtual_node, an_image
from tests.unit.web.fake_controller import FakeController
from tests.unit.web.running import running

DEADLINE_S = 60
# Whoever runs the tests in the background hands ignored interrupts down: a terminal's program hears Ctrl-C.
_HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
METIER = (sys.executable, "-c", _HEARS_CTRL_C + "from metier.cli.main import main; main()")


@pytest.fixture
def busy() -> FakeController:
    """A site whose host cannot be shut down without consequences."""
    fleet = a_fleet(
        a_host(),
        a_virtual_node(number=1, tier="web"),
        a_virtual_node(number=2),
        a_host_tier(state=TierState.ACTIVE),
        a_tier(state=TierState.ACTIVE),
        a_host_image(),
        an_image(),
    )
    return FakeController(fleet)


@pytest.fixture
def environment(busy: FakeController, tmp_path: Path) -> Iterator[dict[str, str]]:
    load_operations()
    app = build_app(busy, lambda _: None, Parts(OPERATIONS))
    with running(app, tmp_path):
        yield {"METIER_STATE": str(tmp_path), "PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "60"}


def metier(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*METIER, *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*METIER, *words],
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def read_until(self, pattern: str) -> None:
        """Read what it prints until that matches."""
        while not re.search(pattern, self.seen):
            assert self._read(), self.seen

    def type(self, text: str) -> None:
        """Type text."""
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Read the rest and return the exit status."""
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait(DEADLINE_S)

    def _read(self) -> bool:
        """Read more; False at the end."""
        assert select.select([self._ours], [], [], DEADLINE_S)[0], self.seen
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # a terminal says so when its other end was closed
            return False
        self.seen += data.decode()
        return bool(data)


def test_version_and_help_need_no_controller(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "METIER_STATE": str(tmp_path)}
    assert metier(environment, "version").stdout == f"metier {__version__}\n"
    assert metier(environment, "--version").stdout == f"metier {__version__}\n"
    for words in ((), ("--help",), ("node", "--help"), ("tier", "edit", "--help"), ("lab", "--help")):
        result = metier(environment, *words)
        assert (result.returncode, result.stderr) == (0, ""), words
        assert result.stdout.startswith("Usage: metier")


def test_help_loads_none_of_the_large_libraries() -> None:
    code = (
        "import sys\nfrom metier.cli.main import run\nfrom metier.cli.root import Root, registered\n"
        "run(Root(registered), 'metier', ['--help'])\n"
        "heavy = {'fastapi', 'sqlalchemy', 'pydantic', 'rich', 'httpx', 'yaml', 'http.client', 'ssl',"
        " 'metier.domain', 'metier.operations.registry'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert result.returncode == 0, result.stderr


def test_lists_are_whole_and_plain_in_a_pipe(environment: dict[str, str]) -> None:
    result = metier(environment, "node", "list")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()[0]) > 60
    assert "\x1b" not in result.stdout


def test_lists_are_cut_and_coloured_on_a_terminal(environment: dict[str, str]) -> None:
    terminal = Terminal(environment, "tier", "list")
    assert terminal.end() == 0
    assert "\x1b[32mactive\x1b[0m" in terminal.seen
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.seen).splitlines()
    assert all(len(line) <= 100 for line in plain)
    plain_terminal = Terminal({**environment, "NO_COLOR": "1"}, "tier", "list")
    assert plain_terminal.end() == 0
    assert "\x1b" not in plain_terminal.seen


def test_a_reader_that_goes_away_is_no_error(environment: dict[str, str]) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([*METIER, "node", "list"], env=environment, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(DEADLINE_S) == 0


def test_consequences_are_asked_about_on_a_terminal(
    environment: dict[str, str], busy: FakeController
) -> None:
    declined = Terminal(environment, "node", "shutdown", "host-1")
    declined.read_until(r"continue\? \[y/N\]")
    assert "host-1/VM1" in declined.seen
    declined.type("n\n")
    assert declined.end() == 4
    assert len(busy.callers) == 1
    accepted = Terminal(environment, "node", "shutdown", "host-1")
    accepted.read_until(r"continue\? \[y/N\]")
    accepted.type("y\n")
    assert accepted.end() == 0
    assert "shutdown of node host-1 ordered" in accepted.seen


def test_consequences_without_a_terminal_end_with_4(environment: dict[str, str]) -> None:
    result = metier(environment, "node", "shutdown", "host-1")
    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr.startswith("warning: ")


def test_ctrl_c_while_waiting_ends_with_130_and_says_that_it_goes_on(environment: dict[str, str]) -> None:
    terminal = Terminal(environment, "tier", "deactivate", "web", "--accept-warnings", "--wait")
    terminal.read_until(r"\[ +[0-9]+ s\] ")
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 130
    assert "stopped waiting; what was asked for goes on" in terminal.seen
    assert "Traceback" not in terminal.seen


def test_a_wait_that_takes_too_long_ends_with_6(environment: dict[str, str]) -> None:
    result = metier(
        environment,
        "tier",
        "deactivate",
        "web",
        "--accept-warnings",
        "--wait",
        "--timeout",
        "0",
        "-o",
        "json",
    )
    assert result.returncode == 6
    assert '"code": "timed-out"' in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(environment: dict[str, str], shell: str) -> None:
    result = metier(environment, "completion", shell)
    assert result.returncode == 0
    assert "_METIER_COMPLETE" in result.stdout
