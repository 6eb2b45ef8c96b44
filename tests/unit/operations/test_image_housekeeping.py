"""Who uses which image version, what it takes, what its bytes are like, and what is compared."""

from datetime import timedelta
from typing import Any

import pytest

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef
from metier.domain.image_use import host_key, used_versions, uses
from metier.domain.job import JobState
from metier.domain.tier import Rollout
from metier.operations.registry import Row
from tests.builders import (
    NOW,
    a_fleet,
    a_host_image,
    a_job,
    a_slot,
    a_tier,
    a_virtual_node,
    an_image,
    an_instance,
)
from tests.unit.operations.asking import FakeServices, a_view, ask, change, still

ONE, TWO = ImageRef("web", "1"), ImageRef("web", "2")


class MeasuringServices(FakeServices):
    """Services that know what versions take."""

    def matrix(self) -> Row:
        return {
            "measured": NOW,
            "error": "",
            "folders": [{"folder": "/images", "state": "ok", "total_bytes": 100, "free_bytes": 60}],
            "own_bytes": {"web@1": 30, "web@2": 5, "gone@1": 1},
            "shared_bytes": {"web@1": 0, "web@2": 7, "gone@1": 0},
        }


def measured(fleet: Fleet) -> Any:
    return a_view(fleet, services=MeasuringServices())


# --- who uses what -------------------------------------------------------------------


def test_every_user_of_a_version_is_named_and_used_versions_are_the_same() -> None:
    rollout = Rollout(previous=ONE, started=NOW)
    fleets = {
        "tier": a_fleet(an_image(), a_tier()),
        "slot": a_fleet(an_image(), a_slot(instance=an_instance())),
        "node": a_fleet(an_image(), a_virtual_node(instance=an_instance())),
        "job": a_fleet(an_image(), a_job(1, kind="image-export", subject="web@1", state=JobState.RUNNING)),
    }
    for kind, fleet in fleets.items():
        assert kind in {use.kind for use in uses(fleet, ONE)}
        assert used_versions(fleet) == {ONE}
    rolling = a_fleet(an_image(), an_image("web@2"), a_tier(image=TWO, rollout=rollout))
    assert [use.what for use in uses(rolling, ONE)] == ["a roll-out from it is under way in tier {}"]
    assert [use.what for use in uses(rolling, TWO)] == ["a roll-out to it is under way in tier {}"]
    assert used_versions(rolling) == {ONE, TWO}
    ended = a_fleet(an_image(), a_job(1, kind="image-export", subject="web@1", state=JobState.DONE))
    assert uses(ended, ONE) == []
    assert used_versions(ended) == set()


def test_hosts_that_hold_a_copy_for_instances_are_shown() -> None:
    row = ask(
        a_fleet(an_image(), a_slot(instance=an_instance(store="host-7"))), "image", "show", name="web@1"
    )
    assert row["used_by"] == [{"kind": "slot", "name": "web/1"}, {"kind": "host", "name": "host-7"}]


def test_a_version_in_a_roll_out_is_not_deleted() -> None:
    rolling = a_fleet(
        an_image(active=False),
        an_image("web@2"),
        a_tier(image=TWO, rollout=Rollout(previous=ONE, started=NOW)),
    )
    with pytest.raises(Refusal, match="a roll-out from it is under way in tier web") as caught:
        change(rolling, "image", "delete", name="web@1")
    assert caught.value.remedy == "let the roll-out end first: `metier tier explain web`"


def test_all_that_stands_in_the_way_is_said_at_once() -> None:
    job = a_job(3, kind="image-export", subject="web@1", state=JobState.RUNNING)
    fleet = a_fleet(an_image(active=False), a_tier(), a_tier("api"), a_slot(instance=an_instance()), job)
    with pytest.raises(Refusal) as caught:
        change(fleet, "image", "delete", name="web@1")
    assert str(caught.value) == (
        "cannot delete image web@1: it is assigned to tier api, web; job 3 is at work on it (image-export)"
    )


def test_what_is_compared_is_not_deleted_meanwhile() -> None:
    fleet, _ = change(
        a_fleet(an_image(active=False), an_image("web@2", active=False)),
        "image",
        "diff",
        name="web@1",
        after="web@2",
    )
    for name in ("web@1", "web@2"):
        with pytest.raises(Refusal, match="job 1 is at work on it"):
            change(fleet, "image", "delete", name=name)


# --- copies on hosts ---------------------------------------------------------------------


def test_a_deletion_has_hosts_drop_their_copies_too() -> None:
    fleet, outcome = change(a_fleet(an_image(active=False)), "image", "delete", name="web@1")
    assert [job.kind for job in fleet.jobs.values()] == ["image-delete", "image-drop"]
    assert outcome.job == 1
    assert fleet.jobs[2].arguments["key"] == host_key(an_image())


# --- sizes and content ---------------------------------------------------------------------


def test_lists_show_what_a_version_takes_by_itself() -> None:
    fleet = a_fleet(an_image(), an_image("web@2"))
    rows = ask(fleet, "image", "list", view=measured(fleet))
    assert [(row["own_bytes"], row["shared_bytes"]) for row in rows] == [(30, 0), (5, 7)]
    assert [row["own_bytes"] for row in ask(fleet, "image", "list")] == [None, None]


def test_the_matrix_shows_folders_and_what_unused_versions_would_free() -> None:
    fleet = a_fleet(an_image(), an_image("web@2"), a_tier(image=TWO))
    row = ask(fleet, "", "matrix", view=measured(fleet))
    assert (row["versions"], row["unused_bytes"]) == (2, 30)
    assert row["unused"] == [{"image": "web@1", "own_bytes": 30}]
    assert row["folders"][0]["free_bytes"] == 60
    assert ask(fleet, "", "matrix")["measured"] is None


def test_the_last_verification_is_shown() -> None:
    later = NOW + timedelta(hours=1)
    job = a_job(4, kind="image-verify", subject="web@1", state=JobState.DONE, created=NOW, finished=later)
    row = ask(a_fleet(an_image(), job), "image", "show", name="web@1")
    assert (row["content"], row["verified_by_job"], row["damage"]) == ("verified", 4, None)
    bad = a_job(
        5,
        kind="image-verify",
        subject="web@1",
        state=JobState.FAILED,
        created=NOW,
        finished=later,
        error="image web@1 is damaged: disk0.qcow2 is missing",
    )
    row = ask(a_fleet(an_image(), job, bad), "image", "list")[0]
    assert (row["content"], row["damage"]) == ("damaged", "disk0.qcow2 is missing")


def test_a_captured_version_names_its_parent() -> None:
    parent = {"name": "web", "version": "1"}
    job = a_job(
        1,
        kind="image-capture",
        subject="web@2",
        state=JobState.DONE,
        created=NOW,
        arguments={"parent": parent},
    )
    row = ask(a_fleet(an_image(), an_image("web@2", created=NOW), job), "image", "show", name="web@2")
    assert row["captured_from"] == "web@1"


# --- comparing ------------------------------------------------------------------------------


def test_a_comparison_is_a_job_that_names_both() -> None:
    fleet = a_fleet(an_image(), an_image("web@2"))
    after, outcome = change(
        fleet, "image", "diff", name="web@1", after="web@2", path="/etc", files=True, all=True
    )
    job = after.jobs[1]
    assert (job.kind, job.subject, outcome.job) == ("image-diff", "web@2", 1)
    assert (job.arguments["before"], job.arguments["path"], job.arguments["all"]) == ("web@1", "/etc", True)
    assert still(after, "image", "diff", name="web@1", after="web@2") == ["job 1: queued"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": "web@1", "after": "web@1"}, WrongUsage),
        ({"name": "vmm@1", "after": "web@1"}, Refusal),
        ({"name": "web@1", "after": "web@2", "path": "etc"}, WrongUsage),
        ({"name": "web@1", "after": "web@2", "path": "/" + "x" * 5000}, WrongUsage),
        ({"name": "web@1", "after": "web@2", "path": "/etc\n"}, WrongUsage),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    fleet = a_fleet(an_image(), an_image("web@2"), a_host_image())
    with pytest.raises(error):
        change(fleet, "image", "diff", **arguments)
