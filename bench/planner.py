"""How long planning takes, how it grows, and what it needs, against floors in the same run.

The floor of a plan is one pass over all nodes that reads three fields of each; the peer
of placing is a heap of free nodes that knows no rule but "the smallest surplus".
"""

import gc
import heapq
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from metier.domain.actions import AllocateNode
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Hardware, Requirements
from metier.domain.ids import ImageRef, NodeId, SlotId, TierId, virtual_node_id
from metier.domain.image import CollectorSpec, Image, ImageType, OfferedVm
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import FREE, Endpoint, Engagement, Instance, Node, NodeKind, Place, Placement
from metier.domain.observation import CheckResult, Health, Observed, Power, VmFacts
from metier.domain.tier import Slot, Tier, TierKind, TierState
from metier.planner.check import check
from metier.planner.incremental import Planner
from metier.planner.plan import decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VMS_PER_HOST = 19
HOSTS_PER_TIER = 50
SIZES = {1_000: 200, 10_000: 200, 100_000: 2_000}
"""Nodes, and the tiers among them."""

EVENTS = 400
"""Enough for a 99th percentile of four."""

LIMITS = {"cold 10,000": 300.0, "cold 100,000": 4000.0, "event p99": 10.0, "no change": 10.0}
"""In milliseconds, from docs/design/architecture."""

_HOST = Hardware(memory_mib=65536, cpus=32, disk_gib=2000)
_SIZES = (512, 1024, 2048)
_WEB, _VMM = ImageRef("web", "1"), ImageRef("vmm", "1")
_OFFERS = tuple(OfferedVm(n, _SIZES[n % 3]) for n in range(1, VMS_PER_HOST + 1))


def run() -> list[dict[str, Any]]:
    """Return a row for each figure: value and floor in `unit`, their ratio, and the limit if there is one."""
    rows: list[dict[str, Any]] = []
    for size, tiers in SIZES.items():
        fleet = a_fleet(size, tiers)
        rows.append(_cold(fleet, size))
        if size == 10_000:
            rows += [*_rounds(fleet), *_events(fleet)]
    rows += [_growth(rows), _placements(10_000, 200), _memory()]
    return rows


# --- the fleet ---------------------------------------------------------------------


def a_fleet(size: int, tiers: int, *, placed: bool = True) -> Fleet:
    """Return a site at rest: hosts running, nine in ten virtual nodes at work; none if not `placed`."""
    draft = Draft(Fleet(), stamp=False)
    draft.put_image(Image(_VMM, ImageType.VMM_HOST, "vmm-host", NOW, offers=_OFFERS))
    checks = (CollectorSpec("tcp", 80),)
    needs = Requirements(memory_mib=256)
    draft.put_image(Image(_WEB, ImageType.LINUX, "vmdk", NOW, requirements=needs, collectors=checks))
    hosts = size // (VMS_PER_HOST + 1)
    _put_hosts(draft, hosts)
    _put_guests(draft, hosts, tiers, placed=placed)
    return draft.freeze()


def _put_hosts(draft: Draft, hosts: int) -> None:
    for first in range(0, hosts, HOSTS_PER_TIER):
        number = min(HOSTS_PER_TIER, hosts - first)
        name = TierId(f"hosts-{first // HOSTS_PER_TIER}")
        draft.put_tier(Tier(name, TierKind.HOST, _VMM, TierState.ACTIVE, 90, number, number, number))
        for slot in range(1, number + 1):
            host = NodeId(f"host-{first + slot}")
            draft.put_node(
                Node(
                    host,
                    NodeKind.PHYSICAL,
                    Placement(Place.TIER, name, slot),
                    Lifecycle.RUNNING,
                    hardware=_HOST,
                    power=Endpoint("fake"),
                    vmm=Endpoint("fake"),
                    staged=True,
                    staged_at=NOW,
                    since=NOW,
                    started_at=NOW,
                )
            )
            draft.put_slot(Slot(SlotId(name, slot), host))


def _put_guests(draft: Draft, hosts: int, tiers: int, *, placed: bool) -> None:
    guests = hosts * VMS_PER_HOST
    share = guests * 9 // 10 // tiers
    for tier in range(tiers):
        name = TierId(f"tier-{tier}")
        counts = (max(1, share // 2), max(1, share), share + 2)
        draft.put_tier(Tier(name, TierKind.GUEST, _WEB, TierState.ACTIVE, 10 + tier % 80, *counts))
    work = _slots(tiers, share) if placed else iter(())
    for host in range(1, hosts + 1):
        name = NodeId(f"host-{host}")
        busy = [_put_guest(draft, name, number, next(work, None)) for number in range(1, VMS_PER_HOST + 1)]
        draft.put_observed(name, _seen(busy))


def _slots(tiers: int, share: int) -> Iterator[SlotId]:
    for number in range(1, share + 1):
        for tier in range(tiers):
            yield SlotId(TierId(f"tier-{tier}"), number)


def _hardware(number: int) -> Hardware:
    return Hardware(memory_mib=_SIZES[number % 3], disk_gib=8)


def _put_guest(draft: Draft, host: NodeId, number: int, slot: SlotId | None) -> bool:
    name = virtual_node_id(host, number)
    node = Node(
        name,
        NodeKind.VIRTUAL,
        FREE,
        Lifecycle.IDLE,
        hardware=_hardware(number),
        host=host,
        vm_number=number,
        since=NOW,
    )
    if slot is None:
        draft.put_node(node)
        return False
    instance = Instance(f"{slot.tier}-{slot.number}-1", _WEB, host, slot)
    placement = Placement(Place.TIER, slot.tier, slot.number)
    draft.put_node(
        replace(node, placement=placement, lifecycle=Lifecycle.RUNNING, instance=instance, started_at=NOW)
    )
    draft.put_slot(Slot(slot, name, instance))
    draft.put_observed(name, _healthy(NOW + timedelta(seconds=5)))
    return True


def _healthy(at: datetime) -> Observed:
    return Observed(health=Health.NORMAL, health_at=at, checks=(CheckResult("tcp:80", True),))


def _seen(busy: list[bool]) -> Observed:
    at = NOW + timedelta(seconds=5)
    vms = tuple(
        VmFacts(number, Power.ON if is_busy else Power.OFF, _hardware(number))
        for number, is_busy in enumerate(busy, start=1)
    )
    return Observed(Power.ON, at, vmm_reachable=True, vmm_at=at, vms=vms, vms_at=at)


# --- measuring ------------------------------------------------------------------------


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _best(work: Callable[[], object], times: int = 5) -> float:
    """Return the quickest of several: what is slower is the machine's other work."""
    gc.collect()
    return min(_ms(work) for _ in range(times))


def _pass_over(fleet: Fleet) -> int:
    return sum(
        node.lifecycle is Lifecycle.RUNNING and node.pending is None and node.engagement.engaged
        for node in fleet.nodes.values()
    )


def _row(name: str, value: float, floor: float, floor_name: str, unit: str = "ms") -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "floor": round(floor, 3),
        "floor_name": floor_name,
        "ratio": round(value / floor, 2) if floor else None,
    }


def _cold(fleet: Fleet, size: int) -> dict[str, Any]:
    now = NOW + timedelta(seconds=10)
    if decide(fleet, now).actions:
        raise AssertionError("the fleet to measure is not at rest")
    value = _best(lambda: decide(fleet, now), 2 if size > 10_000 else 5)
    row = _row(
        f"plan, cold, {size:,} nodes", value, _best(lambda: _pass_over(fleet)), "one pass over all nodes"
    )
    return row | {"limit": LIMITS.get(f"cold {size:,}"), "nodes": size}


def _growth(rows: list[dict[str, Any]]) -> dict[str, Any]:
    cold = {row["nodes"]: row["value"] for row in rows if "nodes" in row}
    value = cold[100_000] / cold[10_000]
    return _row("growth of a cold plan, 10,000 to 100,000 nodes", value, 10.0, "ten times", "times")


def _rounds(fleet: Fleet) -> list[dict[str, Any]]:
    """Measure rounds in which nothing changed: not even a look, and a new look at every host."""
    planner, now = Planner(), NOW + timedelta(seconds=10)
    planner.plan(fleet, now, None)
    floor = _best(lambda: _pass_over(fleet))
    nothing = _best(lambda: planner.plan(fleet, now, {}), 50)
    draft = fleet.edit()
    for name in draft.vms_of:
        seen = draft.seen(name)
        draft.put_observed(
            name, replace(seen, power_at=now, vmm_at=now, vms_at=now, vms=tuple(seen.vms or ()))
        )
    looked = draft.freeze()
    again = _ms(lambda: planner.plan(looked, now, draft.changes))
    name = "one pass over all nodes"
    return [
        _row("round, nothing changed, 10,000 nodes", nothing, floor, name) | {"limit": LIMITS["no change"]},
        _row("round, every host looked at again, 10,000 nodes", again, floor, name),
    ]


def _events(fleet: Fleet) -> list[dict[str, Any]]:
    """Measure the plan after each of many single events, each on another node."""
    planner, times, ticks = Planner(), [], count(1)
    planner.plan(fleet, NOW + timedelta(seconds=10), None)
    guests = [node.name for node in fleet.nodes.values() if node.tier is not None and node.is_virtual]
    step = max(1, len(guests) // EVENTS)
    for number, name in enumerate(guests[: EVENTS * step : step]):
        now = NOW + timedelta(seconds=20 + next(ticks))
        draft = fleet.edit()
        _HAPPENINGS[number % len(_HAPPENINGS)](draft, draft.nodes[name], now)
        changed, changes = draft.freeze(), draft.changes
        began = time.perf_counter()
        planned = planner.plan(changed, now, changes)
        faults = check(changed, planned.work.actions, planned.work.fleet)
        times.append((time.perf_counter() - began) * 1000)
        if faults:
            raise AssertionError(faults)
        fleet = planned.work.fleet.freeze()
    times.sort()
    floor = _best(lambda: _pass_over(fleet))
    p99 = times[len(times) * 99 // 100]
    name = "one pass over all nodes"
    return [
        _row("plan and check after one event, median, 10,000 nodes", median(times), floor, name),
        _row("plan and check after one event, p99, 10,000 nodes", p99, floor, name)
        | {"limit": LIMITS["event p99"]},
    ]


def _vm_dies(draft: Draft, node: Node, now: datetime) -> None:
    assert node.host is not None
    seen = draft.seen(node.host)
    vms = tuple(replace(vm, power=Power.OFF) if vm.number == node.vm_number else vm for vm in seen.vms or ())
    draft.put_observed(node.host, replace(seen, vms=vms, vms_at=now, vmm_at=now, power_at=now))


def _service_fails(draft: Draft, node: Node, now: datetime) -> None:
    failed = (CheckResult("tcp:80", False, "connection refused"),)
    bad = Observed(health=Health.CRITICAL, health_at=now, checks=failed, failed_checks=3)
    draft.put_observed(node.name, bad)


def _operator_disengages(draft: Draft, node: Node, now: datetime) -> None:
    draft.change_node(node.name, engagement=Engagement(False, "ann", now))


def _target_raised(draft: Draft, node: Node, _now: datetime) -> None:
    assert node.tier is not None
    tier = draft.tiers[node.tier]
    draft.put_tier(replace(tier, target=min(tier.maximum, tier.target + 1)))


_HAPPENINGS = (_vm_dies, _service_fails, _operator_disengages, _target_raised)


def _placements(size: int, tiers: int) -> dict[str, Any]:
    """Measure filling empty tiers from a full free pool, the first work on each node included."""
    fleet, now = a_fleet(size, tiers, placed=False), NOW + timedelta(seconds=10)
    gc.collect()
    began = time.perf_counter()
    work = decide(fleet, now)
    seconds = time.perf_counter() - began
    placed = sum(isinstance(action, AllocateNode) for action in work.actions)
    began = time.perf_counter()
    _place_by_heap(fleet, placed)
    peer = placed / (time.perf_counter() - began)
    row = _row(
        f"placements per second, {size:,} nodes", placed / seconds, peer, "a heap of free nodes", "1/s"
    )
    return row | {"limit": 5000, "placed": placed}


def _place_by_heap(fleet: Fleet, number: int) -> dict[NodeId, int]:
    """Place so many nodes as a program without rules would: the smallest surplus first."""
    free = [
        (node.hardware.memory_mib, name)
        for name, node in fleet.nodes.items()
        if node.placement.place is Place.FREE and node.hardware is not None
    ]
    heapq.heapify(free)
    return {heapq.heappop(free)[1]: slot for slot in range(number)}


_MEMORY = "from bench.planner import print_memory; print_memory()"


def print_memory() -> None:
    """Print the peak memory in MB of a program before and after it planned for 10,000 nodes."""
    before = _peak_mb()
    fleet = a_fleet(10_000, SIZES[10_000])
    planner = Planner()
    planner.plan(fleet, NOW + timedelta(seconds=10), None)
    print(before, _peak_mb())


def _peak_mb() -> float:
    """Return the most memory this process ever held; `ru_maxrss` would count its parent's too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1000


def _memory() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY], cwd=root, capture_output=True, text=True, check=True
    )
    before, after = map(float, done.stdout.split())
    row = _row("memory, 10,000 nodes", after, before, "the same program without a fleet", "MB")
    return row | {"limit": 300}


if __name__ == "__main__":
    for row in run():
        limit = f"   limit {row['limit']}" if row.get("limit") else ""
        against = f"{row['ratio']} x {row['floor_name']}"
        print(f"{row['name']:<55} {row['value']:>12} {row['unit']:<6} = {against}{limit}")
