"""Stretches of a datastore's files over HTTP, and the proof that they are all of one state of a file."""

import http.client
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from metier.domain.errors import Refused
from metier.drivers.hypervisor.vsphere.faults import VmwareSaid, translated
from metier.drivers.hypervisor.vsphere.transfer import Transfers

SILENCE_S = 120.0
"""How long a server may send nothing amid a file; disks of a busy array take their time."""

_PIECE_BYTES = 1 << 20
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


class Extent(NamedTuple):
    """A file as it was seen.

    Attributes:
        validator: What the server tells it from its other states by; empty if it tells nothing.
    """

    size: int
    validator: str


class Ranges(Transfers):
    """Reads stretches of files of one datastore, for the length of one attempt."""

    def extent(self, file: str) -> Extent:
        """Return size and state of a file."""
        with self._connection() as connection:
            answer = self._asked(connection, file, 0, 1)
            return _extent_of(answer)

    def stretch(self, file: str, start: int, stop: int, seen: Extent) -> Iterator[bytes]:
        """Yield a file from `start` up to `stop`, piece by piece.

        Raises:
            Refused: It is not what was seen any more.
        """
        with translated(self._attempt), self._proved() as connection:
            answer = self._asked(connection, file, start, stop)
            if _extent_of(answer) != seen:
                raise Refused(
                    f"cannot {self._attempt.what}: {file} changed while it was copied",
                    remedy="see that the VM stays off, then begin again",
                )
            left = stop - start
            while left and (piece := answer.read(min(left, _PIECE_BYTES))):
                self._attempt.check()
                left -= len(piece)
                yield piece
            if left:
                raise http.client.IncompleteRead(b"", left)

    @contextmanager
    def _proved(self) -> Iterator[http.client.HTTPSConnection]:
        """Have a connection, after the session was proved."""
        self._endpoint.ensure_session()
        with self._connection() as connection:
            yield connection

    def _asked(
        self, connection: http.client.HTTPSConnection, file: str, start: int, stop: int
    ) -> http.client.HTTPResponse:
        """Ask for a stretch, and make sure that this is what comes."""
        assert connection.sock is not None
        connection.sock.settimeout(max(min(self._attempt.left_s, SILENCE_S), 0.001))
        headers = {**self._headers(), "Range": f"bytes={start}-{stop - 1}"}
        connection.request("GET", self._path(file), headers=headers)
        answer = connection.getresponse()
        if answer.status == 206 and _begins_at(answer) == start:
            return answer
        if answer.status == 206 or answer.status in (200, 416):
            raise Refused(
                f"cannot {self._attempt.what}: the host does not give parts of {file} (HTTP status"
                f" {answer.status}), so that a copy could not go on where it broke off",
                remedy="export the VM instead: ovftool vi://HOST/NAME NAME.ova, and import that file",
            )
        raise self._refused(answer, f"read {file}") from VmwareSaid(f"HTTP status {answer.status}")


def _match(answer: http.client.HTTPResponse) -> "re.Match[str] | None":
    return _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())


def _begins_at(answer: http.client.HTTPResponse) -> int | None:
    match = _match(answer)
    return int(match[1]) if match else None


def _extent_of(answer: http.client.HTTPResponse) -> Extent:
    match = _match(answer)
    assert match is not None  # `_asked` has seen it
    tag, modified = (answer.headers.get(name, "").strip() for name in ("ETag", "Last-Modified"))
    return Extent(int(match[3]), f"{tag} {modified}".strip()[:200])
