"""Hears from a server what happens to all its VMs, and tells the drivers of the hosts they are on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from metier.domain.errors import DriverError
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.faults import translated
from metier.drivers.hypervisor.vsphere.properties import everything
from metier.drivers.hypervisor.vsphere.vmware import identity, vim, vmodl
from metier.drivers.hypervisor.vsphere.wire import DEADLINES

Collector = vmodl.query.PropertyCollector
Changed = Callable[[], None]

# How long the server keeps one question open; after twice that without an answer it is taken for lost.
_WAIT_S = 60
# What one answer may hold at most: a first set of thousands comes in parts, and is put together.
_MOST_OBJECTS = 500

_VM_PATHS = ("runtime.powerState", "runtime.connectionState", "runtime.host")
_HOST_PATHS = ("runtime.connectionState",)


class Watch:
    """One subscription for one server, however many hosts in it are watched.

    It begins with the first listener, ends when the server is lost, and is
    begun again by `ensure`, which drivers call whenever they reach the server.
    Everybody is told once it has begun, and once it was lost.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._listeners: dict[Changed, str] = {}
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._attempt = Attempt("watch the VMs", 2.0 * _WAIT_S)

    def add(self, changed: Changed, host: str) -> None:
        """Call `changed` for what happens on a host, given by its id; again with another id moves it."""
        with self._lock:
            self._listeners[changed] = host

    def remove(self, changed: Changed) -> None:
        """Call it no more."""
        with self._lock:
            self._listeners.pop(changed, None)

    def close(self) -> None:
        """End it."""
        self._is_closed = True
        DEADLINES.end(self._attempt)

    def ensure(self) -> None:
        """Make sure that the subscription is there if anybody listens."""
        with self._lock:
            if not self._listeners or self._is_closed or self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="vsphere: watch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        with suppress(DriverError):
            self._listen()
        with self._lock:
            self._thread = None
        self._tell(None)

    def _listen(self) -> None:
        places: dict[str, str] = {}
        attempt = self._attempt
        attempt.restart()
        with self._endpoint.stub.serving(attempt), translated(attempt), self._subscription() as collector:
            version, is_first = "", True
            while not self._is_closed:
                attempt.restart()
                options = Collector.WaitOptions(maxWaitSeconds=_WAIT_S, maxObjectUpdates=_MOST_OBJECTS)
                updates = collector.WaitForUpdatesEx(version, options)
                if updates is None:
                    continue
                version = updates.version
                hosts = _hosts_of(updates, places)
                is_partial = is_first and bool(updates.truncated)
                # The whole first set is news for everybody: what happened since the last look, before
                # the subscription was there, nobody else would tell.
                if not is_partial:
                    self._tell(None if is_first else hosts)
                is_first = is_partial

    @contextmanager
    def _subscription(self) -> Iterator[Any]:
        collector = self._endpoint.content.propertyCollector.CreatePropertyCollector()
        with everything(self._endpoint, vim.VirtualMachine, vim.HostSystem) as view:
            step = Collector.TraversalSpec(name="all", type=vim.view.ContainerView, path="view", skip=False)
            spec = Collector.FilterSpec(
                propSet=[
                    Collector.PropertySpec(type=vim.VirtualMachine, pathSet=list(_VM_PATHS), all=False),
                    Collector.PropertySpec(type=vim.HostSystem, pathSet=list(_HOST_PATHS), all=False),
                ],
                objectSet=[Collector.ObjectSpec(obj=view, skip=True, selectSet=[step])],
            )
            collector.CreateFilter(spec, True)
            yield collector

    def _tell(self, hosts: set[str] | None) -> None:
        with self._lock:
            listeners = [
                changed for changed, host in self._listeners.items() if hosts is None or host in hosts
            ]
        for changed in listeners:
            changed()


def _hosts_of(updates: Any, places: dict[str, str]) -> set[str]:
    """Return the hosts, old and new, of what changed, and keep in mind which VM is where."""
    hosts: set[str] = set()
    for update in updates.filterSet or ():
        for found in update.objectSet or ():
            name = identity(found.obj)
            if isinstance(found.obj, vim.HostSystem):
                hosts.add(name)
                continue
            hosts.add(places.get(name, ""))
            for change in found.changeSet or ():
                if change.name == "runtime.host" and change.val is not None:
                    places[name] = identity(change.val)
            if str(found.kind) == "leave":
                places.pop(name, None)
            hosts.add(places.get(name, ""))
    return hosts
