"""No wait for a server outlasts its deadline, and what a fault means is told in a driver's three errors."""

import socket
import threading

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.drivers.certificate import in_colons
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.faults import MAX_WORDS, translated, unreadable_is_told, words
from metier.drivers.hypervisor.vsphere.vmware import vim, vmodl
from metier.drivers.hypervisor.vsphere.wire import Deadlines

LONG_S = 60.0


@pytest.fixture
def ends() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def test_a_socket_is_shut_when_its_time_is_up(ends: tuple[socket.socket, socket.socket]) -> None:
    mine, server = ends
    with mine, server:
        server.sendall(b"slowly")
        Deadlines().watch(mine, Attempt("ask", 0.0))
        while mine.recv(1):  # what has come is still read; then the end
            pass


def test_an_attempt_that_is_ended_waits_no_more(ends: tuple[socket.socket, socket.socket]) -> None:
    mine, server = ends
    deadlines, attempt = Deadlines(), Attempt("watch", LONG_S)
    with mine, server:
        deadlines.watch(mine, attempt)
        waiting = threading.Thread(target=mine.recv, args=(1,))
        waiting.start()
        deadlines.end(attempt)
        waiting.join(LONG_S)
        assert not waiting.is_alive()
    with pytest.raises(Unavailable):
        attempt.check()


def test_a_call_that_was_answered_leaves_its_socket_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    mine, server = ends
    deadlines, attempt = Deadlines(), Attempt("ask", LONG_S)
    with mine, server:
        deadlines.watch(mine, attempt)
        deadlines.forget(attempt)
        deadlines.end(attempt)
        server.sendall(b"x")
        assert mine.recv(1) == b"x"


def test_a_socket_of_an_attempt_that_has_ended_is_shut_at_once(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    mine, server = ends
    deadlines, attempt = Deadlines(), Attempt("watch", LONG_S)
    with mine, server:
        deadlines.end(attempt)
        deadlines.watch(mine, attempt)
        assert mine.recv(1) == b""


@pytest.mark.parametrize(
    ("fault", "before", "after"),
    [
        (ConnectionResetError("reset"), Unavailable, OutcomeUnknown),
        (vmodl.fault.HostNotConnected(msg="gone"), Unavailable, OutcomeUnknown),
        (vim.fault.NotAuthenticated(msg="who?"), Unavailable, OutcomeUnknown),
        (vim.fault.NoPermission(msg="no", privilegeId="System.Read"), Refused, Refused),
        (vim.fault.InvalidLogin(msg="no"), Refused, Refused),
        (vim.fault.ResourceInUse(msg="busy"), Unavailable, Unavailable),
        (vim.fault.Timedout(msg="late"), OutcomeUnknown, OutcomeUnknown),
        (vim.fault.NoDiskSpace(msg="full"), Refused, Refused),
        (vim.fault.InvalidName(msg="odd"), Refused, Refused),
    ],
)
def test_every_fault_is_one_of_three_errors(
    fault: Exception, before: type[DriverError], after: type[DriverError]
) -> None:
    for begun, expected in ((False, before), (True, after)):
        attempt = Attempt("start VM1 on esx-1", LONG_S)
        if begun:
            attempt.begin()
        with pytest.raises(expected, match="start VM1 on esx-1"), translated(attempt):
            raise fault


def test_an_answer_that_cannot_be_read_is_no_success() -> None:
    attempt = Attempt("start VM1", LONG_S)
    with pytest.raises(Refused, match="not one of VMware's"), unreadable_is_told(attempt):
        raise TypeError("odd")
    attempt.begin()
    with pytest.raises(OutcomeUnknown, match="cannot be read"), unreadable_is_told(attempt):
        raise TypeError("odd")


def test_a_servers_words_are_cut_to_a_readable_length() -> None:
    told = words(vim.fault.InvalidName(msg="a\nb " * MAX_WORDS))
    assert told.startswith("InvalidName: a b a b")
    assert len(told) == MAX_WORDS + 1


def test_thumbprints_are_shown_as_vmware_shows_them() -> None:
    assert in_colons("ab01") == "AB:01"
