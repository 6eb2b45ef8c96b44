"""A real web server that behaves as badly as a test tells it to."""

import http.server
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ETAG = '"one"'

Respond = Callable[["Handler"], None]


@dataclass(slots=True)
class Site:
    """What is served, and how; a test changes it between requests.

    Attributes:
        breaks: After how many bytes of each answer in turn the connection is cut; used up one by one.
        respond: Does something else with a request, for `scripted` paths.
        asked: Path and Range header of every request.
    """

    content: bytes = b""
    etag: str = ETAG
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    scripted: dict[str, Respond] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET with the site's content."""

    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.site.asked.append((path, self.headers.get("Range", "")))
        scripted = self.site.scripted.get(path)
        (scripted or type(self).serve)(self)

    def serve(self) -> None:
        """Answer as a good server does, cut off where the site says."""
        content, start = self.site.content, self._start()
        status = 206 if start else 200
        headers = {"Content-Length": str(len(content) - start), "ETag": self.site.etag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.site.breaks.pop(0) if self.site.breaks else None
        self.answer(status, headers, content[start:][:cut])

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Send an answer as it is, right or wrong, and close the connection."""
        self.send_response(status)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _start(self) -> int:
        found = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        is_same = self.headers.get("If-Range") == self.site.etag
        return int(found[1]) if found and is_same and self.site.ranges else 0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """Minds nobody who hangs up."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@contextmanager
def serving(content: bytes = b"", tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Serve on a free port of this machine."""
    site = Site(content)
    handler = type("SiteHandler", (Handler,), {"site": site})
    with Server(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        site.url = f"{'https' if tls else 'http'}://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server named localhost proves itself with, and what a client trusts it by."""
    key, chain = folder / "key.pem", folder / "chain.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    command = [*words.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", chain]
    subprocess.run(command, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, key)
    return server, ssl.create_default_context(cafile=str(chain))
