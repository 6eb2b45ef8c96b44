"""The next step of an update procedure: each question of the manual, and what others did meanwhile."""

from typing import Any

import pytest

from metier.domain.actions import AllocateNode, DiscoverNode, FreeNode, RecordInventory
from metier.domain.fleet import Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef, NodeId, TierId, image_ref
from metier.domain.job import JobState
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement, Place, Request
from metier.domain.observation import Observed, Power
from metier.domain.procedure import Procedure, Stage
from metier.domain.tier import TierState
from metier.domain.update_place import why_none
from metier.planner.updating.forward import next_step
from metier.planner.updating.step import Order, Step
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
    an_instance,
    vm_facts,
)

ACTIVE = TierState.ACTIVE
VM2 = NodeId("host-1/VM2")
MINE = Engagement(False, "image update 1", NOW)
HELD: dict[str, Any] = {
    "node": VM2,
    "made": ("update-web",),
    "disengaged": (VM2,),
    "stage": Stage.CHANGING,
}
"""What a procedure knows whose guest is in the person's hands."""


def a_site(*more: Record, power: Power = Power.ON) -> Fleet:
    """Return a host that runs and shows two VMs; the first is virtual node VM1, idle and free."""
    return a_fleet(
        a_host_image(vms=2),
        an_image(),
        a_host_tier(state=ACTIVE),
        a_host(),
        a_virtual_node(number=1),
        *more,
        observed={
            "host-1": Observed(Power.ON, NOW, vms=(vm_facts(1, Power.OFF), vm_facts(2, power)), vms_at=NOW)
        },
    )


def with_guest(power: Power = Power.ON, tier: TierState = ACTIVE, **fields: Any) -> Fleet:
    """Return the site with the procedure's tier, filled by VM2."""
    node = {"engagement": MINE, "since": None, "instance": an_instance("update-web")} | fields
    return a_site(
        a_tier("update-web", state=tier), a_virtual_node(number=2, tier="update-web", **node), power=power
    )


def step_of(fleet: Fleet, **fields: Any) -> Step:
    return next_step(fleet, a_procedure(**fields))


def ordered(step: Step) -> list[str]:
    return [f"{one.noun} {one.verb}" if isinstance(one, Order) else type(one).__name__ for one in step.deeds]


# --- a node -----------------------------------------------------------------------------


def test_a_free_virtual_node_is_taken_into_a_tier_of_one_with_the_three_switches_off() -> None:
    """S24, S25."""
    step = step_of(a_site())
    assert ordered(step) == ["tier create", "tier allocate", "AllocateNode"]
    create, _, allocate = step.deeds
    assert isinstance(create, Order)
    assert isinstance(allocate, AllocateNode)
    assert allocate.node == "host-1/VM1"
    switches = ("reboot_on_failure", "move_to_maintenance", "harvesting")
    assert [create.arguments[name] for name in switches] == [False] * 3
    assert [create.arguments[name] for name in ("minimum", "target", "maximum")] == [1, 1, 1]
    assert step.fields == {"node": "host-1/VM1", "made": ("update-web",)}


def test_the_cheapest_node_is_taken_and_the_one_that_was_asked_for_before_it() -> None:
    large = a_virtual_node(number=2, hardware=a_virtual_node().hardware.__class__(memory_mib=4096))
    assert step_of(a_site(large)).fields["node"] == "host-1/VM1"
    assert step_of(a_site(large), wanted=VM2).fields["node"] == VM2


def test_a_node_that_was_asked_for_and_is_taken_meanwhile_is_waited_for() -> None:
    fleet = a_site(a_virtual_node(number=2, engagement=Engagement(False)))
    step = step_of(fleet, wanted=VM2)
    assert (step.deeds, step.told) == ((), "waits until host-1/VM2 is free")


def full(*more: Record) -> Fleet:
    """Return a site without a free virtual node."""
    return a_fleet(
        a_host_image(vms=2),
        an_image(),
        a_host_tier(state=ACTIVE),
        a_host(),
        a_host("host-2", tier=None),
        *more,
    )


def test_where_none_is_free_a_host_is_made_in_a_tier_of_one() -> None:
    step = step_of(full())
    assert ordered(step) == ["tier create", "AllocateNode"]
    assert step.fields == {
        "host": "host-2",
        "host_image": ImageRef("vmm", "1"),
        "host_tier": "update-web-host",
        "made": ("update-web-host",),
    }


def test_where_nothing_can_be_made_it_waits_and_says_in_numbers_for_what() -> None:
    fleet = a_site(
        a_virtual_node(number=1, place=Place.MAINTENANCE), an_image("big@1", requirements=Requirements(4096))
    )
    assert "1 maintenance" in step_of(fleet).told
    blank = a_procedure(image=image_ref("big@1")).guest_tier()
    assert why_none(fleet, blank).endswith("no host image offers a VM of 4096 MiB: the largest has 512 MiB")


MADE = {"host": "host-2", "host_tier": TierId("update-web-host"), "made": ("update-web-host",)}


def hosted(*more: Record, state: TierState = ACTIVE, **fields: Any) -> Fleet:
    """Return a site on which host-2 was made a host that shows two VMs."""
    values = {"since": NOW.replace(hour=1)} | fields
    return a_fleet(
        a_host_image(vms=2),
        an_image(),
        a_host_tier("update-web-host", state=state),
        a_host("host-2", tier="update-web-host", **values),
        *more,
        observed={"host-2": Observed(Power.ON, NOW, vms=(vm_facts(1), vm_facts(2)), vms_at=NOW)},
    )


def test_a_host_that_was_made_is_started_and_waited_for() -> None:
    assert ordered(step_of(hosted(state=TierState.INACTIVE), **MADE)) == ["tier activate"]
    assert step_of(hosted(lifecycle=Lifecycle.BOOTING), **MADE).told.endswith("it is booting")
    failed = step_of(hosted(lifecycle=Lifecycle.FAILED, problem="no answer"), **MADE)
    assert failed.problem == "host-2 did not become a host: no answer"


def test_all_virtual_nodes_of_that_host_are_kept_before_anybody_else_can_take_them() -> None:
    """S24: the manual disengages all but one."""
    step = step_of(hosted(), **MADE)
    assert ordered(step) == ["DiscoverNode", "node disengage"] * 2
    found = step.deeds[0]
    assert isinstance(found, DiscoverNode)
    assert found.node == "host-2/VM1"


def test_one_of_them_is_inventoried_engaged_and_taken() -> None:
    new = {"place": Place.DISCOVERED, "engagement": MINE, "lifecycle": Lifecycle.NEW, "hardware": None}
    fleet = hosted(a_virtual_node("host-2", 1, **new), a_virtual_node("host-2", 2, **new))
    step = step_of(fleet, **MADE)
    kinds = [type(one) for one in step.deeds]
    assert kinds[:4] == [Order, Order, RecordInventory, FreeNode]
    assert step.fields["node"] == "host-2/VM1"
    assert step.fields["made"] == ("update-web-host", "update-web")


# --- the guest ------------------------------------------------------------------------------


def test_the_tier_is_activated_once_it_has_its_node() -> None:
    step = step_of(with_guest(tier=TierState.ALLOCATED), **HELD | {"stage": Stage.FINDING})
    assert ordered(step) == ["tier activate"]


STARTED = HELD | {"stage": Stage.STARTING, "disengaged": ()}


def test_a_guest_is_waited_for_until_it_is_normal_and_then_disengaged() -> None:
    waiting = step_of(with_guest(lifecycle=Lifecycle.STARTING), **STARTED)
    assert (waiting.deeds, waiting.told) == ((), "waits until host-1/VM2 is normal; it is starting")
    step = step_of(with_guest(), **STARTED)
    assert ordered(step) == ["node disengage"]
    assert step.fields == {"disengaged": (VM2,)}


def test_a_guest_that_does_not_start_stops_the_update_with_the_reason_and_two_ways_on() -> None:
    step = step_of(with_guest(lifecycle=Lifecycle.FAILED, problem="no answer"), **STARTED)
    assert step.problem == "image web@1 did not start on host-1/VM2: no answer"
    assert "--retry" in step.remedy
    assert "--abort" in step.remedy


def test_a_guest_that_runs_is_the_persons_as_long_as_it_takes() -> None:
    step = step_of(with_guest(), **HELD)
    assert (step.stage, step.deeds, step.problem) == (Stage.CHANGING, (), "")
    assert step.told == "change the guest on host-1/VM2, then shut it down from inside"


def test_a_guest_that_has_shut_itself_down_is_captured_with_what_was_asked_for() -> None:
    """R-CAPTURE-2."""
    options = {"capture": {"startup_seconds": 90, "attribute": ["ssd"]}, "accept_unclean": True}
    step = step_of(with_guest(Power.OFF), **HELD, **options)
    (order,) = step.deeds
    assert isinstance(order, Order)
    assert (order.noun, order.verb, order.note_job, order.accept_warnings) == ("image", "capture", True, True)
    assert order.arguments == {
        "name": "web",
        "version": "2",
        "node": VM2,
        "startup_seconds": 90,
        "attribute": ("ssd",),
    }


def test_a_guest_of_which_nobody_knows_whether_it_is_on_is_waited_for() -> None:
    assert "cannot be seen" in step_of(with_guest(Power.UNKNOWN), **HELD).told


# --- what others did ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lifecycle": Lifecycle.STOPPING}, "was shut down by Metier, by somebody's order"),
        ({"lifecycle": Lifecycle.IDLE}, "was shut down by Metier, by somebody's order"),
        ({"request": Request.SHUTDOWN}, "was shut down by Metier, by somebody's order"),
        ({"engagement": Engagement(True, "bob")}, "host-1/VM2 was engaged by somebody"),
        ({"tier": TierState.ALLOCATED}, "tier update-web is allocated by somebody's order"),
    ],
)
def test_what_somebody_did_to_the_guest_is_said_with_a_way_on(fields: dict[str, Any], words: str) -> None:
    """R-CAPTURE-1."""
    step = step_of(with_guest(Power.OFF, **fields), **HELD)
    assert words in step.problem
    assert "metier" in step.remedy
    assert step.deeds == ()


def test_a_tier_that_somebody_deleted_or_changed_is_said() -> None:
    assert "was deleted by somebody" in step_of(a_site(), **HELD).problem
    other = a_site(a_tier("update-web", image=image_ref("other@1")))
    assert step_of(other, **HELD).problem == "tier update-web was put on image other@1 by somebody"
    host_gone = step_of(full(), **MADE)
    assert host_gone.problem == "host tier update-web-host, which it made, was deleted by somebody"


def test_a_node_that_is_gone_took_the_change_with_it_but_not_before_anything_was_changed() -> None:
    fleet = a_site(a_tier("update-web", state=ACTIVE))
    assert "the change is lost" in step_of(fleet, **HELD).problem
    again = step_of(fleet, **STARTED)
    assert ordered(again) == ["tier allocate", "AllocateNode"]
    assert again.fields == {"node": "host-1/VM1"}


def test_a_node_that_took_the_slot_over_meanwhile_is_gone_on_with() -> None:
    step = step_of(with_guest(), **STARTED | {"node": NodeId("host-9/VM9")})
    assert step.fields == {"node": VM2}


def test_an_image_that_is_gone_leaves_only_giving_up() -> None:
    step = step_of(a_fleet(a_host()), **HELD)
    assert (step.problem, "--abort" in step.remedy) == ("image web@1 is gone", True)


# --- the capture ---------------------------------------------------------------------------------


def captured(state: JobState, *more: Record, power: Power = Power.OFF, **fields: Any) -> Step:
    job = a_job(7, kind="image-capture", subject="web@2", state=state, **fields)
    fleet = with_guest(power).edit()
    for record in (job, *more):
        fleet.put_job(record) if record is job else fleet.put_image(record)  # type: ignore[arg-type]  # these two
    return step_of(fleet.freeze(), **HELD, job=7)


def test_a_capture_is_followed_and_its_end_noted() -> None:
    running = captured(JobState.RUNNING, step="copying", done_bytes=1, total_bytes=4)
    assert (running.stage, running.told) == (Stage.CAPTURING, "job 7 captures web@2: copying, 25 %")
    assert captured(JobState.DONE, an_image("web@2")).fields == {"captured": True}
    assert captured(JobState.DONE).problem == "image web@2 was captured, and is gone"


def test_a_capture_that_failed_waits_for_a_person() -> None:
    step = captured(JobState.FAILED, error="disk full", remedy="free some room")
    assert step.problem == "job 7: disk full"
    assert step.remedy.startswith("free some room. `metier image update web@1 --retry`")
    assert captured(JobState.CANCELLED).problem == "the capture, job 7, was cancelled"


def test_a_guest_that_runs_again_after_a_failed_capture_is_the_persons_again() -> None:
    assert captured(JobState.FAILED, error="its power was cut", power=Power.ON).fields == {"job": None}


# --- putting back -----------------------------------------------------------------------------------


def ending(fleet: Fleet, **fields: Any) -> Step:
    return step_of(fleet, **HELD | {"aborted_by": "ann"} | fields)


def test_putting_back_cancels_the_capture_first() -> None:
    fleet = with_guest().edit()
    fleet.put_job(a_job(7))
    assert ordered(ending(fleet.freeze(), job=7)) == ["job cancel"]
    fleet.put_job(a_job(7, cancel_requested=True))
    assert "has cleaned up" in ending(fleet.freeze(), job=7).told


def test_putting_back_takes_the_tier_down_engages_the_node_and_deletes_the_tier() -> None:
    """S34."""
    assert ordered(ending(with_guest())) == ["tier deallocate"]
    inactive = with_guest(tier=TierState.INACTIVE)
    assert (
        "released" in ending(inactive).told
    )  # a guest that is off and not told to stop would count as failed
    assert ordered(ending(with_guest(tier=TierState.INACTIVE, lifecycle=Lifecycle.STOPPING))) == [
        "node engage"
    ]
    assert ending(inactive, disengaged=()).told == "waits until host-1/VM2 is released from tier update-web"
    assert ordered(ending(a_site(a_tier("update-web")), disengaged=())) == ["tier delete"]


def test_a_node_on_a_host_of_its_own_stays_kept_until_that_host_is_gone() -> None:
    both = {"made": ("update-web", "update-web-host"), "host_tier": TierId("update-web-host")}
    assert ordered(ending(a_site(a_tier("update-web"), a_host_tier("update-web-host")), **both)) == [
        "tier delete"
    ]
    assert ordered(
        ending(a_site(a_host_tier("update-web-host", state=ACTIVE)), **both | {"made": ("update-web-host",)})
    ) == ["tier deallocate"]


def test_a_node_that_somebody_else_disengaged_since_stays_as_they_want_it() -> None:
    theirs = a_site(a_virtual_node(number=2, engagement=Engagement(False, "bob")))
    assert ending(theirs, made=()).deeds == ()
    mine = a_site(a_virtual_node(number=2, engagement=MINE))
    assert ordered(ending(mine, made=())) == ["node engage"]


def test_roll_outs_come_last_and_only_with_a_new_version() -> None:
    bare: dict[str, Any] = {"made": (), "disengaged": (), "roll_out": (TierId("web"), TierId("shop"))}
    step = ending(a_site(), **bare, captured=True)
    assert ordered(step) == ["tier update"]
    assert step.fields == {"roll_out": ("shop",)}
    assert ending(a_site(), **bare).stage is Stage.ABORTED


def test_what_is_over_says_how_it_ended() -> None:
    bare: dict[str, Any] = {"made": (), "disengaged": ()}
    assert ending(a_site(), **bare).told == "given up by ann, and all is put back"
    done = ending(a_site(), **bare, captured=True, aborted_by="")
    assert (done.stage, done.is_last) == (Stage.DONE, True)


def test_a_procedure_knows_what_it_cannot_do_without() -> None:
    procedure: Procedure = a_procedure(host_image=ImageRef("vmm", "1"))
    assert procedure.uses == {ImageRef("web", "1"), ImageRef("web", "2"), ImageRef("vmm", "1")}
