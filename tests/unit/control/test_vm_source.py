"""Opening the host of a VM that an import is about."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from metier.control.image_jobs import WORK
from metier.control.vm_source import source_vm
from metier.domain.errors import NoSuchThing, Refusal, Unavailable
from metier.domain.node import Endpoint
from metier.drivers.hypervisor.api import Capability, ForeignVm, FoundDisk
from metier.matrix.api import ImportOrder, SeenVm
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import SimDrivers
from metier.sim.matrix import SimMatrix, imported
from tests.builders import NOW, a_fleet, a_host, a_job

BASE = {"name": "web", "version": "1", "location": "https://esx-1/sdk", "type": "linux", "vm": "My VM"}
SETTINGS = {"url": "https://esx-1/sdk", "password": "sealed:x"}
LOGIN = {"driver": "vsphere", "settings": SETTINGS}


class Lender:
    """A VM manager that lets VMs be copied."""

    CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset({Capability.FOREIGN_VMS})

    def foreign_vm(self, name: str, *, timeout_s: float) -> ForeignVm:
        assert timeout_s > 0
        return ForeignVm(name, "a vmx", (FoundDisk("Hard disk 1", 512),), ("it runs",))

    def fetch_disk(
        self, name: str, number: int, into: Path, progress: Callable[[int, int], None], *, timeout_s: float
    ) -> None:
        assert timeout_s > 0
        into.write_text(f"disk {number} of {name}")
        progress(1, 1)


class LenderDrivers(SimDrivers):
    """Drivers of which every one lends.

    Attributes:
        visits: Where was logged in.
    """

    def __init__(self, driver: Any) -> None:
        super().__init__(DataCentre(VirtualClock(NOW)))
        self.driver, self.visits, self.is_open = driver, list[Endpoint](), False

    def hypervisor(self, host: Any) -> Any:
        return self.driver

    @contextmanager
    def visiting(self, endpoint: Endpoint) -> Iterator[Any]:
        self.visits.append(endpoint)
        self.is_open = True
        try:
            yield self.driver
        finally:
            self.is_open = False


class SeeingMatrix(SimMatrix):
    """An image matrix that looks at the VM it is to take in."""

    seen: SeenVm | None = None

    def import_image(self, order: ImportOrder, report: Any) -> Any:
        assert order.vm is not None
        self.seen = order.vm.look()
        return imported(order)


class Bench:
    """What jobs work with."""

    def __init__(self, driver: Any) -> None:
        self.drivers, self.matrix = LenderDrivers(driver), SeeingMatrix()


def test_a_login_is_visited_as_long_as_the_import_lasts(tmp_path: Path) -> None:
    bench = Bench(Lender())
    with source_vm({**BASE, "login": LOGIN}, a_fleet(), bench.drivers) as vm:
        assert vm is not None
        assert vm.words == "VM My VM of https://esx-1/sdk"
        assert vm.look() == SeenVm("a vmx", (512,), ("it runs",))
        vm.fetch(2, tmp_path / "disk", lambda _done, _total: None)
        assert (tmp_path / "disk").read_text() == "disk 2 of My VM"
        assert bench.drivers.is_open
    assert not bench.drivers.is_open
    assert bench.drivers.visits == [Endpoint("vsphere", SETTINGS)]


def test_a_node_is_asked_with_its_own_driver() -> None:
    bench = Bench(Lender())
    job = a_job(1, kind="image-import", arguments={**BASE, "host": "host-1"})
    WORK["image-import"](job, a_fleet(a_host()), bench, lambda *_: None)
    assert bench.matrix.seen is not None
    assert bench.drivers.visits == []
    with pytest.raises(NoSuchThing):
        WORK["image-import"](job, a_fleet(), bench, lambda *_: None)


def test_a_file_has_no_host() -> None:
    with source_vm({"location": "/web.tgz"}, a_fleet(), LenderDrivers(Lender())) as vm:
        assert vm is None


def test_a_driver_that_cannot_lend_is_refused() -> None:
    class Miser(Lender):
        CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset()

    for driver in (Miser(), object()):
        with pytest.raises(Refusal, match="does not let VMs of others be copied"):
            _enter(driver)


def _enter(driver: Any) -> None:
    with source_vm({**BASE, "login": LOGIN}, a_fleet(), LenderDrivers(driver)):
        raise Unavailable("nobody comes here")
