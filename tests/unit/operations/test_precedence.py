"""Why one candidate comes before another, in words (R-ALLOC-3)."""

from dataclasses import replace
from typing import Any

import pytest

from metier.domain.fleet import Fleet
from metier.domain.node import Node
from metier.domain.tier import Spread, TierState
from metier.operations.precedence import comes_first
from tests.builders import VM_HARDWARE, a_fleet, a_host, a_host_tier, a_tier, a_virtual_node, an_image

FIRST, SECOND = a_virtual_node("host-1", 1), a_virtual_node("host-2", 1)


def a_site(*records: Any, **web: Any) -> Fleet:
    hosts = [a_host(f"host-{number}", slot=number) for number in (1, 2)]
    tier = a_tier(state=TierState.ACTIVE, **web)
    return a_fleet(*hosts, a_host_tier(target=2), an_image(), tier, *records)


def why(fleet: Fleet, first: Node, other: Node) -> str:
    (tier,) = (tier for tier in fleet.tiers.values() if tier.name == "web")
    return comes_first(fleet, tier, first, other)


def test_of_two_hosts_the_one_that_failed_less_often() -> None:
    flapping = a_site(FIRST, SECOND, a_virtual_node("host-2", 2), a_host("host-2", slot=2, failures=2))
    assert why(flapping, FIRST, SECOND) == (
        "at the same cost of 32, it and its host failed less often (0 times, host-2/VM1 and its host 2 times)"
    )


def test_a_failure_of_the_node_itself_is_told_without_the_hosts() -> None:
    once = replace(FIRST, failures=1)
    assert why(a_site(once, SECOND), SECOND, once) == (
        "at the same cost of 32, it failed less often (0 times, host-1/VM1 1 time)"
    )


@pytest.mark.parametrize("spread", Spread)
def test_of_two_hosts_used_alike_the_emptier_one(spread: Spread) -> None:
    fleet = a_site(FIRST, SECOND, a_virtual_node("host-2", 2), spread=spread)
    assert why(fleet, SECOND, FIRST) == (
        "at the same cost of 32, its host host-2 has more free nodes of that cost (2, host-1 has 1)"
    )


def test_where_nothing_else_tells_them_apart_names_do() -> None:
    assert why(a_site(FIRST, SECOND), FIRST, SECOND) == "at the same cost of 32, it comes first by name"


def test_what_is_worse_by_itself_is_chosen_for_what_others_get() -> None:
    large = a_virtual_node("host-2", 1, hardware=replace(VM_HARDWARE, memory_mib=1024))
    assert why(a_site(FIRST, large), large, FIRST) == (
        "with what other tiers that lack nodes get, it is the better choice"
    )
