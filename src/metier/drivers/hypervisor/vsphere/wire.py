"""Connections to a VMware server: its certificate is always checked, and no wait outlasts its deadline."""

import hashlib
import heapq
import http.client
import select
import socket
import ssl
import threading
import time
from contextlib import suppress

from metier.domain.errors import Refused
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


class Trust:
    """Whom to believe to be the server: an authority's word, or one pinned certificate."""

    def __init__(self, url: Url, thumbprint: str, ca: str) -> None:
        self._url, self._thumbprint, self._ca = url, thumbprint, ca

    def connect(self, timeout_s: float) -> http.client.HTTPSConnection:
        """Return an open connection to the server, whose certificate was checked.

        Raises:
            Refused: It is not the server that was meant, as far as its certificate tells.
            OSError: It cannot be reached.
        """
        connection = http.client.HTTPSConnection(
            self._url.host, self._url.port, timeout=max(timeout_s, 0.001), context=self._context()
        )
        try:
            connection.connect()
            if self._thumbprint and self._seen(connection) != self._thumbprint:
                raise self._refused("is not the pinned one", self._seen(connection))
        except ssl.SSLCertVerificationError as error:
            connection.close()
            seen = self._look(timeout_s)
            raise self._refused(f"cannot be verified ({error.verify_message})", seen) from None
        except BaseException:  # whatever it is, no connection may stay open
            connection.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._thumbprint:
            return _unverified()
        try:
            return ssl.create_default_context(cafile=self._ca or None)
        except OSError as error:
            raise Refused(
                f"cannot read the authorities' certificates for {self._url}",
                remedy=f"put them as PEM into {self._ca}, or pin the server's thumbprint",
            ) from error

    def _look(self, timeout_s: float) -> str:
        """Return the thumbprint of a certificate that is not believed; nothing is said to its server."""
        connection = http.client.HTTPSConnection(
            self._url.host, self._url.port, timeout=max(timeout_s, 0.001), context=_unverified()
        )
        try:
            connection.connect()
            return self._seen(connection)
        finally:
            connection.close()

    def _seen(self, connection: http.client.HTTPSConnection) -> str:
        assert isinstance(connection.sock, ssl.SSLSocket)
        return hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()

    def _refused(self, why: str, seen: str) -> Refused:
        return Refused(
            f"the certificate of {self._url} {why}; its SHA-256 thumbprint is {in_colons(seen)}",
            remedy="compare it with what the host's own console shows, and set it as thumbprint if it is the"
            " same; if it is not, somebody may be between you and the host",
        )


def in_colons(thumbprint: str) -> str:
    """Return a thumbprint as VMware's own tools write it."""
    upper = thumbprint.upper()
    return ":".join(upper[at : at + 2] for at in range(0, len(upper), 2))


def _unverified() -> ssl.SSLContext:
    """Return what takes any certificate; whoever uses it compares the thumbprint before saying a word."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def is_stale(connection: http.client.HTTPSConnection) -> bool:
    """Whether the server has closed a connection that lies idle: on one that lives nothing is to be read."""
    if connection.sock is None:
        return True
    try:
        return bool(select.select([connection.sock], [], [], 0)[0])
    except (OSError, ValueError):
        return True
