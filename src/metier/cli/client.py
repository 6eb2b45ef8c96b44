"""Speaking to a controller, over its unix socket or HTTPS, with the standard library alone."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from metier.cli.failure import UNREACHABLE, Failure, answered
from metier.cli.local import LocalConnection, LocalResponse
from metier.cli.state import Local, Remote

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

    Connection = LocalConnection | HTTPConnection
    Response = LocalResponse | HTTPResponse

# What an answer may take that is not held on purpose; a change waits for the round under way.
ANSWER_S = 60.0
_PIECE_BYTES = 1 << 20


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


class Answer(NamedTuple):
    """What came back to `Client.exchange`: the body if it is JSON, and headers by lower-case name."""

    status: int
    value: Any
    headers: Mapping[str, str]


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

    def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> "Answer":
        """Send a request with bytes for a body and return the answer.

        Raises:
            Failure: The controller cannot be reached (`unreachable`), or answered with an error.
        """
        with closing(self._connect(ANSWER_S)) as connection:
            try:
                # If it refused before it read everything, its answer may be there all the same.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, path, body, {**self._headers(), **headers})
                response = connection.getresponse()
                text = response.read()
            except self._troubles() as error:
                raise self._unreachable(error) from error
            value = _parsed(text)
            if response.status >= 400:
                raise answered(response.status, value)
            return Answer(response.status, value, {k.lower(): v for k, v in response.headers.items()})

    def content(self, path: str, headers: Mapping[str, str]) -> "Iterator[Answer | bytes]":
        """Yield an answer without its body, and then that, piece by piece.

        Raises:
            Failure: As `exchange` does; also when the connection breaks off.
        """
        with closing(self._connect(ANSWER_S)) as connection:
            try:
                connection.request("GET", path, None, {**self._headers(), **headers})
                response = connection.getresponse()
                if response.status >= 400:
                    raise answered(response.status, _parsed(response.read()))
                yield Answer(response.status, None, {k.lower(): v for k, v in response.headers.items()})
                while piece := response.read(_PIECE_BYTES):
                    yield piece
            except self._troubles() as error:
                raise self._unreachable(error) from error

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

    def _reply(self, response: "Response") -> Reply:
        try:
            text = response.read()
        except self._troubles() as error:
            raise self._unreachable(error) from error
        value = _parsed(text)
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


def _parsed(text: bytes) -> Any:
    """Return what JSON says; None if it is none."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _plain(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query whose switches are written as JSON writes them."""
    return {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
