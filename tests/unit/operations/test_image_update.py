"""The guided update of an image: what it begins with, what it refuses, and what it holds."""

from typing import Any

import pytest

from metier.domain.errors import MetierError, NoSuchThing, Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef, NodeId, TierId
from metier.domain.job import JobState
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement, Request
from metier.domain.observation import Observed, Power
from metier.domain.procedure import Stage
from metier.domain.tier import TierState
from metier.operations.image_update import KEPT
from metier.operations.registry import Caller
from tests.builders import (
    NOW,
    Record,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    a_procedure,
    a_tier,
    a_virtual_node,
    an_image,
    vm_facts,
)
from tests.unit.operations.asking import FakeServices, a_view, ask, change, still

WEB = TierId("update-web")
VM1, VM2 = NodeId("host-1/VM1"), NodeId("host-1/VM2")


def a_site(*more: Record) -> Fleet:
    """Return a running host with two virtual nodes, one of them free."""
    return a_fleet(
        a_host_image(vms=2),
        an_image(),
        a_host_tier(state=TierState.ACTIVE),
        a_tier(state=TierState.ACTIVE),
        a_host(),
        a_virtual_node(number=1, tier="web", slot=1),
        a_virtual_node(number=2),
        *more,
        observed={"host-1": Observed(Power.ON, NOW, vms=(vm_facts(1), vm_facts(2, Power.OFF)))},
    )


def refused(fleet: Fleet, error: type[MetierError], **arguments: Any) -> str:
    with pytest.raises(error) as caught:
        change(fleet, "image", "update", **{"name": "web", **arguments})
    return f"{caught.value.message}; {caught.value.remedy}"


# --- the beginning ------------------------------------------------------------------------


def test_an_update_is_recorded_and_nothing_else_is_changed_yet() -> None:
    """S24."""
    before = a_site()
    fleet, outcome = change(before, "image", "update", name="web")
    procedure = fleet.procedures[1]
    assert (procedure.image, procedure.version) == (ImageRef("web", "1"), ImageRef("web", "2"))
    assert (procedure.tier, procedure.by, procedure.stage) == (WEB, "alice", Stage.FINDING)
    assert fleet.tiers == before.tiers
    assert fleet.nodes == before.nodes
    assert outcome.message == (
        "image update 1 of web@1 begun: host-1/VM2 runs it in tier update-web; you change the guest and "
        "shut it down from inside; then Metier captures web@2, puts all back"
    )


def test_options_of_capture_tier_and_roll_out_are_kept() -> None:
    fleet, _ = change(
        a_site(),
        "image",
        "update",
        name="web@1",
        version="9",
        node="host-1/vm2",
        hostname="try",
        address="10.0.0.9/24",
        gateway="10.0.0.1",
        minimum_memory_mib=300,
        attribute=("ssd",),
        roll_out=("web",),
    )
    procedure = fleet.procedures[1]
    assert procedure.version == ImageRef("web", "9")
    assert procedure.wanted == VM2
    assert procedure.capture == {"minimum_memory_mib": 300, "attribute": ["ssd"]}
    assert procedure.roll_out == (TierId("web"),)
    slot = procedure.slot
    assert (slot.hostname, slot.address, slot.gateway) == ("try", "10.0.0.9/24", "10.0.0.1")


def test_its_tier_is_called_something_that_no_tier_is_called() -> None:
    fleet, _ = change(a_site(a_tier("Update-Web")), "image", "update", name="web")
    assert fleet.procedures[1].tier == "update-web-2"


def test_all_tiers_on_older_versions_can_be_named_at_once() -> None:
    fleet, _ = change(a_site(a_tier("shop")), "image", "update", name="web", roll_out_all=True)
    assert fleet.procedures[1].roll_out == (TierId("shop"), TierId("web"))


def test_where_no_virtual_node_is_free_a_host_is_to_be_made() -> None:
    """S24."""
    fleet = a_site(a_virtual_node(number=2, tier="web", slot=2), a_host("host-2", tier=None))
    _, outcome = change(fleet, "image", "update", name="web")
    assert "host-2 becomes a host with vmm@1 in tier update-web-host, host-2/VM1 runs it" in outcome.message


# --- refused before anything is made --------------------------------------------------------


def test_without_any_node_it_is_refused_and_says_in_numbers_why() -> None:
    fleet = a_site(a_virtual_node(number=2, tier="web", slot=2))
    assert refused(fleet, Refusal).startswith(
        "cannot update image web@1: none of 2 virtual nodes is free and fits: 2 in a tier; "
        "and none of 1 physical node is free and could be made a host: 1 in a tier"
    )


def test_an_image_too_large_for_every_node_is_refused_with_both_numbers() -> None:
    fleet = a_site(an_image("big@1", requirements=an_image().requirements.__class__(memory_mib=4096)))
    said = refused(fleet, Refusal, name="big")
    assert "no host image offers a VM of 4096 MiB: the largest has 512 MiB" in said


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (NoSuchThing, "there is no image w2k", {"name": "w2k"}),
        (WrongUsage, "image vmm@1 is a host image", {"name": "vmm"}),
        (Refusal, "image web@1 exists already", {"version": "1"}),
        (Refusal, "cannot update image web@1 on host-1/VM1: it is in tier web", {"node": "host-1/VM1"}),
        (NoSuchThing, "there is no node host-9/VM1", {"node": "host-9/VM1"}),
        (WrongUsage, "image web@1 is no host image", {"host_image": "web@1"}),
        (WrongUsage, "'-x' cannot be a host name", {"hostname": "-x"}),
        (NoSuchThing, "there is no tier shop", {"roll_out": ("shop",)}),
        (Refusal, "over tier hosts: it runs vmm@1", {"roll_out": ("hosts",)}),
        (WrongUsage, "exclude each other", {"roll_out": ("web",), "roll_out_all": True}),
        (WrongUsage, "exclude each other", {"retry": True, "abort": True}),
        (WrongUsage, "startup time in seconds cannot be 0", {"startup_seconds": 0}),
        (Refusal, "no update of image web is under way", {"abort": True}),
        (Refusal, "no update of image web is under way", {"retry": True}),
    ],
)
def test_what_cannot_be_is_refused(error: type[MetierError], words: str, arguments: dict[str, Any]) -> None:
    assert words in refused(a_site(), error, **arguments)


# --- again, on, and away ----------------------------------------------------------------------


def test_the_same_command_again_shows_how_far_it_is_and_another_one_is_refused() -> None:
    fleet = a_site(a_procedure(told="waits for something"))
    after, outcome = change(fleet, "image", "update", name="web")
    assert outcome.message == "image update 1 of web@1 is under way already"
    assert after.procedures == fleet.procedures
    assert "image update 1 of web@1 is under way: waits for something" in refused(fleet, Refusal, version="5")


def test_giving_up_is_recorded_once() -> None:
    fleet, outcome = change(a_site(a_procedure(problem="stuck")), "image", "update", name="web", abort=True)
    assert (fleet.procedures[1].aborted_by, fleet.procedures[1].problem) == ("alice", "")
    assert outcome.message == "image update 1 of web@1 given up; all is put back"
    _, again = change(fleet, "image", "update", name="web", abort=True)
    assert "given up already" in again.message


def test_an_update_that_has_its_version_is_not_given_up_any_more() -> None:
    fleet = a_site(a_procedure(captured=True))
    assert "image web@2 is there already" in refused(fleet, Refusal, abort=True)
    assert "is over: all is being put back" in refused(fleet, Refusal, retry=True)


def test_a_retry_forgets_the_failed_capture_and_takes_a_persons_word_for_an_unclean_guest() -> None:
    fleet = a_site(
        a_tier("update-web", state=TierState.ACTIVE),
        a_virtual_node(number=3, tier="update-web", engagement=Engagement(False, "image update 1")),
        a_job(7, kind="image-capture", subject="web@2", state=JobState.FAILED),
        a_procedure(node="host-1/VM3", made=("update-web",), disengaged=("host-1/VM3",), job=7, problem="no"),
    )
    caller = Caller("bob", NOW, accept_warnings=True)
    after, _ = change(fleet, "image", "update", name="web", retry=True, version="5", caller=caller)
    procedure = after.procedures[1]
    assert (procedure.job, procedure.accept_unclean, procedure.problem) == (None, True, "")
    assert procedure.version == ImageRef("web", "5")
    assert procedure.disengaged == ("host-1/VM3",)


def test_a_retry_starts_a_guest_again_that_did_not_start() -> None:
    fleet = a_site(
        a_tier("update-web", state=TierState.ACTIVE),
        a_virtual_node(number=3, tier="update-web", lifecycle=Lifecycle.FAILED, problem="no answer"),
        a_procedure(node="host-1/VM3", made=("update-web",), stage=Stage.STARTING, problem="no answer"),
    )
    after, _ = change(fleet, "image", "update", name="web", retry=True)
    assert after.nodes[NodeId("host-1/VM3")].request is Request.POWER_CYCLE


def test_a_retry_begins_anew_where_the_tier_is_gone() -> None:
    gone = a_procedure(node="host-1/VM3", made=("update-web",), disengaged=("host-1/VM3",), problem="gone")
    after, _ = change(a_site(gone), "image", "update", name="web", retry=True)
    procedure = after.procedures[1]
    assert (procedure.made, procedure.node, procedure.disengaged) == ((), None, ())
    assert procedure.stage is Stage.FINDING


# --- what it holds -----------------------------------------------------------------------------


def test_versions_and_tiers_that_an_update_needs_cannot_be_deleted_by_others() -> None:
    """R-DELETE-1."""
    fleet = a_site(
        an_image("web@0", active=False),
        a_tier("update-web"),
        a_procedure(image=ImageRef("web", "0"), made=("update-web",)),
    )
    with pytest.raises(Refusal, match="image update 1 of web@0 by tester"):
        change(fleet, "image", "delete", name="web@0")
    with pytest.raises(Refusal, match="image update 1 of web@0 made it and deletes it itself"):
        change(fleet, "tier", "delete", name="update-web")
    after, _ = change(fleet, "tier", "delete", name="update-web", caller=Caller("image update 1", NOW))
    assert WEB not in after.tiers


def test_of_updates_that_ended_only_the_last_are_kept() -> None:
    ended = [a_procedure(number, ended=NOW) for number in range(1, KEPT + 3)]
    fleet, _ = change(a_site(*ended), "image", "update", name="web")
    assert sorted(fleet.procedures) == list(range(4, KEPT + 4))


# --- seen ----------------------------------------------------------------------------------------


def test_the_list_can_be_narrowed() -> None:
    fleet = a_site(a_procedure(1, ended=NOW), a_procedure(2), a_procedure(3, image=ImageRef("db", "1")))
    assert [row["id"] for row in ask(fleet, "procedure", "list")] == [1, 2, 3]
    assert [row["id"] for row in ask(fleet, "procedure", "list", live=True)] == [2, 3]
    assert [row["id"] for row in ask(fleet, "procedure", "list", image="web")] == [1, 2]


def test_one_is_shown_with_its_steps_and_how_its_guest_is_reached() -> None:
    fleet = a_site(a_procedure(node="host-1/VM1", stage=Stage.CHANGING, told="your turn"))
    entries = [
        {
            "id": 1,
            "at": "t1",
            "kind": "procedure",
            "subject": "web@1",
            "message": "took",
            "by": "image update 1",
        },
        {
            "id": 2,
            "at": "t2",
            "kind": "procedure",
            "subject": "web@1",
            "message": "else",
            "by": "image update 9",
        },
        {
            "id": 3,
            "at": "t3",
            "kind": "operation",
            "subject": "web@1",
            "message": "x",
            "by": "image update 1",
        },
    ]
    row = ask(fleet, "procedure", "show", view=a_view(fleet, services=FakeServices(entries)), id=1)
    assert row["steps"] == [{"at": "t1", "did": "took"}]
    assert (row["console"], row["host_ip"], row["vm_number"]) == (
        "metier node console host-1/VM1",
        "192.0.2.1",
        1,
    )
    assert row["stage_number"] == "3 of 5"


def test_a_finished_one_names_the_tiers_that_could_follow() -> None:
    fleet = a_site(an_image("web@2"), a_procedure(stage=Stage.DONE, captured=True, ended=NOW))
    assert ask(fleet, "procedure", "show", id=1)["tiers_behind"] == ["web"]
    with pytest.raises(NoSuchThing, match="there is no image update 4"):
        ask(fleet, "procedure", "show", id=4)


def test_waiting_ends_with_the_update_and_fails_where_a_person_is_needed() -> None:
    assert still(a_site(a_procedure(told="starts")), "image", "update", name="web") == [
        "image update 1, finding a node: starts"
    ]
    assert still(a_site(a_procedure(ended=NOW, captured=True)), "image", "update", name="web") == []
    assert still(a_site(), "image", "update", name="web") == []
    with pytest.raises(Refusal, match="image update 1: stuck"):
        still(a_site(a_procedure(problem="stuck")), "image", "update", name="web")
    given_up = a_site(a_procedure(ended=NOW, aborted_by="bob"))
    with pytest.raises(Refusal, match="given up by bob"):
        still(given_up, "image", "update", name="web")
    assert still(given_up, "image", "update", name="web", abort=True) == []
