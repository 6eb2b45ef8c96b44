"""From a guest's death to the start order of its replacement, in real time, over a real store.

The VM manager is a simulated one, so that what is measured is Metier.  The floor is
what cannot be saved: two rounds' writes to the same kind of store (that the guest
failed and its heir is being prepared; that the heir is being started).
"""

import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from metier.control.loop import Loop
from metier.control.tools import Tools
from metier.control.world import SystemClock
from metier.domain.fleet import Draft, Fleet, Kind
from metier.domain.ids import ImageRef, NodeId, TierId
from metier.domain.image import Disk, Image, ImageType, Machine, OfferedVm
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import DISCOVERED, Endpoint, Node, NodeKind
from metier.domain.pool import PoolSettings
from metier.domain.tier import Tier, TierKind, TierState
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import SimDrivers, accept
from metier.sim.hypervisor import seed_for
from metier.sim.matrix import SimMatrix
from metier.store.api import Entry
from metier.store.open import open_store

_DEATHS = 20
_GUESTS = 2
_HOST = NodeId("host-1")
_VMM, _WEB = ImageRef("vmm", "1"), ImageRef("web", "1")
_PATIENCE_S = 30.0


def run() -> list[dict[str, Any]]:
    """Return one row: the median and worst of `_DEATHS` deaths, and the floor."""
    with tempfile.TemporaryDirectory(prefix="metier-bench-") as name:
        folder = Path(name)
        floor_s = _floor_s(folder / "floor")
        datacentre = DataCentre(SystemClock())
        datacentre.usual_guest_boot_s = 0.0
        with_loop = _loop(folder, datacentre)
        with_loop.start()
        try:
            took_s = _deaths(with_loop, datacentre)
        finally:
            with_loop.stop()
    value = median(took_s)
    return [
        {
            "name": "guest's death to start order of its replacement",
            "value": round(1000 * value, 1),
            "unit": "ms",
            "worst": round(1000 * max(took_s), 1),
            "p90": round(1000 * quantiles(took_s, n=10)[-1], 1),
            "floor": round(1000 * floor_s, 1),
            "floor_name": "two saves to the same kind of store",
            "ratio": round(value / floor_s, 1),
            "limit": "1000 ms",
        }
    ]


def _loop(folder: Path, datacentre: DataCentre) -> Loop:
    store = open_store(folder / "state")
    store.hold("bench")
    draft = Draft(Fleet())
    for record in _records():
        draft.put(*record)
    store.save(draft.changes, 1, [])
    store.close()
    tools = Tools(SimDrivers(datacentre), SimMatrix(), seed_for, accept)
    return Loop(open_store(folder / "state"), tools, SystemClock(), holder="bench")


def _records() -> list[tuple[Kind, Any, Any]]:
    now = datetime.now(UTC)
    offers = tuple(OfferedVm(number + 1, 64, 1, 1) for number in range(4 * _DEATHS))
    disk = Disk("disk.qcow2", 1 << 20, 1 << 16, "sha256:0")
    vmm = Image(_VMM, ImageType.VMM_HOST, "vmm-host", now, offers=offers)
    web = Image(_WEB, ImageType.LINUX, "vmdk", now, machine=Machine((disk,)))
    host = Node(_HOST, NodeKind.PHYSICAL, DISCOVERED, Lifecycle.NEW, vmm=Endpoint("simulated", {}), since=now)
    hosts = Tier(TierId("hosts"), TierKind.HOST, _VMM, TierState.ACTIVE)
    guests = Tier(
        TierId("web"),
        TierKind.GUEST,
        _WEB,
        TierState.ACTIVE,
        target=_GUESTS,
        maximum=_GUESTS,
        reboot_on_failure=False,
        collectors=(),
    )
    pool = PoolSettings(storm_window_s=0)
    records = [(Kind.IMAGE, image.ref, image) for image in (vmm, web)]
    return [
        *records,
        (Kind.NODE, _HOST, host),
        *((Kind.TIER, t.name, t) for t in (hosts, guests)),
        (Kind.POOL, "", pool),
    ]


def _deaths(loop: Loop, datacentre: DataCentre) -> list[float]:
    took_s = []
    for _ in range(_DEATHS):
        members = _when_all_run(loop)
        victim = members[0]
        assert victim.vm_number is not None
        died = datetime.now(UTC)
        host = datacentre.machine(_HOST)
        datacentre.stop_vm(host, host.vms[victim.vm_number])
        took_s.append((_next_start(loop, died) - died).total_seconds())
    return took_s


def _when_all_run(loop: Loop) -> list[Node]:
    def members() -> list[Node] | None:
        found = loop.fleet().member_nodes(TierId("web"))
        all_run = len(found) == _GUESTS and all(node.lifecycle is Lifecycle.RUNNING for node in found)
        return found if all_run else None

    return _until(loop, members)


def _next_start(loop: Loop, after: datetime) -> datetime:
    def started() -> datetime | None:
        starts = [node.started_at for node in loop.fleet().member_nodes(TierId("web")) if node.started_at]
        return max((at for at in starts if at > after), default=None)

    return _until(loop, started)


def _until(loop: Loop, question: Any) -> Any:
    deadline = time.monotonic() + _PATIENCE_S
    while (answer := question()) is None:
        if time.monotonic() > deadline:
            raise RuntimeError("the loop did not get there in time")
        loop.wait_for_change(loop.fleet().generation, 1.0)
    return answer


def _floor_s(folder: Path) -> float:
    store = open_store(folder)
    store.hold("bench")
    node = Node(_HOST, NodeKind.PHYSICAL, DISCOVERED)
    took = []
    for generation in range(1, 21):
        began = time.perf_counter()
        for half in range(2):
            record = replace(node, generation=generation)
            entry = Entry(datetime.now(UTC), "action", _HOST, "measured")
            store.save({Kind.NODE: {_HOST: record}}, 2 * generation + half, [entry] * 3)
        took.append(time.perf_counter() - began)
    store.close()
    return median(took)
