"""What may be captured, what is said where it may not, and what a capture protects meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from metier.domain.errors import MetierError, NeedsAcceptance, NoSuchThing, Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef, NodeId, image_ref
from metier.domain.image import CollectorSpec, ImageType
from metier.domain.job import JobState
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import NO_IMAGE, Engagement, Node, Pending, Request
from metier.domain.observation import Observed, Power
from metier.domain.tier import TierState
from metier.operations.registry import Caller
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
    an_instance,
    vm_facts,
)
from tests.unit.operations.asking import change, still

DISENGAGED = Engagement(False, "alice", NOW, "capturing its image")
IMAGE = an_image(
    requirements=Requirements(memory_mib=256, attributes=frozenset({"ssd"})),
    startup_s=120,
    collectors=(CollectorSpec("tcp", 22),),
)


def shut_down(**fields: Any) -> Node:
    """Return VM1 as the manual has it: disengaged, and shut down by its own OS."""
    node: dict[str, Any] = {"engagement": DISENGAGED, "instance": an_instance()} | fields
    return a_virtual_node(tier="web", slot=1, **node)


def a_site(
    node: Node | None = None, power: Power = Power.OFF, *more: Any, tier: TierState = TierState.ACTIVE
) -> Fleet:
    """Return a host with one guest of tier web, and a second VM that is free."""
    seen = Observed(vms=(vm_facts(1, power), vm_facts(2, Power.OFF)), vms_at=NOW, vmm_reachable=True)
    return a_fleet(
        a_host_image(),
        IMAGE,
        a_host_tier(state=TierState.ACTIVE),
        a_tier("web", state=tier),
        a_host(power_ip="10.0.0.5"),
        node or shut_down(),
        a_virtual_node(number=2),
        *more,
        observed={"host-1": seen},
    )


def capture(fleet: Fleet, **arguments: Any) -> tuple[Fleet, Any]:
    where = {} if {"host", "node"} & set(arguments) else {"node": "host-1/VM1"}
    return change(fleet, "image", "capture", **({"name": "web"} | where | arguments))


def test_the_next_version_is_captured_with_the_settings_of_the_one_before() -> None:
    """R-CAPTURE-2, S28, S31."""
    fleet, outcome = capture(a_site())
    job = fleet.jobs[1]
    assert outcome.message == "capture of image web@2 from host-1/VM1 begun as job 1"
    assert (job.kind, job.subject, job.state, job.by) == ("image-capture", "web@2", JobState.QUEUED, "alice")
    assert job.arguments["node"] == "host-1/VM1"
    assert job.arguments["instance"] == "web-1-1"
    assert job.arguments["parent"] == {"name": "web", "version": "1"}
    assert job.arguments["accept_unclean"] is False
    assert (job.arguments["type"], job.arguments["startup_s"]) == ("linux", 120)
    assert job.arguments["minimum_memory_mib"] == 256
    assert job.arguments["collectors"] == [
        {"collector": "tcp", "port": 22, "path": "/", "timeout_s": 3.0},
    ]
    assert fleet.images == a_site().images, "nothing is visible before it is done"
    assert fleet.nodes == a_site().nodes


def test_every_setting_can_be_answered_otherwise() -> None:
    fleet, _ = capture(
        a_site(),
        name="w2k",
        version="raw",
        type="windows",
        minimum_memory_mib=512,
        disk=8,
        attribute=("",),
        startup_seconds=60,
        collector=("ping",),
    )
    arguments = fleet.jobs[1].arguments
    assert fleet.jobs[1].subject == "w2k@raw"
    assert (arguments["type"], arguments["minimum_memory_mib"]) == (ImageType.WINDOWS.value, 512)
    requirements = arguments["requirements"]
    assert isinstance(requirements, dict)
    assert (requirements["disk_gib"], requirements["attributes"]) == (8, [])
    assert arguments["startup_s"] == 60


@pytest.mark.parametrize(
    "where",
    [
        {"node": "host-1/VM1"},
        {"host": "10.0.0.5", "vm": 1},
        {"host": "host-1", "vm": 1},
    ],
)
def test_the_vm_is_named_by_node_or_by_host_and_number(where: dict[str, Any]) -> None:
    """S29, S30."""
    assert capture(a_site(), **where)[0].jobs[1].arguments["node"] == "host-1/VM1"


@pytest.mark.parametrize(
    ("where", "error", "words", "remedy"),
    [
        ({"node": ""}, WrongUsage, "name the virtual node", "--host 10.0.0.5 --vm 2"),
        ({"node": "host-1/VM1", "host": "host-1"}, WrongUsage, "once", "--node"),
        ({"node": "host-1/VM1", "vm": 1}, WrongUsage, "--vm goes with --host", ""),
        ({"node": "host-1/VM7"}, NoSuchThing, "there is no node host-1/VM7", "VM1 (web@1), VM2 (no image)"),
        ({"node": "host-9/VM1"}, NoSuchThing, "there is no node host-9/VM1", "node list"),
        ({"node": "host-1"}, WrongUsage, "host-1 is not a virtual node", "VM1 (web@1)"),
        ({"host": "host-1"}, WrongUsage, "host-1 is not a virtual node", "--host host-1 --vm 1"),
        ({"host": "10.0.0.5", "vm": 7}, NoSuchThing, "host-1 has no VM7", "VM1 (web@1), VM2 (no image)"),
        ({"host": "10.0.0.9", "vm": 1}, NoSuchThing, "no host with IP address 10.0.0.9", "node list"),
        ({"host": "host-1/VM1", "vm": 1}, WrongUsage, "virtual node and no host", "--node host-1/VM1"),
    ],
)
def test_a_vm_that_is_not_there_is_refused_with_those_that_are(
    where: dict[str, Any], error: type[MetierError], words: str, remedy: str
) -> None:
    with pytest.raises(error) as caught:
        capture(a_site(), **where)
    assert words in str(caught.value)
    assert remedy in caught.value.remedy


PENDING = Pending("StartGuest", 7, NOW, NOW + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("node", "power", "words", "remedy"),
    [
        (shut_down(engagement=Engagement()), Power.OFF, "is engaged", "metier node disengage host-1/VM1"),
        (
            shut_down(),
            Power.ON,
            "node host-1/VM1 is still running",
            "shut its guest OS down from its console",
        ),
        (shut_down(), Power.UNKNOWN, "is not known", "metier node explain"),
        (shut_down(instance=None), Power.OFF, "there is no instance", "metier node power-on"),
        (
            shut_down(lifecycle=Lifecycle.IDLE),
            Power.OFF,
            "was shut down by Metier and not by its guest OS",
            "metier node power-on host-1/VM1 --wait`; then shut the guest OS down from its console",
        ),
        (shut_down(lifecycle=Lifecycle.STOPPING), Power.OFF, "was shut down by Metier", "power-on"),
        (shut_down(lifecycle=Lifecycle.PREPARED), Power.OFF, "has not run yet: it is prepared", "power-on"),
        (shut_down(pending=PENDING), Power.OFF, "Metier is at work on node host-1/VM1", "wait"),
        (shut_down(request=Request.POWER_ON), Power.OFF, "power-on", "wait"),
    ],
)
def test_what_cannot_be_captured_is_refused_with_the_way_out(
    node: Node, power: Power, words: str, remedy: str
) -> None:
    """R-CAPTURE-1, S26, S27."""
    with pytest.raises(Refusal) as caught:
        capture(a_site(node, power))
    assert str(caught.value).startswith("cannot capture image web@2: ")
    assert words in str(caught.value)
    assert remedy in caught.value.remedy


def test_s27_a_vm_whose_configuration_was_moved_aside_is_refused_with_the_way_back() -> None:
    """S26, S27: the manual's "it moves the .vmx file, so the capture fails"."""
    aside = Observed(vms=(vm_facts(1, Power.OFF, is_aside=True),), vms_at=NOW, vmm_reachable=True)
    node = shut_down(lifecycle=Lifecycle.IDLE, instance=None)
    fleet = a_fleet(
        *(IMAGE, a_host_tier(state=TierState.ACTIVE), a_tier("web", state=TierState.ACTIVE)),
        *(a_host(), node),
        observed={"host-1": aside},
    )
    with pytest.raises(Refusal) as caught:
        capture(fleet)
    assert str(caught.value) == (
        "cannot capture image web@2: VM1 on host host-1 has no configuration file in place: it was shut down"
        " by Metier, which moved its .vmx aside"
    )
    assert caught.value.remedy == (
        "start it: `metier node power-on host-1/VM1 --wait`; then shut the guest OS down from its console,"
        " and capture again"
    )
    assert fleet.jobs == {}


def test_what_ran_and_failed_may_be_captured() -> None:
    node = shut_down(lifecycle=Lifecycle.FAILED, problem="it is off without having been told to")
    assert capture(a_site(node))[0].jobs


def test_a_node_whose_tier_is_not_active_is_started_with_it() -> None:
    with pytest.raises(Refusal) as caught:
        capture(a_site(shut_down(lifecycle=Lifecycle.IDLE), tier=TierState.ALLOCATED))
    assert "metier tier activate web" in caught.value.remedy


def test_a_free_node_has_nothing_to_capture() -> None:
    with pytest.raises(Refusal, match="host-1/VM1"):
        capture(a_site(a_virtual_node(engagement=DISENGAGED)))


def test_without_its_parent_nothing_can_be_captured() -> None:
    draft = a_site().edit()
    draft.remove_image(image_ref("web@1"))
    with pytest.raises(Refusal, match="web@1, which is not in the image matrix"):
        capture(draft.freeze())
    unknown = shut_down(instance=an_instance(image=NO_IMAGE))
    with pytest.raises(Refusal, match="runs no image, which is not in the image matrix"):
        capture(a_site(unknown))


def test_a_version_that_exists_or_is_being_made_is_refused() -> None:
    """R-CAPTURE-2."""
    with pytest.raises(Refusal, match="image web@1 exists already"):
        capture(a_site(), version="1")
    begun, _ = capture(a_site(), version="9")
    with pytest.raises(Refusal, match="job 1 is at work on image web@9"):
        capture(begun, version="9")
    with pytest.raises(Refusal, match="job 1 captures host-1/VM1 already, as web@9"):
        capture(begun, version="10")


def test_a_disengagement_that_ends_by_itself_is_warned_of() -> None:
    until = replace(DISENGAGED, until=NOW + timedelta(hours=2))
    _, outcome = capture(a_site(shut_down(engagement=until)))
    assert outcome.warnings == (
        "host-1/VM1 is engaged again at 2026-03-01T14:00:00Z: a capture that is not done by then fails",
        "no virtual node has attribute ssd",
    )


def test_accepted_warnings_are_for_the_job_to_use() -> None:
    caller = Caller("alice", NOW, accept_warnings=True)
    fleet, _ = change(a_site(), "image", "capture", caller=caller, name="web", node="host-1/VM1")
    assert fleet.jobs[1].arguments["accept_unclean"] is True


def test_waiting_tells_how_far_it_is_and_why_it_failed() -> None:
    fleet, _ = capture(a_site())
    assert still(fleet, "image", "capture", name="web", node="host-1/VM1") == ["job 1: queued"]
    draft = fleet.edit()
    draft.put_job(replace(fleet.jobs[1], state=JobState.FAILED, error="it runs", remedy="shut it down"))
    with pytest.raises(Refusal, match="job 1 failed: it runs"):
        still(draft.freeze(), "image", "capture", name="web", node="host-1/VM1")


# --- what a capture protects ----------------------------------------------------------------


@pytest.fixture
def captured() -> Fleet:
    return capture(a_site())[0]


@pytest.mark.parametrize("verb", ["engage", "power-on", "power-off", "power-cycle", "shutdown"])
def test_a_node_that_is_captured_stays_as_it_is(captured: Fleet, verb: str) -> None:
    with pytest.raises(Refusal, match="job 1 captures its disks as image web@2") as caught:
        change(captured, "node", verb, name="host-1/VM1")
    assert "metier job cancel 1" in caught.value.remedy


def test_its_host_goes_down_only_if_that_is_accepted(captured: Fleet) -> None:
    with pytest.raises(NeedsAcceptance) as caught:
        change(captured, "node", "shutdown", name="host-1")
    assert "host-1/VM1 is being captured as image web@2 by job 1, which fails" in caught.value.warnings


def test_the_version_that_is_copied_from_is_not_deleted() -> None:
    """R-DELETE-1."""
    arguments = {"node": "host-1/VM1", "parent": {"name": "web", "version": "1"}}
    fleet = a_fleet(an_image(), a_job(kind="image-capture", subject="web@2", arguments=arguments))
    with pytest.raises(Refusal, match=r"job 1 is at work on it \(image-capture of web@2\)"):
        change(fleet, "image", "delete", name="web@1")


def test_once_it_has_ended_everything_is_free_again(captured: Fleet) -> None:
    draft = captured.edit()
    draft.put_job(replace(captured.jobs[1], state=JobState.DONE))
    fleet, _ = change(draft.freeze(), "node", "engage", name="host-1/VM1")
    assert fleet.nodes[NodeId("host-1/VM1")].engaged
    assert ImageRef("web", "1") in fleet.images
