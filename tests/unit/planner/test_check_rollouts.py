"""What the checker refuses of roll-outs, whoever planned it."""

from typing import Any

import pytest

from metier.domain.actions import Action, EndRollout, MoveSlot, PauseRollout, StopNode
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, TierId, image_ref
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement, Node
from metier.domain.tier import Rollout, TierState
from metier.planner.check import check
from metier.planner.effects import begin
from tests.builders import NOW, a_fleet, a_host, a_host_image, a_host_tier, a_tier, a_virtual_node, an_image

WEB = TierId("web")
VM = NodeId("host-1/VM1")
STARTING = Lifecycle.STARTING


def a_site(*nodes: Node, rollout: Rollout | None = None, **tier: Any) -> Fleet:
    fields = {"state": TierState.ACTIVE, "target": 3, "image": image_ref("web@2")}
    return a_fleet(
        a_host_image(),
        an_image(),
        an_image("web@2"),
        a_host_tier(state=TierState.ACTIVE),
        a_host(),
        a_tier(**(fields | {"rollout": rollout or Rollout(image_ref("web@1"), NOW)} | tier)),
        *nodes,
    )


def members(*states: Lifecycle, **fields: Any) -> list[Node]:
    return [
        a_virtual_node(number=number, tier="web", slot=number, lifecycle=state, **fields)
        for number, state in enumerate(states, 1)
    ]


def judged(fleet: Fleet, *actions: Action) -> tuple[str, ...]:
    draft = fleet.edit()
    for action in actions:
        begin(draft, action, NOW)
    return check(fleet, actions, draft)


def move(number: int, tier: str = "web") -> MoveSlot:
    node = NodeId(f"host-1/VM{number}")
    return MoveSlot(node=node, tier=TierId(tier), number=number, why="next", rule="R-UPDATE-1")


def stop(number: int) -> StopNode:
    return StopNode(node=NodeId(f"host-1/VM{number}"), why="next", rule="R-UPDATE-1")


def test_a_sound_step_is_let_through() -> None:
    assert judged(a_site(*members(Lifecycle.RUNNING, Lifecycle.RUNNING)), move(1), stop(1)) == ()


def test_no_more_slots_at_a_time_than_may_be() -> None:
    fleet = a_site(*members(STARTING, Lifecycle.RUNNING), rollout=Rollout(image_ref("web@1"), NOW, (1,)))
    (sentence,) = judged(fleet, move(2), stop(2))
    assert sentence == "tier web rolls out 2 slots at a time (host-1/VM1, host-1/VM2), and may 1"
    both = a_site(*members(STARTING, STARTING), max_unavailable=2)
    assert judged(both, move(1), move(2)) == ()


def test_disengaged_members_are_not_for_roll_outs() -> None:
    hands_off = Engagement(engaged=False)
    sentences = judged(a_site(*members(Lifecycle.RUNNING, engagement=hands_off)), move(1), stop(1))
    assert "MoveSlot of a roll-out is meant for host-1/VM1, which is disengaged" in sentences
    assert "StopNode of a roll-out is meant for host-1/VM1, which is disengaged" in sentences


def test_nothing_is_moved_while_it_is_paused() -> None:
    paused = Rollout(image_ref("web@1"), NOW, paused="slot 2 failed")
    (sentence,) = judged(a_site(*members(STARTING), rollout=paused), move(1))
    assert sentence == "slot 1 of tier web is moved while the roll-out is paused"


def test_nothing_is_moved_beyond_the_maximum() -> None:
    (sentence,) = judged(a_site(*members(STARTING), a_virtual_node(number=9)), move(9))
    assert sentence == "slot 9 of tier web is moved, and its maximum is 3"


@pytest.mark.parametrize("kind", [PauseRollout, EndRollout])
def test_only_active_guest_tiers_roll(kind: type[PauseRollout] | type[EndRollout]) -> None:
    more = {"reason": "it failed"} if kind is PauseRollout else {}
    action = kind(node=VM, tier=WEB, why="because", rule="R-UPDATE-1", **more)
    resting = a_site(*members(Lifecycle.IDLE), state=TierState.ALLOCATED)
    assert judged(resting, action) == (f"{kind.__name__} is meant for tier web, which is allocated",)


def test_host_tiers_never_roll() -> None:
    rollout = Rollout(image_ref("vmm@1"), NOW)
    host = a_host()
    fleet = a_fleet(a_host_image(), a_host_tier(state=TierState.ACTIVE, rollout=rollout), host)
    action = MoveSlot(node=host.name, tier=TierId("hosts"), number=1, why="next", rule="R-UPDATE-1")
    (sentence,) = judged(fleet, action)
    assert sentence == "MoveSlot is meant for tier hosts, a host tier"


def test_a_tier_without_a_roll_out_has_no_steps() -> None:
    fleet = a_site(*members(STARTING))
    draft = fleet.edit()
    plain = a_tier(state=TierState.ACTIVE, target=3)
    draft.put_tier(plain)
    sentences = check(draft.freeze(), (move(1),), draft)
    assert "MoveSlot is meant for tier web, which has no roll-out" in sentences
