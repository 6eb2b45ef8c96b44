"""Sockets to listen on: the state folder's own, TCP ones, and those that systemd passes."""

import contextlib
import fcntl
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metier.domain.errors import Refusal, WrongUsage

SOCKET_NAME = "metier.sock"
_LOCK_NAME = "metier.sock.lock"
_FIRST_PASSED = 3
_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a certificate chain and its key, both PEM."""

    certificate: Path
    key: Path


@contextlib.contextmanager
def state_socket(state: Path) -> Iterator[socket.socket]:
    """Listen on `<state>/metier.sock`, which only its owner may open; it goes when this ends.

    A socket that a dead controller left behind is replaced; who is alive is known by a lock,
    which the kernel takes from the dead.

    Raises:
        Refusal: A living controller serves this folder, or the folder cannot be used.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Refusal(f"cannot use state folder {state}: {error.strerror}") from error
    try:
        lock = os.open(
            _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder
        )
        try:
            _lock(lock, state)
            with _bound(folder) as found:
                yield found
        finally:
            os.close(lock)
    finally:
        os.close(folder)


def listen_on(address: str, *, tls: Tls | None, plain_http: bool) -> socket.socket:
    """Listen on `HOST:PORT`.

    Raises:
        Refusal: The address cannot be had.
        WrongUsage: It makes no sense, or tokens would cross a network in the clear.
    """
    host, port = _parsed(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        if tls is None and not plain_http and not ipaddress.ip_address(where[0]).is_loopback:
            raise WrongUsage(
                f"cannot listen on {address} without TLS: tokens would cross the network in the clear",
                remedy="give --tls-cert and --tls-key, or --plain-http if something in front does TLS",
            )
        return socket.create_server(where[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Refusal(
            f"cannot listen on {address}: {error.strerror}", remedy="choose another address or port"
        ) from error


def passed_sockets() -> list[socket.socket]:
    """Return the listening sockets that systemd passed to this process, which takes them once."""
    count, owner = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if owner != str(os.getpid()) or not count.isdecimal():
        return []
    passed = []
    for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + int(count)):
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise Refusal(f"cannot serve on passed file descriptor {descriptor}: it is no socket")
        os.set_inheritable(descriptor, False)
        passed.append(socket.socket(fileno=descriptor))
    return passed


def _lock(lock: int, state: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise Refusal(
            f"cannot serve state folder {state}: the controller with process id {holder} does",
            remedy="stop it first, or give another folder with --state",
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


@contextlib.contextmanager
def _bound(folder: int) -> Iterator[socket.socket]:
    """Bind the socket under a draft name, close it to others, and then put it in its place.

    So it is never open to others, not even between two system calls, and whoever looks
    sees the old socket or the new one.  Through `/proc/self/fd` long paths fit as well.
    """
    base = f"/proc/self/fd/{folder}"
    draft = f"{SOCKET_NAME}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as found:
        # On Linux a socket's file is made with the mode of the socket's own descriptor.
        os.fchmod(found.fileno(), 0o600)
        found.bind(f"{base}/{draft}")
        found.listen(_BACKLOG)
        os.rename(draft, SOCKET_NAME, src_dir_fd=folder, dst_dir_fd=folder)
        made = os.stat(SOCKET_NAME, dir_fd=folder, follow_symlinks=False)
        try:
            yield found
        finally:
            _remove(folder, made)


def _remove(folder: int, made: os.stat_result) -> None:
    """Remove our socket, unless another one has taken its place."""
    with contextlib.suppress(OSError):
        now = os.stat(SOCKET_NAME, dir_fd=folder, follow_symlinks=False)
        if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
            os.unlink(SOCKET_NAME, dir_fd=folder)


def _parsed(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise WrongUsage(f"{address!r} is no address to listen on: say HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
