"""Allocate, activate, deactivate, deallocate, resume; and what --wait waits for."""

from datetime import timedelta

import pytest

from metier.domain.errors import NeedsAcceptance
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, TierId
from metier.domain.lifecycle import Lifecycle
from metier.domain.tier import Fence, TierState, Trouble
from metier.operations.registry import Caller
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_slot,
    a_tier,
    a_virtual_node,
    an_image,
)
from tests.unit.operations.asking import a_view, change, still

WEB, HOSTS = TierId("web"), TierId("hosts")
ACCEPTING = Caller("alice", NOW, accept_warnings=True)
INACTIVE, ALLOCATED, ACTIVE = TierState.INACTIVE, TierState.ALLOCATED, TierState.ACTIVE


@pytest.mark.parametrize(
    ("before", "verb", "after", "message"),
    [
        (INACTIVE, "allocate", ALLOCATED, "tier web allocated"),
        (ALLOCATED, "allocate", ALLOCATED, "tier web is allocated already"),
        (ACTIVE, "allocate", ACTIVE, "tier web is allocated and active already"),
        (INACTIVE, "activate", ACTIVE, "tier web activated"),
        (ALLOCATED, "activate", ACTIVE, "tier web activated"),
        (ACTIVE, "activate", ACTIVE, "tier web is active already"),
        (ACTIVE, "deactivate", ALLOCATED, "tier web deactivated"),
        (ALLOCATED, "deactivate", ALLOCATED, "tier web is allocated, not active, already"),
        (INACTIVE, "deactivate", INACTIVE, "tier web is inactive, not active, already"),
        (ACTIVE, "deallocate", INACTIVE, "tier web deallocated"),
        (ALLOCATED, "deallocate", INACTIVE, "tier web deallocated"),
        (INACTIVE, "deallocate", INACTIVE, "tier web is deallocated already"),
    ],
)
def test_every_verb_from_every_state(before: TierState, verb: str, after: TierState, message: str) -> None:
    """S2."""
    fleet, outcome = change(a_fleet(an_image(), a_tier(state=before)), "tier", verb, name="web")
    assert fleet.tiers[WEB].state is after
    assert outcome.message == message
    assert outcome.row is not None
    assert outcome.row["state"] == after


def an_active_site(web: TierState = ACTIVE, guest: Lifecycle = Lifecycle.RUNNING) -> Fleet:
    return a_fleet(
        a_host(),
        a_host_tier(state=ACTIVE),
        a_host_image(),
        a_virtual_node(tier="web", lifecycle=guest),
        a_virtual_node(number=2),
        a_tier(state=web, depends_on=(HOSTS,)),
        an_image(),
    )


@pytest.mark.parametrize("verb", ["deactivate", "deallocate"])
def test_a_host_tier_with_active_guests_stops_only_once_accepted(verb: str) -> None:
    """R-HOSTDOWN-1."""
    fleet = an_active_site()
    with pytest.raises(NeedsAcceptance) as refusal:
        change(fleet, "tier", verb, name="hosts")
    # VM2 is free and on the same host tier, so it goes down as well.
    assert refusal.value.warnings == (
        (
            "host-1/VM1 is active in tier web, slot 1: the tier falls below its minimum of 1 with 0 left; "
            "no replacement is free; no local data is lost"
        ),
    )
    assert refusal.value.exit_status == 4
    after, outcome = change(fleet, "tier", verb, caller=ACCEPTING, name="hosts")
    assert after.tiers[HOSTS].state is (ALLOCATED if verb == "deactivate" else INACTIVE)
    assert outcome.warnings == ("tier web, which is active, depends on it",)


def test_a_host_tier_stops_without_warning_once_its_guest_tiers_are_down() -> None:
    """R-HOSTDOWN-1, S73."""
    fleet, outcome = change(an_active_site(ALLOCATED, Lifecycle.IDLE), "tier", "deactivate", name="hosts")
    assert fleet.tiers[HOSTS].state is ALLOCATED
    assert outcome.warnings == ()


def test_activating_says_which_tier_it_will_wait_for() -> None:
    fleet = a_fleet(a_host_tier(), a_tier(depends_on=(HOSTS,)), an_image())
    _, outcome = change(fleet, "tier", "activate", name="web")
    assert outcome.warnings == ("tier web depends on tier hosts, which is inactive: it waits for that tier",)


def test_resume_lifts_the_brake_and_forgets_the_failures() -> None:
    trouble = Trouble(WEB, (NOW, NOW + timedelta(seconds=1)), braked_since=NOW)
    fleet, outcome = change(a_fleet(a_tier(), trouble), "tier", "resume", name="web")
    assert fleet.troubles[WEB].braked_since is None
    assert fleet.troubles[WEB].failures == ()
    assert fleet.tiers[WEB].resumed_at == NOW
    assert outcome.message == "tier web resumed"
    _, outcome = change(a_fleet(a_tier()), "tier", "resume", name="web")
    assert outcome.message == "tier web was not held back"


def test_waiting_for_active_ends_when_the_target_is_normal() -> None:
    fleet = an_active_site(guest=Lifecycle.BOOTING)
    view = a_view(fleet, waiting={"web": ["host-1/VM1 (slot 1) is booting"]})
    assert still(fleet, "tier", "activate", view=view, name="web") == [
        "tier web: 0 of 1 nodes are normal",
        "host-1/VM1 (slot 1) is booting",
    ]
    assert still(an_active_site(), "tier", "activate", name="web") == []


def test_waiting_for_allocated_ends_when_the_target_is_there() -> None:
    fleet = a_fleet(a_tier(state=ALLOCATED, target=2), a_virtual_node(tier="web"))
    assert still(fleet, "tier", "allocate", name="web") == ["tier web: 1 of 2 nodes are allocated"]
    fleet = a_fleet(a_tier(state=ALLOCATED), a_virtual_node(tier="web"))
    assert still(fleet, "tier", "allocate", name="web") == []


def test_waiting_for_deactivated_ends_when_all_members_rest() -> None:
    fleet = a_fleet(a_tier(state=ALLOCATED), a_virtual_node(tier="web", lifecycle=Lifecycle.STOPPING))
    assert still(fleet, "tier", "deactivate", name="web") == ["tier web: host-1/VM1 is stopping"]
    rest = a_host(lifecycle=Lifecycle.IDLE)
    fleet = a_fleet(rest, a_host_tier(state=ALLOCATED), a_virtual_node())
    assert still(fleet, "tier", "deactivate", name="hosts") == ["tier hosts: host-1/VM1 not yet deleted"]
    assert still(a_fleet(rest, a_host_tier(state=ALLOCATED)), "tier", "deactivate", name="hosts") == []


def test_waiting_for_deallocated_ends_when_all_that_were_members_are_seen_down() -> None:
    fleet = a_fleet(a_tier(), a_virtual_node(tier="web"))
    assert still(fleet, "tier", "deallocate", name="web") == ["tier web: host-1/VM1 not yet released"]
    fence = Fence(NodeId("host-1/VM1"), NodeId("host-1"), 1, NOW)
    fleet = a_fleet(a_tier(), a_slot(fences=(fence,)))
    assert still(fleet, "tier", "deallocate", name="web") == ["tier web: host-1/VM1 not yet seen down"]
    assert still(a_fleet(a_tier()), "tier", "deallocate", name="web") == []


def test_waiting_for_an_edit_ends_when_members_match_the_target() -> None:
    fleet = a_fleet(a_host(), a_host("host-2", slot=2), a_host_tier(state=ACTIVE, target=1, maximum=2))
    view = a_view(fleet, waiting={"hosts": ["host-1 still hosts active guests VM1 (web slot 1)"]})
    assert still(fleet, "tier", "edit", view=view, name="hosts") == [
        "tier hosts: 2 nodes are allocated and the target is 1",
        "host-1 still hosts active guests VM1 (web slot 1)",
    ]
    assert still(a_fleet(a_host(), a_host_tier(state=ACTIVE)), "tier", "edit", name="hosts") == []
    assert still(a_fleet(a_host_tier()), "tier", "edit", name="hosts") == []
    assert still(a_fleet(), "tier", "edit", name="gone") == []
