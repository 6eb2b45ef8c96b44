"""The checker says what must never be; each sentence is provoked by a plan made by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from metier.domain import actions as act
from metier.domain.actions import Action
from metier.domain.errors import Bug
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, SlotId, TierId, image_ref
from metier.domain.image import Image
from metier.domain.lifecycle import Event, Lifecycle
from metier.domain.node import FREE, Engagement, Instance, Node, Pending, Place, Placement, Request
from metier.domain.observation import Health, Observed, Power
from metier.domain.tier import Fence, TierState, Trouble
from metier.planner.check import check
from metier.planner.effects import begin
from metier.planner.plan import decide
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_slot,
    a_tier,
    a_virtual_node,
    an_image,
    vm_facts,
)

OFF = Engagement(False, "ann")
ACTIVE = {"state": TierState.ACTIVE}
WEB_1 = SlotId(TierId("web"), 1)
INSTANCE = Instance("web-1-7", image_ref("web@1"), NodeId("host-1"), WEB_1)
HOST_SEEN = Observed(
    Power.ON, NOW, vmm_reachable=True, vmm_at=NOW, vms=(vm_facts(1), vm_facts(2)), vms_at=NOW
)


def a_site(*records: object, host: Node | None = None, **seen: object) -> Fleet:
    """Return two hosts in an active tier; VM1 of the first runs for tier `web`, VM2 is free."""
    own = {record.name for record in records if isinstance(record, Node)}
    nodes = [
        host or a_host("host-1"),
        a_host("host-2", slot=2),
        a_virtual_node("host-1", 1, tier="web"),
        a_virtual_node("host-1", 2),
    ]
    tiers = [a_host_tier(maximum=2, **ACTIVE), a_tier(maximum=2, target=1, **ACTIVE)]
    return a_fleet(
        a_host_image(),
        an_image(),
        *tiers,
        *[node for node in nodes if node.name not in own],
        *records,
        observed={"host-1": replace(HOST_SEEN, **seen), "host-2": HOST_SEEN},
    )


def judge(fleet: Fleet, *actions: Action, also: Callable[[Fleet], None] | None = None) -> str:
    """Begin actions one after the other and return what the checker says of them."""
    draft = fleet.edit()
    for action in actions:
        begin(draft, action, NOW)
    if also is not None:
        also(draft)
    return "; ".join(check(fleet, actions, draft))


def of(kind: type[Action], node: str, **fields: object) -> Action:
    return kind(node=NodeId(node), why="a test", rule="R-TEST-1", **fields)


def prepare(node: str, slot: SlotId = WEB_1, instance: Instance = INSTANCE, **fields: object) -> Action:
    image: Image = an_image()
    extra = {"image": image, "hostname": "web-1", "address": None, "gateway": None}
    return of(act.PrepareGuest, node, slot=slot, instance=instance, **extra, **fields)


def test_a_sound_plan_has_no_sentence() -> None:
    fleet = a_site()
    work = decide(fleet, NOW)
    assert check(fleet, work.actions, work.fleet) == ()


def test_a_stale_decision() -> None:
    fleet = a_site()
    assert "was decided on generation 5" in judge(fleet, of(act.StopNode, "host-1/VM1", expects=5))


def test_a_node_that_does_not_exist() -> None:
    fleet = a_site()
    stop = of(act.StopNode, "nobody")
    assert check(fleet, [stop], fleet) == ("StopNode is meant for nobody, which does not exist",)


def test_a_second_decision_on_a_node_knows_of_the_first() -> None:
    fleet = a_site()
    free = of(act.AllocateNode, "host-1/VM2", slot=SlotId(TierId("web"), 2))
    later = fleet.generation + 1
    instance = replace(INSTANCE, slot=SlotId(TierId("web"), 2))
    good = prepare("host-1/VM2", SlotId(TierId("web"), 2), instance, expects=later)
    seen = a_site(vms=(vm_facts(1), vm_facts(2, Power.OFF)))
    assert judge(seen, free, good) == ""
    assert "decided on generation 0" in judge(seen, free, replace(good, expects=0))


def test_a_disengaged_node_is_left_alone() -> None:
    fleet = a_site(a_virtual_node("host-1", 1, tier="web", engagement=OFF))
    assert "which is disengaged" in judge(fleet, of(act.StopNode, "host-1/VM1"))
    assert "without an end" in judge(fleet, of(act.EngageNode, "host-1/VM1"))


@pytest.mark.parametrize(
    "fields",
    [{"request": Request.SHUTDOWN}, {"lifecycle": Lifecycle.STOPPING}],
    ids=["ordered", "already stopping"],
)
def test_an_operators_order_reaches_a_disengaged_node(fields: dict[str, object]) -> None:
    guest = a_virtual_node("host-1", 1, tier="web", engagement=OFF, **fields)
    assert judge(a_site(guest), of(act.StopGuest, "host-1/VM1")) == ""


def test_so_do_a_deactivated_tier_and_an_order_for_the_host() -> None:
    guest = a_virtual_node("host-1", 1, tier="web", engagement=OFF)
    stop = of(act.StopNode, "host-1/VM1")
    assert judge(a_site(guest, a_tier(state=TierState.ALLOCATED)), stop) == ""
    assert judge(a_site(guest, host=a_host("host-1", request=Request.SHUTDOWN)), stop) == ""


def test_what_only_records_reaches_a_disengaged_node() -> None:
    guest = a_virtual_node("host-1", 1, tier="web", engagement=OFF, lifecycle=Lifecycle.STARTING)
    assert judge(a_site(guest), of(act.AdvanceNode, "host-1/VM1", event=Event.ANSWERED)) == ""


def test_one_piece_of_work_at_a_time() -> None:
    pending = Pending("StartGuest", 1, NOW, NOW)
    fleet = a_site(a_virtual_node("host-1", 1, tier="web", pending=pending))
    stop = of(act.StopGuest, "host-1/VM1")
    (sentence,) = check(fleet, [stop], fleet)
    assert sentence == "StopGuest on host-1/VM1 is decided while StartGuest is in flight"
    idle = a_site()
    assert "a second piece of work" in "; ".join(check(idle, [stop, stop], idle))
    with pytest.raises(Bug, match="while StopGuest is in flight"):
        judge(idle, stop, stop)


@pytest.mark.parametrize("place", [Place.QUARANTINED, Place.RESERVED])
def test_withheld_nodes_are_not_touched(place: Place) -> None:
    fleet = a_site(a_virtual_node("host-1", 2, place=place))
    assert f"which is {place}" in judge(fleet, of(act.StopNode, "host-1/VM2"))


def test_a_host_with_active_guests_is_not_released() -> None:
    fleet = a_site()
    assert "would end host-1/VM1, active in tier web" in judge(fleet, of(act.ReleaseNode, "host-1"))
    assert judge(fleet, of(act.ReleaseNode, "host-2")) == ""


def test_nor_one_with_a_disengaged_virtual_node() -> None:
    guests = (a_virtual_node("host-1", 1), a_virtual_node("host-1", 2, engagement=OFF))
    fleet = a_site(*guests)
    assert "host-1/VM2, which is disengaged" in judge(fleet, of(act.ReleaseNode, "host-1"))


def test_unless_an_operator_ordered_it_or_deactivated_its_tier() -> None:
    release = of(act.ReleaseNode, "host-1")
    assert judge(a_site(host=a_host("host-1", request=Request.SHUTDOWN)), release) == ""
    assert judge(a_site(a_host_tier(state=TierState.ALLOCATED)), release) == ""


def test_a_failed_host_may_be_rebooted_unless_a_guest_is_healthy() -> None:
    failed = a_host("host-1", lifecycle=Lifecycle.FAILED)
    reboot = of(act.StopNode, "host-1", for_reboot=True)
    judged = a_tier(maximum=2, target=1, collectors=("tcp",), **ACTIVE)
    fleet = a_site(judged, host=failed)
    assert judge(fleet, reboot) == ""
    draft = fleet.edit()
    draft.put_observed(NodeId("host-1/VM1"), Observed(health=Health.NORMAL, health_at=NOW))
    assert "would end host-1/VM1" in judge(draft.freeze(), reboot)


def test_other_peoples_vms_are_spared() -> None:
    power_off = of(act.PowerOff, "host-1")
    fleet = a_site(a_virtual_node("host-1", 1), foreign_running=2)
    assert "2 VMs that are not Metier's" in judge(fleet, power_off)
    ordered = a_site(host=a_host("host-1", request=Request.POWER_OFF), foreign_running=2)
    assert judge(ordered, power_off) == ""


def test_nothing_starts_on_a_host_that_does_not_run() -> None:
    guest = a_virtual_node("host-1", 1, tier="web", lifecycle=Lifecycle.PREPARED)
    fleet = a_site(guest, host=a_host("host-1", lifecycle=Lifecycle.BOOTING))
    assert "its host host-1 is booting" in judge(fleet, of(act.StartGuest, "host-1/VM1"))


def test_an_active_guest_is_not_deleted_while_it_may_run() -> None:
    delete = of(act.DeleteNode, "host-1/VM1")
    assert "while its VM may run" in judge(a_site(), delete)
    assert judge(a_site(vms=(vm_facts(2),)), delete) == ""
    assert judge(a_site(power=Power.OFF), delete) == ""
    assert "physical" in "; ".join(check(a_site(), [of(act.DeleteNode, "host-2")], a_site()))


def test_a_vm_that_is_on_is_not_prepared_or_retired() -> None:
    guest = a_virtual_node("host-1", 1, tier="web", lifecycle=Lifecycle.IDLE)
    assert "whose VM is on" in judge(a_site(guest), prepare("host-1/VM1"))


def test_a_fenced_slot_is_not_started() -> None:
    guest = a_virtual_node("host-1", 1, tier="web", lifecycle=Lifecycle.PREPARED, instance=INSTANCE)
    fence = Fence(NodeId("host-2/VM1"), NodeId("host-2"), 1, NOW)
    slot = a_slot(node=guest.name, fences=(fence,))
    start = of(act.StartGuest, "host-1/VM1")
    assert "while host-2/VM1 may still run as it" in judge(a_site(guest, slot), start)
    lift = of(act.LiftFence, "host-2/VM1", slot=WEB_1, evidence="none")
    assert "lifted without evidence" in judge(a_site(guest, slot), lift, start)
    sworn = replace(slot, fences=(replace(fence, attested="ann"),))
    assert judge(a_site(guest, sworn), lift, start) == ""


def test_a_node_that_may_run_leaves_a_fence() -> None:
    fleet = a_site()

    def forget_fence(draft: Fleet) -> None:
        draft.put_slot(a_slot())

    release = of(act.ReleaseNode, "host-1/VM1")
    assert judge(fleet, release) == ""
    assert "would leave slot web/1 unfenced" in judge(fleet, release, also=forget_fence)


def test_nothing_counts_as_stopped_unseen() -> None:
    guest = a_virtual_node("host-1", 1, tier="web", lifecycle=Lifecycle.STOPPING)
    assert "nobody saw it off" in judge(a_site(guest), of(act.AdvanceNode, "host-1/VM1", event=Event.STOPPED))


def test_an_instance_has_one_slot_one_store_and_one_node() -> None:
    idle = [a_virtual_node("host-1", n, tier="web", slot=n, lifecycle=Lifecycle.IDLE) for n in (1, 2)]
    off = (vm_facts(1, Power.OFF), vm_facts(2, Power.OFF))
    fleet = a_site(*idle, vms=off)
    web_2 = SlotId(TierId("web"), 2)
    both = judge(fleet, prepare("host-1/VM1"), prepare("host-1/VM2", web_2))
    assert "given to both host-1/VM1 and host-1/VM2" in both
    assert "of slot web/1 is meant for slot web/2" in both
    far = replace(INSTANCE, store=NodeId("host-2"))
    assert "out of reach" in judge(fleet, prepare("host-1/VM1", instance=far))
    assert "which it does not fill" in judge(fleet, prepare("host-1/VM2"))


def test_the_brake_holds() -> None:
    failed = a_virtual_node("host-1", 1, tier="web", lifecycle=Lifecycle.FAILED)
    fleet = a_site(failed, Trouble(TierId("web"), braked_since=NOW))
    release = of(act.ReleaseNode, "host-1/VM1", to=Place.MAINTENANCE)
    assert "the brake of tier web is on" in judge(fleet, release)


def test_no_tier_above_its_maximum() -> None:
    fleet = a_site(a_tier(maximum=1, **ACTIVE))
    allocate = of(act.AllocateNode, "host-1/VM2", slot=SlotId(TierId("web"), 2))
    assert "tier web would have 2 nodes, above its maximum of 1" in judge(fleet, allocate)


def test_slots_and_placements_agree() -> None:
    fleet = a_site()
    allocate = of(act.AllocateNode, "host-1/VM2", slot=WEB_1)
    assert "put in slot web/1, which is still host-1/VM1's" in judge(fleet, allocate)

    def misplace(draft: Fleet) -> None:
        node = draft.nodes[NodeId("host-1/VM1")]
        draft.put_node(replace(node, placement=Placement(Place.TIER, TierId("web"), 2)))

    stop = of(act.StopNode, "host-1/VM1")
    assert "placed in slot web/2" in judge(fleet, stop, also=misplace)


def test_no_guest_is_given_work_on_a_host_that_is_brought_down() -> None:
    fleet = a_site(a_virtual_node("host-1", 1, tier="web", placement=FREE, lifecycle=Lifecycle.IDLE))
    allocate = of(act.AllocateNode, "host-1/VM2", slot=WEB_1)
    sentences = judge(fleet, allocate, of(act.ReleaseNode, "host-1"))
    assert "host-1/VM2 is given work on host host-1, which is brought down" in sentences


def test_it_looks_at_what_was_touched_and_nothing_else() -> None:
    """Its cost follows the plan: a fleet whose tables count their reads shows it."""

    class Counting(dict[NodeId, Node]):
        reads = 0

        def get(self, key: NodeId, default: Node | None = None) -> Node | None:
            type(self).reads += 1
            return super().get(key, default)

        def __iter__(self):
            raise AssertionError("the checker walks over all nodes")

    crowd = [a_virtual_node("host-2", number) for number in range(3, 203)]
    fleet = a_site(*crowd)
    action = of(act.StopNode, "host-1/VM1")
    draft = fleet.edit()
    begin(draft, action, NOW)
    fleet.nodes = Counting(fleet.nodes)
    assert check(fleet, [action], draft) == ()
    assert Counting.reads < 40
