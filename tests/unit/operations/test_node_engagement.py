"""Engaging, disengaging, and an operator's word (R-ENGAGE, R-FENCE-1)."""

from datetime import UTC, datetime, timedelta

import pytest

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.ids import NodeId, SlotId, TierId
from metier.domain.tier import Fence
from tests.builders import NOW, a_fleet, a_host, a_host_tier, a_node, a_slot, a_virtual_node
from tests.unit.operations.asking import change

NODE, HOST = NodeId("node-1"), NodeId("host-1")


def test_a_disengagement_says_who_and_why_and_until_when() -> None:
    """S15."""
    fleet, outcome = change(
        a_fleet(a_node()), "node", "disengage", name="node-1", why="new disk", until="1d2h30m"
    )
    engagement = fleet.nodes[NODE].engagement
    assert (engagement.engaged, engagement.by, engagement.why) == (False, "alice", "new disk")
    assert engagement.until == NOW + timedelta(days=1, hours=2, minutes=30)
    assert outcome.message == "node node-1 disengaged until 2026-03-02T14:30:00Z"
    assert outcome.row is not None
    assert outcome.row["reason"] == "disengaged by alice until 2026-03-02T14:30:00Z: new disk"


@pytest.mark.parametrize("until", ["2026-03-01T15:00:00+02:00", "2026-03-01T13:00:00Z", "3600s"])
def test_an_end_may_be_a_time_or_a_duration(until: str) -> None:
    fleet, _ = change(a_fleet(a_node()), "node", "disengage", name="node-1", until=until)
    assert fleet.nodes[NODE].engagement.until == datetime(2026, 3, 1, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("soon", "neither a time nor a duration"),
        ("2026-03-01T13:00:00", "names no time zone"),
        ("2026-03-01T12:00:00Z", "is not in the future"),
        ("0s", "is not in the future"),
        ("9999-12-31T23:59:59-14:00", "is too far away"),
        ("٣h", "neither a time nor a duration"),
        ("-2h", "neither a time nor a duration"),
    ],
)
def test_an_end_that_makes_no_sense_is_refused(until: str, message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        change(a_fleet(a_node()), "node", "disengage", name="node-1", until=until)


def test_disengaging_a_host_says_what_becomes_of_its_virtual_nodes() -> None:
    fleet = a_fleet(a_host(), a_host_tier(), a_virtual_node(), a_virtual_node(number=2))
    _, outcome = change(fleet, "node", "disengage", name="host-1")
    assert outcome.warnings == (
        "while host-1 is disengaged, its 2 virtual nodes are not allocated to any tier",
    )


def test_engaging_lets_automation_act_again_and_repeating_is_no_error() -> None:
    """S15."""
    fleet, _ = change(a_fleet(a_node()), "node", "disengage", name="node-1")
    _, outcome = change(fleet, "node", "disengage", name="node-1")
    assert outcome.message == "node node-1 is disengaged already"
    fleet, outcome = change(fleet, "node", "engage", name="node-1")
    assert fleet.nodes[NODE].engaged
    assert outcome.message == "node node-1 engaged"
    _, outcome = change(fleet, "node", "engage", name="node-1")
    assert outcome.message == "node node-1 is engaged already"


def test_a_word_that_a_node_is_down_reaches_every_fence_about_it() -> None:
    """R-FENCE-1."""
    other = Fence(NodeId("host-2/VM1"), NodeId("host-2"), 1, NOW)
    fleet = a_fleet(
        a_slot(number=1, fences=(Fence(NodeId("host-1/VM1"), HOST, 1, NOW), other)),
        a_slot(number=2, fences=(Fence(NodeId("host-1/VM2"), HOST, 2, NOW),)),
    )
    after, outcome = change(fleet, "node", "attest-off", name="host-1", why="I pulled its plug")
    first, second = after.slots[SlotId(TierId("web"), 1)], after.slots[SlotId(TierId("web"), 2)]
    assert [fence.attested for fence in first.fences] == ["alice", ""]
    assert [fence.attested for fence in second.fences] == ["alice"]
    assert outcome.message == "alice attested that host-1 is down, for slot web/1, web/2: I pulled its plug"
    after, _ = change(fleet, "node", "attest-off", name="host-1/vm2", why="seen dark")
    assert after.slots[SlotId(TierId("web"), 1)] == fleet.slots[SlotId(TierId("web"), 1)]


def test_a_word_without_need_or_reason_is_refused() -> None:
    with pytest.raises(Refusal, match="nothing waits for evidence that host-1 is down"):
        change(a_fleet(a_host(tier=None)), "node", "attest-off", name="host-1", why="x")
    with pytest.raises(WrongUsage, match="without a reason"):
        change(a_fleet(a_host(tier=None)), "node", "attest-off", name="host-1", why="  ")
