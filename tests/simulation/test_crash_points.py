"""The controller killed after every round of a story, in four ways; each time the story ends the same.

The rounds are enumerated, not sampled: killed before the round was stored, killed
before what it began was done, killed when that was done and nobody had heard of it,
and killed when hosts had taken what they switch on only after the next controller
looked.  A new controller starts from what was stored.
"""

import copy
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from metier.domain import actions as act
from metier.domain.errors import MetierError, chain
from metier.domain.fleet import Kind
from metier.domain.ids import NodeId, TierId
from metier.domain.node import Node, Place
from metier.operations import load_operations
from metier.operations.registry import Caller, operation
from metier.sim.world import World
from tests.builders import (
    HOST_HARDWARE,
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_tier,
    an_image,
)
from tests.scenarios.controller import VirtualController
from tests.scenarios.records import MemoryStore
from tests.simulation.laws import at_target
from tests.unit.planner.stories import CHECKED

WAYS = ("not stored", "not done", "done and not heard of", "done late")
LATE = timedelta(seconds=8)
"""So long after the kill a host still does what it was told: well into the next controller's first looks."""

DOWN = timedelta(seconds=3)
"""How long there is no controller: shorter than anything waits for one."""

LONGEST_S = 900
CALM_S = 12
"""Longer than any pause of the loop between two looks, and than a boot."""

STEPS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("tier", "activate", {"name": "hosts"}),
    ("tier", "activate", {"name": "web"}),
    ("world", "kill the guest of slot 1", {}),
    ("tier", "edit", {"name": "hosts", "target": 1, "minimum": 1}),
    ("node", "disengage", {"name": "host-2"}),
    ("node", "shutdown", {"name": "host-2"}),
    ("node", "engage", {"name": "host-2"}),
)


@dataclass
class Story:
    """A site and how far its operator has come; a copy goes on by itself.

    Attributes:
        step: The next of `STEPS`.
        late: What hosts still do of the old controller's work, and when.
        doubles: Identities that were seen running twice.
    """

    world: World
    controller: VirtualController
    step: int = 0
    late: list[tuple[datetime, Node, act.Work]] = field(default_factory=list)
    doubles: set[str] = field(default_factory=set)

    @classmethod
    def begin(cls) -> "Story":
        """Return the story before its first step: two free hosts, two inactive tiers."""
        world = World(host_boot_s=3, guest_boot_s=2)
        nodes = [a_host(f"host-{number}", tier=None) for number in (1, 2)]
        for node in nodes:
            world.add(node.name, HOST_HARDWARE)
        fleet = a_fleet(
            a_host_image(vms=3),
            an_image(collectors=CHECKED, startup_s=60),
            a_host_tier(minimum=1, target=2, maximum=2),
            a_tier("web", minimum=2, target=2, maximum=3, depends_on=(TierId("hosts"),)),
            *nodes,
        )
        store = MemoryStore()
        store.save({kind: dict(getattr(fleet, table)) for kind, table in _TABLES.items()}, 1, [])
        return cls(world, VirtualController(store, world, NOW))

    def forked(self, way: str) -> "Story":
        """Return the story as it goes on if its controller dies now and another one starts."""
        now = self.controller.clock.now()
        world = copy.deepcopy(self.world)
        late: list[tuple[datetime, Node, act.Work]] = []
        for _, action in self.controller.in_flight:
            node = self.controller.fleet.nodes[action.node]
            if way == "done and not heard of":
                world.carry_out(node, action, now)
            elif way == "done late" and isinstance(action, act.StartGuest | act.PowerOn):
                late.append((now + LATE, node, action))
        controller = VirtualController(self.controller.store.copy(), world, now + DOWN)
        return Story(world, controller, self.step, late)

    def tell(self) -> None:
        """Go on to the end; each step is taken when the one before it has come true."""
        self.until_calm()
        while self.step < len(STEPS):
            self.take_step()
            self.until_calm()

    def take_step(self) -> None:
        noun, verb, arguments = STEPS[self.step]
        if noun == "world":
            self.kill_guest()
        else:
            verb_of = operation(noun, verb)
            caller = Caller("ann", self.controller.clock.now(), accept_warnings=True)
            self.controller.change(verb_of, verb_of.arguments_type(**arguments), caller)
        self.step += 1

    def kill_guest(self) -> None:
        """Let the guest of slot 1 die, unless it died before the controller did."""
        vm = self.world.vm(self.controller.fleet.member_nodes(TierId("web"))[0])
        assert vm is not None
        vm.is_on = False

    def until_calm(self) -> None:
        """Let time pass until nothing was done for a while."""
        calm = 0
        for _ in range(LONGEST_S):
            rounds = self.controller.rounds
            self.controller.tick()
            self.end_late_work()
            self.look()
            acted = self.controller.rounds > rounds and bool(self.controller.last.plan.actions)
            calm = 0 if acted or self.controller.in_flight else calm + 1
            if calm == CALM_S:
                return
        raise AssertionError(f"no rest: {self.controller.last.plan}")

    def end_late_work(self) -> None:
        """Let hosts do what the old controller asked of them."""
        now = self.controller.clock.now()
        for _, node, action in [one for one in self.late if one[0] <= now]:
            self.world.carry_out(node, action, now)
        self.late = [one for one in self.late if one[0] > now]

    def look(self) -> None:
        """Note whose identity or instance runs twice."""
        running = list(self.world.running_as())
        slots = Counter(str(slot) for slot, *_ in running)
        instances = Counter(str(instance) for *_, instance in running)
        self.doubles |= {name for name, count in (slots + instances).items() if count > 1}

    def judge(self) -> None:
        """Assert that the site is as the story leaves it."""
        fleet = self.controller.fleet
        assert self.doubles == set()
        assert [tier.name for tier in fleet.tiers.values() if not at_target(fleet, tier)] == []
        assert fleet.nodes[NodeId("host-2")].placement.place is Place.FREE
        assert sorted(fleet.nodes) == ["host-1", "host-1/VM1", "host-1/VM2", "host-1/VM3", "host-2"]
        running = [instance for *_, instance in self.world.running_as()]
        assert len(running) == 2
        vms = [vm for host in self.world.hosts.values() for vm in host.vms.values()]
        attached = [vm.instance for vm in vms if vm.instance is not None]
        assert sorted(attached) == sorted(map(str, running)), "an instance is left on a VM that is off"
        assert [node.name for node in fleet.nodes.values() if node.pending or node.request] == []
        assert [slot.id for slot in fleet.slots.values() if slot.fences] == []
        assert [alert.message for alert in fleet.alerts.values() if alert.cleared is None] == []


_TABLES = {Kind.NODE: "nodes", Kind.TIER: "tiers", Kind.IMAGE: "images"}


@pytest.fixture(scope="module")
def forks() -> dict[str, list[Story]]:
    """Return, by way of dying, what is left after each round of the story that nobody disturbs."""
    load_operations()
    story = Story.begin()
    forks: dict[str, list[Story]] = {way: [] for way in WAYS}

    def watch(is_stored: bool) -> None:
        for way in WAYS[1:] if is_stored else WAYS[:1]:
            forks[way].append(story.forked(way))

    story.controller.watchers.append(watch)
    story.tell()
    story.judge()
    assert {len(found) for found in forks.values()} == {story.controller.rounds}
    return forks


@pytest.mark.parametrize("way", WAYS)
def test_wherever_the_controller_dies_the_story_ends_the_same(
    forks: dict[str, list[Story]], way: str
) -> None:
    """P1 P4 (R-FENCE-1): every crash point, one after another."""
    for number, story in enumerate(forks[way], 1):
        try:
            story.tell()
            story.judge()
        except (AssertionError, MetierError) as error:
            raise AssertionError(f"killed after round {number}, {way}: {chain(error)}") from error
