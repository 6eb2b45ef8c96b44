"""Moving, reserving and inventorying nodes."""

import pytest

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import is_spare
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Place, Retry
from tests.builders import NOW, a_fleet, a_host, a_host_tier, a_node, a_tier, a_virtual_node
from tests.unit.operations.asking import change

NODE = NodeId("node-1")


@pytest.mark.parametrize("to", ["maintenance", "quarantined"])
def test_a_free_node_is_set_aside_and_comes_back(to: str) -> None:
    """S11, P9."""
    fleet, outcome = change(a_fleet(a_node()), "node", "move", name="node-1", to=to)
    assert fleet.nodes[NODE].placement.place is Place(to)
    assert outcome.message == f"node node-1 moved to the {to} pool"
    fleet, _ = change(fleet, "node", "move", name="node-1", to="free")
    assert is_spare(fleet.nodes[NODE])


def test_moving_to_the_free_pool_forgets_failures() -> None:
    failed = a_node(
        place="maintenance", failures=3, failed_at=NOW, problem="no answer", retry=Retry(2, NOW, "no answer")
    )
    fleet, _ = change(a_fleet(failed), "node", "move", name="node-1", to="free")
    node = fleet.nodes[NODE]
    assert (node.failures, node.failed_at, node.problem, node.retry) == (0, None, "", None)


def test_moving_refuses_what_it_must() -> None:
    with pytest.raises(Refusal, match="it fills slot 1 of tier web"):
        change(a_fleet(a_virtual_node(tier="web"), a_tier()), "node", "move", name="host-1/VM1", to="free")
    with pytest.raises(WrongUsage, match="cannot be moved to 'tier'"):
        change(a_fleet(a_node()), "node", "move", name="node-1", to="tier")
    with pytest.raises(Refusal, match="reserved as an image host"):
        change(a_fleet(a_node(place="reserved")), "node", "move", name="node-1", to="free")
    with pytest.raises(Refusal, match="what it has is not known yet"):
        change(a_fleet(a_node(place="discovered", hardware=None)), "node", "move", name="node-1", to="free")
    hosting = a_fleet(a_host(tier=None), a_virtual_node())
    with pytest.raises(Refusal, match="cannot quarantine node host-1: it hosts host-1/VM1"):
        change(hosting, "node", "move", name="host-1", to="quarantined")


def test_a_quarantined_node_that_was_never_inventoried_goes_where_that_happens() -> None:
    node = a_node(place="quarantined", hardware=None, lifecycle=Lifecycle.NEW)
    fleet, outcome = change(a_fleet(node), "node", "move", name="node-1", to="free")
    assert fleet.nodes[NODE].placement.place is Place.DISCOVERED
    assert outcome.message == "node node-1 moved to the discovered pool"


def test_moving_to_where_it_is_changes_nothing() -> None:
    before = a_fleet(a_node())
    fleet, outcome = change(before, "node", "move", name="node-1", to="free")
    assert fleet is before
    assert outcome.message == "node node-1 is in the free pool already"


def test_a_node_is_reserved_as_image_host_and_released() -> None:
    """S69."""
    fleet, _ = change(a_fleet(a_node()), "node", "reserve", name="node-1")
    assert fleet.nodes[NODE].placement.place is Place.RESERVED
    _, outcome = change(fleet, "node", "reserve", name="node-1")
    assert outcome.message == "node node-1 is reserved already"
    fleet, _ = change(fleet, "node", "release", name="node-1")
    assert is_spare(fleet.nodes[NODE])
    _, outcome = change(fleet, "node", "release", name="node-1")
    assert outcome.message == "node node-1 is in the free pool already"


def test_only_an_idle_free_node_is_reserved() -> None:
    with pytest.raises(Refusal, match="it is in the maintenance pool"):
        change(a_fleet(a_node(place="maintenance")), "node", "reserve", name="node-1")
    with pytest.raises(Refusal, match="it is stopping"):
        change(a_fleet(a_node(lifecycle=Lifecycle.STOPPING)), "node", "reserve", name="node-1")
    with pytest.raises(Refusal, match="fills slot 1 of tier hosts"):
        change(a_fleet(a_host(), a_host_tier()), "node", "reserve", name="host-1")
    with pytest.raises(Refusal, match="in the maintenance pool, not reserved"):
        change(a_fleet(a_node(place="maintenance")), "node", "release", name="node-1")


def test_an_inventory_is_asked_for_again() -> None:
    retry = Retry(2, NOW, "no answer")
    fleet, _ = change(a_fleet(a_host(tier=None, retry=retry)), "node", "inventory", name="host-1")
    node = fleet.nodes[NodeId("host-1")]
    assert (node.lifecycle, node.placement.place, node.retry) == (Lifecycle.NEW, Place.DISCOVERED, None)


def test_an_inventory_refuses_what_it_must() -> None:
    for node, message in (
        (a_host(), "fills slot 1 of tier hosts"),
        (a_host(tier=None, place="maintenance"), "it is in the maintenance pool"),
        (a_host(tier=None, place="reserved"), "it is in the reserved pool"),
        (a_host(tier=None, lifecycle=Lifecycle.STOPPING), "it is stopping"),
        (a_host(tier=None, vmm=None), "no VM manager"),
    ):
        with pytest.raises(Refusal, match=message):
            change(a_fleet(node, a_host_tier()), "node", "inventory", name="host-1")
    running = a_fleet(a_host(tier=None, lifecycle=Lifecycle.INVENTORYING))
    _, outcome = change(running, "node", "inventory", name="host-1")
    assert outcome.message == "node host-1 is being inventoried already"
