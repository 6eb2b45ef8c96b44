"""The drivers of a simulated data centre: whatever driver a node names, its machine is simulated."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from metier.domain.errors import Refused
from metier.domain.fleet import Changes, Fleet
from metier.domain.ids import NodeId
from metier.domain.image import CollectorSpec
from metier.domain.node import Endpoint, Node
from metier.domain.observation import CheckResult
from metier.drivers.collectors.api import Collector
from metier.drivers.hypervisor.api import Hypervisor
from metier.drivers.power.api import PowerController
from metier.sim.datacentre import DataCentre
from metier.sim.hypervisor import SimHypervisor
from metier.sim.power import SimPower


class SimCollector:
    """Asks the guest at an address; every kind of check is answered alike."""

    def __init__(self, datacentre: DataCentre) -> None:
        self._datacentre = datacentre

    def check(self, spec: CollectorSpec, address: str) -> CheckResult:
        if self._datacentre.answering(address) is not None:
            return CheckResult(str(spec), True)
        return CheckResult(str(spec), False, f"cannot connect to {address}: connection refused")


class SimDrivers:
    """Opened drivers; keeps what `control/tools.py` asks of them."""

    def __init__(self, datacentre: DataCentre) -> None:
        self.datacentre = datacentre
        self._collector = SimCollector(datacentre)
        self._open: dict[NodeId, tuple[SimHypervisor, Any]] = {}
        self._changed: Callable[[NodeId], None] = lambda _node: None

    def hypervisor(self, host: Node) -> Hypervisor:
        """Return the VM manager of a host node."""
        with self.datacentre.lock:
            known = self._open.get(host.name)
            machine = self.datacentre.machine(host.name)
            if known is None or known[1] is not machine:
                self.forget(host.name)
                driver = SimHypervisor(self.datacentre, host.name)
                driver.watch(lambda: self._changed(host.name))
                known = self._open[host.name] = (driver, machine)
            return known[0]

    def power(self, node: Node) -> PowerController:
        """Return the power controller of a physical node."""
        return SimPower(self.datacentre, node.name)

    def collector(self, _name: str) -> Collector:
        """Return a collector."""
        return self._collector

    def visiting(self, endpoint: Endpoint) -> AbstractContextManager[Any]:
        """Refuse: all machines of a simulated data centre are nodes."""
        raise Refused(
            f"cannot visit a host with driver {endpoint.driver}: a simulated site reaches nothing real",
            remedy="ask a controller that serves a real site",
        )

    def notify(self, changed: Callable[[NodeId], None]) -> None:
        """Call `changed` when something happened on a host."""
        self._changed = changed

    def forget(self, name: NodeId) -> None:
        """Close what is open for a node."""
        with self.datacentre.lock:
            known = self._open.pop(name, None)
            if known is not None:
                known[0].close()

    def close(self) -> None:
        """Close everything."""
        for name in list(self._open):
            self.forget(name)


def accept(before: Fleet, changes: Changes) -> None:
    """Refuse nothing: in a simulation every driver and every archive is there."""
