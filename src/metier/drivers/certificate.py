"""Whom to believe to be the server: an authority's word, or one pinned certificate; and doubts in words.

A pinned certificate is believed whoever signed it and whatever its dates say, as a host
key is by `ssh`.  Nothing is said to a server whose certificate is not believed.
"""

import hashlib
import http.client
import re
import select
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from metier.domain.errors import Refused

_THUMBPRINT = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 200
_MOST_NAMES = 8
# What OpenSSL calls the reasons that are told apart here (x509_vfy.h).
_NOT_YET_VALID, _EXPIRED = 9, 10
_NOBODY_VOUCHES = frozenset((2, 18, 19, 20, 21))
_OTHER_NAME = frozenset((62, 63, 64))
_COMPARE = "compare the thumbprint with what the server's own console shows"


def thumbprint_of(text: str) -> str:
    """Return a SHA-256 thumbprint in lower case without colons; raises ValueError; nothing stays nothing."""
    plain = text.replace(":", "").lower()
    if text and _THUMBPRINT.fullmatch(plain) is None:
        raise ValueError("must be a SHA-256 thumbprint: 64 hexadecimal digits, with or without colons")
    return plain


def in_colons(thumbprint: str) -> str:
    """Return a thumbprint as servers' own consoles write it."""
    upper = thumbprint.upper()
    return ":".join(upper[at : at + 2] for at in range(0, len(upper), 2))


class Server(NamedTuple):
    """Who is meant; `shown` is how messages call it."""

    host: str
    port: int
    shown: str


class Advice(NamedTuple):
    """How a doubt can be settled by whoever is told of it.

    Attributes:
        pin: What to do to pin a certificate; `{}` is its thumbprint.
        authority: What to do to have an authority believed.
    """

    pin: str
    authority: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server showed; nothing in it need be true.

    Attributes:
        names: What it is for: host names and addresses, a few of them.
        valid_from: None, as `valid_until`, where it cannot be read.
    """

    thumbprint: str
    subject: str = ""
    issuer: str = ""
    names: tuple[str, ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @classmethod
    def read(cls, der: bytes) -> "Certificate":
        """Return what a certificate says; of one that cannot be read the thumbprint alone."""
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm

        thumbprint = hashlib.sha256(der).hexdigest()
        try:
            found = x509.load_der_x509_certificate(der)
            return cls(
                thumbprint,
                _plain(found.subject.rfc4514_string()),
                _plain(found.issuer.rfc4514_string()),
                _names(found),
                found.not_valid_before_utc,
                found.not_valid_after_utc,
            )
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
            return cls(thumbprint)


class NotPinned(OSError):
    """The server showed another certificate than the pinned one."""

    def __init__(self, seen: Certificate) -> None:
        super().__init__("the certificate is not the pinned one")
        self.seen = seen


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe to be a server.

    Attributes:
        thumbprint: The pinned certificate's, as `thumbprint_of` returns it; empty: an authority must vouch.
        ca: File with the authorities' certificates, PEM; empty: the system's authorities.
        opened: Told of each socket before its handshake.
    """

    server: Server
    thumbprint: str
    ca: str
    advice: Advice
    opened: Callable[[ssl.SSLSocket], None] = field(default=lambda _socket: None)

    def connect(self, timeout_s: float) -> http.client.HTTPSConnection:
        """Return an open connection to the server, whose certificate was checked.

        Args:
            timeout_s: For the connection, and again for the whole handshake; the system's resolver
                takes its own time.

        Raises:
            Refused: It is not the server that was meant, as far as its certificate tells.
            OSError: It cannot be reached.
        """
        connection = _connection(self.server, timeout_s, self.context())
        try:
            connection.connect()
        except (NotPinned, ssl.SSLCertVerificationError) as error:
            connection.close()
            raise self.doubted(error, timeout_s) from None
        except BaseException:  # whatever it is, no connection may stay open
            connection.close()
            raise
        return connection

    def context(self) -> ssl.SSLContext:
        """Return what believes the right server alone.

        Its sockets raise `NotPinned` or `ssl.SSLCertVerificationError`, for `doubted` to explain.

        Raises:
            Refused: The authorities' certificates cannot be read.
        """
        try:
            context = _unchecked() if self.thumbprint else ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:
            raise Refused(
                f"cannot read the authorities' certificates for {self.server.shown}",
                remedy=f"put them as PEM into {self.ca}, or pin the server's certificate",
            ) from error
        context.sslsocket_class = _checking(self.thumbprint, self.opened)
        return context

    def doubted(self, error: OSError, timeout_s: float) -> Refused:
        """Return why a certificate is not believed, naming its thumbprint, and what to do.

        It looks at the server's certificate once more where the error does not hold it.
        """
        if isinstance(error, NotPinned):
            return self._changed(error.seen)
        try:
            seen = fetched(self.server, timeout_s)
        except (OSError, http.client.HTTPException):
            seen = Certificate("")  # it tells nothing more, and that is told
        why, remedy = self._why(error, seen)
        thumbprint = in_colons(seen.thumbprint)
        shown = f"; its SHA-256 thumbprint is {thumbprint}" if thumbprint else ""
        return Refused(
            f"cannot trust the certificate of {self.server.shown}: {why}{shown}",
            remedy=remedy.format(pin=self.advice.pin.format(thumbprint or "THUMBPRINT")),
        )

    def _changed(self, seen: Certificate) -> Refused:
        found, pinned = in_colons(seen.thumbprint), in_colons(self.thumbprint)
        return Refused(
            f"cannot trust the certificate of {self.server.shown}: it is not the pinned one; "
            f"seen is {found}, pinned is {pinned}; this may be an attack by somebody in between",
            remedy=f"ask whoever runs the server whether it got a new certificate, and {_COMPARE}; only if "
            f"it is the same, pin it: {self.advice.pin.format(found)}",
        )

    def _why(self, error: OSError, seen: Certificate) -> tuple[str, str]:
        """Return why an authority's word is not enough, and what to do; `{pin}` is how to pin it."""
        code = getattr(error, "verify_code", 0)
        if code == _EXPIRED:
            why = f"it, or one that vouches for it, has expired{_on(' on ', seen.valid_until)}"
            return why, f"renew it on the server; or {_COMPARE}, and pin it all the same: {{pin}}"
        if code == _NOT_YET_VALID:
            why = f"it is not valid yet{_on(', but from ', seen.valid_from)}"
            return why, f"look at the clocks of both machines; or {_COMPARE}, and pin it: {{pin}}"
        if code in _OTHER_NAME:
            why = f"it is for {', '.join(seen.names) or 'no host'}, and not for {self.server.host}"
            return why, f"reach the server by a name that it is for; or {_COMPARE}, and pin it: {{pin}}"
        if code in _NOBODY_VOUCHES:
            why = f"no authority vouches for it that {self.ca or 'this machine'} names"
        else:
            why = f"it cannot be verified ({getattr(error, 'verify_message', '') or type(error).__name__})"
        if seen.valid_until is not None and seen.valid_until < datetime.now(UTC):
            why += f", and it expired{_on(' on ', seen.valid_until)}"
        return why, (
            f"{_COMPARE}, and if it is the same pin it: {{pin}}; or have its authority believed: "
            f"{self.advice.authority}; if it is not the same, somebody may be between you and the server"
        )


def fetched(server: Server, timeout_s: float) -> Certificate:
    """Return the certificate that a server shows, believed or not; nothing is said to it.

    Raises:
        OSError: It cannot be reached, or speaks no TLS.
    """
    context = _unchecked()
    context.sslsocket_class = _checking("", lambda _socket: None)
    connection = _connection(server, timeout_s, context)
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        return Certificate.read(connection.sock.getpeercert(binary_form=True) or b"")
    finally:
        connection.close()


def _connection(server: Server, timeout_s: float, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(
        server.host, server.port, timeout=max(timeout_s, 0.001), context=context
    )


def _unchecked() -> ssl.SSLContext:
    """Return what takes any certificate; whoever uses it looks at it before saying a word."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _checking(pinned: str, opened: Callable[[ssl.SSLSocket], None]) -> type[ssl.SSLSocket]:
    """Return sockets whose handshake has one deadline in all, and ends at the pinned certificate."""

    class CheckedSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            opened(self)
            timeout_s = self.gettimeout()
            if timeout_s:
                self._shake_hands(timeout_s)
            else:
                super().do_handshake(block)
            if pinned:
                seen = self.getpeercert(binary_form=True) or b""
                if hashlib.sha256(seen).hexdigest() != pinned:
                    raise NotPinned(Certificate.read(seen))

        def _shake_hands(self, timeout_s: float) -> None:
            """Let no server that dribbles its part hold a call for longer than one that is silent."""
            until = time.monotonic() + timeout_s
            self.settimeout(0.0)
            try:
                while True:
                    try:
                        super().do_handshake()
                        return
                    except ssl.SSLWantReadError:
                        _await(self, select.POLLIN, until)
                    except ssl.SSLWantWriteError:
                        _await(self, select.POLLOUT, until)
            finally:
                self.settimeout(timeout_s)

    return CheckedSocket


def _await(waits: ssl.SSLSocket, event: int, until: float) -> None:
    poll = select.poll()
    poll.register(waits, event)
    left_s = until - time.monotonic()
    if left_s <= 0 or not poll.poll(left_s * 1000):
        raise TimeoutError("the TLS handshake timed out")


def _names(certificate: object) -> tuple[str, ...]:
    from cryptography import x509

    assert isinstance(certificate, x509.Certificate)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = [*found.get_values_for_type(x509.DNSName), *found.get_values_for_type(x509.IPAddress)]
    return tuple(_plain(str(name)) for name in names[:_MOST_NAMES])


def _plain(text: str) -> str:
    """Return text from outside fit for a message."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= _LONGEST_NAME else f"{printable[:_LONGEST_NAME]}…"


def _on(before: str, when: datetime | None) -> str:
    return "" if when is None else f"{before}{when:%Y-%m-%d}"
