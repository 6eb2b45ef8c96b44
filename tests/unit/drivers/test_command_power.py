"""An operator's commands for power: how they end, and what they say."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from metier.domain.errors import OutcomeUnknown, Refused, Unavailable, WrongUsage, chain
from metier.domain.observation import Power
from metier.drivers.power.command import MAX_SAID, CommandPower

PYTHON = (sys.executable, "-I", "-c")
TIMEOUT_S = 20.0


def power(*, on: str = "true", off: str = "true", status: str = "echo on", **more: str) -> CommandPower:
    return CommandPower.open("host-1", {"on": on, "off": off, "status": status, **more})


def python(code: str, *arguments: str) -> str:
    return shlex.join((*PYTHON, code, *arguments))


@pytest.mark.parametrize(
    ("output", "seen"),
    [
        ("on", Power.ON),
        ("ON\n", Power.ON),
        ("  Off  (since monday)", Power.OFF),
        ("Chassis Power is on", Power.UNKNOWN),
        ("", Power.UNKNOWN),
        ("offline", Power.UNKNOWN),
    ],
)
def test_the_first_word_is_the_state(output: str, seen: Power) -> None:
    assert power(status=shlex.join(("printf", "%s", output))).status(timeout_s=TIMEOUT_S) is seen


def test_no_shell_reads_the_words(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = power(status=f"echo on; touch {mark}", on=f"test '$(touch {mark})' = x")
    assert command.status(timeout_s=TIMEOUT_S) is Power.UNKNOWN  # its first word is `on;`
    with pytest.raises(Refused):
        command.on(timeout_s=TIMEOUT_S)
    assert not mark.exists()


def test_a_failing_status_is_unavailable_with_the_commands_words() -> None:
    command = power(status=python("import sys; sys.exit('bmc-1: no route')"))
    with pytest.raises(Unavailable, match=r"exit status 1: bmc-1: no route$"):
        command.status(timeout_s=TIMEOUT_S)


def test_a_failing_switch_is_refused_with_the_commands_words() -> None:
    command = power(on=python("import sys; sys.exit('fuse blown')"))
    with pytest.raises(Refused, match=r"cannot switch on host-1: .* exit status 1: fuse blown$"):
        command.on(timeout_s=TIMEOUT_S)


def test_a_missing_program_is_refused() -> None:
    with pytest.raises(Refused, match=r"no-such-program for host-1: No such file"):
        power(off="no-such-program now").off(timeout_s=TIMEOUT_S)


def test_a_long_complaint_is_cut_to_its_end_and_to_one_line() -> None:
    code = "import sys; sys.stderr.write('x' * 5000 + '\\x1b[31m\\nlast words'); sys.exit(3)"
    with pytest.raises(Unavailable) as caught:
        power(status=python(code)).status(timeout_s=TIMEOUT_S)
    message = chain(caught.value)
    assert message.endswith("last words")
    assert len(message) < MAX_SAID + 200
    assert message.isprintable()


def test_a_switch_that_hangs_has_an_unknown_outcome() -> None:
    with pytest.raises(OutcomeUnknown, match=r"did not end within 0\.2 s"):
        power(on=python("import signal; signal.pause()")).on(timeout_s=0.2)


def test_a_status_that_hangs_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
        power(status=python("import signal; signal.pause()"), timeout_s="0.2").status(timeout_s=TIMEOUT_S)


def test_the_nearer_of_both_deadlines_counts() -> None:
    with pytest.raises(OutcomeUnknown, match=r"within 0\.1 s"):
        power(on=python("import signal; signal.pause()"), timeout_s="600").on(timeout_s=0.1)


def test_what_a_hanging_command_started_dies_with_it(tmp_path: Path) -> None:
    # The child holds a pipe's only writing end: its end is seen as the end of the pipe.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = (
        "import os, signal, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-I', '-c', 'import signal; signal.pause()'],"
        " stdout=open(sys.argv[1], 'w'))\n"
        "signal.pause()"
    )
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OutcomeUnknown):
            power(on=python(code, str(pipe))).on(timeout_s=1.0)
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_a_service_that_a_command_leaves_behind_is_not_waited_for_and_lives(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # It keeps the command's own output open, and ends when it has read a line.
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-I', '-c', 'import sys; open(sys.argv[1]).readline()',"
        " sys.argv[1]])\n"
    )
    power(on=python(code, str(pipe))).on(timeout_s=TIMEOUT_S)
    with pipe.open("w") as speaks:  # opens only when the service listens
        speaks.write("enough\n")


def test_much_output_neither_blocks_nor_is_kept() -> None:
    code = "import sys; sys.stdout.write('on ' + 'x' * 5_000_000)"
    assert power(status=python(code)).status(timeout_s=TIMEOUT_S) is Power.ON


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"on": "true", "off": "true"},
        {"on": "'unclosed", "off": "true", "status": "true"},
        {"on": " ", "off": "true", "status": "true"},
        {"on": "true", "off": "true", "status": "true", "reset": "true"},
        {"on": "true", "off": "true", "status": "true", "timeout_s": "0"},
        {"on": "true", "off": "true", "status": "true", "timeout_s": "soon"},
        {"on": "true", "off": "true", "status": "true", "timeout_s": "nan"},
    ],
)
def test_bad_settings_are_wrong_usage(settings: dict[str, str]) -> None:
    with pytest.raises(WrongUsage):
        CommandPower.check_settings(settings)
    with pytest.raises(WrongUsage):
        CommandPower.open("host-1", settings)
