"""Metier's placements beside those of Ganeti's htools and of a brute force, on the same inputs.

How the inputs are made equal.  Metier gives a guest one of the VMs that a host image names, whole;
Ganeti carves any guest out of a host's memory, CPUs and disk.  So each host offers VMs of the
guests' own sizes, and Ganeti's host has exactly what these VMs have together (and one MiB more of
memory and disk: it leaves neither quite empty).  Guests have one size, or the sizes come one after
the other in both, in the order of the tiers' priorities.

Where they are not equal.  In `other mix` the guests wanted are not those that the hosts' VMs are
made for, though they would fit: only Ganeti can carve them.  Metier's hosts run already and it
decides for each guest also that its VM is prepared; it takes the fleet as it lies in memory.  Ganeti
reads and writes a text file, starts a process (`hail`: one for each guest), and scores memory, disk,
CPUs and the spread of load of the whole cluster for every host it considers.  `hspace` places
everything twice in one run (see `bench/htools.py`), so its speed counts both.  Neither keeps room
for a host that may fail.

Evenness is the standard deviation over hosts, and the difference between the most and the least, of
guests; and the same deviation of the used share of memory, in percent points.
"""

import gc
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import pstdev
from typing import Any

from bench import htools
from bench.htools import Placed
from metier.domain.actions import AllocateNode
from metier.domain.hardware import Hardware, Requirements
from metier.planner.plan import decide
from tests.unit.planner.brute_force import PLANNED_AT, Case, Want, best, fleet_of, planned, worth

SMALL, MEDIUM, LARGE = (Hardware(memory_mib=size, cpus=1, disk_gib=8) for size in (1024, 2048, 4096))
RANDOM_MIXES = 100

_OFFERS = ((SMALL,) * 8 + (MEDIUM,) * 4 + (LARGE,) * 2,)

Row = dict[str, Any]
Placements = Sequence[Placed]


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many guests of one size, in so many tiers that share them evenly."""

    size: Hardware
    count: int
    tiers: int = 1


@dataclass(frozen=True, slots=True)
class Site:
    """One comparison: the VMs of each host, and the guests, most important first."""

    name: str
    hosts: tuple[tuple[Hardware, ...], ...]
    wanted: tuple[Wanted, ...]


def run() -> Iterator[Row]:
    """Yield a row for each figure: Metier's `value`, the other's `floor`, and their ratio."""
    missing = htools.missing()
    if missing:
        yield {"name": "placements beside Ganeti's", "skipped": missing}
    else:
        for site in sites():
            yield from _compare(site)
        yield from _random_mixes()
        yield from _one_by_one(_equal(20, 40))
        yield from _one_by_one(_unequal(40))
        yield from _one_by_one(_equal(200, 5))
    yield from _against_the_best()


# --- sites ------------------------------------------------------------------------------


def sites() -> Iterator[Site]:
    """Yield all that is compared with `hspace`; more guests than there is room for ask how many fit."""
    for guests in (190, 400):
        yield _equal(20, guests)
    for guests in (200, 420):
        yield _unequal(guests)
    yield _many_tiers()
    small, medium, large = Wanted(SMALL, 160), Wanted(MEDIUM, 80), Wanted(LARGE, 40)
    yield _mixed("mix, large first", large, medium, small)
    yield _mixed("mix, small first", small, medium, large)
    yield _mixed("mix, half full, small first", Wanted(SMALL, 80), Wanted(MEDIUM, 40), Wanted(LARGE, 20))
    yield _mixed("other mix, large first", Wanted(LARGE, 80), Wanted(MEDIUM, 40), Wanted(SMALL, 80))
    yield _equal(200, 300)


def _equal(hosts: int, guests: int) -> Site:
    return Site(f"{hosts} equal hosts, {guests} guests", ((MEDIUM,) * 19,) * hosts, (Wanted(MEDIUM, guests),))


def _unequal(guests: int) -> Site:
    hosts = tuple((MEDIUM,) * (8, 16, 24, 32)[number % 4] for number in range(20))
    return Site(f"20 unequal hosts, {guests} guests", hosts, (Wanted(MEDIUM, guests),))


def _many_tiers() -> Site:
    name = "20 equal hosts, 63 tiers of 3 guests"
    return Site(name, ((MEDIUM,) * 19,) * 20, (Wanted(MEDIUM, 189, tiers=63),))


def _mixed(name: str, *wanted: Wanted) -> Site:
    return Site(f"20 hosts, {name}", _OFFERS * 20, wanted)


# --- both at work -----------------------------------------------------------------------


def _compare(site: Site) -> Iterator[Row]:
    ours, seconds = _by_metier(site)
    with tempfile.TemporaryDirectory() as folder:
        sizes = [(wanted.size, wanted.count) for wanted in site.wanted]
        theirs = htools.hspace(_whole(site), sizes, Path(folder))
    yield from _placements(site, ours, theirs.placed, "hspace")
    rates = len(ours) / seconds, theirs.considered / theirs.seconds
    yield _row(f"placements per second, {site.name}", rates, "hspace", "1/s")


def _one_by_one(site: Site) -> Iterator[Row]:
    """Compare with `hail`, which is given the guests one at a time."""
    ours, seconds = _by_metier(site)
    (wanted,) = site.wanted
    with tempfile.TemporaryDirectory() as folder:
        theirs = htools.hail(_whole(site), wanted.size, wanted.count, Path(folder))
    if wanted.count >= len(site.hosts):
        yield from _placements(site, ours, theirs.placed, "hail")
    rates = len(ours) / seconds, len(theirs.placed) / theirs.seconds
    yield _row(f"placements per second, {site.name}", rates, "hail", "1/s")


def _random_mixes() -> Iterator[Row]:
    """Compare over many random demands, whether or not they are what the hosts' VMs are made for."""
    chance = random.Random(1)
    placed = [_both_placed(_random_mix(chance)) for _ in range(RANDOM_MIXES)]
    more = sum(ours > theirs for ours, theirs in placed), sum(theirs > ours for ours, theirs in placed)
    guests = sum(ours for ours, _ in placed), sum(theirs for _, theirs in placed)
    yield _row(f"guests placed, 5 hosts, {RANDOM_MIXES} random mixes", guests, "hspace", "guests")
    yield _row(f"more guests placed than by the other, {RANDOM_MIXES} random mixes", more, "hspace", "sites")


def _random_mix(chance: random.Random) -> Site:
    """Draw a demand between nothing and half as much again as there are VMs of each size, in any order."""
    wanted = [
        Wanted(size, chance.randint(0, most)) for size, most in ((SMALL, 60), (MEDIUM, 30), (LARGE, 15))
    ]
    chance.shuffle(wanted)
    return Site("random", _OFFERS * 5, tuple(each for each in wanted if each.count))


def _both_placed(site: Site) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder:
        sizes = [(wanted.size, wanted.count) for wanted in site.wanted]
        theirs = htools.hspace(_whole(site), sizes, Path(folder))
    return sum(planned(_case(site))), len(theirs.placed)


def _by_metier(site: Site) -> tuple[list[Placed], float]:
    """Plan the site five times; return the placements and the seconds of the quickest plan."""
    fleet, times, actions = fleet_of(_case(site)), [], []
    for _ in range(5):
        gc.collect()
        began = time.perf_counter()
        actions = decide(fleet, PLANNED_AT).actions
        times.append(time.perf_counter() - began)
    nodes = [fleet.nodes[action.node] for action in actions if isinstance(action, AllocateNode)]
    sizes = [0 if node.hardware is None else node.hardware.memory_mib for node in nodes]
    hosts = [int(str(node.host).removeprefix("host-")) - 1 for node in nodes]
    return [Placed(*pair) for pair in zip(hosts, sizes, strict=True)], min(times)


def _case(site: Site) -> Case:
    tiers = [
        Want(90 - position, 0, wanted.count // wanted.tiers, _needs(wanted.size))
        for position, wanted in enumerate(site.wanted)
        for _ in range(wanted.tiers)
    ]
    return Case(site.hosts, tuple(tiers))


def _needs(size: Hardware) -> Requirements:
    return Requirements(memory_mib=size.memory_mib, cpus=size.cpus, disk_gib=size.disk_gib)


def _whole(site: Site) -> list[Hardware]:
    """Return the hosts as Ganeti sees them: what their VMs have together."""
    return [
        Hardware(sum(vm.memory_mib for vm in vms), sum(vm.cpus for vm in vms), sum(vm.disk_gib for vm in vms))
        for vms in site.hosts
    ]


# --- rows ---------------------------------------------------------------------------------


def _placements(site: Site, ours: Placements, theirs: Placements, peer: str) -> Iterator[Row]:
    """Compare how many guests were placed, and how evenly."""
    both = (ours, theirs)
    guests = [_guests(site, placed) for placed in both]
    shares = [_shares(site, placed) for placed in both]
    for name, unit, (value, floor) in (
        ("guests placed", "guests", map(len, both)),
        ("guests on a host, deviation", "guests", map(_deviation, guests)),
        ("guests on a host, most - least", "guests", map(_range, guests)),
        ("used memory of a host, deviation", "% points", map(_deviation, shares)),
    ):
        yield _row(f"{name}, {site.name}", (value, floor), peer, unit)


def _deviation(numbers: Sequence[float]) -> float:
    return pstdev(numbers)


def _range(numbers: Sequence[int]) -> int:
    return max(numbers) - min(numbers)


def _guests(site: Site, placed: Placements) -> list[int]:
    counts = Counter(each.host for each in placed)
    return [counts[host] for host in range(len(site.hosts))]


def _shares(site: Site, placed: Placements) -> list[float]:
    """Return how much of each host's memory is used, in percent."""
    used: Counter[int] = Counter()
    for host, memory_mib in placed:
        used[host] += memory_mib
    return [100 * used[number] / host.memory_mib for number, host in enumerate(_whole(site))]


def _row(name: str, figures: tuple[float, float], peer: str, unit: str) -> Row:
    value, floor = figures
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "floor": round(floor, 3),
        "floor_name": peer,
        "ratio": round(value / floor, 2) if floor else None,
    }


# --- the brute force ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chances:
    """What is drawn for one sort of random site.

    Attributes:
        hosts: At most so many, each with at most two virtual nodes.
        tiers: At most so many, at least two, that want some.
    """

    name: str
    number: int
    hosts: int
    tiers: int
    has_cpus: bool = True
    has_attributes: bool = True


CHANCES = (
    Chances("nodes that differ in memory", 1000, 3, 3, has_cpus=False, has_attributes=False),
    Chances("nodes that differ in memory and CPUs", 1000, 3, 3, has_attributes=False),
    Chances("nodes that differ in memory, CPUs and attributes", 1000, 3, 3),
    Chances("up to 24 such nodes, 8 tiers", 300, 12, 8),
)


def _against_the_best() -> Iterator[Row]:
    """Compare plans of random sites with the best of all assignments."""
    peer = "all assignments, tried out"
    for chances in CHANCES:
        draw = random.Random(chances.name)
        cases = [_any_case(draw, chances) for _ in range(chances.number)]
        plans = [(case, planned(case), best(case)) for case in cases]
        good = sum(worth(case, ours) == worth(case, optimum) for case, ours, optimum in plans)
        placed = sum(sum(ours) for _, ours, _ in plans), sum(sum(optimum) for *_, optimum in plans)
        yield _row(f"best plans, {chances.name}", (good, len(plans)), peer, "sites")
        yield _row(f"nodes placed, {chances.name}", placed, peer, "nodes")


def _any_case(draw: random.Random, chances: Chances) -> Case:
    hosts = [_vms(draw, chances) for _ in range(draw.randint(1, chances.hosts))]
    tiers = [_want(draw, chances) for _ in range(draw.randint(2, chances.tiers))]
    return Case(tuple(hosts), tuple(tiers))


def _vms(draw: random.Random, chances: Chances) -> tuple[Hardware, ...]:
    return tuple(
        Hardware(
            memory_mib=draw.choice((256, 512, 1024)),
            cpus=draw.choice((1, 2, 4)) if chances.has_cpus else 1,
            disk_gib=8,
            attributes=_words(draw, 0.4) if chances.has_attributes else frozenset(),
        )
        for _ in range(draw.randint(1, 2))
    )


def _want(draw: random.Random, chances: Chances) -> Want:
    minimum = draw.randint(0, 2)
    needs = Requirements(
        memory_mib=draw.choice((0, 256, 512, 1024)),
        cpus=draw.choice((0, 1, 2, 4)) if chances.has_cpus else 0,
        attributes=_words(draw, 0.3) if chances.has_attributes else frozenset(),
    )
    return Want(draw.choice((10, 50, 90)), minimum, max(1, minimum + draw.randint(0, 2)), needs)


def _words(draw: random.Random, probability: float) -> frozenset[str]:
    return frozenset(word for word in ("ssd", "gpu") if draw.random() < probability)
