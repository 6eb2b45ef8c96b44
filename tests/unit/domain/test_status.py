"""The one word for a node, from its independent axes."""

import pytest

from metier.domain.image import CollectorSpec
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement, Node, Place
from metier.domain.observation import Health, Observed, Power
from metier.domain.status import STATUSES, health, status
from metier.domain.tier import Fence, TierState
from tests.builders import NOW, a_fleet, a_host, a_node, a_slot, a_tier, a_virtual_node, an_image

TCP = (CollectorSpec("tcp", 80),)


@pytest.mark.parametrize(
    ("node", "seen", "word"),
    [
        (a_node(place=Place.QUARANTINED), Observed(), "quarantined"),
        (a_node(place=Place.RESERVED), Observed(), "reserved"),
        (a_node(place=Place.DISCOVERED, lifecycle=Lifecycle.NEW), Observed(), "discovered"),
        (a_node(), Observed(Power.ON), "idle"),
        (a_node(), Observed(Power.OFF), "offline"),
        (a_node(place=Place.MAINTENANCE), Observed(), "maintenance"),
        (a_node(place=Place.MAINTENANCE, lifecycle=Lifecycle.STOPPING), Observed(), "shutting down"),
        (a_node(tier="web"), Observed(), "allocated"),
        (a_node(tier="web", engagement=Engagement(engaged=False)), Observed(), "shut down"),
        (a_node(tier="web", lifecycle=Lifecycle.PREPARED), Observed(), "ready"),
        (a_node(tier="web", lifecycle=Lifecycle.RUNNING), Observed(), "normal"),
        (a_node(tier="web", lifecycle=Lifecycle.RUNNING), Observed(health=Health.CRITICAL), "critical"),
        (a_node(tier="web", lifecycle=Lifecycle.RUNNING), Observed(vmm_reachable=False), "unreachable"),
        (a_node(tier="web", lifecycle=Lifecycle.FAILED), Observed(), "failed"),
    ],
)
def test_status(node: Node, seen: Observed, word: str) -> None:
    fleet = a_fleet(a_tier(state=TierState.ACTIVE, collectors=TCP), node, observed={node.name: seen})
    assert status(fleet, node) == word
    assert word in STATUSES


def test_a_prepared_node_of_a_fenced_slot_waits_for_the_fence() -> None:
    node = a_virtual_node(tier="web", lifecycle=Lifecycle.PREPARED)
    slot = a_slot(node=node.name, fences=(Fence(node.name, None, None, NOW),))
    fleet = a_fleet(a_tier(), a_host(tier=None), node, slot)
    assert status(fleet, node) == "waiting for fence"


def test_what_is_remembered_of_health_says_nothing_where_no_collector_judges() -> None:
    node = a_virtual_node(tier="web")
    seen = {node.name: Observed(health=Health.CRITICAL)}
    fleet = a_fleet(an_image(), a_tier(), a_host(tier=None), node, observed=seen)
    assert health(fleet, node) is Health.NORMAL
