"""A Fleet is a snapshot: drafts leave it alone, and its indexes follow every change."""

from dataclasses import replace

import pytest

from metier.domain.errors import NoSuchThing
from metier.domain.fleet import Fleet, Kind, Shape
from metier.domain.ids import NodeId, SlotId, TierId
from metier.domain.node import FREE, MAINTENANCE, Engagement, NodeKind
from metier.domain.observation import Observed, Power
from metier.domain.tier import Fence
from tests.builders import (
    NOW,
    VM_HARDWARE,
    a_fleet,
    a_host,
    a_slot,
    a_tier,
    a_virtual_node,
    an_image,
    placement,
)

HOST, VM = NodeId("host-1"), NodeId("host-1/VM1")
WEB = TierId("web")
SHAPE = Shape(NodeKind.VIRTUAL, VM_HARDWARE)


def a_site() -> Fleet:
    return a_fleet(
        an_image(), a_tier(maximum=3), a_host(tier=None), a_virtual_node(), a_virtual_node(number=2)
    )


def test_a_draft_leaves_its_base_as_it_was() -> None:
    fleet = a_site()
    draft = fleet.edit()
    draft.change_node(VM, placement=placement(tier="web"))
    draft.put_tier(a_tier("db"))
    draft.remove_node(NodeId("host-1/VM2"))
    assert fleet.nodes[VM].placement == FREE
    assert fleet.members(WEB) == {}
    assert TierId("db") not in fleet.tiers
    assert fleet.vms_of[HOST] == {1: VM, 2: "host-1/VM2"}
    assert draft.members(WEB) == {1: VM}


def test_what_is_frozen_is_not_changed_by_its_draft_any_more() -> None:
    draft = a_site().edit()
    draft.change_node(VM, placement=placement(tier="web"))
    frozen = draft.freeze()
    draft.change_node(VM, placement=placement(tier="web", slot=2))
    assert frozen.members(WEB) == {1: VM}
    assert draft.members(WEB) == {2: VM}


def test_a_draft_without_a_change_freezes_to_its_base() -> None:
    fleet = a_site()
    assert fleet.edit().freeze() is fleet


def test_records_are_stamped_with_the_drafts_generation_and_listed_as_changes() -> None:
    draft = a_site().edit()
    node = draft.change_node(VM, failures=1)
    assert node.generation == draft.generation
    assert draft.changes == {Kind.NODE: {VM: node}}
    draft.remove_node(VM)
    assert draft.changes[Kind.NODE] == {VM: None}


def test_quiet_observations_are_kept_and_change_nothing() -> None:
    draft = a_site().edit()
    draft.put_observed(HOST, Observed(Power.ON, NOW), quiet=True)
    assert not draft.changes
    assert draft.freeze().seen(HOST).power is Power.ON


def test_spare_nodes_are_indexed_by_shape_and_host() -> None:
    draft = a_site().edit()
    assert draft.free[SHAPE] == {HOST: (VM, "host-1/VM2")}
    draft.change_node(VM, engagement=Engagement(engaged=False))
    assert draft.free[SHAPE] == {HOST: ("host-1/VM2",)}
    assert VM in draft.loose
    draft.change_node(NodeId("host-1/VM2"), placement=MAINTENANCE)
    assert SHAPE not in draft.free


def test_fences_are_indexed_by_tier_node_and_host() -> None:
    fence = Fence(VM, HOST, 1, NOW)
    draft = a_site().edit()
    draft.put_slot(a_slot(number=2, fences=(fence,)))
    slot = SlotId(WEB, 2)
    assert [kept.id for kept in draft.fenced_slots(WEB)] == [slot]
    assert set(draft.fenced_by) == {VM, HOST}
    draft.put_slot(a_slot(number=2))
    assert draft.fenced_slots(WEB) == []
    assert draft.fenced_by == {}
    assert slot not in draft.slots, "an empty slot is dropped"


def test_a_fleet_built_from_records_has_the_same_indexes() -> None:
    fleet = a_fleet(a_tier(maximum=2), a_host(tier=None), a_virtual_node(tier="web", slot=2), an_image())
    rebuilt = Fleet.of({Kind.NODE: fleet.nodes, Kind.TIER: fleet.tiers, Kind.SLOT: fleet.slots}, generation=9)
    assert rebuilt.members(WEB) == {2: VM}
    assert rebuilt.vms_of == fleet.vms_of
    assert rebuilt.generation == 9


def test_removing_a_tier_removes_what_was_kept_of_it() -> None:
    draft = a_site().edit()
    draft.put_slot(a_slot(fences=(Fence(VM, HOST, 1, NOW),)))
    draft.remove_tier(WEB)
    assert not draft.slots
    assert not draft.fenced


def test_unknown_names_are_named_with_a_way_out() -> None:
    fleet = a_site()
    for ask, word in ((fleet.node, "node"), (fleet.tier, "tier"), (fleet.image, "image")):
        with pytest.raises(NoSuchThing, match=f"there is no {word} nobody") as caught:
            ask("nobody")
        assert "list" in caught.value.remedy


def test_a_node_moved_between_slots_leaves_the_old_one() -> None:
    draft = a_site().edit()
    draft.change_node(VM, placement=placement(tier="web", slot=1))
    draft.put_node(replace(draft.nodes[VM], placement=placement(tier="web", slot=3)))
    assert draft.members(WEB) == {3: VM}
