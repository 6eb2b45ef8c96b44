"""Connections to a VMware server: its certificate is always checked, and no wait outlasts its deadline."""

import heapq
import http.client
import select
import socket
import threading
import time
from contextlib import suppress

from metier.drivers import certificate
from metier.drivers.certificate import Advice, Server
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.configuration import Url


class Deadlines:
    """Shuts sockets whose deadline has passed; one thread for all, alive only while something waits."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._waiting: list[tuple[float, int]] = []
        self._sockets: dict[int, socket.socket] = {}
        self._next = 0
        self._thread: threading.Thread | None = None

    def watch(self, waits: socket.socket, attempt: Attempt) -> None:
        """Shut a socket when an attempt's time is up, unless `forget` comes first."""
        with self._wake:
            self._next += 1
            attempt.ticket = self._next
            self._sockets[self._next] = waits
            if attempt.is_ended:
                self._shut(self._next)
                return
            heapq.heappush(self._waiting, (attempt.until, self._next))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vsphere: deadlines", daemon=True)
                self._thread.start()
            self._wake.notify()

    def forget(self, attempt: Attempt) -> None:
        """Let the socket of an attempt's last call live on."""
        with self._wake:
            self._sockets.pop(attempt.ticket, None)

    def end(self, attempt: Attempt) -> None:
        """End an attempt now, whatever it waits for."""
        with self._wake:
            attempt.is_ended = True
            self._shut(attempt.ticket)

    def _shut(self, ticket: int) -> None:
        waits = self._sockets.pop(ticket, None)
        if waits is not None:
            with suppress(OSError):
                # The plain way: TLS's own would change the object under its reader's feet.
                socket.socket.shutdown(waits, socket.SHUT_RDWR)

    def _run(self) -> None:
        with self._wake:
            while True:
                while self._waiting and self._waiting[0][1] not in self._sockets:
                    heapq.heappop(self._waiting)
                if not self._waiting:
                    self._thread = None
                    return
                until, ticket = self._waiting[0]
                left = until - time.monotonic()
                if left > 0:
                    self._wake.wait(left)
                    continue
                heapq.heappop(self._waiting)
                self._shut(ticket)


DEADLINES = Deadlines()


_ADVICE = Advice(
    "`--vmm-setting thumbprint={}`, with `metier node edit NODE` or with the import",
    "`--vmm-setting ca=FILE`, a file on the controller, PEM",
)


class Trust(certificate.Trust):
    """Whom to believe to be the server that a node is reached by."""

    def __init__(self, url: Url, thumbprint: str, ca: str) -> None:
        super().__init__(Server(url.host, url.port, str(url)), thumbprint, ca, _ADVICE)


def is_stale(connection: http.client.HTTPSConnection) -> bool:
    """Whether the server has closed a connection that lies idle: on one that lives nothing is to be read."""
    if connection.sock is None:
        return True
    try:
        return bool(select.select([connection.sock], [], [], 0)[0])
    except (OSError, ValueError):
        return True
