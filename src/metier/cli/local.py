"""HTTP over the controller's unix socket: the little of it that two programs of ours need.

The standard library's client would do, and takes longer to import (it brings TLS and
MIME along) than everything else that a command does.  Asked in HTTP/1.0 the
controller answers without chunks and closes the connection at the end.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

# An address in the kernel's form has this much room for a path.
_SOCKET_PATH_BYTES = 107
_HEADER_LIMIT_BYTES = 64 << 10


class LocalResponse:
    """An answer: its status, headers by lower-case name, and a body that ends with the connection."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        words = self._line().split(maxsplit=2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
            raise ConnectionError("what listens there is no controller")
        self.status = int(words[1])
        self.headers: Mapping[str, str] = dict(self._header_lines())

    def read(self, size: int = -1) -> bytes:
        """Return the rest of the body, or up to `size` bytes of it; raises OSError when all was cut off."""
        if size >= 0:
            return self._file.read(size)
        body = self._file.read()
        wanted = self.headers.get("content-length")
        if wanted is not None and len(body) != int(wanted):
            raise ConnectionError("the answer was cut off")
        return body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def _header_lines(self) -> Iterator[tuple[str, str]]:
        while line := self._line():
            name, _, value = line.partition(":")
            yield name.strip().lower(), value.strip()

    def _line(self) -> str:
        line = self._file.readline(_HEADER_LIMIT_BYTES)
        if not line.endswith(b"\n"):
            raise ConnectionError("the answer was cut off")
        return line.decode("latin-1").strip()


class LocalConnection:
    """One connection, for one request."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._file: BinaryIO = self._socket.makefile("rb")

    def request(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Connect and send a request; raises OSError."""
        self._connect()
        lines = [f"{method} {target} HTTP/1.0", "Host: metier"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def getresponse(self) -> LocalResponse:
        """Return the answer once its headers are there; raises OSError."""
        return LocalResponse(self._file)

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def _connect(self) -> None:
        """Connect to the socket, however long its path is."""
        if len(os.fsencode(self._path)) <= _SOCKET_PATH_BYTES:
            self._socket.connect(str(self._path))
            return
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)
