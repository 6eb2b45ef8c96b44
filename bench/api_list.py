"""The list of nodes through the API, against encoding the same rows, in the same run."""

import http.client
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, virtual_node_id
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import FREE, Node, NodeKind
from metier.domain.plan import Plan
from metier.operations import load_operations
from metier.operations.registry import OPERATIONS, Row, View
from metier.web.app import Parts, build_app
from metier.web.server import ApiServer, Sockets
from metier.web.sockets import SOCKET_NAME, state_socket

_NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_VMS_PER_HOST = 19
_ROUNDS = 9
_PAGE = 1000
_LONGEST_PAGE = 10_000


class _Site:
    """A controller whose rounds are begun by hand; it only shows."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.begin_round()

    def begin_round(self) -> None:
        """Make what was kept of the last round worthless."""
        self._view = View(self._fleet, Plan(), {}, _NOW, self)

    def view(self) -> View:
        """Return the present round."""
        return self._view

    def wait_for_change(self, generation: int, timeout_s: float) -> int:
        """Return at once: nothing changes."""
        del timeout_s
        return generation

    def change(self, *_: Any) -> Any:
        """Refuse."""
        raise NotImplementedError

    preview = change

    def journal(self, **_: Any) -> list[Row]:
        """Return no events."""
        return []

    def console(self, node: str) -> str:
        """Return nothing of use."""
        return node


def run(nodes: int = 10_000) -> list[dict[str, Any]]:
    """Return a row for the list of `nodes` nodes: made alone, whole through the API, and page by page.

    The floor is `json.dumps` of the rows; above it are making the rows, the copy
    through the socket and the server.
    """
    load_operations()
    site = _Site(_fleet(nodes))
    operation = OPERATIONS["node", "list"]
    assert operation.read is not None
    rows = operation.read(site.view(), operation.arguments_type())
    assert len(rows) == nodes
    with _served(site) as path:
        floor = _best(lambda: json.dumps(rows))
        making = _best(lambda: _made(site))
        whole = _best(lambda: _asked(path, nodes, _LONGEST_PAGE))
        paged = _best(lambda: _asked_anew(site, path, nodes))
    return [
        _row(f"list of {nodes} nodes, rows alone", making, floor),
        _row(f"list of {nodes} nodes through the API", whole, floor),
        _row(f"list of {nodes} nodes through the API, pages of {_PAGE}", paged, floor),
    ]


def _row(name: str, value: float, floor: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value * 1000, 1),
        "floor": round(floor * 1000, 1),
        "ratio": round(value / floor, 2),
        "unit": "ms",
    }


def _made(site: _Site) -> None:
    operation = OPERATIONS["node", "list"]
    assert operation.read is not None
    operation.read(site.view(), operation.arguments_type())


def _asked_anew(site: _Site, path: Path, nodes: int) -> None:
    site.begin_round()
    _asked(path, nodes, _PAGE)


def _asked(path: Path, nodes: int, page: int) -> None:
    """Ask for the whole list over one connection, page by page."""
    connection = http.client.HTTPConnection("metier")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    count, cursor = 0, ""
    while True:
        connection.request("GET", f"/api/v1/nodes?limit={page}&cursor={cursor}")
        response = connection.getresponse()
        count += response.read().count(b'"name":')
        assert response.status == 200
        cursor = response.headers.get("x-next-cursor", "")
        if not cursor:
            break
    connection.close()
    assert count == nodes


def _best(do: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        do()
        times.append(time.perf_counter() - began)
    return min(times)


@contextmanager
def _served(site: _Site) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="metier-bench-") as folder, state_socket(Path(folder)) as local:
        app = build_app(site, lambda _: None, Parts(OPERATIONS))
        server = ApiServer(app, Sockets([local]))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield Path(folder) / SOCKET_NAME
        finally:
            server.stop()
            thread.join()


def _fleet(nodes: int) -> Fleet:
    draft = Draft(Fleet())
    hardware = Hardware(memory_mib=512, disk_gib=8, networks=frozenset({"default"}))
    hosts = -(-nodes // (_VMS_PER_HOST + 1))
    for number in range(hosts):
        host = NodeId(f"host-{number}")
        draft.put_node(Node(host, NodeKind.PHYSICAL, FREE, Lifecycle.IDLE, hardware=hardware))
    for number in range(nodes - hosts):
        host, vm = NodeId(f"host-{number // _VMS_PER_HOST}"), number % _VMS_PER_HOST + 1
        name = virtual_node_id(host, vm)
        node = Node(name, NodeKind.VIRTUAL, FREE, Lifecycle.IDLE, hardware=hardware, host=host, vm_number=vm)
        draft.put_node(node)
    return draft.freeze()


if __name__ == "__main__":
    for row in run():
        print(row)
