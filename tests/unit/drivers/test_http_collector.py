"""What servers may answer to an HTTP check, well-meaning or not."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from metier.domain.image import CollectorSpec
from metier.domain.observation import CheckResult
from metier.drivers.collectors.http import HttpCollector

HERE = "127.0.0.1"


@contextmanager
def server(*pieces: bytes, hangs: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """Answer one connection with these bytes; yields the port and what was asked."""
    asked: list[bytes] = []
    leave = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(4096))
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except OSError:
                return  # the client had heard enough
            if hangs:
                leave.wait(10)

    with socket.create_server((HERE, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], asked
        leave.set()
        thread.join()


def check(*pieces: bytes, path: str = "/", timeout_s: float = 5.0, hangs: bool = False) -> CheckResult:
    with server(*pieces, hangs=hangs) as (port, _):
        return HttpCollector().check(CollectorSpec("http", port, path, timeout_s), HERE)


@pytest.mark.parametrize("status", ["200 OK", "204", "301 Moved Permanently", "399 Odd", "101 Switching"])
def test_a_status_below_400_is_well(status: str) -> None:
    assert check(f"HTTP/1.1 {status}\r\n\r\n".encode()).ok


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Oops", "503"])
def test_a_status_from_400_on_is_not(status: str) -> None:
    result = check(f"HTTP/1.0 {status}\r\n\r\n".encode())
    assert not result.ok
    assert result.message.endswith(f": {status}")


def test_a_redirect_is_not_followed() -> None:
    with server(b"HTTP/1.1 302 Found\r\nLocation: http://203.0.113.1/\r\n\r\n") as (port, asked):
        assert HttpCollector().check(CollectorSpec("http", port), HERE).ok
    assert len(asked) == 1


def test_the_request_names_path_and_host() -> None:
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        HttpCollector().check(CollectorSpec("http", port, "/healthz?deep=1"), HERE)
    assert asked[0].startswith(f"GET /healthz?deep=1 HTTP/1.1\r\nHost: {HERE}:{port}\r\n".encode())


@pytest.mark.parametrize("path", ["/a b", "/\r\nX: y", "no-slash", "/é", ""])
def test_a_path_that_could_change_the_request_is_not_sent(path: str) -> None:
    result = HttpCollector().check(CollectorSpec("http", 1, path), HERE)
    assert not result.ok
    assert "not a URL path" in result.message


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200\r\n",
        b"HTTP/1.1 999 x\r\n",
        b"HTTP/1.1 2\xb2\xb3\r\n",
        b"\0" * 64,
    ],
)
def test_what_is_not_http_is_said_to_be(answer: bytes) -> None:
    result = check(answer)
    assert not result.ok
    assert "does not speak HTTP" in result.message


def test_a_line_without_end_is_not_read_for_ever() -> None:
    result = check(*[b"HTTP/1.1 200 " + b"x" * 65536] * 64)
    assert not result.ok


def test_a_long_reason_is_cut() -> None:
    result = check(b"HTTP/1.1 500 " + b"x" * 900 + b"\r\n")
    assert len(result.message) < 200


def test_a_server_that_never_answers_costs_no_more_than_the_deadline() -> None:
    result = check(timeout_s=0.2, hangs=True)
    assert not result.ok
    assert "no answer within 0.2 s" in result.message


def test_a_status_line_in_pieces_is_put_together() -> None:
    assert check(b"HT", b"TP/1.1 2", b"00 OK\r", b"\n").ok
