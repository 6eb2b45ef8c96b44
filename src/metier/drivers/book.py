"""Keeps drivers open between calls, one per node and family."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from metier.domain.errors import Refusal, Refused, WrongUsage
from metier.domain.ids import NodeId
from metier.domain.node import Endpoint, Node
from metier.domain.secret import Vault, is_sealed
from metier.drivers.collectors.api import Collector
from metier.drivers.hypervisor.api import Hypervisor, Watching
from metier.drivers.power.api import PowerController
from metier.drivers.registry import load_driver, open_driver

_VISITOR = "visit"
"""What a driver is told that its node is called, where there is none."""


class SealedForGood(Refusal):
    """A secret cannot be opened any more; `setting` is its name."""

    def __init__(self, setting: str) -> None:
        super().__init__(f"its setting {setting} is sealed and cannot be opened")
        self.setting = setting


def opened(settings: Mapping[str, str], vault: Vault) -> Mapping[str, str]:
    """Return a driver's settings with every secret in clear.

    Raises:
        SealedForGood: One cannot be opened.
    """
    clear = dict(settings)
    for name, value in settings.items():
        if is_sealed(value):
            try:
                clear[name] = vault.open(value)
            except Refusal as error:
                raise SealedForGood(name) from error
    return clear


class DriverBook:
    """Opens drivers when they are first needed, and again when a node's settings change.

    Here alone secrets are in clear, and only while a driver is opened.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._lock = threading.Lock()
        self._open: dict[tuple[str, NodeId], tuple[Endpoint, Any]] = {}
        self._collectors: dict[str, Collector] = {}
        self._changed: Callable[[NodeId], None] = lambda _node: None

    def notify(self, changed: Callable[[NodeId], None]) -> None:
        """Call `changed` whenever a host that can tell says that one of its VMs changed."""
        self._changed = changed

    def hypervisor(self, host: Node) -> Hypervisor:
        """Return the VM manager of a host node; raises Refused if it has none that can be opened."""
        driver: Hypervisor = self._driver("hypervisor", host, host.vmm)
        return driver

    def power(self, node: Node) -> PowerController:
        """Return the power controller of a node; raises Refused if it has none that can be opened."""
        driver: PowerController = self._driver("power", node, node.power)
        return driver

    def collector(self, name: str) -> Collector:
        """Return a collector; raises Refused if there is none of that name."""
        if name not in self._collectors:
            try:
                self._collectors[name] = load_driver("collector", name)()
            except WrongUsage as error:
                raise Refused(f"collector {name} cannot be used") from error
        return self._collectors[name]

    @contextmanager
    def visiting(self, endpoint: Endpoint) -> Iterator[Any]:
        """Open the VM manager of a host that is no node of ours, for as long as it is visited.

        Raises:
            Refused: It cannot be opened.
        """
        driver = endpoint.driver
        try:
            visited = open_driver("hypervisor", driver, _VISITOR, opened(endpoint.settings, self._vault))
        except SealedForGood as error:
            raise Refused(
                f"cannot visit a host with driver {driver}",
                remedy=f"begin anew, and give {error.setting} again",
            ) from error
        except WrongUsage as error:
            raise Refused(f"cannot visit a host with driver {driver}", remedy=error.remedy) from error
        try:
            yield visited
        finally:
            _close(visited)

    def forget(self, name: NodeId) -> None:
        """Close what is open for a node."""
        with self._lock:
            gone = [self._open.pop(key) for key in list(self._open) if key[1] == name]
        for _, driver in gone:
            _close(driver)

    def close(self) -> None:
        """Close everything."""
        for name in {name for _, name in self._open}:
            self.forget(name)

    def _driver(self, family: str, node: Node, endpoint: Endpoint | None) -> Any:
        if endpoint is None:
            raise Refused(f"{node.name} has no {family} driver")
        with self._lock:
            known = self._open.get((family, node.name))
            if known is not None and known[0] == endpoint:
                return known[1]
            driver = self._opened(family, node, endpoint)
            self._open[family, node.name] = (endpoint, driver)
        if known is not None:
            _close(known[1])
        return driver

    def _opened(self, family: str, node: Node, endpoint: Endpoint) -> Any:
        failed = f"the {family} driver of {node.name} cannot be opened"
        try:
            driver = open_driver(family, endpoint.driver, node.name, opened(endpoint.settings, self._vault))
        except SealedForGood as error:
            option = "--power-setting-file" if family == "power" else "--vmm-setting-file"
            remedy = f"give it again: `metier node edit {node.name} {option} {error.setting}=FILE`"
            raise Refused(failed, remedy=remedy) from error
        except WrongUsage as error:
            raise Refused(failed, remedy=error.remedy) from error
        if isinstance(driver, Watching):
            name = node.name
            driver.watch(lambda: self._changed(name))
        return driver


def _close(driver: Any) -> None:
    close = getattr(driver, "close", None)
    if close is not None:
        close()
