"""What a host tells unasked: changes of its VMs' lives, handed to all who listen on one connection."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import libvirt


class Event(NamedTuple):
    """Something happened to a VM.

    Attributes:
        guest: Its UUID.
        kind: libvirt's `VIR_DOMAIN_EVENT_…`.
        detail: libvirt's reason, whose meaning depends on `kind`.
    """

    guest: str
    kind: int
    detail: int


Events = queue.SimpleQueue[Event]


class Line:
    """An open connection and its events; libvirt takes one registration for a kind of event, this is it.

    Args:
        connection: libvirt's.
        changed: Called on every event and when the connection is lost, in libvirt's own thread.
    """

    def __init__(self, connection: Any, changed: Callable[[], None]) -> None:
        self.connection = connection
        self._changed = changed
        self._lock = threading.Lock()
        self._listeners: list[Events] = []
        self._heard: dict[str, int] = {}
        self._callback: int | None = None
        # A host without events is watched by asking it, which the loop does anyway.
        with suppress(libvirt.libvirtError):
            connection.registerCloseCallback(self._on_close, None)
            self._callback = connection.domainEventRegisterAny(
                None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_event, None
            )

    @property
    def tells(self) -> bool:
        """Whether changes are told at all on this connection."""
        return self._callback is not None

    def heard(self, guest: str) -> int:
        """Return how often something was heard of a VM; another number means that it may have changed."""
        return self._heard.get(guest, 0)

    @contextmanager
    def listening(self) -> Iterator[Events]:
        """Collect what happens from now on."""
        events: Events = queue.SimpleQueue()
        with self._lock:
            self._listeners.append(events)
        try:
            yield events
        finally:
            with self._lock:
                self._listeners.remove(events)

    def hang_up(self) -> None:
        """Undo what was registered, or libvirt never frees the connection; may wait for a silent host."""
        if self._callback is not None:
            with suppress(libvirt.libvirtError):
                self.connection.domainEventDeregisterAny(self._callback)
        with suppress(libvirt.libvirtError):
            self.connection.unregisterCloseCallback()
        with suppress(libvirt.libvirtError):
            self.connection.close()

    def _on_event(self, _connection: Any, domain: Any, kind: int, detail: int, _opaque: Any) -> None:
        event = Event(domain.UUIDString(), kind, detail)
        with self._lock:
            self._heard[event.guest] = self._heard.get(event.guest, 0) + 1
            for listener in self._listeners:
                listener.put(event)
        self._changed()

    def _on_close(self, _connection: Any, _reason: int, _opaque: Any) -> None:
        self._changed()
