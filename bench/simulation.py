"""How fast a simulated site lives: calm days, days with faults, and the activation of all of it.

The floor is what the controller's own turns take in the same run: planning, checking and
storing, which a real controller does as well.  What lies above it is the simulator's doing.
"""

import gc
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from bench.planner import NOW, VMS_PER_HOST
from metier.control.inbox import Message
from metier.control.round import Round
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Hardware, Requirements
from metier.domain.ids import ImageRef, NodeId, TierId
from metier.domain.image import CollectorSpec, Disk, Image, ImageType, Machine, OfferedVm
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import FREE, Endpoint, Node, NodeKind
from metier.domain.tier import Tier, TierKind, TierState
from metier.operations import load_operations
from metier.sim.controller import Pace
from metier.sim.faults import befall, find_guest
from metier.sim.laws import Laws, at_target
from metier.sim.simulation import Simulation

SEED = 1

DAY_S, HOUR_S = 86400.0, 3600.0

ACTIVATION_S = 1800.0
"""Longer than 10,000 nodes take to come up, 32 calls at once."""

UNPARKED_S = 120.0
"""So much of a calm day is told with every look put; all of it would take a quarter of an hour."""

LIMIT_S = 10.0
"""Real seconds that a day of 1,000 nodes may take, from docs/design/architecture."""

HOSTS = {"1,000 nodes": 50, "10,000 nodes": 500}

GUESTS_PER_TIER = 45

_SIZES = (512, 1024, 2048)
_WEB, _VMM = ImageRef("web", "1"), ImageRef("vmm", "1")


def run() -> Iterator[dict[str, Any]]:
    """Yield a row for each story: its real seconds and the floor's, and the limit if there is one."""
    load_operations()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    small, large = HOSTS
    simulation = Simulation(a_site(HOSTS[small]), NOW)
    yield _activation(small, simulation)
    settled = simulation.fleet
    yield _calm_day(small, simulation) | {"limit": LIMIT_S}
    yield _day_with_faults(small, simulation) | {"limit": LIMIT_S}
    yield _judged(small, settled)
    yield _unparked(small, settled)
    simulation = Simulation(a_site(HOSTS[large]), NOW)
    yield _activation(large, simulation)
    yield _calm_day(large, simulation)


def _activation(size: str, simulation: Simulation) -> dict[str, Any]:
    return _measured(f"activation, {size}", simulation, lambda: activate(simulation))


def _calm_day(size: str, simulation: Simulation) -> dict[str, Any]:
    return _measured(f"a calm day, {size}", simulation, lambda: simulation.pass_s(DAY_S))


def _day_with_faults(size: str, simulation: Simulation) -> dict[str, Any]:
    row = _measured(f"a day with faults, {size}", simulation, Day(simulation, SEED).tell)
    _require_well(simulation)
    return row


def _judged(size: str, settled: Fleet) -> dict[str, Any]:
    """Measure the day with faults as `metier simulate` tells it: with every law judged."""
    simulation = Simulation(settled, NOW + timedelta(seconds=ACTIVATION_S))
    laws = Laws(simulation)
    row = _measured(f"a day with faults, laws judged, {size}", simulation, Day(simulation, SEED).tell)
    if laws.breaches:
        raise AssertionError(laws.breaches[0])
    return row


def _unparked(size: str, settled: Fleet) -> dict[str, Any]:
    """Measure what a calm day takes if every look is put, by a part of it."""
    pace = Pace(is_parking=False)
    simulation = Simulation(settled, NOW + timedelta(seconds=ACTIVATION_S), pace=pace)
    simulation.pass_s(60.0)
    name = f"{UNPARKED_S:.0f} calm seconds, every look put, {size}"
    return _measured(name, simulation, lambda: simulation.pass_s(UNPARKED_S))


# --- the site ------------------------------------------------------------------------


def a_site(hosts: int) -> Fleet:
    """Return so many hosts that are off and free, and guest tiers for nine in ten of their VMs."""
    draft = Draft(Fleet(), stamp=False)
    offers = tuple(OfferedVm(n, _SIZES[n % 3]) for n in range(1, VMS_PER_HOST + 1))
    draft.put_image(Image(_VMM, ImageType.VMM_HOST, "vmm-host", NOW, offers=offers))
    draft.put_image(_guest_image())
    draft.put_tier(
        Tier(TierId("hosts"), TierKind.HOST, _VMM, TierState.INACTIVE, 90, hosts - 2, hosts, hosts)
    )
    for number in range(1, hosts + 1):
        draft.put_node(_host(number))
    for number in range(hosts * VMS_PER_HOST * 9 // 10 // GUESTS_PER_TIER):
        counts = (GUESTS_PER_TIER - 5, GUESTS_PER_TIER, GUESTS_PER_TIER + 2)
        name = TierId(f"tier-{number}")
        draft.put_tier(Tier(name, TierKind.GUEST, _WEB, TierState.ACTIVE, 10 + number % 80, *counts))
    return draft.freeze()


def _guest_image() -> Image:
    disk = Disk("disk-0.qcow2", 1 << 30, 1 << 20, "sha256:" + "0" * 64)
    return Image(
        _WEB,
        ImageType.LINUX,
        "vmdk",
        NOW,
        requirements=Requirements(memory_mib=256),
        machine=Machine((disk,)),
        startup_s=60,
        collectors=(CollectorSpec("tcp", 80),),
    )


def _host(number: int) -> Node:
    hardware = Hardware(
        memory_mib=65536,
        cpus=32,
        disk_gib=2000,
        networks=frozenset({"default"}),
        image_forms=frozenset({"vmm-host"}),
    )
    return Node(
        NodeId(f"host-{number}"),
        NodeKind.PHYSICAL,
        FREE,
        Lifecycle.IDLE,
        hardware=hardware,
        power=Endpoint("simulated"),
        vmm=Endpoint("simulated"),
        since=NOW,
    )


def activate(simulation: Simulation) -> None:
    """Order all hosts to work, and let everything come up."""
    simulation.order("tier", "activate", name="hosts")
    simulation.pass_s(ACTIVATION_S)
    _require_well(simulation)


def _require_well(simulation: Simulation) -> None:
    fleet = simulation.fleet
    missed = [tier.name for tier in fleet.tiers.values() if not at_target(fleet, tier)]
    if missed:
        raise AssertionError(f"tiers {missed} are not at target: {simulation.controller.engine.last.plan}")


# --- a day with faults ---------------------------------------------------------------


class Day:
    """What a bad day brings; it leaves the last hours for everything to be well again.

    For each 1,000 nodes: a host dies and is repaired two hours later, 20 guests die, 20 hang until
    somebody mends them, three power controllers are silent for an hour, and two tiers are wanted
    smaller for two hours.
    """

    def __init__(self, simulation: Simulation, seed: int) -> None:
        """Draw what happens when; which guests it befalls is drawn from those that run then."""
        self._simulation, self._chance = simulation, random.Random(seed)
        self.events: list[tuple[float, Callable[[], None]]] = []
        nodes, tiers = simulation.fleet.nodes.values(), simulation.fleet.tiers.values()
        hosts = [node.name for node in nodes if not node.is_virtual]
        guest_tiers = [tier for tier in tiers if tier.kind is TierKind.GUEST]
        for _ in range(len(hosts) // HOSTS["1,000 nodes"]):
            self._draw(hosts, guest_tiers)
        self.events.sort(key=lambda event: event[0])

    def tell(self) -> None:
        """Let it all happen, and the day pass."""
        begin = self._simulation.now
        for at_s, happen in self.events:
            self._simulation.run(begin + timedelta(seconds=at_s))
            happen()
        self._simulation.run(begin + timedelta(seconds=DAY_S))

    def _draw(self, hosts: Sequence[NodeId], tiers: Sequence[Tier]) -> None:
        chance = self._chance
        dead = chance.choice(hosts)
        self._at(self._say(f"{dead} dies"), self._say(f"{dead} is repaired"), 2 * HOUR_S)
        for _ in range(20):
            self._at(self._die)
            self._at(self._hang)
        for name in chance.sample(hosts, 3):
            self._at(self._say(f"BMC of {name} is dead"), self._say(f"BMC of {name} is well"), HOUR_S)
        for tier in chance.sample(tiers, 2):
            self._at(self._want(tier, tier.minimum), self._want(tier, tier.target), 2 * HOUR_S)

    def _at(
        self, happen: Callable[[], None], then: Callable[[], None] | None = None, later_s: float = 0.0
    ) -> None:
        at_s = self._chance.random() * (DAY_S - 4 * HOUR_S)
        self.events.append((at_s, happen))
        if then is not None:
            self.events.append((at_s + later_s, then))

    def _say(self, sentence: str) -> Callable[[], None]:
        return lambda: befall(self._simulation, sentence)

    def _want(self, tier: Tier, target: int) -> Callable[[], None]:
        return partial(self._edit, tier.name, target)

    def _edit(self, tier: TierId, target: int) -> None:
        self._simulation.order("tier", "edit", name=tier, target=target)

    def _die(self) -> None:
        befall(self._simulation, f"guest {self._a_guest()} dies")

    def _hang(self) -> None:
        machine, vm = find_guest(self._simulation, self._a_guest())
        vm.answers = False
        self._simulation.datacentre.changed(machine)

        def mend() -> None:
            vm.answers = True
            self._simulation.datacentre.changed(machine)

        self._simulation.agenda.after(HOUR_S / 3, mend)

    def _a_guest(self) -> str:
        running = [
            node.name
            for node in self._simulation.fleet.nodes.values()
            if node.is_virtual and node.tier is not None and node.lifecycle is Lifecycle.RUNNING
        ]
        return str(self._chance.choice(running))


# --- measuring ------------------------------------------------------------------------


class _Turns:
    """Measures what a controller's turns take."""

    def __init__(self, simulation: Simulation) -> None:
        self._turn = simulation.controller.engine.turn
        self.seconds = 0.0
        vars(simulation.controller.engine)["turn"] = self

    def __call__(self, arrived: Sequence[Message], now: datetime) -> Round | None:
        began = time.perf_counter()
        finished = self._turn(arrived, now)
        self.seconds += time.perf_counter() - began
        return finished


def _measured(name: str, simulation: Simulation, tell: Callable[[], None]) -> dict[str, Any]:
    """Return the row of a story that is told once: it has so many rounds that its sum is steady."""
    engine, turns = simulation.controller.engine, _Turns(simulation)
    gc.collect()
    rounds, began_at, began = engine.rounds, simulation.now, time.perf_counter()
    tell()
    seconds = time.perf_counter() - began
    del vars(engine)["turn"]
    simulated_s = (simulation.now - began_at).total_seconds()
    return {
        "name": name,
        "value": round(seconds, 3),
        "unit": "s",
        "floor": round(turns.seconds, 3),
        "floor_name": "the controller's turns alone",
        "ratio": round(seconds / turns.seconds, 2),
        "days_per_s": round(simulated_s / DAY_S / seconds, 2),
        "rounds": engine.rounds - rounds,
    }
