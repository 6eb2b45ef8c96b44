"""A simulated vCenter with 50 hosts and 2,000 VMs of Metier's, beside the same calls made bare by pyVmomi.

The floor reads what the driver reads, all VMs in one question, and makes nothing of it; it starts
VMs with as many threads, and waits for each task.  Both take turns, so that what else the machine
does hits both.  The simulator answers from memory and collects changes for a quarter of a second.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

_HOSTS, _VMS = 50, 40
_THREADS = 8
_ROUNDS, _NEWS, _STARTS = 3, 11, 400
_TIMEOUT_S = 600.0
# What the driver reads of every VM at its first look.
_PATHS = (
    "name",
    "runtime.powerState",
    "runtime.connectionState",
    "config.instanceUuid",
    "config.extraConfig",
    "config.hardware.memoryMB",
    "config.hardware.numCPU",
    "config.hardware.device",
    "config.firmware",
    "guest.ipAddress",
)


def run(hosts: int = _HOSTS, vms: int = _VMS) -> list[dict[str, Any]]:
    """Return a row for each kind of work; one that says why there are none where the simulator is missing."""
    from tests.contract.vsphere_testbed import missing, running

    if missing():
        return [{"name": "vsphere", "skipped": missing()}]
    # One host is beside the cluster.
    options = ("-host", str(hosts - 1))
    with (
        tempfile.TemporaryDirectory(prefix="metier-bench-") as name,
        running(Path(name) / "vcenter", *options) as server,
    ):
        return _measure(server, vms)


def _measure(server: Any, vms: int) -> list[dict[str, Any]]:
    rows = []
    set_up_s = _timed(lambda: _set_up(server, vms))
    with _bare(server) as content, _drivers(server) as drivers:
        size = f"{len(drivers)} hosts, {len(drivers) * vms} VMs"
        floor_s = _timed(lambda: _look(content))
        first_s = _timed(lambda: _each(_inventory, drivers))
        rows.append(_row(f"first inventory of {size}", first_s, floor_s, "all VMs in one question"))
        pairs = [
            (_timed(lambda: _look(content)), _timed(lambda: _each(_report, drivers))) for _ in range(_ROUNDS)
        ]
        floor_s, ours_s = (min(one) for one in zip(*pairs, strict=True))
        rows.append(_row(f"a round without change, {size}", ours_s, floor_s, "all VMs in one question"))
        rows.append(_starts_row(content, drivers))
        rows.append(_news_row(content, drivers[0]))
    rows[0]["set_up_s"] = round(set_up_s, 1)
    return rows


def _row(name: str, ours_s: float, floor_s: float, peer: str) -> dict[str, Any]:
    return {
        "name": name,
        "peer": f"pyvmomi: {peer}",
        "peer_s": round(floor_s, 3),
        "ours_s": round(ours_s, 3),
        "ratio": round(ours_s / floor_s, 2),
    }


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _each(work: Callable[[Any], object], things: Iterable[Any]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, things))


# --- with the driver ----------------------------------------------------------------


def _set_up(server: Any, vms: int) -> None:
    from metier.domain.image import OfferedVm

    def define(driver: Any) -> None:
        for number in range(1, vms + 1):
            offer = OfferedVm(number, memory_mib=32, cpus=1, disk_gib=4, networks=("default",))
            driver.define_vm(offer, timeout_s=_TIMEOUT_S)

    with _drivers(server) as drivers:
        _each(define, drivers)


@contextmanager
def _drivers(server: Any) -> Iterator[list[Any]]:
    """Have a driver for each host, opened anew: it remembers nothing."""
    from metier.drivers.hypervisor.vsphere import Vsphere
    from tests.contract.vsphere_testbed import PASSWORD, USER

    (datastore,) = server.datastores
    settings = {
        "url": server.url,
        "user": USER,
        "password": PASSWORD,
        "thumbprint": server.thumbprint,
        "datastore": datastore,
    }
    drivers = [
        Vsphere.open(f"node-{number}", {**settings, "host": host}) for number, host in enumerate(server.hosts)
    ]
    try:
        yield drivers
    finally:
        for driver in drivers:
            driver.close()


def _inventory(driver: Any) -> None:
    driver.facts(timeout_s=_TIMEOUT_S)
    _report(driver)


def _report(driver: Any) -> None:
    driver.report(timeout_s=_TIMEOUT_S)


# --- bare ---------------------------------------------------------------------------


@contextmanager
def _bare(server: Any) -> Iterator[Any]:
    from pyVim.connect import Disconnect, SmartConnect

    from tests.contract.vsphere_testbed import PASSWORD, USER

    host, _, port = server.url.removeprefix("https://").partition("/")[0].partition(":")
    service = SmartConnect(host=host, port=int(port), user=USER, pwd=PASSWORD, disableSslCertValidation=True)
    try:
        yield service.content
    finally:
        Disconnect(service)


def _look(content: Any) -> dict[str, Any]:
    """Read all VMs in one question; return their handles by name."""
    from pyVmomi import vim, vmodl

    collector = vmodl.query.PropertyCollector
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    step = collector.TraversalSpec(name="all", type=vim.view.ContainerView, path="view", skip=False)
    spec = collector.FilterSpec(
        propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=list(_PATHS), all=False)],
        objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[step])],
    )
    found: dict[str, Any] = {}
    answer = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
    while answer is not None:
        for one in answer.objects:
            found[next(str(entry.val) for entry in one.propSet if entry.name == "name")] = one.obj
        token = answer.token
        answer = content.propertyCollector.ContinueRetrievePropertiesEx(token) if token else None
    view.DestroyView()
    return found


# --- power and news -----------------------------------------------------------------


def _starts_row(content: Any, drivers: list[Any]) -> dict[str, Any]:
    handles = _look(content)
    share = min(_STARTS // len(drivers), len(handles) // len(drivers) // 2)
    ours = [(at, number) for number in range(1, share + 1) for at in range(len(drivers))]
    floors = [handles[f"metier-node-{at}-VM{share + number}"] for at, number in ours]
    floor_s = _timed(lambda: _each(lambda vm: _start(content, vm), floors))
    ours_s = _timed(lambda: _each(lambda one: drivers[one[0]].start(one[1], timeout_s=_TIMEOUT_S), ours))
    return _row(
        f"{len(ours)} VMs started and waited for", ours_s, floor_s, "PowerOnVM_Task, and its state read"
    )


def _start(content: Any, vm: Any) -> None:
    from pyVmomi import vim, vmodl

    # pyVim's WaitForTask shares one collector among all threads; that is for one at a time.
    collector = vmodl.query.PropertyCollector
    task = vm.PowerOnVM_Task()
    spec = collector.FilterSpec(
        propSet=[collector.PropertySpec(type=vim.Task, pathSet=["info.state"], all=False)],
        objectSet=[collector.ObjectSpec(obj=task, skip=False)],
    )
    state = "running"
    while state not in ("success", "error"):
        answer = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
        state = answer.objects[0].propSet[0].val


def _news_row(content: Any, driver: Any) -> dict[str, Any]:
    """Measure from a person's order to the call of whoever watches."""
    handle = _look(content)["metier-node-0-VM1"]
    changed = threading.Event()
    driver.watch(changed.set)
    driver.report(timeout_s=_TIMEOUT_S)
    changed.wait(_TIMEOUT_S)
    took = []
    for number in range(_NEWS):
        changed.clear()
        start = time.perf_counter()
        (handle.PowerOnVM_Task if number % 2 else handle.PowerOffVM_Task)()
        changed.wait(_TIMEOUT_S)
        took.append(time.perf_counter() - start)
    return {
        "name": "news of a VM switched by hand, among all of them",
        "value": round(1000 * median(took)),
        "unit": "ms",
        "worst": round(1000 * max(took)),
        "limit": 1000,
        "peer": "the simulator's own tick",
        "peer_ms": 250,
    }
