"""Speaking to a controller, over its unix socket or HTTPS, with the standard library alone."""

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

from metier.cli.failure import UNREACHABLE, Failure, answered
from metier.cli.state import Local, Remote

# What an answer may take that is not held on purpose; a change waits for the round under way.
ANSWER_S = 60.0
# An address in the kernel's form has this much room for a path.
_SOCKET_PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `wait_s` lets the controller hold it until there is something new."""

    method: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    etag: str = ""
    wait_s: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer that is no error; `value` is None with 304."""

    status: int
    value: Any
    etag: str
    cursor: str


class Client:
    """Speaks to one controller."""

    def __init__(self, controller: Local | Remote) -> None:
        self._controller = controller

    @property
    def is_local(self) -> bool:
        """Whether the controller can read this machine's files."""
        return isinstance(self._controller, Local)

    def ask(self, request: Request) -> Reply:
        """Send a request and return the answer.

        Raises:
            Failure: The controller cannot be reached, or answered with an error.
        """
        with closing(self._connect(ANSWER_S + request.wait_s)) as connection:
            response = self._send(connection, request)
            text = self._read(response)
        return _reply(response, text)

    def rows(self, path: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a whole list, page by page."""
        rows: list[dict[str, Any]] = []
        cursor = ""
        while True:
            paging = {**query, "cursor": cursor} if cursor else query
            reply = self.ask(Request("GET", path, paging))
            rows += reply.value
            cursor = reply.cursor
            if not cursor:
                return rows

    def upload(self, path: Path) -> str:
        """Send a file ahead and return what names it from then on."""
        try:
            file = path.open("rb")
        except OSError as error:
            raise Failure(f"cannot read {path}: {error.strerror}") from error
        with file, closing(self._connect(ANSWER_S)) as connection:
            size = os.fstat(file.fileno()).st_size
            response = self._send_file(connection, file, path.name, size)
            reply = _reply(response, self._read(response))
        return str(reply.value["file"])

    def stream(self, path: str, query: Mapping[str, Any], after: str) -> Iterator[tuple[str, Any]]:
        """Yield the id and content of server-sent events until the controller ends the stream."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        with closing(self._connect(ANSWER_S)) as connection:
            response = self._send(connection, Request("GET", path, query), headers)
            if response.status != 200:
                _reply(response, self._read(response))
                return
            yield from _events(response, self._unreachable)

    def _send(
        self, connection: http.client.HTTPConnection, request: Request, more: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        headers = {**self._headers(), **(more or {})}
        body = None
        if request.body is not None:
            body = json.dumps(request.body).encode()
            headers["Content-Type"] = "application/json"
        if request.etag:
            headers["If-None-Match"] = request.etag
        if request.wait_s:
            headers["Prefer"] = f"wait={request.wait_s}"
        query = urlencode(_plain(request.query or {}), doseq=True)
        target = f"{request.path}?{query}" if query else request.path
        try:
            connection.request(request.method, target, body, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _send_file(
        self, connection: http.client.HTTPConnection, file: IO[bytes], name: str, size: int
    ) -> http.client.HTTPResponse:
        from urllib.parse import quote

        headers = {**self._headers(), "Content-Length": str(size)}
        try:
            connection.request("PUT", f"/api/v1/uploads/{quote(name, safe='')}", file, headers)
            return connection.getresponse()
        except (BrokenPipeError, ConnectionResetError):
            # It may have refused before it read everything; then its answer is there.
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _headers(self) -> dict[str, str]:
        token = self._controller.token if isinstance(self._controller, Remote) else ""
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        where = self._controller
        if isinstance(where, Local):
            return _UnixConnection(where.socket, timeout_s)
        if where.tls:
            return http.client.HTTPSConnection(where.host, where.port, timeout=timeout_s)
        return http.client.HTTPConnection(where.host, where.port, timeout=timeout_s)

    def _unreachable(self, error: Exception) -> Failure:
        where = self._controller
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(where, Local):
            place = str(where.socket)
            remedy = "start it with `metier serve`, or name another one with --state or METIER_URL"
        else:
            place, remedy = str(where), "look at METIER_URL, and whether the controller runs there"
        message = f"cannot reach the controller at {place}: {reason[:1].lower()}{reason[1:]}"
        return Failure(message, code="unreachable", remedy=remedy, exit_status=UNREACHABLE)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("metier", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket, however long its path is."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            if len(os.fsencode(self._path)) <= _SOCKET_PATH_BYTES:
                self.sock.connect(str(self._path))
                return
            folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
            finally:
                os.close(folder)
        except BaseException:  # whatever it was, the socket must not stay open
            self.sock.close()
            raise


def _reply(response: http.client.HTTPResponse, text: bytes) -> Reply:
    try:
        value = json.loads(text) if text else None
    except ValueError:
        value = None
    if response.status >= 400 or (value is None and response.status != 304):
        raise answered(response.status, value)
    etag = response.headers.get("ETag", "")
    return Reply(response.status, value, etag, response.headers.get("X-Next-Cursor", ""))


def _events(response: http.client.HTTPResponse, unreachable: Any) -> Iterator[tuple[str, Any]]:
    number = ""
    try:
        for line in response:
            key, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
            if key == "id":
                number = value
            elif key == "data":
                yield number, json.loads(value)
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(error) from error


def _plain(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query whose switches are written as JSON writes them."""
    return {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
