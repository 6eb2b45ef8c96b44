"""What actions do to the Fleet when they are begun, when they end, and when a controller dies in between."""

from datetime import timedelta

import pytest

from metier.domain import actions as act
from metier.domain.errors import Bug
from metier.domain.fleet import Draft
from metier.domain.ids import NodeId, SlotId, TierId, image_ref
from metier.domain.lifecycle import Event, Lifecycle
from metier.domain.node import Instance, Node, Pending, Place
from metier.domain.observation import Observed, Power
from metier.planner.effects import UNSURE_START_S, Done, Failed, begin, recover, settle
from tests.builders import (
    NOW,
    VM_HARDWARE,
    a_fleet,
    a_host,
    a_host_tier,
    a_slot,
    a_tier,
    a_virtual_node,
    an_image,
    vm_facts,
)

VM1, WEB_1 = NodeId("host-1/VM1"), SlotId(TierId("web"), 1)
INSTANCE = Instance("web-1-7", image_ref("web@1"), NodeId("host-1"), WEB_1)
SOON = NOW + timedelta(seconds=5)


def a_draft(lifecycle: Lifecycle = Lifecycle.RUNNING, **fields: object) -> Draft:
    guest = a_virtual_node(tier="web", lifecycle=lifecycle, **fields)
    records = (an_image(), a_tier(), a_host_tier(), a_host(), guest, a_virtual_node(number=2))
    return a_fleet(*records).edit()


def do(draft: Draft, kind: type[act.Action], node: str = VM1, **fields: object) -> act.Action:
    action = kind(node=NodeId(node), why="a test", rule="R-TEST-1", **fields)
    begin(draft, action, NOW, 41, 3)
    return action


def vm1(draft: Draft) -> Node:
    return draft.nodes[VM1]


def test_work_is_pending_until_it_is_settled() -> None:
    draft = a_draft(Lifecycle.PREPARED)
    start = do(draft, act.StartGuest)
    assert vm1(draft).pending == Pending("StartGuest", 41, NOW, NOW + timedelta(seconds=120), 3)
    with pytest.raises(Bug, match="StopGuest on host-1/VM1 while StartGuest is in flight"):
        do(draft, act.StopGuest)
    settle(draft, start, Done(), SOON)
    assert (vm1(draft).pending, vm1(draft).started_at) == (None, SOON)


def test_a_late_outcome_changes_nothing() -> None:
    draft = a_draft(Lifecycle.PREPARED)
    start = do(draft, act.StartGuest)
    settle(draft, start, Done(), SOON)
    before = vm1(draft)
    settle(draft, start, Failed("too late"), SOON)
    assert vm1(draft) is before
    do(draft, act.DeleteNode)
    settle(draft, start, Failed("too late"), SOON)


def test_failures_in_a_row_lengthen_the_pause() -> None:
    draft = a_draft(Lifecycle.STOPPING)
    pauses = []
    for _ in range(8):
        settle(draft, do(draft, act.StopGuest), Failed("no answer"), NOW)
        retry = vm1(draft).retry
        assert retry is not None
        pauses.append((retry.not_before - NOW).total_seconds())
    assert pauses == [5, 15, 30, 60, 120, 300, 300, 300]
    settle(draft, do(draft, act.StopGuest), Done(), NOW)
    assert vm1(draft).retry is None


def test_r_fence_1_a_start_of_unknown_outcome_is_repeated_and_proves_nothing_for_a_while() -> None:
    draft = a_draft(Lifecycle.PREPARED)
    settle(draft, do(draft, act.StartGuest), Failed("silence", unsure=True), NOW)
    assert vm1(draft).lifecycle is Lifecycle.PREPARED
    assert vm1(draft).started_at == NOW + timedelta(seconds=UNSURE_START_S)


@pytest.mark.parametrize("lifecycle", [Lifecycle.IDLE, Lifecycle.PREPARED])
def test_a_refusal_fails_the_node(lifecycle: Lifecycle) -> None:
    draft = a_draft(lifecycle)
    if lifecycle is Lifecycle.IDLE:
        names = {"hostname": "web-1", "address": None, "gateway": None}
        action = do(draft, act.PrepareGuest, slot=WEB_1, image=an_image(), instance=INSTANCE, **names)
    else:
        action = do(draft, act.StartGuest)
    settle(draft, action, Failed("not enough room", final=True), SOON)
    node = vm1(draft)
    assert (node.lifecycle, node.problem, node.failures) == (Lifecycle.FAILED, "not enough room", 1)


@pytest.mark.parametrize(
    ("action", "lifecycle", "after"),
    [
        ("StartGuest", Lifecycle.BOOTING, Lifecycle.PREPARED),
        ("InventoryNode", Lifecycle.INVENTORYING, Lifecycle.NEW),
        ("PrepareGuest", Lifecycle.PREPARING, Lifecycle.PREPARING),
        ("RetireGuest", Lifecycle.STOPPING, Lifecycle.STOPPING),
    ],
)
def test_what_a_dead_controller_had_in_flight_is_repeated(
    action: str, lifecycle: Lifecycle, after: Lifecycle
) -> None:
    draft = a_draft(lifecycle, pending=Pending(action, 1, NOW, NOW))
    recover(draft, vm1(draft), NOW)
    assert (vm1(draft).pending, vm1(draft).lifecycle) == (None, after)


def test_a_start_that_a_dead_controller_began_counts_as_unsure() -> None:
    draft = a_draft(Lifecycle.BOOTING, pending=Pending("StartGuest", 1, NOW, NOW), started_at=NOW)
    recover(draft, vm1(draft), SOON)
    assert vm1(draft).started_at == SOON + timedelta(seconds=UNSURE_START_S)


def test_a_released_node_leaves_a_fence_unless_it_is_proved_down() -> None:
    draft = a_draft(started_at=NOW)
    do(draft, act.ReleaseNode)
    (fence,) = draft.slot(WEB_1).fences
    assert (fence.node, fence.host, fence.vm_number, fence.since) == (VM1, "host-1", 1, NOW)
    assert vm1(draft).lifecycle is Lifecycle.STOPPING

    seen_off = a_draft(started_at=NOW)
    seen_off.put_observed(NodeId("host-1"), Observed(vms=(vm_facts(1, Power.OFF),), vms_at=SOON))
    do(seen_off, act.ReleaseNode)
    assert not seen_off.slot(WEB_1).fences


def test_an_idle_node_without_instance_is_free_at_once() -> None:
    draft = a_draft(Lifecycle.IDLE)
    do(draft, act.ReleaseNode)
    assert (vm1(draft).lifecycle, vm1(draft).placement.place) == (Lifecycle.IDLE, Place.FREE)
    assert VM1 in next(iter(draft.free.values()))[NodeId("host-1")]


def test_a_retired_node_is_clean_and_its_slot_forgets_a_discarded_instance() -> None:
    draft = a_draft(Lifecycle.STOPPING, instance=INSTANCE)
    draft.put_slot(a_slot(instance=INSTANCE))
    settle(draft, do(draft, act.RetireGuest, discard=INSTANCE), Done(), SOON)
    assert (vm1(draft).lifecycle, vm1(draft).instance) == (Lifecycle.IDLE, None)
    assert draft.slot(WEB_1).instance is None


def test_a_discovered_node_is_named_after_its_host_and_vm() -> None:
    draft = a_draft()
    do(draft, act.DiscoverNode, "host-1/VM9", host=NodeId("host-1"), vm_number=9)
    node = draft.nodes[NodeId("host-1/VM9")]
    assert (node.host, node.vm_number, node.lifecycle) == ("host-1", 9, Lifecycle.NEW)
    assert draft.vms_of[NodeId("host-1")][9] == node.name


def test_inventory_adds_the_nodes_own_attributes() -> None:
    draft = a_draft()
    new = a_virtual_node(number=3, lifecycle=Lifecycle.NEW, hardware=None, attributes=frozenset({"rack=a"}))
    draft.put_node(new)
    draft.put_observed(NodeId("host-1"), Observed(vms=(vm_facts(3, Power.OFF),), vms_at=NOW))
    do(draft, act.RecordInventory, new.name)
    hardware = draft.nodes[new.name].hardware
    assert hardware is not None
    assert hardware.attributes == VM_HARDWARE.attributes | {"rack=a"}


def test_r_storm_1_a_failure_that_is_a_nodes_own_is_counted() -> None:
    draft = a_draft()
    do(draft, act.FailNode, event=Event.FAULT, problem="gone", own_fault=False)
    assert not draft.troubles
    other = a_draft()
    do(other, act.FailNode, event=Event.FAULT, problem="gone")
    assert other.troubles[TierId("web")].failures == (NOW,)


def test_a_fence_of_a_node_that_is_gone_can_be_lifted() -> None:
    draft = a_draft(started_at=NOW)
    do(draft, act.ReleaseNode)
    draft.remove_node(VM1)
    do(draft, act.LiftFence, slot=WEB_1, evidence="sworn")
    assert not draft.slot(WEB_1).fences


@pytest.mark.parametrize("kind", [act.ShutdownGuest, act.StopGuest])
def test_a_stop_that_may_never_have_been_asked_for_is_asked_again_at_once(kind: type[act.Action]) -> None:
    draft = a_draft(Lifecycle.STOPPING)
    action = do(draft, kind)
    assert vm1(draft).asked_at == NOW
    settle(draft, action, Failed("no route to host"), NOW)
    assert vm1(draft).asked_at is None, "the pause after a failure is enough"
    do(draft, kind)
    recover(draft, vm1(draft), SOON)
    assert vm1(draft).asked_at is None
