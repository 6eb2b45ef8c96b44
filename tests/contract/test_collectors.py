"""The collector contract over ping, TCP and HTTP, and over simulated guests."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from metier.domain.image import CollectorSpec, Machine, OfferedVm
from metier.drivers.collectors.api import Collector
from metier.drivers.collectors.http import HttpCollector
from metier.drivers.collectors.ping import PingCollector
from metier.drivers.collectors.tcp import TcpCollector
from metier.drivers.hypervisor.api import GuestSpec, ImageSource
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import SimCollector
from metier.sim.hypervisor import SimHypervisor, personality
from tests.builders import NOW
from tests.contract.collector_suite import NOWHERE, CollectorSuite, ServiceTestbed

HERE = "127.0.0.1"


class Testbed:
    """A collector with one check that succeeds and one that fails."""

    __test__ = False

    def __init__(
        self, collector: Collector, good: tuple[CollectorSpec, str], bad: tuple[CollectorSpec, str]
    ) -> None:
        self.collector = collector
        self.good = good
        self.bad = bad


class Handler(BaseHTTPRequestHandler):
    """Serves `/healthy` and nothing else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthy" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - likewise
        """Say nothing."""


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port on which nothing listens, kept from others meanwhile."""
    with socket.socket() as bound:
        bound.bind((HERE, 0))
        yield bound.getsockname()[1]


class TestPing(CollectorSuite):
    @pytest.fixture
    def testbed(self) -> ServiceTestbed:
        bad = CollectorSpec("ping", timeout_s=0.1)
        return Testbed(PingCollector(), (CollectorSpec("ping", timeout_s=5.0), HERE), (bad, NOWHERE))


class TestTcp(CollectorSuite):
    @pytest.fixture
    def testbed(self, closed_port: int) -> Iterator[ServiceTestbed]:
        with socket.create_server((HERE, 0)) as server:
            good = CollectorSpec("tcp", server.getsockname()[1], timeout_s=5.0)
            yield Testbed(TcpCollector(), (good, HERE), (CollectorSpec("tcp", closed_port), HERE))


class TestHttp(CollectorSuite):
    @pytest.fixture
    def testbed(self) -> Iterator[ServiceTestbed]:
        with ThreadingHTTPServer((HERE, 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            port = server.server_port
            good = CollectorSpec("http", port, "/healthy", timeout_s=5.0)
            yield Testbed(HttpCollector(), (good, HERE), (CollectorSpec("http", port, "/sick"), HERE))
            server.shutdown()
            thread.join()


def a_guest(datacentre: DataCentre, number: int, address: str) -> None:
    """Let VM `number` of host-1 run with an address of its own."""
    host = SimHypervisor(datacentre, "host-1")
    host.define_vm(OfferedVm(number, memory_mib=64), timeout_s=1)
    seed = personality(f"web-{number}", f"web-{number}-1", f"{address}/24", None, mac="")
    image = ImageSource("web-1", Machine(()), ())
    guest = GuestSpec(f"web-{number}-1", image, f"web-{number}", seed, {})
    host.prepare(number, guest, lambda _done, _total: None, timeout_s=1)
    host.start(number, timeout_s=1)


class TestSimulated(CollectorSuite):
    @pytest.fixture
    def testbed(self) -> ServiceTestbed:
        datacentre = DataCentre(VirtualClock(NOW))
        datacentre.usual_guest_boot_s = 0
        spec, well, sick = CollectorSpec("tcp", 80), "192.0.2.1", "192.0.2.2"
        for number, address in enumerate((well, sick), 1):
            a_guest(datacentre, number, address)
        datacentre.machine("host-1").vms[2].answers = False
        return Testbed(SimCollector(datacentre), (spec, well), (spec, sick))
