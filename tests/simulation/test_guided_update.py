"""The guided update of an image, killed at every step: it ends, and nothing of it is left.

The kills are enumerated, not sampled: after each round that was stored, a new controller starts
from it, and the update goes on to its end as if nothing had been.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef, NodeId, TierId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Place
from metier.domain.observation import Power
from metier.domain.procedure import Procedure, Stage, live
from metier.domain.tier import TierState
from metier.drivers.hypervisor.api import Ended
from metier.operations import load_operations
from metier.sim.laws import Laws
from metier.sim.simulation import Simulation
from tests.builders import NOW, a_fleet, a_host, a_host_image, a_host_tier, a_tier, an_image
from tests.simulation.site import CHECKED, build

LONGEST_S = 1800
DOWN_S = 3.0
NEW = ImageRef("web", "2")


def a_site(*, with_room: bool) -> Fleet:
    """Return two hosts: one runs all it can, or has room for another guest; the other is free and off."""
    return a_fleet(
        a_host_image(vms=2),
        an_image(collectors=CHECKED, startup_s=30),
        a_host_tier(minimum=1, target=1, maximum=1, state=TierState.ACTIVE),
        a_tier(target=1 if with_room else 2, maximum=2, state=TierState.ACTIVE),
        a_host("host-1", tier=None),
        a_host("host-2", tier=None),
    )


@dataclass
class Story:
    """An update, and whether the person has had their turn."""

    simulation: Simulation
    laws: Laws
    gives_up_in: Stage | None = None

    @classmethod
    def begin(cls, *, with_room: bool, gives_up_in: Stage | None = None) -> "Story":
        """Return the story just after the update was ordered."""
        load_operations()
        simulation = Simulation(a_site(with_room=with_room), NOW, build=build)
        simulation.rest(is_patient=True)
        story = cls(simulation, Laws(simulation), gives_up_in)
        simulation.order("image", "update", name="web", roll_out=())
        return story

    def fork(self) -> "Story":
        """Return how it goes on if the controller dies now."""
        simulation = self.simulation.fork(DOWN_S)
        laws = Laws(simulation)
        laws._ordered |= self.laws._ordered  # what was ordered before is not known to who only comes now
        return Story(simulation, laws, self.gives_up_in)

    @property
    def procedure(self) -> Procedure:
        return self.simulation.fleet.procedures[1]

    def tell(self) -> None:
        """Go on to the end, as a person who does their part would."""
        for _ in range(LONGEST_S):
            if not self.procedure.is_live:
                break
            self._do_my_part()
            self.simulation.pass_s(1)
        assert not self.procedure.is_live, self.procedure
        self.simulation.rest(is_patient=True)
        assert self.laws.breaches == []

    def _do_my_part(self) -> None:
        procedure = self.procedure
        if procedure.stage is self.gives_up_in and not procedure.is_ending:
            self.simulation.order("image", "update", name="web", abort=True)
        elif procedure.stage is Stage.CHANGING and not procedure.problem:
            shut_down(self.simulation, procedure)


def shut_down(simulation: Simulation, procedure: Procedure, ended: Ended = Ended.BY_GUEST) -> None:
    """Let the guest of a procedure shut itself down."""
    node = simulation.fleet.nodes[procedure.node or NodeId("")]
    machine = simulation.datacentre.machine(node.host or NodeId(""))
    vm = machine.vms[node.vm_number or 0]
    if vm.is_on:
        simulation.datacentre.stop_vm(machine, vm, ended)


def left_overs(fleet: Fleet) -> list[str]:
    """Return what is there and would not be if no update had ever been: a law."""
    return [
        *(f"tier {name}" for name in fleet.tiers if name not in ("hosts", "web")),
        *(f"{node.name} is disengaged" for node in fleet.nodes.values() if not node.engaged),
        *(
            f"{node.name} is kept"
            for node in fleet.nodes.values()
            if node.placement.place is Place.DISCOVERED
        ),
        *(f"slot {slot}" for slot in fleet.slots if slot.tier not in ("hosts", "web")),
        *(
            f"{node.name} has {node.instance.id}"
            for node in fleet.nodes.values()
            if node.instance and node.tier != "web"
        ),
        *(
            f"{node.name}: {node.problem}"
            for node in fleet.nodes.values()
            if node.is_virtual and (node.problem or node.failures)
        ),
        *(f"alert {one.code} on {one.subject}" for one in fleet.alerts.values() if one.cleared is None),
        *(one.caller for one in live(fleet.procedures.values())),
    ]


def nodes_by_place(fleet: Fleet) -> dict[NodeId, tuple[Place, TierId | None, Lifecycle]]:
    return {
        node.name: (node.placement.place, node.placement.tier, node.lifecycle)
        for node in fleet.nodes.values()
    }


def every_kill(story: Story) -> list[Story]:
    """Return the story killed after each of its rounds, having told it to its end."""
    forks: list[Story] = []

    def fork(before: Fleet, finished: object) -> None:
        if story.simulation.fleet is not before:
            forks.append(story.fork())

    story.simulation.round_watchers.append(fork)
    story.tell()
    return forks


STAGES = (Stage.FINDING, Stage.STARTING, Stage.CHANGING, Stage.CAPTURING)


@pytest.mark.parametrize("with_room", [True, False], ids=["free node", "host made"])
def test_an_update_whose_controller_is_killed_at_any_point_ends_and_leaves_nothing(with_room: bool) -> None:
    story = Story.begin(with_room=with_room)
    forks = every_kill(story)
    assert len(forks) > 20
    for fork in forks:
        fork.tell()
        assert NEW in fork.simulation.fleet.images
        assert fork.procedure.stage is Stage.DONE
        assert left_overs(fork.simulation.fleet) == []
        assert nodes_by_place(fork.simulation.fleet) == nodes_by_place(story.simulation.fleet)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("with_room", [True, False], ids=["free node", "host made"])
def test_an_update_given_up_at_any_stage_leaves_nothing(stage: Stage, with_room: bool) -> None:
    if with_room and stage is Stage.FINDING:
        pytest.skip("a free node is found within the round that records the update")
    story = Story.begin(with_room=with_room, gives_up_in=stage)
    before = nodes_by_place(Story.begin(with_room=with_room).simulation.controller.store.load())
    story.tell()
    assert story.procedure.stage is Stage.ABORTED
    assert NEW not in story.simulation.fleet.images
    assert left_overs(story.simulation.fleet) == []
    assert before.keys() >= nodes_by_place(story.simulation.fleet).keys()


@pytest.mark.parametrize("stage", STAGES)
def test_giving_up_survives_a_kill_too(stage: Stage) -> None:
    for fork in every_kill(Story.begin(with_room=False, gives_up_in=stage)):
        fork.tell()
        assert left_overs(fork.simulation.fleet) == []


def until(story: Story, is_so: Callable[[Procedure], bool]) -> None:
    for _ in range(LONGEST_S):
        if is_so(story.procedure):
            return
        story.simulation.pass_s(1)
    raise AssertionError(f"in vain: {story.procedure}")


def test_a_host_that_dies_under_the_guest_is_said_and_the_update_goes_on_once_both_run_again() -> None:
    story = Story.begin(with_room=False)
    until(story, lambda one: one.stage is Stage.CHANGING)
    story.simulation.datacentre.switch(NodeId("host-2"), on=False)
    until(story, lambda one: bool(one.problem))
    story.simulation.datacentre.switch(NodeId("host-2"), on=True)
    story.simulation.rest()
    story.simulation.order("node", "power-on", name=story.procedure.node)
    until(story, lambda one: one.stage is Stage.CHANGING and not one.problem)
    story.simulation.pass_s(60)
    story.tell()
    assert NEW in story.simulation.fleet.images
    assert left_overs(story.simulation.fleet) == []


def test_an_update_whose_host_is_lost_for_good_can_be_given_up() -> None:
    story = Story.begin(with_room=False)
    until(story, lambda one: one.stage is Stage.CHANGING)
    story.simulation.datacentre.switch(NodeId("host-2"), on=False)
    until(story, lambda one: bool(one.problem))
    story.simulation.order("image", "update", name="web", abort=True)
    story.tell()
    assert left_overs(story.simulation.fleet) == []


def test_a_guest_whose_power_was_cut_goes_on_once_it_was_started_and_shut_down_from_inside() -> None:
    story = Story.begin(with_room=True)
    until(story, lambda one: one.stage is Stage.CHANGING)
    shut_down(story.simulation, story.procedure, Ended.CUT)
    until(story, lambda one: bool(one.problem))
    assert "its power was cut" in story.procedure.problem
    node = story.procedure.node or NodeId("")
    story.simulation.order("node", "power-on", name=node)
    until(story, lambda one: one.stage is Stage.CHANGING)
    story.simulation.pass_s(60)
    story.tell()
    assert story.procedure.stage is Stage.DONE
    assert left_overs(story.simulation.fleet) == []


def test_a_person_may_delete_the_tier_by_force_and_the_update_says_so() -> None:
    story = Story.begin(with_room=True)
    until(story, lambda one: one.stage is Stage.CHANGING)
    story.simulation.order("tier", "deallocate", name="update-web")
    until(story, lambda one: bool(one.problem))
    story.simulation.rest()
    story.simulation.edit(lambda draft: draft.remove_tier(TierId("update-web")))
    until(story, lambda one: "deleted by somebody" in one.problem)
    story.simulation.order("image", "update", name="web", abort=True)
    story.tell()
    assert left_overs(story.simulation.fleet) == []


def test_nobody_is_alerted_of_a_guest_that_was_shut_down_as_asked() -> None:
    story = Story.begin(with_room=True)
    before = set(story.simulation.fleet.alerts)
    story.tell()
    assert set(story.simulation.fleet.alerts) == before
    assert all(
        story.simulation.fleet.seen(node.name).power is not Power.ON
        for node in story.simulation.fleet.nodes.values()
        if node.name == story.procedure.node
    )
