"""The collector contract over ping, TCP and HTTP."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from metier.domain.image import CollectorSpec
from metier.drivers.collectors.api import Collector
from metier.drivers.collectors.http import HttpCollector
from metier.drivers.collectors.ping import PingCollector
from metier.drivers.collectors.tcp import TcpCollector
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
