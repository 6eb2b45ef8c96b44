"""Servers that several drivers reach: one session and one subscription for all hosts of a vCenter."""

import threading
from typing import NamedTuple

from metier.drivers.hypervisor.vsphere.configuration import Settings
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.watching import Watch


class Server(NamedTuple):
    """A server, and what is heard of it."""

    endpoint: Endpoint
    watch: Watch


_shared: dict[tuple[object, ...], tuple[Server, int]] = {}
_shared_lock = threading.Lock()


def _key(settings: Settings) -> tuple[object, ...]:
    return (settings.url, settings.user, str(settings.password), settings.thumbprint, settings.ca)


def share(settings: Settings) -> Server:
    """Return the way to a server, one for all drivers that reach it with the same settings."""
    with _shared_lock:
        server, users = _shared.get(_key(settings)) or (_server(settings), 0)
        _shared[_key(settings)] = (server, users + 1)
        return server


def release(settings: Settings) -> None:
    """Let go of what `share` gave; the last one logs out."""
    with _shared_lock:
        server, users = _shared.pop(_key(settings))
        if users > 1:
            _shared[_key(settings)] = (server, users - 1)
            return
    server.watch.close()
    server.endpoint.say_goodbye()


def _server(settings: Settings) -> Server:
    endpoint = Endpoint(settings)
    return Server(endpoint, Watch(endpoint))
