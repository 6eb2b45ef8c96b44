"""What tests of the control loop have: a simulated data centre, drivers that note calls, a ticking clock."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from metier.control.loop import Loop
from metier.control.tools import Tools
from metier.domain.errors import MetierError
from metier.domain.fleet import Fleet, Kind
from metier.domain.ids import NodeId
from metier.domain.node import Node
from metier.domain.observation import CheckResult
from metier.domain.personality import Carried, Seed
from metier.operations import load_operations
from metier.operations.registry import Caller, Outcome, operation
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import accept
from metier.sim.hypervisor import SimHypervisor
from metier.sim.matrix import SimMatrix
from metier.sim.power import SimPower
from metier.store.api import Store
from tests.builders import NOW

PATIENCE = 400
"""So many changes of the Fleet are far more than anything here takes."""


TABLES = {
    Kind.NODE: "nodes",
    Kind.TIER: "tiers",
    Kind.IMAGE: "images",
    Kind.JOB: "jobs",
    Kind.PROCEDURE: "procedures",
}


LOOK = timedelta(milliseconds=150)


class TickingClock:
    """A clock that goes on a little with every look, so that no two looks are at one moment.

    It outruns real time, so that whoever waits for a moment by looking waits less than it says.
    """

    def __init__(self) -> None:
        self._looks = count()
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return a moment later than the one before."""
        return NOW + self._ahead + LOOK * next(self._looks)

    def real_s(self, seconds: float) -> float:
        """Return as many: its waits are not scaled."""
        return seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += timedelta(seconds=seconds)


def a_datacentre() -> DataCentre:
    """Return a data centre of one machine, host-1, in which no time passes and nothing takes any."""
    datacentre = DataCentre(VirtualClock(NOW))
    datacentre.usual_guest_boot_s = 0.0
    datacentre.add("host-1", is_on=True, boot_s=0.0)
    return datacentre


class NotedDrivers:
    """Opened drivers of a simulated data centre.

    Attributes:
        calls: Driver verbs that were begun, with their node; looks are left out.
        healthy: What the collector says.
        gates: Verbs that wait for an event before they do anything.
        forgotten: Nodes whose drivers were closed.
    """

    def __init__(self, datacentre: DataCentre) -> None:
        self.datacentre = datacentre
        self.calls: list[str] = []
        self.healthy = True
        self.gates: dict[str, threading.Event] = {}
        self.forgotten: list[NodeId] = []
        self._changed: Callable[[NodeId], None] = lambda _: None

    def hypervisor(self, host: Node) -> Any:
        """Return the VM manager of a host node."""
        return _Recorded(self, SimHypervisor(self.datacentre, host.name), host.name)

    def power(self, node: Node) -> Any:
        """Return the power controller of a physical node."""
        return _Recorded(self, SimPower(self.datacentre, node.name), node.name)

    def collector(self, name: str) -> Any:
        """Return a collector that says whether guests are healthy."""
        return self

    def check(self, spec: Any, where: str) -> CheckResult:
        """Say how the guest at `where` is."""
        return CheckResult(str(spec), self.healthy, "" if self.healthy else f"{where} refuses")

    def notify(self, changed: Callable[[NodeId], None]) -> None:
        """Call `changed` when something happens on a host."""
        self._changed = changed

    def nudge(self, host: str) -> None:
        """Say that something happened on a host."""
        self._changed(NodeId(host))

    def forget(self, name: NodeId) -> None:
        """Note that a node is gone."""
        self.forgotten.append(name)

    def close(self) -> None:
        """Have nothing open."""

    def began(self, verb: str, node: str) -> None:
        """Note a call, and hold it at its gate."""
        if verb not in ("report", "status"):
            self.calls.append(f"{verb} {node}")
        gate = self.gates.get(verb)
        if gate is not None:
            gate.wait()


class _Recorded:
    """A driver whose calls are noted; it keeps whatever protocol the driver behind it keeps."""

    def __init__(self, drivers: NotedDrivers, driver: Any, node: str) -> None:
        self._drivers, self._driver, self._node = drivers, driver, node

    def __getattr__(self, verb: str) -> Any:
        call = getattr(self._driver, verb)

        def recorded(*args: Any, **settings: Any) -> Any:
            self._drivers.began(verb, self._node)
            return call(*args, **settings)

        return recorded


def seed(carried: Carried) -> Seed:
    """Return something that names the slot."""
    words = (carried.hostname, carried.instance, carried.address, carried.gateway, carried.mac)
    return Seed(" ".join(map(str, words)).rstrip().encode(), "d1")


def tools_of(drivers: NotedDrivers, matrix: Any = None) -> Tools:
    """Return the loop's tools over a simulated data centre."""
    return Tools(drivers, matrix or SimMatrix(), seed, accept)


def filled(store: Store, fleet: Fleet) -> None:
    """Put a fleet into a store that nobody holds."""
    draft = Fleet().edit()
    for kind, table in TABLES.items():
        for key, record in getattr(fleet, table).items():
            draft.put(kind, key, record)
    store.hold("the test")
    store.save(draft.changes, 1, [])
    store.release()


@contextmanager
def running(loop: Loop) -> Iterator[Loop]:
    """Let a loop run while the test does."""
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


def order(loop: Loop, noun: str, verb: str, **arguments: Any) -> Outcome:
    """Give an order as an operator who accepts what follows."""
    load_operations()
    what = operation(noun, verb)
    caller = Caller("ann", NOW, accept_warnings=True)
    return loop.change(what, what.arguments_type(**arguments), caller)


def refused(loop: Loop, noun: str, verb: str, **arguments: Any) -> MetierError:
    """Give an order that must be refused; returns the refusal."""
    try:
        answer = order(loop, noun, verb, **arguments)
    except MetierError as error:
        return error
    raise AssertionError(f"not refused: {answer}")


def until(loop: Loop, is_so: Callable[[Fleet], bool], what: str) -> Fleet:
    """Wait until the Fleet is as it should be."""
    for _ in range(PATIENCE):
        fleet = loop.fleet()
        if is_so(fleet):
            return fleet
        loop.wait_for_change(fleet.generation, 5.0)
    raise AssertionError(f"in vain until {what}: {loop.view().plan}")
