"""Actions become driver calls, and every error becomes an outcome."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from metier.control.execute import execute
from metier.control.observe import Probe, Question, ask
from metier.domain import actions as act
from metier.domain.fleet import Fleet
from metier.domain.host_details import HostDetails
from metier.domain.ids import ImageRef, NodeId, SlotId, TierId
from metier.domain.image import OfferedVm
from metier.domain.observation import Power
from metier.drivers.hypervisor.api import Progress
from metier.planner.effects import DEADLINES_S, Done, Failed
from metier.sim.clock import VirtualClock
from metier.sim.machines import CallFault, Machine
from tests.builders import NOW, VM_HARDWARE, a_fleet, a_host, a_tier, a_virtual_node, an_image, an_instance
from tests.unit.control.site import NotedDrivers, a_datacentre, tools_of
from tests.unit.planner.stories import CHECKED

HOST, GUEST = NodeId("host-1"), NodeId("host-1/VM1")
WHY: dict[str, Any] = {"why": "a test wants it", "rule": "R-NONE-1"}
OFFER = OfferedVm(1, memory_mib=512)
PREPARE = act.PrepareGuest(
    node=GUEST,
    slot=SlotId(TierId("web"), 1),
    image=an_image(),
    instance=an_instance(),
    hostname="web-1",
    address="192.0.2.7/24",
    gateway=None,
    **WHY,
)
ALL = (
    act.InventoryNode(node=HOST, **WHY),
    act.PowerOn(node=HOST, **WHY),
    act.PowerOff(node=HOST, **WHY),
    act.StageVms(node=HOST, offers=(OFFER,), **WHY),
    act.RemoveVms(node=HOST, **WHY),
    act.DiagnoseNode(node=GUEST, **WHY),
    PREPARE,
    act.StartGuest(node=GUEST, **WHY),
    act.ShutdownGuest(node=GUEST, **WHY),
    act.StopGuest(node=GUEST, **WHY),
    act.RetireGuest(node=GUEST, discard=an_instance(), **WHY),
)
VERBS = {
    "InventoryNode": "facts",
    "PowerOn": "on",
    "PowerOff": "off",
    "StageVms": "define_vm",
    "RemoveVms": "remove_vm",
    "DiagnoseNode": "report",
    "PrepareGuest": "prepare",
    "StartGuest": "start",
    "ShutdownGuest": "shutdown",
    "StopGuest": "stop",
    "RetireGuest": "retire",
}
FLEET = a_fleet(a_host(), a_virtual_node(tier="web"), a_tier(), an_image())


def name(action: act.Action) -> str:
    return type(action).__name__


class Bench:
    """A host with VM1 on it."""

    def __init__(self) -> None:
        self.datacentre = a_datacentre()
        self.drivers = NotedDrivers(self.datacentre)
        self.tools = tools_of(self.drivers)
        self.do(act.StageVms(node=HOST, offers=(OFFER,), **WHY))
        self.drivers.calls.clear()

    def do(self, action: act.Work, fleet: Fleet = FLEET) -> Done | Failed:
        return execute(action, fleet, self.tools)

    @property
    def host(self) -> Machine:
        return self.datacentre.machine("host-1")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_kind_of_work_is_tried_here() -> None:
    assert {type(action) for action in ALL} == set(DEADLINES_S)


@pytest.mark.parametrize("action", ALL, ids=name)
def test_it_is_done_and_can_be_done_again(bench: Bench, action: act.Work) -> None:
    first, again = bench.do(action), bench.do(action)
    assert isinstance(first, Done)
    assert isinstance(again, Done) or (name(action), again.final) == ("DiagnoseNode", True)


def test_a_host_s_power(bench: Bench) -> None:
    for action, is_on in ((ALL[2], False), (ALL[1], True)):
        bench.do(action)
        assert bench.host.is_on is is_on
    assert bench.drivers.calls == ["off host-1", "on host-1"]


def test_an_inventory_says_what_the_host_has_and_that_it_can_run_hosts_images(bench: Bench) -> None:
    outcome = bench.do(ALL[0])
    assert isinstance(outcome, Done)
    assert outcome.hardware is not None
    assert outcome.hardware.memory_mib == 16384
    assert "vmm-host" in outcome.hardware.image_forms
    assert outcome.remarks == ("simulated 1.0",)


def test_a_guest_is_prepared_with_its_slot_s_personality_and_started(bench: Bench) -> None:
    bench.do(PREPARE)
    vm = bench.host.vms[1]
    assert (vm.instance, vm.hostname) == ("web-1-1", "web-1")
    assert vm.seed == b"web-1 web-1-1 192.0.2.7/24 None"
    assert vm.metadata == {"tier": "web", "slot": "1", "image": "web@1"}
    bench.do(act.StartGuest(node=GUEST, **WHY))
    assert vm.is_on


def test_removing_vms_stops_those_that_run_and_leaves_those_of_others(bench: Bench) -> None:
    bench.host.foreign["theirs"] = True
    bench.do(act.StartGuest(node=GUEST, **WHY))
    assert bench.do(ALL[4]) == Done()
    assert bench.host.vms == {}
    assert bench.host.foreign == {"theirs": True}


# --- staging -----------------------------------------------------------------------


def stage(bench: Bench, *numbers: int) -> Done:
    offers = tuple(OfferedVm(number, memory_mib=512) for number in numbers)
    outcome = bench.do(act.StageVms(node=HOST, offers=offers, **WHY))
    assert isinstance(outcome, Done)
    return outcome


def test_staging_says_what_the_host_is(bench: Bench) -> None:
    bench.host.patch_level = "200"
    for outcome in (stage(bench, 1), bench.do(ALL[0])):
        assert isinstance(outcome, Done)
        assert outcome.details == HostDetails(product="simulated 1.0", patch_level="200")


def test_a_host_that_does_not_say_what_it_is_serves_all_the_same(bench: Bench) -> None:
    bench.datacentre.plant("host-1", "facts", CallFault.REFUSED)
    outcome = stage(bench, 1, 2)
    assert outcome.details is None
    assert outcome.remarks[0].startswith("what the host is could not be asked: cannot facts on host-1")
    assert sorted(bench.host.vms) == [1, 2]


def test_staged_vms_are_taken_over_beside_the_offered_ones_and_stay(bench: Bench) -> None:
    for name in ("db", "shop"):
        bench.datacentre.stage_vm("host-1", name, VM_HARDWARE)
    bench.host.foreign["shop"] = True
    for _ in range(2):
        assert stage(bench, 1, 3).remarks == ("shop on host-1 cannot be taken over: it is running",)
        staged = {number: vm.staged_as for number, vm in bench.host.vms.items()}
        assert staged == {1: "", 2: "db", 3: ""}


def test_a_host_image_may_offer_nothing(bench: Bench) -> None:
    bench.datacentre.stage_vm("host-1", "db", VM_HARDWARE)
    stage(bench)
    stage(bench)
    assert [vm.staged_as for vm in bench.host.vms.values()] == ["db"]


def test_what_the_settings_no_longer_hand_over_is_given_back(bench: Bench) -> None:
    bench.datacentre.stage_vm("host-1", "db", VM_HARDWARE)
    stage(bench)
    (vm,) = bench.host.vms.values()
    vm.is_handed_over = False
    hardware = bench.host.staged.pop("db")
    stage(bench)
    assert (bench.host.vms, bench.host.foreign) == ({}, {"db": False})
    bench.host.staged["db"] = hardware
    assert bench.host.lost() == []


@pytest.mark.parametrize(("instance", "numbers"), [(None, {"db": 2, "": 1}), ("web-1-1", {"db": 1})])
def test_a_staged_vm_makes_room_for_an_offer_of_its_number_unless_something_is_on_it(
    bench: Bench, instance: str | None, numbers: dict[str, int]
) -> None:
    bench.datacentre.stage_vm("host-1", "db", VM_HARDWARE)
    stage(bench)
    bench.host.vms[1].instance = instance
    stage(bench, 1)
    assert {vm.staged_as: number for number, vm in bench.host.vms.items()} == numbers


def test_removing_vms_gives_staged_ones_back(bench: Bench) -> None:
    bench.datacentre.stage_vm("host-1", "db", VM_HARDWARE)
    stage(bench, 1)
    bench.datacentre.start_vm(bench.host, bench.host.vms[2])
    assert bench.do(ALL[4]) == Done()
    assert (bench.host.vms, bench.host.foreign) == ({}, {"db": False})


def test_a_copy_to_a_host_is_followed_while_it_lasts(bench: Bench) -> None:
    seen: list[tuple[str, str, str, int]] = []

    @contextmanager
    def tracking(node: NodeId, host: NodeId, image: ImageRef) -> Iterator[Progress]:
        yield lambda done, _total: seen.append((node, host, str(image), done))
        seen.append(("", "", "ended", 0))

    execute(PREPARE, FLEET, bench.tools, tracking)
    assert seen == [("host-1/VM1", "host-1", "web@1", 1 << 20), ("", "", "ended", 0)]


def test_a_retired_guest_keeps_its_instance_unless_it_is_to_be_discarded(bench: Bench) -> None:
    for discard, left in ((None, {"web-1-1"}), (an_instance(), set())):
        bench.do(PREPARE)
        bench.do(act.RetireGuest(node=GUEST, discard=discard, **WHY))
        assert set(bench.host.store.instances) == left


@pytest.mark.parametrize("action", ALL, ids=name)
@pytest.mark.parametrize(
    ("fault", "final", "unsure"),
    [
        (CallFault.REFUSED, True, False),
        (CallFault.UNAVAILABLE, False, False),
        (CallFault.LOST_REQUEST, False, True),
        (CallFault.LOST_ANSWER, False, True),
    ],
)
def test_each_of_the_three_errors_is_an_outcome(
    bench: Bench, action: act.Work, fault: CallFault, final: bool, unsure: bool
) -> None:
    bench.datacentre.plant("host-1", VERBS[name(action)], fault)
    outcome = bench.do(action)
    assert isinstance(outcome, Failed)
    assert (outcome.final, outcome.unsure) == (final, unsure)
    assert "host-1" in outcome.reason


def test_a_bug_in_a_driver_is_an_unsure_failure(bench: Bench) -> None:
    bench.drivers.began = _broken  # type: ignore[method-assign]  # a driver that breaks its promise
    assert bench.do(act.StartGuest(node=GUEST, **WHY)) == Failed("internal error: out of cheese", unsure=True)


def _broken(verb: str, node: str) -> None:
    raise ValueError("out of cheese")


def test_a_guest_whose_host_is_gone_cannot_be_touched(bench: Bench) -> None:
    lonely = a_fleet(a_virtual_node(), an_image())
    outcome = bench.do(act.StartGuest(node=GUEST, **WHY), lonely)
    assert outcome == Failed("host-1/VM1 has no host", final=True)


def test_an_image_without_disks_cannot_be_prepared(bench: Bench) -> None:
    bare = act.PrepareGuest(
        node=GUEST,
        slot=PREPARE.slot,
        image=an_image(machine=None),
        instance=PREPARE.instance,
        hostname="web-1",
        address=None,
        gateway=None,
        **WHY,
    )
    assert bench.do(bare) == Failed("image web@1 has no disks to run", final=True)


@pytest.mark.parametrize(
    ("fleet", "reason"),
    [
        (a_fleet(a_virtual_node()), "its host host-1 is gone"),
        (a_fleet(a_host(vmm=None), a_virtual_node()), "it has no VM manager to test it with"),
        (a_fleet(a_host(), a_virtual_node(number=1)), "host-1 no longer has its VM"),
    ],
)
def test_diagnostics_name_what_is_missing(bench: Bench, fleet: Fleet, reason: str) -> None:
    bench.do(ALL[4])
    assert bench.do(act.DiagnoseNode(node=GUEST, **WHY), fleet) == Failed(reason, final=True)


# --- asking ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probe", "node", "see"),
    [
        (Probe.POWER, HOST, lambda sight: sight.power is Power.ON),
        (Probe.VMS, HOST, lambda sight: [vm.number for vm in sight.report.vms] == [1]),
    ],
)
def test_a_question_is_answered_with_the_moment_it_was_asked(
    bench: Bench, probe: Probe, node: NodeId, see: Callable[[object], bool]
) -> None:
    sight = ask(Question(probe, node), FLEET, bench.tools, VirtualClock(NOW))
    assert (sight.error, sight.at) == ("", NOW)
    assert see(sight)


def test_a_guest_whose_address_is_not_known_fails_its_checks(bench: Bench) -> None:
    fleet = a_fleet(a_host(), a_virtual_node(tier="web"), a_tier(), an_image(collectors=CHECKED))
    sight = ask(Question(Probe.CHECKS, GUEST), fleet, bench.tools, VirtualClock(NOW))
    assert [(check.ok, check.message) for check in sight.checks] == [(False, "its address is not known yet")]


def test_every_failure_of_a_question_is_an_answer_too(bench: Bench) -> None:
    bench.datacentre.plant("host-1", "report", CallFault.UNAVAILABLE)
    sight = ask(Question(Probe.VMS, HOST), FLEET, bench.tools, VirtualClock(NOW))
    assert sight.report is None
    assert "lets no request through" in sight.error
    bench.drivers.began = _broken  # type: ignore[method-assign]  # a driver that breaks its promise
    sight = ask(Question(Probe.POWER, HOST), FLEET, bench.tools, VirtualClock(NOW))
    assert (sight.power, sight.error) == (Power.UNKNOWN, "internal error: out of cheese")
