"""The deadline of a call holds though the work behind it hangs, and what was given up is not begun later."""

import threading
from collections.abc import Callable

import libvirt
import pytest

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.drivers.hypervisor.libvirt.attempt import MAX_ABANDONED, Attempt, Attempts
from metier.drivers.hypervisor.libvirt.faults import cannot_connect, meaning

LONG_S = 30.0
SHORT_S = 0.05


def test_the_result_comes_back_and_progress_in_the_callers_thread() -> None:
    heard: list[tuple[int, int, int]] = []

    def work(attempt: Attempt) -> int:
        attempt.tell(1, 2)
        attempt.tell(2, 2)
        return threading.get_ident()

    worker = Attempts().run(
        "try",
        work,
        timeout_s=LONG_S,
        progress=lambda done, total: heard.append((done, total, threading.get_ident())),
    )
    here = threading.get_ident()
    assert worker != here
    assert heard == [(1, 2, here), (2, 2, here)]


def test_an_error_of_the_work_is_raised_to_the_caller() -> None:
    def work(_: Attempt) -> None:
        raise Refused("no")

    with pytest.raises(Refused, match="no"):
        Attempts().run("try", work, timeout_s=LONG_S)


@pytest.mark.parametrize(("begins", "expected"), [(False, Unavailable), (True, OutcomeUnknown)])
def test_a_missed_deadline_tells_whether_something_was_begun(
    begins: bool, expected: type[DriverError]
) -> None:
    released, given_up = threading.Event(), threading.Event()

    def work(attempt: Attempt) -> None:
        if begins:
            attempt.begin()
        released.wait(LONG_S)
        try:
            attempt.begin()
        except DriverError:
            given_up.set()

    with pytest.raises(expected, match=r"0\.05 s"):
        Attempts().run("start VM1", work, timeout_s=SHORT_S)
    released.set()
    assert given_up.wait(LONG_S), "work that nobody waits for must not go on"


def test_progress_that_raises_stops_the_work() -> None:
    stopped = threading.Event()
    told = threading.Event()

    def work(attempt: Attempt) -> None:
        attempt.tell(1, 2)
        told.wait(LONG_S)
        try:
            attempt.check()
        except DriverError:
            stopped.set()

    def cancel(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Attempts().run("copy", work, timeout_s=LONG_S, progress=cancel)
    told.set()
    assert stopped.wait(LONG_S)


def test_a_host_on_which_calls_pile_up_gets_no_more() -> None:
    attempts, released = Attempts(), threading.Event()

    def hang(_: Attempt) -> None:
        released.wait(LONG_S)

    for _ in range(MAX_ABANDONED):
        with pytest.raises(Unavailable):
            attempts.run("ask", hang, timeout_s=0.01)
    with pytest.raises(Unavailable, match=f"{MAX_ABANDONED} earlier calls"):
        attempts.run("ask", hang, timeout_s=LONG_S)
    released.set()


def said(code: int) -> libvirt.libvirtError:
    error = libvirt.libvirtError("made up")
    error.err = (code, 0, "made up", 0, "", "", "", 0, 0)
    return error


@pytest.mark.parametrize(
    ("code", "lives", "begun", "expected"),
    [
        (libvirt.VIR_ERR_OPERATION_INVALID, True, True, Refused),
        (libvirt.VIR_ERR_INTERNAL_ERROR, True, True, Refused),
        (libvirt.VIR_ERR_INTERNAL_ERROR, False, True, OutcomeUnknown),
        (libvirt.VIR_ERR_INTERNAL_ERROR, False, False, Unavailable),
        (libvirt.VIR_ERR_RPC, True, True, OutcomeUnknown),
        (libvirt.VIR_ERR_RPC, True, False, Unavailable),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, True, True, Unavailable),
        (libvirt.VIR_ERR_OPERATION_ABORTED, True, True, OutcomeUnknown),
        (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, True, True, OutcomeUnknown),
        (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, True, False, Refused),
        (-1, True, False, Refused),
    ],
)
def test_what_an_error_of_libvirt_means(
    code: int, lives: bool, begun: bool, expected: type[DriverError]
) -> None:
    attempt = Attempt("start VM1", LONG_S)
    if begun:
        attempt.begin()
    found = meaning(said(code), attempt, connection_lives=lives)
    assert type(found) is expected
    assert "start VM1" in found.message
    assert "made up" not in found.message, "the cause is not repeated"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (libvirt.VIR_ERR_SYSTEM_ERROR, Unavailable),
        (libvirt.VIR_ERR_INTERNAL_ERROR, Unavailable),
        (libvirt.VIR_ERR_AUTH_FAILED, Refused),
        (libvirt.VIR_ERR_INVALID_ARG, Refused),
    ],
)
def test_why_a_host_cannot_be_reached(code: int, expected: type[DriverError]) -> None:
    found = cannot_connect(said(code), "list the VMs on host-1", "qemu:///system")
    assert type(found) is expected
    assert "qemu:///system" in found.message


def test_what_is_begun_too_late_is_not_begun() -> None:
    attempt = Attempt("start VM1", 0.0)
    steps: tuple[Callable[[], None], ...] = (attempt.check, attempt.begin)
    for step in steps:
        with pytest.raises(Unavailable):
            step()
    assert not attempt.has_begun
