"""Whether a node answers HTTP requests well."""

import ipaddress
import re
import socket
import time

from metier.domain.image import CollectorSpec
from metier.domain.observation import CheckResult

DEFAULT_PORT = 80
# A status line is shorter; what a hostile server sends beyond it is not read.
_MAX_STATUS_BYTES = 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: ([\x20-\x7e]*))?\r?\n")
# What a path may hold; anything else could end the request line early.
_PATH = re.compile(r"/[!-~]*")
_MAX_REASON = 60
_FIRST_BAD_STATUS = 400


class HttpCollector:
    """One GET request; well is any status below 400.  Redirects count as answers and are not followed."""

    def check(self, spec: CollectorSpec, address: str) -> CheckResult:
        port = DEFAULT_PORT if spec.port is None else spec.port
        url = f"http://{_host(address, port)}{spec.path}"
        if _PATH.fullmatch(spec.path) is None:
            return CheckResult(str(spec), False, f"cannot ask for path {spec.path!r}: it is not a URL path")
        try:
            # Names are not looked up: that may take longer than the deadline.
            ipaddress.ip_address(address)
            line = _status_line(address, port, spec)
        except TimeoutError:
            return CheckResult(str(spec), False, f"GET {url}: no answer within {spec.timeout_s:g} s")
        except (OSError, ValueError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return CheckResult(str(spec), False, f"GET {url}: {reason}")
        return _judge(spec, url, line)


def _judge(spec: CollectorSpec, url: str, line: bytes) -> CheckResult:
    match = _STATUS_LINE.match(line)
    if match is None:
        return CheckResult(str(spec), False, f"GET {url}: what answered does not speak HTTP")
    status = int(match[1])
    if status < _FIRST_BAD_STATUS:
        return CheckResult(str(spec), True)
    reason = (match[2] or b"").decode("ascii")[:_MAX_REASON].strip()
    return CheckResult(str(spec), False, f"GET {url}: {status} {reason}".rstrip())


def _status_line(address: str, port: int, spec: CollectorSpec) -> bytes:
    """Return the first line of the answer; what came of it if it ends early or is too long.

    The deadline holds for connecting, asking and every byte of the answer together.
    """
    until = time.monotonic() + spec.timeout_s
    request = (
        f"GET {spec.path} HTTP/1.1\r\nHost: {_host(address, port)}\r\nUser-Agent: metier\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((address, port), timeout=spec.timeout_s) as connection:
        _limit(connection, until)
        connection.sendall(request.encode("ascii"))
        answer = b""
        while b"\n" not in answer and len(answer) < _MAX_STATUS_BYTES:
            _limit(connection, until)
            piece = connection.recv(_MAX_STATUS_BYTES - len(answer))
            if not piece:
                break
            answer += piece
        return answer


def _limit(connection: socket.socket, until: float) -> None:
    """Let the next step take what is left of the time; raises TimeoutError when that is nothing."""
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    connection.settimeout(left_s)


def _host(address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return host if port == DEFAULT_PORT else f"{host}:{port}"
