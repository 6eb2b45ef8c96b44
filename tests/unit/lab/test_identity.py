"""A process is known by its number, its start and the machine's boot; never by its number alone."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from metier.lab.identity import (
    ProcessIdentity,
    end_process,
    identify,
    identity_from_json,
    is_running,
    parse_stat,
)

STAT = "4242 (we (ir)d) name) S 1 4242 4242 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 {start} 8192 200"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stays until it is ended."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


def identity_of(process: subprocess.Popen[bytes]) -> ProcessIdentity:
    """Return who a child is, while it runs."""
    found = identify(process.pid)
    assert found is not None
    return found


def test_a_program_name_with_spaces_and_parentheses_does_not_confuse() -> None:
    assert parse_stat(STAT.format(start=98765)) == (4242, "S", 98765)


def test_this_process_runs() -> None:
    myself = identify()
    assert myself is not None
    assert myself.pid == os.getpid()
    assert is_running(myself)


def test_another_start_or_another_boot_is_another_process() -> None:
    myself = identify()
    assert myself is not None
    assert not is_running(dataclasses.replace(myself, start_ticks=myself.start_ticks + 1))
    assert not is_running(dataclasses.replace(myself, boot_id="00000000-0000-0000-0000-000000000000"))


def test_a_process_is_ended_and_stays_ended(child: subprocess.Popen[bytes]) -> None:
    process = identity_of(child)
    assert end_process(process, timeout_s=10)
    # Not yet reaped by its parent, it is a zombie: that counts as ended.
    assert not is_running(process)
    assert identify(child.pid) is None
    assert child.wait(10) == -signal.SIGKILL
    assert end_process(process, timeout_s=0)


def test_a_number_that_changed_hands_is_left_alone(child: subprocess.Popen[bytes]) -> None:
    process = identity_of(child)
    former = dataclasses.replace(process, start_ticks=process.start_ticks - 1)
    assert end_process(former, timeout_s=0)
    assert is_running(process)


def test_a_process_that_does_not_obey_is_reported(child: subprocess.Popen[bytes]) -> None:
    process = identity_of(child)
    assert not end_process(process, timeout_s=0.05, by=signal.SIGCONT)


def test_an_identity_survives_json() -> None:
    identity = ProcessIdentity(7, 99, "b00t")
    assert identity_from_json(identity.as_json()) == identity
    assert identity_from_json({"pid": 7}) is None
    assert identity_from_json(None) is None
