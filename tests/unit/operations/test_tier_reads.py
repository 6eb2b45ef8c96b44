"""What is shown of tiers, and explained."""

from typing import Any

import pytest

from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware, Requirements
from metier.domain.ids import TierId
from metier.domain.image import CollectorSpec
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement
from metier.domain.tier import TierState
from tests.builders import (
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_tier,
    a_virtual_node,
    an_image,
)
from tests.unit.operations.asking import a_view, ask

CONTRACT = (
    "name",
    "state",
    "kind",
    "priority",
    "minimum",
    "target",
    "maximum",
    "allocated",
    "normal",
    "image",
    "depends_on",
    "requirements",
    "reboot_on_failure",
    "move_to_maintenance",
    "harvesting",
    "waiting_for",
)


def a_site(**fields: Any) -> Fleet:
    return a_fleet(
        a_host(),
        a_host_tier(state=TierState.ACTIVE),
        a_host_image(),
        a_virtual_node(number=1, tier="web", slot=1),
        a_virtual_node(number=2, tier="web", slot=2, lifecycle=Lifecycle.BOOTING),
        a_virtual_node(number=3, engagement=Engagement(False, "bob")),
        a_virtual_node(number=4, hardware=Hardware(memory_mib=192)),
        a_virtual_node(number=5, place="maintenance"),
        a_tier(target=3, state=TierState.ACTIVE, **fields),
        an_image(),
    )


def test_a_tier_s_row_has_every_key_of_the_contract() -> None:
    fleet = a_site(
        collectors=(CollectorSpec("http", 80, "/health"),), requirements=Requirements(memory_mib=512)
    )
    view = a_view(fleet, waiting={"web": ["no node fits"]})
    row = ask(fleet, "tier", "show", view=view, name="web")
    assert set(CONTRACT) <= set(row)
    assert (row["state"], row["kind"], row["image"]) == ("active", "guest", "web@1")
    assert (row["minimum"], row["target"], row["maximum"]) == (1, 3, 3)
    assert (row["allocated"], row["normal"]) == (2, 1)
    assert row["requirements"]["memory_mib"] == 512
    assert row["collectors"] == ["http:80/health"]
    assert row["waiting_for"] == ["no node fits"]
    assert [node["vm_slot"] for node in row["nodes"]] == ["VM1", "VM2"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["hosts", "web"]),
        ({"state": "inactive"}, []),
        ({"kind": "guest"}, ["web"]),
        ({"image": "vmm"}, ["hosts"]),
        ({"image": "web@1"}, ["web"]),
    ],
)
def test_filters_narrow_the_list(filters: dict[str, str], names: list[str]) -> None:
    assert [row["name"] for row in ask(a_site(), "tier", "list", **filters)] == names


def test_explain_counts_why_no_node_fits_and_says_what_would_help() -> None:
    """R-ALLOC-5, S46."""
    row = ask(a_site(), "tier", "explain", name="web")
    assert (row["shortage"], row["surplus"], row["candidates"]) == (1, 0, 0)
    assert sorted(row["reasons"]) == ["1 × disengaged", "1 × maintenance", "1 × too little memory"]
    assert row["cures"] == [
        "engage host-1/VM3: it would be allocated to web",
        "move host-1/VM5 to the free pool: it would be allocated to web",
        "with 64 MiB more memory, host-1/VM4 would be allocated to web",
    ]
    assert [(node["node"], node["status"]) for node in row["nodes"]] == [
        ("host-1/VM1", "normal"),
        ("host-1/VM2", "booting"),
    ]


def test_explain_names_candidates_with_the_cheapest_first() -> None:
    fleet = a_fleet(
        a_host(),
        a_host_tier(state=TierState.ACTIVE),
        a_virtual_node(number=1, hardware=Hardware(memory_mib=1024)),
        a_virtual_node(number=2, hardware=Hardware(memory_mib=256)),
        a_tier(state=TierState.ALLOCATED),
        an_image(),
    )
    row = ask(fleet, "tier", "explain", name="web")
    assert row["candidates"] == 2
    assert [candidate["node"] for candidate in row["next"]] == ["host-1/VM2", "host-1/VM1"]
    assert row["next_why"] == "host-1/VM2 comes first: it costs 20, host-1/VM1 costs 32"


def test_explain_names_the_guests_that_hold_a_host() -> None:
    row = ask(a_site(), "tier", "explain", name="hosts")
    assert row["nodes"][0]["active_guests"] == ["host-1/VM1 in tier web", "host-1/VM2 in tier web"]


def test_explain_names_less_important_tiers_that_could_give() -> None:
    fleet = a_fleet(
        a_host(),
        a_host_tier(state=TierState.ACTIVE),
        a_virtual_node(number=1, tier="low", slot=1),
        a_virtual_node(number=2, tier="low", slot=2),
        a_virtual_node(number=3, tier="selfish", slot=1),
        a_tier("low", target=2, minimum=1, priority=10, state=TierState.ACTIVE),
        a_tier("selfish", minimum=0, target=1, maximum=1, priority=10, harvesting=False),
        a_tier("web", priority=60, state=TierState.ACTIVE, depends_on=(TierId("hosts"),)),
        an_image(),
    )
    row = ask(fleet, "tier", "explain", name="web")
    assert row["donors"] == [{"tier": "low", "priority": 10, "spare": 1, "nodes": ["host-1/VM1"]}]
    assert row["dependencies"] == ["tier hosts is active"]
