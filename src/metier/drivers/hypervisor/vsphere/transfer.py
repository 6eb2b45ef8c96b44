"""Files of a datastore over HTTP: sent and fetched in one stream each, with progress and a deadline."""

import http.client
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.faults import MAX_WORDS, VmwareSaid, permit, translated
from metier.drivers.hypervisor.vsphere.host import Datastore
from metier.drivers.hypervisor.vsphere.wire import DEADLINES

_PIECE_BYTES = 1 << 20
# A descriptor, a marker: nothing that is read whole is larger.
SMALL_BYTES = 1 << 16
_TAGS = re.compile(r"<[^>]*>")

Sent = Callable[[int], None]
"""Called with the bytes that have gone over so far."""


class Transfers:
    """Moves files between the controller and one datastore, for the length of one attempt."""

    def __init__(self, endpoint: Endpoint, datastore: Datastore, attempt: Attempt) -> None:
        self._endpoint, self._datastore, self._attempt = endpoint, datastore, attempt

    def put(self, file: str, pieces: Iterable[bytes], size: int, sent: Sent) -> None:
        """Write a file of exactly `size` bytes.

        Raises:
            Refused: The host would not take it: no room, no permission.
        """
        self._endpoint.ensure_session()
        self._attempt.begin()
        with self._connection() as connection:
            connection.putrequest("PUT", self._path(file))
            for name, value in self._headers().items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(size))
            connection.putheader("Content-Type", "application/octet-stream")
            connection.endheaders()
            self._send(connection, file, pieces, sent)
            self._answer(connection, f"write {file}").read(SMALL_BYTES)

    def get(self, file: str) -> bytes:
        """Return a small file."""
        with self._connection() as connection:
            connection.request("GET", self._path(file), headers=self._headers())
            return self._answer(connection, f"read {file}").read(SMALL_BYTES)

    def pieces(self, file: str) -> Iterator[bytes]:
        """Yield a file, piece by piece; what breaks here is told as what it means."""
        with translated(self._attempt):
            self._endpoint.ensure_session()
            with self._connection() as connection:
                connection.request("GET", self._path(file), headers=self._headers())
                answer = self._answer(connection, f"read {file}")
                while piece := answer.read(_PIECE_BYTES):
                    self._attempt.check()
                    yield piece
                if answer.length:
                    raise http.client.IncompleteRead(b"", answer.length)

    def _send(
        self, connection: http.client.HTTPSConnection, file: str, pieces: Iterable[bytes], sent: Sent
    ) -> None:
        done = 0
        for piece in pieces:
            self._attempt.check()
            try:
                connection.send(piece)
            except (OSError, http.client.HTTPException):
                # A host that has had enough answers and hangs up: its answer says why, if it can be read.
                self._answer(connection, f"write {file}")
                raise
            done += len(piece)
            sent(done)

    @contextmanager
    def _connection(self) -> Iterator[http.client.HTTPSConnection]:
        connection = self._endpoint.trust.connect(self._attempt.left_s)
        assert connection.sock is not None
        connection.sock.settimeout(max(self._attempt.left_s, 0.001))
        DEADLINES.watch(connection.sock, self._attempt)
        try:
            yield connection
        finally:
            DEADLINES.forget(self._attempt)
            connection.close()

    def _path(self, file: str) -> str:
        query = urlencode({"dcPath": self._datastore.datacenter_path, "dsName": self._datastore.name})
        return f"/folder/{quote(file)}?{query}"

    def _headers(self) -> dict[str, str]:
        return {"Cookie": self._endpoint.stub.session_cookie}

    def _answer(self, connection: http.client.HTTPSConnection, what: str) -> http.client.HTTPResponse:
        answer = connection.getresponse()
        if answer.status in (200, 201, 204):
            return answer
        raise self._refused(answer, what) from VmwareSaid(_words(answer))

    def _refused(self, answer: Any, what: str) -> DriverError:
        name = f"{what} on datastore {self._datastore.name}"
        if answer.status in (401, 503):
            if self._attempt.has_begun:
                return OutcomeUnknown(
                    f"cannot tell how far it came to {self._attempt.what}: the host would not {name} now"
                )
            return Unavailable(f"cannot {self._attempt.what}: the host would not {name} now")
        if answer.status == 403:
            return Refused(
                f"cannot {self._attempt.what}: the account {self._endpoint.user} may not {name}",
                remedy=permit(self._endpoint.user, "Datastore.FileManagement"),
            )
        if answer.status == 404:
            return Refused(f"cannot {self._attempt.what}: the host cannot {name}: there is no such file")
        return Refused(f"cannot {self._attempt.what}: the host would not {name}")


def _words(answer: http.client.HTTPResponse) -> str:
    """Return a server's own words on one line."""
    text = " ".join(_TAGS.sub(" ", answer.read(SMALL_BYTES).decode("utf-8", "replace")).split())
    return f"HTTP status {answer.status}: {text or answer.reason}"[:MAX_WORDS]
