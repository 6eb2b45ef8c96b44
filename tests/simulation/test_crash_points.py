"""The controller killed at every step of a story; each time the story ends the same.

The steps are enumerated, not sampled: just before a round is stored, just after, just before a
driver call is made, just after it was made and nobody had heard of it, and when hosts take what
they switch on only after the next controller looked.  A new controller starts from what was stored.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from metier.control.execute import execute
from metier.control.workers import Task
from metier.domain import actions as act
from metier.domain.errors import MetierError, chain
from metier.domain.fleet import Changes, Fleet
from metier.domain.ids import NodeId, TierId
from metier.domain.node import Node, Place
from metier.domain.tier import TierState
from metier.drivers.hypervisor.api import Ended
from metier.operations import load_operations
from metier.sim.clock import Agenda
from metier.sim.datacentre import DataCentre
from metier.sim.laws import Laws, at_target
from metier.sim.simulation import Simulation
from metier.store.api import Entry
from tests.builders import NOW, a_fleet, a_host, a_host_image, a_host_tier, a_tier, an_image
from tests.simulation.site import CHECKED, build

LATE_S = 8.0
"""So long after the kill a host still does what it was told: well into the next controller's first looks."""

DOWN_S = 3.0
"""How long there is no controller: shorter than anything waits for one."""

SLOT_1 = "the node of slot 1"

STEPS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("tier", "activate", {"name": "hosts"}),
    ("tier", "activate", {"name": "web"}),
    ("world", "kill the guest of slot 1", {}),
    ("tier", "edit", {"name": "hosts", "target": 1, "minimum": 1}),
    ("node", "disengage", {"name": "host-2"}),
    ("node", "shutdown", {"name": "host-2"}),
    ("node", "engage", {"name": "host-2"}),
    ("image", "import", {"file": "/archives/app.tgz", "name": "app", "version": "1"}),
    ("node", "disengage", {"name": SLOT_1}),
    ("world", "shut the guest of slot 1 down", {}),
    ("image", "capture", {"name": "web", "version": "2", "node": SLOT_1}),
    ("node", "engage", {"name": SLOT_1}),
)


@dataclass
class Story:
    """A site and how far its operator has come."""

    simulation: Simulation
    laws: Laws
    step: int = 0

    @classmethod
    def begin(cls) -> "Story":
        """Return the story before its first step: two free hosts, two inactive tiers."""
        simulation = Simulation(a_site(), NOW, build=fast)
        return cls(simulation, Laws(simulation))

    def fork(self, down_s: float = DOWN_S) -> "Story":
        """Return the story as it goes on if its controller dies now."""
        simulation = self.simulation.fork(down_s)
        return Story(simulation, Laws(simulation), self.step)

    def tell(self) -> None:
        """Go on to the end; each step is taken when the one before it has come true."""
        self.rest()
        while self.step < len(STEPS):
            self.take_step()
            self.rest()

    def rest(self) -> None:
        self.simulation.rest(is_patient=True)

    def take_step(self) -> None:
        """Take the next step; it counts once its answer came, so that a lost order is given again."""
        noun, verb, arguments = STEPS[self.step]
        if noun == "world":
            self.end_guest(Ended.CUT if verb.startswith("kill") else Ended.BY_GUEST)
        elif not self.is_job_there(f"{noun}-{verb}"):
            given = {
                key: str(self.guest().name) if value == SLOT_1 else value for key, value in arguments.items()
            }
            self.simulation.order(noun, verb, **given)
        self.step += 1

    def is_job_there(self, kind: str) -> bool:
        """Say whether a job was recorded though its answer was lost."""
        return any(job.kind == kind for job in self.simulation.fleet.jobs.values())

    def guest(self) -> Node:
        """Return the node of slot 1."""
        return self.simulation.fleet.member_nodes(TierId("web"))[0]

    def end_guest(self, ended: Ended) -> None:
        """Let the guest of slot 1 die, or shut itself down."""
        guest = self.guest()
        machine = self.simulation.datacentre.machine(str(guest.host))
        self.simulation.datacentre.stop_vm(machine, machine.vms[guest.vm_number or 0], ended)

    def judge(self) -> None:
        """Assert that the site is as the story leaves it."""
        self.laws.look_back()
        fleet, datacentre = self.simulation.fleet, self.simulation.datacentre
        assert self.laws.breaches == []
        assert [tier.name for tier in fleet.tiers.values() if not at_target(fleet, tier)] == []
        assert fleet.nodes[NodeId("host-2")].placement.place is Place.FREE
        assert sorted(fleet.nodes) == ["host-1", "host-1/VM1", "host-1/VM2", "host-1/VM3", "host-2"]
        running = [str(one.instance) for one in datacentre.running()]
        assert len(running) == 2
        attached = [vm.instance for _, vm in datacentre.vms() if vm.instance is not None]
        assert sorted(attached) == sorted(running), "an instance is left on a VM that is off"
        assert [node.name for node in fleet.nodes.values() if node.pending or node.request] == []
        assert [slot.id for slot in fleet.slots.values() if slot.fences] == []
        assert [alert.message for alert in fleet.alerts.values() if alert.cleared is None] == []
        matrix = self.simulation.matrix
        assert (matrix.staged, sorted(map(str, matrix.published))) == (
            {},
            ["app@1", "vmm@1", "web@1", "web@2"],
        )


def a_site() -> Fleet:
    """Return two free hosts and two inactive tiers."""
    return a_fleet(
        a_host_image(vms=3),
        an_image(collectors=CHECKED, startup_s=60),
        a_host_tier(minimum=1, target=2, maximum=2, state=TierState.INACTIVE),
        a_tier("web", minimum=2, target=2, maximum=3, depends_on=(TierId("hosts"),)),
        *[a_host(f"host-{number}", tier=None) for number in (1, 2)],
    )


def fast(fleet: Fleet, agenda: Agenda) -> DataCentre:
    """Return machines that boot in no time, so that there is little to wait for."""
    datacentre = build(fleet, agenda)
    datacentre.usual_guest_boot_s = 2.0
    for machine in datacentre.machines.values():
        machine.boot_s = 3.0
    return datacentre


class Reaper:
    """Forks a story at every step that its controller takes."""

    def __init__(self, story: Story) -> None:
        self.forks: dict[str, list[Story]] = {}
        self._story = story
        controller, store = story.simulation.controller, story.simulation.controller.store
        save = store.save

        def saving(changes: Changes, generation: int, entries: Sequence[Entry]) -> None:
            self._fork("before a round is stored")
            save(changes, generation, entries)
            self._fork("after a round is stored")
            self._fork_late()

        store.save = saving  # type: ignore[method-assign]
        controller.watch_calls(self._at_call)
        story.simulation.matrix.passed = self._at_stage

    def _at_call(self, _task: Task, is_done: bool) -> None:
        self._fork("after a call, unheard of" if is_done else "before a call")

    def _at_stage(self, _stage: str) -> None:
        kinds = {job.kind for job in self._story.simulation.fleet.jobs.values()}
        what = "a capture" if "image-capture" in kinds else "an import"
        self._fork(f"in the middle of {what}")

    def _fork_late(self) -> None:
        """Let hosts do what was under way only when the next controller has looked."""
        under_way = [task.call for task in self._story.simulation.controller.at_work()]
        actions = [call.args[0] for call in under_way]  # type: ignore[attr-defined]
        late = [one for one in actions if isinstance(one, act.StartGuest | act.PowerOn)]
        if late:
            fork, fleet = self._fork("done late"), self._story.simulation.fleet
            for action in late:
                fork.simulation.agenda.after(LATE_S, _doing(action, fleet, fork))

    def _fork(self, way: str) -> Story:
        fork = self._story.fork()
        self.forks.setdefault(way, []).append(fork)
        return fork


def _doing(action: act.Work, fleet: Fleet, story: Story) -> Callable[[], None]:
    tools = story.simulation.controller.tools
    return lambda: (execute(action, fleet, tools), None)[1]


@pytest.fixture(scope="module")
def forks() -> dict[str, list[Story]]:
    """Return, by way of dying, what is left after each step of the story that nobody disturbs."""
    load_operations()
    story = Story.begin()
    reaper = Reaper(story)
    story.tell()
    story.judge()
    counts = Counter({way: len(found) for way, found in reaper.forks.items()})
    assert counts["before a round is stored"] == counts["after a round is stored"] > 50
    assert counts["before a call"] == counts["after a call, unheard of"] > 10
    return reaper.forks


WAYS = (
    "before a round is stored",
    "after a round is stored",
    "before a call",
    "after a call, unheard of",
    "done late",
    "in the middle of an import",
    "in the middle of a capture",
)


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
            raise AssertionError(f"killed at point {number}, {way}: {chain(error)}") from error
