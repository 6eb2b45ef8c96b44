"""A real server in a thread, for tests that ask it over real sockets."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from metier.web.changes import Changes
from metier.web.server import ApiServer, Sockets
from metier.web.sockets import SOCKET_NAME, listen_on, state_socket

TIMEOUT_S = 30.0


class Switch:
    """An ASGI app that passes everything on to the app of the test that runs now."""

    def __init__(self, changes: Changes) -> None:
        self.app: Any = None
        self.state = SimpleNamespace(changes=changes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@contextmanager
def running(app: Any, state: Path) -> Iterator[str]:
    """Serve `app` on the socket in `state` and on a free port; yields the port's URL."""
    with ExitStack() as stack:
        local = stack.enter_context(state_socket(state))
        remote = stack.enter_context(listen_on("127.0.0.1:0", tls=None, plain_http=False))
        server = ApiServer(app, Sockets([local], [remote]))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield url_of(remote)
        finally:
            server.stop()
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()


def url_of(listening: socket.socket) -> str:
    """Return the URL of a listening TCP socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{host}:{port}"


def local_client(state: Path) -> httpx.Client:
    """Return a client over the socket in `state`."""
    transport = httpx.HTTPTransport(uds=str(state / SOCKET_NAME))
    return httpx.Client(transport=transport, base_url="http://metier", timeout=TIMEOUT_S)


def remote_client(url: str, token: str) -> httpx.Client:
    """Return a client over TCP."""
    headers = {"authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)
