"""Pools, alerts, jobs, events, and the site at a glance."""

from datetime import timedelta
from typing import Any

import pytest

from metier.domain.actions import AllocateNode
from metier.domain.alert import Severity
from metier.domain.errors import NoSuchThing, Refusal, WrongUsage
from metier.domain.forecast import Forecast, Foreseen
from metier.domain.ids import NodeId, SlotId, TierId
from metier.domain.job import JobState
from metier.domain.node import Engagement
from metier.domain.pool import PoolSettings
from metier.domain.tier import TierState
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_tier,
    a_job,
    a_node,
    a_tier,
    a_virtual_node,
    an_alert,
    an_image,
)
from tests.unit.operations.asking import FakeServices, a_view, ask, change, still


def test_pools_are_counted() -> None:
    fleet = a_fleet(
        a_node("n1"),
        a_node("n2", engagement=Engagement(False)),
        a_node("n3", place="maintenance"),
        a_host(),
        a_host_tier(),
        a_virtual_node(),
    )
    rows = {row["name"]: row for row in ask(fleet, "pool", "list")}
    assert list(rows) == ["free", "maintenance", "discovered", "quarantined", "reserved"]
    assert rows["free"] == {
        "name": "free",
        "nodes": 3,
        "physical": 2,
        "virtual": 1,
        "ready": 2,
        "disengaged": 1,
    }
    assert rows["maintenance"]["nodes"] == 1
    shown = ask(fleet, "pool", "show", name="free")
    assert shown["members"] == ["host-1/VM1", "n1", "n2"]
    assert shown["warm_spares"] == 1
    with pytest.raises(NoSuchThing, match="there is no pool tier"):
        ask(fleet, "pool", "show", name="tier")


def test_pool_settings_change_one_by_one() -> None:
    fleet, outcome = change(a_fleet(), "pool", "set", automatic_free=False, warm_spares=3)
    assert (fleet.pool.automatic_free, fleet.pool.warm_spares) == (False, 3)
    assert fleet.pool.automatic_discovery
    assert outcome.message == "the pools' settings changed"
    again, outcome = change(fleet, "pool", "set", warm_spares=3)
    assert again is fleet
    with pytest.raises(WrongUsage, match="site_max_unhealthy_percent cannot be 101"):
        change(fleet, "pool", "set", site_max_unhealthy_percent=101)
    with pytest.raises(WrongUsage, match="warm_spares cannot be -1"):
        change(fleet, "pool", "set", warm_spares=-1)
    assert PoolSettings().automatic_free


def test_alerts_that_stand_come_first_by_severity_and_age() -> None:
    """S76."""
    fleet = a_fleet(
        an_alert(1),
        an_alert(2, severity=Severity.CRITICAL, code="tier-below-minimum", subject="api", acknowledged="bob"),
        an_alert(3, since=NOW - timedelta(hours=1)),
        an_alert(4, cleared=NOW),
    )

    def listed(**filters: Any) -> list[int]:
        return [row["id"] for row in ask(fleet, "alert", "list", **filters)]

    assert listed() == [2, 3, 1]
    assert listed(all=True) == [2, 3, 1, 4]
    assert listed(severity="warning") == [3, 1]
    assert listed(code="tier-below-minimum") == [2]
    assert listed(subject="api") == [2]
    assert listed(acknowledged=False) == [3, 1]


def test_an_alert_says_what_to_do_about_its_subject() -> None:
    row = ask(a_fleet(an_alert(7)), "alert", "show", id=7)
    keys = {"id", "code", "severity", "subject", "message", "remedy", "since", "acknowledged"}
    assert keys <= set(row)
    assert row["remedy"].startswith("see `metier tier explain web`")
    assert row["acknowledged"] == ""
    assert ask(a_fleet(an_alert(7, code="of-another-time")), "alert", "show", id=7)["remedy"] is None


def test_an_alert_is_acknowledged_by_whoever_asks() -> None:
    fleet, outcome = change(a_fleet(an_alert(7)), "alert", "ack", id=7)
    assert fleet.alerts[7].acknowledged == "alice"
    assert outcome.message == "alert 7 acknowledged"
    _, outcome = change(fleet, "alert", "ack", id=7)
    assert outcome.message == "alert 7 is acknowledged by alice already"
    with pytest.raises(NoSuchThing, match="there is no alert 8"):
        change(fleet, "alert", "ack", id=8)


def test_events_are_the_newest_unless_a_beginning_is_given() -> None:
    services = FakeServices([{"id": n, "subject": "web"} for n in range(1, 6)])
    view = a_view(a_fleet(), services=services)
    assert [row["id"] for row in ask(a_fleet(), "event", "list", view=view, limit=2)] == [4, 5]
    assert [row["id"] for row in ask(a_fleet(), "event", "list", view=view, after=1, limit=2)] == [2, 3]
    assert ask(a_fleet(), "event", "list", view=view, subject="api") == []
    assert services.asked[1] == {"after": 1, "limit": 2, "subject": None, "newest": False}
    with pytest.raises(WrongUsage, match="the limit cannot be 0"):
        ask(a_fleet(), "event", "list", view=view, limit=0)


def test_jobs_are_listed_and_shown() -> None:
    fleet = a_fleet(a_job(2, state=JobState.RUNNING), a_job(1, state=JobState.DONE, kind="image-verify"))
    assert [row["id"] for row in ask(fleet, "job", "list")] == [1, 2]
    assert [row["id"] for row in ask(fleet, "job", "list", state="running")] == [2]
    assert [row["id"] for row in ask(fleet, "job", "list", kind="image-verify")] == [1]
    assert ask(fleet, "job", "show", id=2)["state"] == "running"
    with pytest.raises(NoSuchThing, match="there is no job 9"):
        ask(fleet, "job", "show", id=9)


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked_to_stop() -> None:
    fleet, _ = change(a_fleet(a_job(1)), "job", "cancel", id=1)
    assert (fleet.jobs[1].state, fleet.jobs[1].finished) == (JobState.CANCELLED, NOW)
    fleet, _ = change(a_fleet(a_job(1, state=JobState.RUNNING, step="unpacking")), "job", "cancel", id=1)
    assert (fleet.jobs[1].state, fleet.jobs[1].cancel_requested) == (JobState.RUNNING, True)
    assert still(fleet, "job", "cancel", id=1) == ["job 1 is running: unpacking"]
    _, outcome = change(fleet, "job", "cancel", id=1)
    assert outcome.message == "job 1 is being cancelled already"


def test_a_job_that_has_ended_or_cannot_end_is_not_cancelled() -> None:
    with pytest.raises(Refusal, match="cannot cancel job 1: it is done already"):
        change(a_fleet(a_job(state=JobState.DONE)), "job", "cancel", id=1)
    with pytest.raises(Refusal, match="only its files remain"):
        change(a_fleet(a_job(kind="image-delete", state=JobState.RUNNING)), "job", "cancel", id=1)


def test_status_sums_the_site_up() -> None:
    fleet = a_fleet(
        a_host(),
        a_host_tier(state=TierState.ACTIVE),
        a_virtual_node(tier="web"),
        a_virtual_node(number=2),
        a_tier(target=2, state=TierState.ACTIVE),
        an_image(),
        an_alert(1),
        an_alert(2, severity=Severity.CRITICAL),
        an_alert(3, cleared=NOW),
        a_job(1),
        a_job(2, state=JobState.DONE),
    )
    row = ask(fleet, "", "status", view=a_view(fleet, waiting={"web": ["no node fits"]}))
    assert row["time"] == "2026-03-01T12:00:00Z"
    assert (row["nodes"], row["physical"], row["virtual"]) == (3, 1, 2)
    assert row["statuses"] == {"idle": 1, "normal": 2}
    assert (row["alerts"], row["critical_alerts"], row["jobs"]) == (2, 1, 1)
    assert row["tiers"][1] == {
        "name": "web",
        "state": "active",
        "kind": "guest",
        "minimum": 1,
        "target": 2,
        "allocated": 1,
        "normal": 1,
    }
    assert row["waiting"] == [{"subject": "web", "why": "no node fits", "rule": "R-ALLOC-5"}]


def test_the_plan_is_shown_with_its_reasons() -> None:
    action = AllocateNode(
        node=NodeId("h/VM1"), why="it fits", rule="R-ALLOC-1", slot=SlotId(TierId("web"), 1)
    )
    services = FakeServices(foreseen=Forecast((Foreseen(action, 1.5),), seconds=2.0))
    view = a_view(a_fleet(), waiting={"web": ["no node fits"]}, services=services)
    row = ask(view.fleet, "", "plan", view=view)
    told = {"action": "allocate-node", "subject": "h/VM1", "why": "it fits", "rule": "R-ALLOC-1"}
    assert row["actions"] == [{**told, "after_s": 1.5}]
    assert row["waiting"] == [{"subject": "web", "why": "no node fits", "rule": "R-ALLOC-5"}]
    assert row["seconds"] == 2.0
