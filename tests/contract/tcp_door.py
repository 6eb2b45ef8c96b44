"""A TCP door to a daemon's unix socket on loopback: what a remote libvirt URL talks to."""

import contextlib
import selectors
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_BLOCK = 1 << 16


class TcpDoor:
    """Passes every connection on to a unix socket, until it is closed."""

    def __init__(self, inner: Path) -> None:
        self._inner = inner
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="tcp-door", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for side in self._open:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                outer, _ = self._listener.accept()
            except OSError:
                return
            inner = socket.socket(socket.AF_UNIX)
            try:
                inner.connect(str(self._inner))
            except OSError:  # the host is off: so is the door
                inner.close()
                outer.close()
                continue
            self._open += [outer, inner]
            threading.Thread(target=_pass_on, args=(outer, inner), name="tcp-door", daemon=True).start()


def _pass_on(outer: socket.socket, inner: socket.socket) -> None:
    with outer, inner, selectors.DefaultSelector() as ready:
        ready.register(outer, selectors.EVENT_READ, inner)
        ready.register(inner, selectors.EVENT_READ, outer)
        while True:
            for key, _ in ready.select():
                assert isinstance(key.fileobj, socket.socket)
                try:
                    block = key.fileobj.recv(_BLOCK)
                    key.data.sendall(block)
                except OSError:
                    return
                if not block:
                    return
