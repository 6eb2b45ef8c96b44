"""The small HTTP client against answers that are none of ours."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metier.cli.client import Client, Request
from metier.cli.failure import UNREACHABLE, Failure
from metier.cli.state import Local

STATUS = Request("GET", "/api/v1/status")


class Answering:
    """Something that answers one connection with given bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / "metier.sock"))
        self._socket.listen()
        self._thread = threading.Thread(target=lambda: None)

    def with_bytes(self, answer: bytes) -> Client:
        """Answer the next connection so, and return a client that will ask."""
        self._thread = threading.Thread(target=self._answer, args=(answer,))
        self._thread.start()
        return Client(Local(self.folder))

    def end(self) -> None:
        """Wait until it answered."""
        self._thread.join(30)
        self._socket.close()

    def _answer(self, answer: bytes) -> None:
        connection, _ = self._socket.accept()
        with closing(connection):
            self.asked = connection.recv(65536)
            connection.sendall(answer)


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    found = Answering(tmp_path)
    yield found
    found.end()


def test_a_request_is_plain_http(answering: Answering) -> None:
    client = answering.with_bytes(b'HTTP/1.1 200 OK\r\nETag: "x"\r\ncontent-length: 2\r\n\r\n{}')
    reply = client.ask(Request("POST", "/api/v1/x", {"plan": True, "n": ["a", "b"]}, {"k": "v"}, etag='"e"'))
    assert (reply.status, reply.value, reply.etag) == (200, {}, '"x"')
    head, _, body = answering.asked.decode().partition("\r\n\r\n")
    assert head.splitlines() == [
        "POST /api/v1/x?plan=true&n=a&n=b HTTP/1.0",
        "Host: metier",
        "Content-Type: application/json",
        'If-None-Match: "e"',
        "Content-Length: 10",
    ]
    assert body == '{"k": "v"}'


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "cut off"),
        (b"SSH-2.0-OpenSSH\r\n", "no controller"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "cut off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{", "cut off"),
        (b"x" * 100_000, "cut off"),
    ],
)
def test_what_is_no_whole_answer_is_an_unreachable_controller(
    answering: Answering, answer: bytes, words: str
) -> None:
    with pytest.raises(Failure, match=words) as caught:
        answering.with_bytes(answer).ask(STATUS)
    assert caught.value.exit_status == UNREACHABLE


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "bad-answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nnot json", "bad-answer"),
        (b'HTTP/1.1 404 Not Found\r\n\r\n{"error": {"code": "no-such-route"}}', "no-such-route"),
        (b'HTTP/1.1 422 No\r\n\r\n{"error": "text"}', "bad-answer"),
    ],
)
def test_an_answer_in_another_form_is_a_failure(answering: Answering, answer: bytes, code: str) -> None:
    with pytest.raises(Failure) as caught:
        answering.with_bytes(answer).ask(STATUS)
    assert (caught.value.code, caught.value.exit_status) == (code, 1)
