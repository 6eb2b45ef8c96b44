"""Another image version for a tier: what begins, pauses, resumes and takes back a roll-out (R-UPDATE)."""

from dataclasses import replace
from typing import Any

import pytest

from metier.domain.errors import NeedsAcceptance, Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import TierId, image_ref
from metier.domain.node import Engagement
from metier.domain.tier import Rollout, Tier, TierState, Trouble
from metier.operations.records import tiers_using
from metier.operations.registry import Caller
from tests.builders import (
    NOW,
    VM_HARDWARE,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_slot,
    a_tier,
    a_virtual_node,
    an_image,
    an_instance,
)
from tests.unit.operations.asking import a_view, ask, change, still

WEB = TierId("web")
OLD, NEW = image_ref("web@1"), image_ref("web@2")
ACCEPTING = Caller("alice", NOW, accept_warnings=True)


def a_site(*more: Any, nodes: int = 3, **tier: Any) -> Fleet:
    """Return a tier of so many running nodes and one free node beside them."""
    fields = {"state": TierState.ACTIVE, "minimum": 2, "target": nodes, "maximum": nodes + 1}
    return a_fleet(
        a_host_image(vms=4),
        a_host_tier(),
        a_host(),
        an_image(),
        an_image("web@2"),
        an_image("web@3"),
        a_tier(**(fields | tier)),
        *[
            a_virtual_node(number=number, tier="web", slot=number, instance=an_instance(number=number))
            for number in range(1, nodes + 1)
        ],
        a_virtual_node(number=nodes + 1),
        *more,
    )


def rolling(**rollout: Any) -> Fleet:
    return a_site(image=NEW, rollout=Rollout(**({"previous": OLD, "started": NOW} | rollout)))


def web(fleet: Fleet) -> Tier:
    return fleet.tiers[WEB]


def test_an_update_of_an_active_tier_begins_a_roll_out() -> None:
    fleet, outcome = change(a_site(), "tier", "update", name="web", image="web@2")
    assert (web(fleet).image, web(fleet).rollout) == (NEW, Rollout(OLD, NOW))
    assert outcome.message == "tier web rolls out image web@2 in place of web@1"
    assert outcome.row is not None
    assert outcome.row["rollout"]["previous"] == "web@1"


def test_editing_the_image_of_an_active_tier_is_the_same() -> None:
    fleet, _ = change(a_site(), "tier", "edit", name="web", image="web@2")
    assert web(fleet).rollout == Rollout(OLD, NOW)


def test_the_same_version_changes_nothing() -> None:
    fleet, outcome = change(a_site(), "tier", "update", name="web", image="web@1")
    assert outcome.message == "tier web is on image web@1 already"
    assert web(fleet).rollout is None
    _, outcome = change(rolling(), "tier", "update", name="web", image="web@2")
    assert outcome.message == "tier web is on its way to image web@2 already"


@pytest.mark.parametrize("state", [TierState.INACTIVE, TierState.ALLOCATED])
def test_what_does_not_run_changes_at_once(state: TierState) -> None:
    fleet, outcome = change(a_site(state=state), "tier", "update", name="web", image="web@2")
    assert (web(fleet).image, web(fleet).rollout, web(fleet).previous_image) == (NEW, None, OLD)
    assert outcome.message == "tier web updated from image web@1 to web@2"


def test_a_tier_without_nodes_changes_at_once() -> None:
    fleet = a_fleet(a_host_image(), an_image(), an_image("web@2"), a_tier(state=TierState.ACTIVE))
    fleet, _ = change(fleet, "tier", "update", name="web", image="web@2")
    assert web(fleet).rollout is None


def test_a_third_version_goes_back_to_the_last_whole_one() -> None:
    fleet, _ = change(rolling(moved=(3,)), "tier", "update", name="web", image="web@3")
    assert web(fleet).rollout == Rollout(OLD, NOW)
    fleet, _ = change(fleet, "tier", "rollback", name="web")
    assert (web(fleet).image, web(fleet).rollout) == (OLD, Rollout(OLD, NOW))
    _, outcome = change(fleet, "tier", "rollback", name="web")
    assert outcome.message == "tier web is on its way back to web@1 already"


def test_r_update_1_a_dip_below_the_minimum_is_to_be_accepted() -> None:
    fleet = a_site(minimum=3, maximum=3)
    with pytest.raises(NeedsAcceptance) as needed:
        change(fleet, "tier", "update", name="web", image="web@2")
    (warning,) = needed.value.warnings
    assert warning == (
        "tier web falls below its minimum of 3 while a slot is changed: "
        "its maximum of 3 leaves no slot for another node"
    )
    fleet, _ = change(fleet, "tier", "update", caller=ACCEPTING, name="web", image="web@2")
    assert web(fleet).rollout is not None


@pytest.mark.parametrize(
    ("site", "why"),
    [
        (a_site(minimum=3, surge=0), "its surge is 0"),
        (
            a_site(
                a_tier("db", state=TierState.ACTIVE, priority=60),
                a_virtual_node(number=4, tier="db"),
                minimum=3,
            ),
            "no free node could take its place",
        ),
    ],
)
def test_r_update_1_it_says_why_nothing_takes_its_place(site: Fleet, why: str) -> None:
    with pytest.raises(NeedsAcceptance) as needed:
        change(site, "tier", "update", name="web", image="web@2")
    assert needed.value.warnings[0].endswith(why)


def test_r_update_1_with_a_free_node_nothing_is_to_be_accepted() -> None:
    fleet, _ = change(a_site(minimum=3), "tier", "update", name="web", image="web@2")
    assert web(fleet).rollout is not None


def test_data_that_is_kept_is_lost_only_if_somebody_says_so() -> None:
    fleet = a_site(a_slot(number=2, instance=an_instance(number=2)), keep_instances=True)
    with pytest.raises(NeedsAcceptance) as needed:
        change(fleet, "tier", "update", name="web", image="web@2")
    assert needed.value.warnings[0].startswith("the data that tier web keeps of web/2 is deleted")


def test_a_version_that_no_node_can_run_is_refused() -> None:
    large = an_image("web@9", requirements=Requirements(memory_mib=4096))
    with pytest.raises(Refusal, match="no virtual node has 4096 MiB; the largest, host-1/VM1, has 512"):
        change(a_site(large), "tier", "update", name="web", image="web@9")


def test_members_that_are_too_small_or_disengaged_are_named() -> None:
    larger = a_virtual_node(number=9, hardware=replace(VM_HARDWARE, memory_mib=1024))
    hands_off = a_virtual_node(number=2, tier="web", slot=2, engagement=Engagement(engaged=False))
    image = an_image("web@9", requirements=Requirements(memory_mib=1024))
    _, outcome = change(a_site(larger, hands_off, image), "tier", "update", name="web", image="web@9")
    assert outcome.warnings == (
        "disengaged and left alone, so that the roll-out waits for it: host-1/VM2",
        "too small for web@9, and replaced from the free pool: host-1/VM1, host-1/VM2, host-1/VM3",
    )


def test_an_inactive_image_and_one_of_another_kind_are_refused() -> None:
    with pytest.raises(Refusal, match="image web@9 is not active"):
        change(a_site(an_image("web@9", active=False)), "tier", "update", name="web", image="web@9")
    with pytest.raises(WrongUsage, match="makes a host tier"):
        change(a_site(), "tier", "update", name="web", image="vmm@1")


def test_pause_and_resume() -> None:
    fleet, outcome = change(rolling(), "tier", "pause", name="web", why="lunch")
    assert outcome.message == "the roll-out of tier web is paused"
    assert web(fleet).rollout == Rollout(OLD, NOW, paused="by alice: lunch", paused_by="alice")
    _, outcome = change(fleet, "tier", "pause", name="web")
    assert outcome.message == "the roll-out of tier web is paused already: by alice: lunch"
    fleet, outcome = change(fleet, "tier", "resume", name="web")
    assert outcome.message == "tier web resumed"
    assert (web(fleet).rollout, web(fleet).resumed_at) == (Rollout(OLD, NOW), NOW)
    _, outcome = change(fleet, "tier", "resume", name="web")
    assert outcome.message == "tier web was not held back"


def test_nothing_to_pause_and_nothing_to_go_back_to() -> None:
    with pytest.raises(Refusal, match="no roll-out is under way"):
        change(a_site(), "tier", "pause", name="web")
    with pytest.raises(Refusal, match="it never ran another image version than web@1"):
        change(a_site(), "tier", "rollback", name="web")
    with pytest.raises(Refusal, match="image web@7 was deleted"):
        change(a_site(previous_image=image_ref("web@7")), "tier", "rollback", name="web")
    with pytest.raises(WrongUsage, match="holds a control character"):
        change(rolling(), "tier", "pause", name="web", why="a\nb")


def test_resume_lets_both_kinds_of_hold_go() -> None:
    fleet = a_site(Trouble(WEB, (NOW,), NOW), image=NEW, rollout=Rollout(OLD, NOW, paused="slot 3 failed"))
    fleet, _ = change(fleet, "tier", "resume", name="web")
    assert fleet.troubles[WEB].braked_since is None
    assert web(fleet).rollout == Rollout(OLD, NOW)


def test_after_its_end_a_rollback_is_a_roll_out_the_other_way() -> None:
    fleet, outcome = change(
        a_site(image=NEW, previous_image=OLD), "tier", "rollback", caller=ACCEPTING, name="web"
    )
    assert (web(fleet).image, web(fleet).rollout) == (OLD, Rollout(NEW, NOW))
    assert outcome.message == "tier web goes back to image web@1"


def test_a_host_tier_goes_back_only_while_it_is_not_active() -> None:
    images = a_host_image(), a_host_image("vmm@2")
    back = {"image": image_ref("vmm@2"), "previous_image": image_ref("vmm@1")}
    with pytest.raises(Refusal, match="cannot change the image of active tier hosts"):
        change(
            a_fleet(*images, a_host_tier(state=TierState.ACTIVE, **back)), "tier", "rollback", name="hosts"
        )
    fleet, _ = change(a_fleet(*images, a_host_tier(**back)), "tier", "rollback", name="hosts")
    assert fleet.tiers[TierId("hosts")].image == image_ref("vmm@1")


def test_both_versions_are_in_use() -> None:
    assert tiers_using(rolling(), OLD) == tiers_using(rolling(), NEW) == ["web"]
    assert tiers_using(a_site(image=NEW, previous_image=OLD), OLD) == []


def test_waiting_ends_with_the_roll_out_and_fails_when_it_is_paused() -> None:
    assert still(a_site(), "tier", "update", name="web", image="web@1") == []
    (sentence,) = still(rolling(), "tier", "update", name="web", image="web@2")
    assert sentence == "tier web: 0 of 3 slots are on web@2"
    with pytest.raises(Refusal, match="is paused: slot 3 failed") as paused:
        still(rolling(paused="slot 3 failed"), "tier", "rollback", name="web")
    assert "metier tier resume web" in paused.value.remedy


def test_it_is_told_how_far_it_is() -> None:
    fleet = rolling(moved=(3,))
    row = ask(fleet, "tier", "explain", name="web", view=a_view(fleet))
    assert row["rollout"]["how_far"].startswith(
        "0 of 3 slots are on web@2, waits for slot 3 (host-1/VM3, normal)"
    )
    assert row["rollout"]["next"] == [2, 1]
    node = ask(fleet, "node", "explain", name="host-1/VM1", view=a_view(fleet))
    assert "it runs web@1 until the roll-out to web@2 comes to slot 1" in node["why"]
    assert [row["image"] for row in ask(fleet, "node", "list", tier="web")] == ["web@1"] * 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_unavailable": 0}, "the number of nodes that a roll-out may have down cannot be 0|cannot be 0"),
        ({"surge": -1}, "cannot be -1"),
    ],
)
def test_its_pace_lies_within_reason(given: dict[str, int], message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        change(a_site(), "tier", "edit", name="web", **given)
    fleet, _ = change(a_site(), "tier", "edit", name="web", max_unavailable=2, surge=0)
    assert (web(fleet).max_unavailable, web(fleet).surge) == (2, 0)
