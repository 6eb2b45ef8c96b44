"""Asking a web server for a file, or for the rest of one: HTTP(S), redirections, proxies, certificates."""

import contextlib
import http
import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple, cast
from urllib.parse import urljoin, urlsplit

from metier import __version__
from metier.domain.errors import Refusal, WrongUsage
from metier.domain.url import checked_url, shown_url

TIMEOUT_S = 30.0
"""How long the other side may be silent, in seconds."""

REDIRECTIONS = 5

_ELSEWHERE = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class Broken(Exception):
    """It did not work this time, and may the next."""


class Reach(NamedTuple):
    """What part of the file an answer brings: where it begins, and the size of the whole, if known."""

    start: int
    total: int | None


class Asker:
    """Asks for one URL, as often as it takes.

    Proxies are those of the environment.

    Args:
        tls: How servers are proved to be who they are; None for the system's certificates.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self.shown = shown_url(url)
        self._url = url
        # Of all that urllib speaks, nothing but this: no files, no FTP, no errors or redirections of its own.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=tls or ssl.create_default_context()),
        ):
            self._opener.add_handler(handler)

    @contextlib.contextmanager
    def answer(self, start: int, validator: str) -> Iterator[http.client.HTTPResponse]:
        """Give the answer, for the file from `start` on if it still is what `validator` stands for.

        Raises:
            Broken: The other side cannot be reached, or not now.
            Refusal: It is not who it must be, or sends us on to where we do not go.
        """
        url = self._url
        for _ in range(REDIRECTIONS + 1):
            with contextlib.closing(self._asked(url, start, validator)) as answer:
                if answer.status not in _ELSEWHERE:
                    yield answer
                    return
                url = self._elsewhere(url, answer.headers.get("Location", ""))
        raise Refusal(f"cannot fetch {self.shown}: it leads on more than {REDIRECTIONS} times")

    def _asked(self, url: str, start: int, validator: str) -> http.client.HTTPResponse:
        headers = {"User-Agent": f"metier/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": validator}
        request = urllib.request.Request(url, headers=headers)
        try:
            return cast(http.client.HTTPResponse, self._opener.open(request, timeout=TIMEOUT_S))
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise Refusal(
                    f"cannot fetch {self.shown}: its certificate is not good: {reason.verify_message}",
                    remedy="if the authority is yours, let SSL_CERT_FILE name it to the controller",
                ) from error
            raise Broken(_in_short(reason)) from error
        except ValueError as error:  # what no network knows for a host's or a proxy's name
            raise Refusal(f"cannot fetch {self.shown}: host or proxy has no possible name") from error

    def _elsewhere(self, url: str, location: str) -> str:
        try:
            target = checked_url(urljoin(url, location)) if location else ""
        except (WrongUsage, ValueError) as error:
            raise Refusal(f"cannot fetch {self.shown}: it leads on to what is no http(s) URL") from error
        if not target:
            raise Refusal(f"cannot fetch {self.shown}: it leads on to nowhere")
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise Refusal(
                f"cannot fetch {self.shown}: it leads on from https to {shown_url(target)}, unprotected",
                remedy="if that is as it should be, name that address yourself, with --sha256",
            )
        return target


def status_words(status: int) -> str:
    """Return an answer's status with its meaning; the other side's own words are not repeated."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def validator_of(answer: http.client.HTTPResponse) -> str:
    """Return by what an answer's version of the file is known again; empty if by nothing."""
    tag = str(answer.headers.get("ETag", "")).strip()
    if tag.startswith('"') and tag.isprintable() and len(tag) <= 256:
        return tag  # a weak one does not vouch for bytes
    date = str(answer.headers.get("Last-Modified", "")).strip()
    return date if date.isprintable() and len(date) <= 64 else ""


def reach_of(answer: http.client.HTTPResponse) -> Reach | None:
    """Return what part an answer with status 206 brings; None if it does not say so."""
    found = _RANGE.fullmatch(str(answer.headers.get("Content-Range", "")).strip())
    if found is None:
        return None
    start, last, total = found.groups()
    if total != "*" and int(last) + 1 != int(total):
        return None  # a part of the rest is not what was asked for
    return Reach(int(start), None if total == "*" else int(total))


def chunk_of(answer: http.client.HTTPResponse, size: int) -> bytes:
    """Return the next bytes of an answer, as soon as there are any; none at its end.

    Raises:
        Broken: The connection is gone, or silent for too long.
    """
    try:
        return answer.read1(size)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Broken(_in_short(error)) from error


def _in_short(error: BaseException | str) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_S:.0f} s"
    if isinstance(error, http.client.HTTPException):
        return "the connection broke off"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in str(words)[:200])
