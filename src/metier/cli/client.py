"""Speaking to a controller, over its unix socket or HTTPS, with the standard library alone."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from metier.cli.failure import UNREACHABLE, Failure, answered
from metier.cli.local import LocalConnection, LocalResponse
from metier.cli.state import Local, Remote
from metier.operations.paths import ROOT

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

    Connection = LocalConnection | HTTPConnection
    Response = LocalResponse | HTTPResponse

# What an answer may take that is not held on purpose; a change waits for the round under way.
ANSWER_S = 60.0


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
            return self._reply(response)

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
            reply = self._reply(self._send_file(connection, file, path.name, size))
        return str(reply.value["file"])

    def stream(self, path: str, query: Mapping[str, Any], after: str) -> Iterator[tuple[str, Any]]:
        """Yield the id and content of server-sent events until the controller ends the stream."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        with closing(self._connect(ANSWER_S)) as connection:
            response = self._send(connection, Request("GET", path, query), headers)
            if response.status != 200:
                self._reply(response)
                return
            yield from self._events(response)

    def _send(
        self, connection: "Connection", request: Request, more: Mapping[str, str] | None = None
    ) -> "Response":
        headers = {**self._headers(), **(more or {})}
        body = None
        if request.body is not None:
            body = json.dumps(request.body).encode()
            headers["Content-Type"] = "application/json"
        if request.etag:
            headers["If-None-Match"] = request.etag
        if request.wait_s:
            headers["Prefer"] = f"wait={request.wait_s}"
        query = urlencode(_plain(request.query or {}), doseq=True, errors="surrogateescape")
        target = f"{request.path}?{query}" if query else request.path
        try:
            connection.request(request.method, target, body, headers)
            return connection.getresponse()
        except self._troubles() as error:
            raise self._unreachable(error) from error

    def _send_file(self, connection: "Connection", file: IO[bytes], name: str, size: int) -> "Response":
        headers = {**self._headers(), "Content-Length": str(size)}
        assert not isinstance(connection, LocalConnection)
        try:
            try:
                connection.request("PUT", f"{ROOT}/uploads/{quote(name, safe='')}", file, headers)
            except (BrokenPipeError, ConnectionResetError):
                # It refused before it read everything; then its answer may be there.
                return connection.getresponse()
            return connection.getresponse()
        except self._troubles() as error:
            raise self._unreachable(error) from error

    def _reply(self, response: "Response") -> Reply:
        try:
            text = response.read()
        except self._troubles() as error:
            raise self._unreachable(error) from error
        try:
            value = json.loads(text) if text else None
        except ValueError:
            value = None
        if response.status >= 400 or (value is None and response.status != 304):
            raise answered(response.status, value)
        headers = response.headers
        return Reply(response.status, value, headers.get("etag", ""), headers.get("x-next-cursor", ""))

    def _events(self, response: "Response") -> Iterator[tuple[str, Any]]:
        number = ""
        try:
            for line in response:
                key, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
                if key == "id":
                    number = value
                elif key == "data":
                    yield number, json.loads(value)
        except self._troubles() as error:
            raise self._unreachable(error) from error

    def _headers(self) -> dict[str, str]:
        token = self._controller.token if isinstance(self._controller, Remote) else ""
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _connect(self, timeout_s: float) -> "Connection":
        where = self._controller
        if isinstance(where, Local):
            return LocalConnection(where.socket, timeout_s)
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if where.tls else HTTPConnection
        return kind(where.host, where.port, timeout=timeout_s)

    def _troubles(self) -> tuple[type[Exception], ...]:
        """Return what speaking to the controller may raise."""
        if isinstance(self._controller, Local):
            return (OSError,)
        from http.client import HTTPException

        return (OSError, HTTPException)

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


def _plain(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query whose switches are written as JSON writes them."""
    return {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
