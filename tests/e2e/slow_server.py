"""A web server that breaks off in the middle of a file, and gives the rest once `go` lies beside it.

What ranges were asked for is noted in `asked` beside it, in a line each.

Run inside the site: `python slow_server.py FILE ADDRESS`; prints its port.
"""

import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_LOOK_S = 0.1
_CHUNK_BYTES = 1 << 16


def main(file: Path, address: str) -> None:
    """Serve until killed."""
    size = file.stat().st_size
    go = file.with_name("go")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            given = self.headers.get("Range", "")
            with file.with_name("asked").open("a") as asked:
                asked.write(given + "\n")
            start = int(given.removeprefix("bytes=").rstrip("-")) if given else 0
            self.send_response(206 if given else 200)
            if given:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("ETag", '"one"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(size - start))
            self.end_headers()
            self._send(start)

        def _send(self, start: int) -> None:
            with file.open("rb") as source:
                source.seek(start)
                while piece := source.read(_CHUNK_BYTES):
                    if source.tell() > size // 2 and not go.exists():
                        if not start:
                            self.close_connection = True
                            return
                        self._wait()
                    with suppress(BrokenPipeError, ConnectionResetError):
                        self.wfile.write(piece)

        def _wait(self) -> None:
            pause = threading.Event()
            while not go.exists():
                pause.wait(_LOOK_S)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Say nothing of it."""

    server = ThreadingHTTPServer((address, 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
