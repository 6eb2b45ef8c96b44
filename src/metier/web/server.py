"""Serving the API: on a unix socket in the state folder, and on TCP where that is asked for."""

import asyncio
import contextlib
import functools
import pwd
import signal
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from metier.domain.errors import Refusal
from metier.web.changes import Changes
from metier.web.sockets import Tls, listen_on, passed_sockets, state_socket

# How long answers that are under way get when the server is told to stop.
_GRACE_S = 5
_CREDENTIALS = struct.Struct("3i")


class _PeerProtocol(H11Protocol):
    """Puts the user at the other end of a unix socket into the request's state."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self.app_state = {**self.app_state, "peer": _peer_name(transport.get_extra_info("socket"))}


class _Listener(uvicorn.Server):
    """One uvicorn server among several in a loop; `ApiServer` minds the signals."""

    def __init__(self, config: uvicorn.Config, changes: Changes) -> None:
        super().__init__(config)
        self._changes = changes

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; whoever waits for a change is answered first."""
        await self._changes.stop()
        await super().shutdown(sockets)


@dataclass(frozen=True, slots=True)
class Sockets:
    """Listening sockets: callers of `local` ones are admin, those of `remote` ones need a token."""

    local: Sequence[socket.socket] = ()
    remote: Sequence[socket.socket] = ()
    tls: Tls | None = None


class ApiServer:
    """Serves an app on sockets that already listen, until it is told to stop."""

    def __init__(self, app: FastAPI, sockets: Sockets) -> None:
        self._listeners: list[tuple[_Listener, list[socket.socket]]] = []
        changes: Changes = app.state.changes
        if sockets.local:
            config = _config(app, _PeerProtocol, None)
            self._listeners.append((_Listener(config, changes), list(sockets.local)))
        if sockets.remote:
            config = _config(app, H11Protocol, sockets.tls)
            self._listeners.append((_Listener(config, changes), list(sockets.remote)))
        self.is_over = threading.Event()

    def run(self) -> None:
        """Serve until `stop` is called, or in the main thread until SIGTERM or SIGINT."""
        try:
            asyncio.run(self._serve())
        finally:
            self.is_over.set()

    def stop(self) -> None:
        """Begin to stop; safe from any thread, and more than once."""
        for listener, _ in self._listeners:
            listener.force_exit = listener.should_exit and listener.started
            listener.should_exit = True

    async def _serve(self) -> None:
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.stop)
        await asyncio.gather(*(listener.serve(sockets) for listener, sockets in self._listeners))


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to serve besides the state folder's socket.

    Attributes:
        address: `HOST:PORT`, `[HOST]:PORT` for IPv6; None for nowhere.
        certificate: File of the certificate chain for TLS, PEM; with `key`.
        plain_http: Tokens may cross a network in the clear: something in front does TLS.
    """

    address: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    plain_http: bool = False

    @property
    def tls(self) -> Tls | None:
        """What TLS needs; None for plain HTTP."""
        if self.certificate is None or self.key is None:
            return None
        return Tls(self.certificate, self.key)


def serve(app: FastAPI, state: Path, listen: Listen = Listen()) -> None:
    """Serve `app` on `<state>/metier.sock`, and on the address or the sockets passed by systemd.

    Returns after SIGTERM or SIGINT, when answers under way were finished.

    Raises:
        Refusal: Another controller serves this state folder, or the address is taken.
        WrongUsage: The address makes no sense, or is open to a network without TLS.
    """
    with contextlib.ExitStack() as stack:
        passed = [stack.enter_context(sock) for sock in passed_sockets()]
        local = [sock for sock in passed if sock.family == socket.AF_UNIX]
        remote = [sock for sock in passed if sock.family != socket.AF_UNIX]
        local.append(stack.enter_context(state_socket(state)))
        if listen.address is not None:
            found = listen_on(listen.address, tls=listen.tls, plain_http=listen.plain_http)
            remote.append(stack.enter_context(found))
        ApiServer(app, Sockets(local, remote, listen.tls)).run()


def _config(app: FastAPI, protocol: type[H11Protocol], tls: Tls | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        # Logging is set up once, by whoever starts the controller.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )
    try:
        config.load()
    except OSError as error:
        # ssl.SSLError is one of these.
        raise Refusal(f"cannot use the TLS certificate and key: {error}") from error
    return config


def _peer_name(connection: socket.socket) -> str:
    """Return the name of the user at the other end of a unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return _user_name(user)


@functools.lru_cache(maxsize=64)
def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid-{user}"
