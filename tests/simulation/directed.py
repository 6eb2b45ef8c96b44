"""Stories written by hand for what chance seldom brings together; part of every run of CI."""

from collections import Counter
from collections.abc import Callable
from functools import partial

from metier.control import engine
from metier.control.round import Round
from metier.domain.actions import StartGuest
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, TierId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node
from metier.operations import load_operations
from metier.planner.effects import DEADLINES_S
from metier.sim.laws import Laws, at_target
from metier.sim.machines import CallFault
from metier.sim.simulation import Simulation
from tests.simulation.site import begin
from tests.simulation.stories import happen

STORIES: dict[str, tuple[str, ...]] = {
    "a guest is moved to another host": (
        "pass 60",
        "host-1/VM1 is moved to host-2 by hand",
        "pass 60",
    ),
    "a guest is moved, nobody reaches the host it is on, and the one it left goes off": (
        "pass 60",
        "host-1/VM1 is moved to host-3 by hand",
        "network to host-3 breaks",
        "pass 1",
        "host-1 loses power",
        "pass 8",
    ),
    "a guest is moved to a host that then leaves its tier": (
        "pass 60",
        "host-1/VM1 is moved to host-3 by hand",
        "network to host-3 breaks",
        "pass 90",
    ),
    "a version rolls out while its controller dies and a host goes off": (
        "pass 60",
        "order tier update name=web image=web@2",
        "pass 4",
        "controller dies",
        "controller starts",
        "pass 15",
        "host-1 loses power",
        "pass 120",
    ),
    "a version rolls out over a disengaged member": (
        "pass 60",
        "order tier edit name=web surge=0 max_unavailable=2",
        "order node disengage name=host-1/VM1",
        "order node disengage name=host-2/VM1",
        "order node disengage name=host-3/VM1",
        "order tier update name=web image=web@2",
        "pass 120",
    ),
    "a version rolls out and is taken back halfway": (
        "pass 60",
        "order tier edit name=web surge=0",
        "order tier update name=web image=web@2",
        "pass 20",
        "order tier rollback name=web",
        "pass 120",
    ),
    "hosts are to go from under their guests": (
        "pass 60",
        "order tier edit name=hosts minimum=1 target=2",
        "pass 30",
        "order tier edit name=hosts minimum=1 target=1",
        "pass 60",
    ),
    "a disengaged member counts": (
        "pass 60",
        "order node disengage name=host-3/VM2",
        "order tier edit name=web maximum=3",
        "pass 60",
    ),
    "a failed guest is disengaged before it may be rebooted again": (
        "pass 60",
        "order tier edit name=web move_to_maintenance=no",
        "guest host-1/VM1 hangs",
        "pass 100",
        "order node disengage name=host-1/VM1",
        "pass 200",
    ),
    "a tier is activated whose members are disengaged": (
        "pass 60",
        "order tier deallocate name=batch",
        "pass 30",
        "order tier allocate name=batch",
        "pass 5",
        "order node disengage name=host-1/VM2",
        "order node disengage name=host-1/VM3",
        "order node disengage name=host-2/VM1",
        "order tier activate name=batch",
        "pass 30",
    ),
    "a disengaged guest is above the target": (
        "pass 60",
        "order node disengage name=host-1/VM1",
        "order tier edit name=web minimum=1 target=2",
        "pass 30",
    ),
    "the host of a disengaged guest goes off": (
        "pass 60",
        "order node disengage name=host-1/VM1",
        "host-1 loses power",
        "pass 60",
    ),
    "a slot is given away twice before its first node is known to be down": (
        "pass 60",
        "VM manager of host-2 is slow by 3 s",
        "network to host-3 breaks",
        "pass 18",
        "network to host-2 breaks",
        "order tier edit name=web minimum=1 target=1",
        "pass 3",
        "network to host-2 is mended",
        "pass 10",
        "order tier edit name=web target=3",
        "pass 60",
    ),
    "a host without power controller is cut off": (
        "pass 60",
        "network to host-3 breaks",
        "pass 200",
    ),
    "a host is cut off before anybody saw its guest on": (
        "pass 60",
        "order tier deallocate name=db",
        "pass 30",
        "VM manager of host-3 is slow by 3 s",
        "pass 20",
        "order tier edit name=batch target=3",
        "pass 7",
        "network to host-3 breaks",
        "pass 300",
    ),
    "a host hangs that runs VMs of others": (
        "pass 60",
        "1 foreign VMs run on host-1",
        "pass 10",
        "VM manager of host-1 hangs",
        "pass 200",
    ),
    "a host is idle but for VMs of others": (
        "pass 60",
        "2 foreign VMs run on host-2",
        "order tier deactivate name=batch",
        "pass 30",
        "order tier edit name=hosts target=2",
        "order pool set power_off_idle=yes idle_off_after_s=60 warm_spares=0",
        "pass 400",
    ),
    "the controller dies while work is in flight": (
        "pass 60",
        "order tier edit name=batch target=4",
        "controller dies",
        "pass 5",
        "controller starts",
        "pass 60",
    ),
    "what work came to is told while nothing can be stored": (
        "pass 60",
        "order tier edit name=batch target=4",
        "disk of the controller is full 3 times",
        "pass 60",
    ),
    "an order meets a full disk": (
        "pass 60",
        "disk of the controller is full 1 times",
        "order tier edit name=batch target=4",
        "pass 60",
    ),
    "two controllers at once": (
        "pass 60",
        "second controller takes over",
        "order tier deallocate name=batch",
        "order tier edit name=web target=4",
        "pass 10",
        "guest host-1/VM1 dies",
        "guest host-3/VM2 dies",
        "pass 90",
    ),
    "everything is told late and twice": (
        "pass 60",
        "observations come up to 20 s late",
        "observations come twice",
        "order tier edit name=web target=4",
        "pass 30",
        "guest host-3/VM2 dies",
        "pass 60",
        "order tier deactivate name=batch",
        "pass 60",
        "order tier activate name=batch",
        "pass 60",
    ),
    "a power controller says off and is wrong": (
        "pass 60",
        "BMC of host-1 says off",
        "pass 60",
    ),
    "a host hangs, and works again": (
        "pass 60",
        "VM manager of host-1 hangs",
        "pass 300",
        "VM manager of host-1 works again",
        "pass 60",
    ),
}


def a_dead_guest_on_a_host_that_hangs_is_replaced() -> str:
    """While the fault stands, what can be restored is: nobody waits for a look that does not come back."""
    simulation, laws = _at_rest()
    happen(simulation, "VM manager of host-1 hangs")
    happen(simulation, "guest host-1/VM1 dies")
    simulation.pass_s(900)
    fleet = simulation.fleet
    short = [tier.name for tier in fleet.tiers.values() if tier.depends_on and not at_target(fleet, tier)]
    return _first(laws) or ", ".join(f"law 8: tier {name} is not restored" for name in short)


def what_fails_is_not_tried_all_the_time() -> str:
    """Pauses between tries grow."""
    simulation, _ = _at_rest()
    tries = Counter[str]()

    def count(_before: Fleet, finished: Round) -> None:
        tries.update(one.subject for one in finished.entries if one.kind == "outcome")

    happen(simulation, "BMC of host-1 refuses")
    happen(simulation, "order node power-cycle name=host-1")
    simulation.pass_s(120)
    simulation.round_watchers.append(count)
    simulation.pass_s(900)
    return f"check: host-1 was tried {tries['host-1']} times in 900 s" if tries["host-1"] > MOST_TRIES else ""


MOST_TRIES = 15
"""In a quarter of an hour, after the first two minutes; pauses that grow to five minutes leave fewer."""


def data_is_kept_as_each_tier_says() -> str:
    """A slot that keeps its instance gets it back, and nothing is left of the others."""
    simulation, _ = _at_rest()
    before = _instances(simulation)
    for tier in ("db", "web"):
        happen(simulation, f"order tier deallocate name={tier}")
    simulation.pass_s(60)
    between = _instances(simulation)
    for tier in ("db", "web"):
        happen(simulation, f"order tier activate name={tier}")
    simulation.pass_s(60)
    lost = [name for name in before - _instances(simulation) if name.startswith("db")]
    left = [name for name in between if name.startswith("web")]
    return "".join(
        [f"check: the data of {name} is lost" for name in lost] or [f"check: {name} is left" for name in left]
    )


def _instances(simulation: Simulation) -> set[str]:
    return {name for store in simulation.datacentre.stores.values() for name in store.instances}


def only_what_failed_counts_as_failed() -> str:
    """A replacement waits until it can have its slot's data; it does not fail over it."""
    simulation, laws = _at_rest()
    for line in (
        "order node disengage name=host-2",
        "order node disengage name=host-3",
        "order tier edit name=web keep_instances=yes reboot_on_failure=no",
        "guest host-1/VM1 hangs",
        "pass 200",
    ):
        happen(simulation, line)
    failed = sorted(node.name for node in simulation.fleet.nodes.values() if node.failures)
    return _first(laws) or ("" if failed == ["host-1/VM1"] else f"check: {failed} count as failed")


def what_is_planned_from_changes_is_what_would_be_from_all() -> str:
    """The stories of this module, planned twice in each round."""
    import pytest  # here, like the next, for it is slow to import and seldom needed

    from tests.simulation.test_incremental_is_full import Watched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "Planner", Watched)
        for story in STORIES.values():
            Watched.forget()
            simulation = begin()
            for line in story:
                happen(simulation, line)
            if Watched.differences:
                return f"check: {Watched.differences[0]}"
    return ""


def the_site_is_as_the_stories_have_it() -> str:
    """Whoever changes where nodes go has to see that the stories still tell what their names say."""
    simulation, _ = _at_rest()
    places = {
        str(node.name): str(node.tier or node.placement.place)
        for node in simulation.fleet.nodes.values()
        if node.is_virtual
    }
    differ = [
        f"{name} is in {places.get(name)}" for name, place in PLACES.items() if places.get(name) != place
    ]
    return f"check: {', '.join(differ)}: look through directed.py" if differ else ""


PLACES = {
    "host-1/VM1": "web",
    "host-1/VM2": "batch",
    "host-1/VM3": "free",
    "host-2/VM1": "batch",
    "host-2/VM2": "free",
    "host-2/VM3": "free",
    "host-3/VM1": "db",
    "host-3/VM2": "web",
    "host-3/VM3": "web",
}
"""Where virtual nodes are when a story's first minute is over."""


def _late_start(fate: Callable[[Simulation, Node], None]) -> str:
    """Let a start be lost to sight, take its node out of the slot, and let it come true late."""
    simulation, laws = _at_rest()
    happen(simulation, "order tier edit name=batch target=3")
    node = simulation.fleet.member_nodes(TierId("batch"))[2]
    fate(simulation, node)
    happen(simulation, "order tier edit name=batch target=2")
    happen(simulation, "order tier edit name=batch target=3")
    simulation.pass_s(90)
    return _first(laws)


def _answer_is_lost(simulation: Simulation, node: Node) -> None:
    simulation.datacentre.plant(str(node.host), "start", CallFault.LOST_REQUEST)
    _until(simulation, node.name, Lifecycle.BOOTING)
    _until(simulation, node.name, Lifecycle.PREPARED)
    _start_after(simulation, node, 0.4)


def _controller_dies(simulation: Simulation, node: Node) -> None:
    _until(simulation, node.name, Lifecycle.BOOTING)
    happen(simulation, "controller dies")
    simulation.pass_s(3)
    happen(simulation, "controller starts")
    _start_after(simulation, node, 0.4)


def _start_after(simulation: Simulation, node: Node, seconds: float) -> None:
    """Let a host do late what it was told."""
    machine = simulation.datacentre.machine(str(node.host))
    vm = machine.vms[node.vm_number or 0]
    simulation.agenda.after(seconds, lambda: simulation.datacentre.start_vm(machine, vm))


MUCH_LATER_S = 60.0
"""Longer than a start that was lost to sight is thought to take."""


def _call_hangs(simulation: Simulation, node: Node, longer_s: float = 10.0) -> None:
    """Let this one call come back so long after it was given up; all others are as quick as ever."""
    _until(simulation, node.name, Lifecycle.PREPARING)
    machine = simulation.datacentre.machine(str(node.host))
    machine.delay_s = DEADLINES_S[StartGuest] + longer_s
    _until(simulation, node.name, Lifecycle.BOOTING)
    machine.delay_s = 0.0
    _until(simulation, node.name, Lifecycle.PREPARED, 1.0)


def _until(simulation: Simulation, name: NodeId, state: Lifecycle, step_s: float = 0.05) -> None:
    for _ in range(1000):
        if simulation.fleet.nodes[name].lifecycle is state:
            return
        simulation.pass_s(step_s)
    raise AssertionError(f"{name} is never {state}")


def _at_rest() -> tuple[Simulation, Laws]:
    load_operations()
    simulation = begin()
    laws = Laws(simulation)
    simulation.pass_s(60)
    return simulation, laws


def _first(laws: Laws) -> str:
    return "".join(f"law {one.law}: {one.sentence}" for one in laws.breaches[:1])


def a_version_that_fails_stops_at_the_first_slot() -> str:
    """Whatever the switches allow, no second slot is given a version that the first one failed on."""
    simulation, laws = _at_rest()
    happen(simulation, "order tier edit name=web surge=0")
    happen(simulation, "order tier update name=web image=web@2")
    _pass_with_a_version_that_fails(simulation)
    rollout = simulation.fleet.tiers[TierId("web")].rollout
    if rollout is None or not rollout.paused or len(rollout.moved) != 1:
        return f"check: a version that fails is rolled out: {rollout}"
    happen(simulation, "order tier rollback name=web")
    _pass_with_a_version_that_fails(simulation)
    is_back = at_target(simulation.fleet, simulation.fleet.tiers[TierId("web")])
    return _first(laws) or ("" if is_back else "check: web is not taken back")


def _pass_with_a_version_that_fails(simulation: Simulation) -> None:
    """Let five minutes pass in which no guest of web@2 answers, and all others do."""
    for _ in range(100):
        for _, vm in simulation.datacentre.vms():
            vm.answers = vm.metadata.get("image") != "web@2"
        simulation.pass_s(3)


CHECKS: dict[str, Callable[[], str]] = {
    "a version that fails stops at the first slot": a_version_that_fails_stops_at_the_first_slot,
    "the site is as the stories have it": the_site_is_as_the_stories_have_it,
    "a dead guest on a host that hangs is replaced": a_dead_guest_on_a_host_that_hangs_is_replaced,
    "only what failed counts as failed": only_what_failed_counts_as_failed,
    "data is kept as each tier says": data_is_kept_as_each_tier_says,
    "what is planned from changes is what would be from all": (
        what_is_planned_from_changes_is_what_would_be_from_all
    ),
    "what fails is not tried all the time": what_fails_is_not_tried_all_the_time,
    "a start whose answer is lost comes true late": partial(_late_start, _answer_is_lost),
    "a start comes true after its controller died": partial(_late_start, _controller_dies),
    "a start that was given up comes true late": partial(_late_start, _call_hangs),
    "a start that was given up comes true much later": partial(
        _late_start, partial(_call_hangs, longer_s=MUCH_LATER_S)
    ),
}
"""What no story says: each returns what is wrong, or nothing."""
