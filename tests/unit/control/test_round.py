"""One round as a plain function: orders, outcomes, news and plans, and what each leaves behind."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from metier.control.alerts import AlertBook
from metier.control.inbox import JobNews, Message, Nudge, Order, Settled
from metier.control.observe import Probe, Question, Sight
from metier.control.round import REJECTED_PAUSE, Memory, Round, run_round, touched_nodes
from metier.domain.actions import PowerOn, StopNode
from metier.domain.errors import Refusal
from metier.domain.fleet import Changes, Draft, Fleet, Kind
from metier.domain.ids import NodeId, TierId, image_ref
from metier.domain.job import JobState
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement
from metier.domain.observation import Power
from metier.domain.tier import TierState
from metier.operations.registry import Argument, Caller, Form, Operation, Outcome
from metier.planner import incremental
from metier.planner.effects import Done, Failed
from metier.planner.incremental import Planner
from metier.store.api import Entry
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    a_tier,
    a_virtual_node,
    an_image,
)

HOST, HOSTS = NodeId("host-1"), TierId("hosts")
NO_ARGUMENTS: tuple[Argument, ...] = ()


def memory_of(fleet: Fleet, planner: Planner | None = None) -> Memory:
    return Memory(planner or Planner(), AlertBook(fleet))


def an_order(change: Callable[[Draft, Any, Caller], Outcome]) -> Order:
    operation = Operation("tier", "try", Form.VERB, NO_ARGUMENTS, object, "Try it.", (), change=change)
    return Order(operation, None, Caller("ann", NOW))


def renamed(priority: int) -> Callable[[Draft, Any, Caller], Outcome]:
    def change(draft: Draft, _: Any, __: Caller) -> Outcome:
        draft.put_tier(replace(draft.tiers[HOSTS], priority=priority))
        return Outcome(f"priority is {priority}")

    return change


def kinds(result: Round) -> list[str]:
    return [entry.kind for entry in result.entries]


def said(result: Round, kind: str) -> list[Entry]:
    return [entry for entry in result.entries if entry.kind == kind]


@pytest.fixture
def calm() -> Fleet:
    """A site where nothing is to be done."""
    return a_fleet(a_host_tier(), a_host_image())


@pytest.fixture
def eager() -> Fleet:
    """A site where a free host is to be switched on for its tier."""
    return a_fleet(a_host_tier(state=TierState.ACTIVE), a_host_image(), a_host(tier=None))


# --- orders --------------------------------------------------------------------


def test_an_order_changes_the_fleet_and_is_answered_and_recorded(calm: Fleet) -> None:
    order = an_order(renamed(7))
    result = run_round(calm, [order], memory_of(calm), NOW)
    assert result.fleet.tiers[HOSTS].priority == 7
    assert result.replies == [(order, Outcome("priority is 7"))]
    assert [(entry.by, entry.message) for entry in said(result, "operation")] == [("ann", "priority is 7")]


def test_a_refused_order_leaves_nothing(calm: Fleet) -> None:
    def change(draft: Draft, _: Any, __: Caller) -> Outcome:
        renamed(7)(draft, _, __)
        raise Refusal("not like this")

    result = run_round(calm, [an_order(change)], memory_of(calm), NOW)
    assert result.fleet.tiers == calm.tiers
    assert Kind.TIER not in result.changes
    assert kinds(result) == []
    assert [str(answer) for _, answer in result.replies] == ["not like this"]


def test_an_order_that_breaks_leaves_nothing_and_the_next_one_is_obeyed(calm: Fleet) -> None:
    def change(draft: Draft, _: Any, __: Caller) -> Outcome:
        renamed(7)(draft, _, __)
        raise ValueError("out of cheese")

    result = run_round(calm, [an_order(change), an_order(renamed(8))], memory_of(calm), NOW)
    (_, broken), (_, fine) = result.replies
    assert isinstance(broken, Refusal)
    assert (broken.code, str(broken)) == ("internal", "internal error: out of cheese")
    assert fine == Outcome("priority is 8")
    assert result.fleet.tiers[HOSTS].priority == 8


def test_an_order_sees_what_the_one_before_it_did(calm: Fleet) -> None:
    def change(draft: Draft, _: Any, __: Caller) -> Outcome:
        return Outcome(f"it was {draft.tiers[HOSTS].priority}")

    result = run_round(calm, [an_order(renamed(7)), an_order(change)], memory_of(calm), NOW)
    assert result.replies[1][1] == Outcome("it was 7")


# --- outcomes, answers, news -------------------------------------------------------


def begun(fleet: Fleet) -> tuple[Round, int]:
    """Return a round that begins to switch host-1 on, and the id of that work."""
    result = run_round(fleet, [], memory_of(fleet), NOW)
    ((number, action),) = result.begun
    assert isinstance(action, PowerOn)
    return result, number


def test_work_is_pending_under_the_id_it_was_begun_with(eager: Fleet) -> None:
    result, number = begun(eager)
    pending = result.fleet.nodes[HOST].pending
    assert pending is not None
    assert (pending.id, pending.action) == (number, "PowerOn")
    assert [entry.by for entry in said(result, "action")] == ["R-ALLOC-1", "R-ALLOC-1"]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Done(), "PowerOn done"),
        (Done(remarks=("no UEFI",)), "PowerOn done: no UEFI"),
        (Failed("no route"), "PowerOn failed: no route"),
    ],
)
def test_an_outcome_ends_it_and_has_its_host_looked_at(
    eager: Fleet, outcome: Done | Failed, words: str
) -> None:
    before, number = begun(eager)
    message = Settled(number, before.begun[0][1], outcome)
    result = run_round(before.fleet, [message], memory_of(before.fleet), NOW)
    assert result.fleet.nodes[HOST].pending is None
    assert [entry.message for entry in said(result, "outcome")] == [words]
    assert result.nudged == [HOST]


def test_an_outcome_that_nobody_waits_for_is_ignored(eager: Fleet) -> None:
    before, number = begun(eager)
    action = before.begun[0][1]
    stale = Settled(number + 1, action, Done())
    elsewhere = Settled(number, replace(action, node=NodeId("host-9")), Done())
    result = run_round(before.fleet, [stale, elsewhere], memory_of(before.fleet), NOW)
    assert result.fleet.nodes[HOST].pending is not None
    assert said(result, "outcome") == []


def test_an_answer_is_recorded_and_planned_from(eager: Fleet) -> None:
    sight = Sight(Question(Probe.POWER, HOST), NOW, power=Power.OFF)
    result = run_round(eager, [sight], memory_of(eager), NOW)
    assert result.fleet.seen(HOST).power is Power.OFF
    assert [entry.message for entry in said(result, "observation")] == ["power is off"]


def test_a_nudge_has_its_host_looked_at(calm: Fleet) -> None:
    assert run_round(calm, [Nudge(HOST)], memory_of(calm), NOW).nudged == [HOST]


def test_news_of_a_job_keep_what_was_asked_of_it_meanwhile() -> None:
    fleet = a_fleet(a_job(1, cancel_requested=True))
    news = JobNews(a_job(1, state=JobState.DONE), an_image("web@2"))
    result = run_round(fleet, [news], memory_of(fleet), NOW)
    assert result.fleet.jobs[1].cancel_requested
    assert image_ref("web@2") in result.fleet.images
    assert [(entry.subject, entry.message) for entry in said(result, "job")] == [
        ("web@1", "image-import done")
    ]


def test_mere_progress_is_not_told() -> None:
    fleet = a_fleet(a_job(1, state=JobState.RUNNING))
    news = JobNews(a_job(1, state=JobState.RUNNING, done_bytes=5))
    result = run_round(fleet, [news], memory_of(fleet), NOW)
    assert result.fleet.jobs[1].done_bytes == 5
    assert kinds(result) == []


def test_news_of_an_unknown_job_are_dropped() -> None:
    fleet = a_fleet()
    result = run_round(fleet, [JobNews(a_job(1), an_image())], memory_of(fleet), NOW)
    assert (result.fleet.jobs, result.fleet.images, result.changes) == ({}, {}, {})


def test_a_poisonous_message_is_dropped_and_the_others_are_taken(calm: Fleet) -> None:
    poison: Any = Settled(1, None, Done())  # type: ignore[arg-type]  # what no driver may ever send
    result = run_round(calm, [poison, an_order(renamed(7))], memory_of(calm), NOW)
    assert result.fleet.tiers[HOSTS].priority == 7


# --- plans ---------------------------------------------------------------------------


class Unsound(Planner):
    """Plans something that must never be done, as long as it is told to.

    Attributes:
        asked: The changes it was asked about; None for everything.
    """

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.asked: list[Changes | None] = []

    def plan(self, fleet: Fleet, now: Any, changes: Changes | None) -> incremental.Round:
        """Plan, and add what must not be."""
        self.asked.append(changes)
        if self.fault == "breaks":
            raise KeyError("host-7")
        planned = super().plan(fleet, now, changes)
        if self.fault == "touches a disengaged node":
            planned.work.actions.append(StopNode(node=HOST, why="it is Tuesday", rule="R-NONE-1"))
        return planned


@pytest.fixture
def disengaged() -> Fleet:
    host = a_host(engagement=Engagement(False, "ann", NOW))
    return a_fleet(a_host_tier(state=TierState.ACTIVE), a_host_image(), host)


@pytest.mark.parametrize("fault", ["breaks", "touches a disengaged node"])
def test_a_rejected_plan_keeps_what_arrived_and_does_nothing(disengaged: Fleet, fault: str) -> None:
    memory = memory_of(disengaged, Unsound(fault))
    result = run_round(disengaged, [an_order(renamed(7))], memory, NOW)
    assert result.fleet.tiers[HOSTS].priority == 7
    assert result.changes[Kind.TIER][HOSTS].priority == 7
    assert result.begun == []
    assert result.wake == NOW + REJECTED_PAUSE
    assert [alert.code for alert in result.fleet.alerts.values()] == ["plan-rejected"]
    assert [str(answer) for _, answer in result.replies] == [str(Outcome("priority is 7"))]


def test_after_a_rejected_plan_everything_is_planned_anew(disengaged: Fleet) -> None:
    planner = Unsound("breaks")
    memory = memory_of(disengaged, planner)
    first = run_round(disengaged, [], memory, NOW)
    planner.fault = ""
    second = run_round(first.fleet, [], memory, NOW + REJECTED_PAUSE)
    run_round(second.fleet, [], memory, NOW + 2 * REJECTED_PAUSE)
    assert planner.asked == [None, None, {}]
    assert [alert.cleared is not None for alert in second.fleet.alerts.values()] == [True]


def test_a_rejected_plan_clears_no_alert(disengaged: Fleet) -> None:
    planner = Unsound("")
    short = a_tier("web", state=TierState.ACTIVE)
    draft = disengaged.edit()
    draft.put_tier(short)
    draft.put_image(an_image())
    memory = memory_of(disengaged, planner)
    first = run_round(draft.freeze(), [], memory, NOW)
    standing = {alert.code for alert in first.fleet.alerts.values()}
    assert "tier-short" in standing
    planner.fault = "breaks"
    second = run_round(first.fleet, [], memory, NOW + timedelta(seconds=1))
    now_standing = {alert.code for alert in second.fleet.alerts.values() if alert.cleared is None}
    assert now_standing == standing | {"plan-rejected"}


# --- what is stored ---------------------------------------------------------------------

TABLES = {
    Kind.NODE: "nodes",
    Kind.OBSERVED: "observed",
    Kind.TIER: "tiers",
    Kind.SLOT: "slots",
    Kind.TROUBLE: "troubles",
    Kind.IMAGE: "images",
    Kind.ALERT: "alerts",
    Kind.JOB: "jobs",
    Kind.TIMING: "timings",
}


def records(fleet: Fleet) -> Changes:
    return {kind: dict(getattr(fleet, table)) for kind, table in TABLES.items()}


def with_changes(fleet: Fleet, changes: Changes) -> Changes:
    """Return what a store would hold that had `fleet` and saved `changes`."""
    stored = records(fleet)
    for kind, by_key in changes.items():
        for key, record in by_key.items():
            if record is None:
                stored[kind].pop(key, None)
            else:
                stored[kind][key] = record
    return stored


def test_the_changes_of_a_round_are_all_that_changed() -> None:
    fleet = a_fleet(
        a_host_tier(state=TierState.ACTIVE),
        a_tier("web", state=TierState.ACTIVE),
        a_host_image(),
        an_image(),
        a_host(tier=None),
        a_virtual_node("host-9", 4),
        a_job(1),
    )
    messages: list[Message] = [
        an_order(renamed(7)),
        Sight(Question(Probe.POWER, HOST), NOW, power=Power.OFF),
        JobNews(a_job(1, state=JobState.DONE), an_image("web@2")),
    ]
    memory = memory_of(fleet)
    for seconds in range(4):
        result = run_round(fleet, messages, memory, NOW + timedelta(seconds=seconds))
        assert with_changes(fleet, result.changes) == records(result.fleet)
        messages = [Settled(number, action, Done()) for number, action in result.begun]
        fleet = result.fleet
    assert fleet.nodes[HOST].lifecycle is Lifecycle.BOOTING


# --- who has to be looked at ---------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {Kind.NODE: {NodeId("host-1/VM1"): None}},
        {Kind.TIER: {TierId("web"): None}},
        {Kind.IMAGE: {image_ref("web@1"): None}},
        {Kind.OBSERVED: {NodeId("host-1/VM1"): None}},
    ],
    ids=lambda changes: str(next(iter(changes))),
)
def test_a_guest_is_touched_by_its_tier_and_image_and_touches_its_host(changes: Changes) -> None:
    fleet = a_fleet(a_tier(), an_image(), a_host(), a_virtual_node(tier="web"), a_host("host-2", slot=2))
    assert touched_nodes(fleet, changes) == {"host-1/VM1", "host-1"}
