"""What an instance is told when it is prepared, and what it keeps for as long as it lives."""

from dataclasses import replace
from typing import Any

from metier.domain.actions import PrepareGuest
from metier.domain.ids import NodeId
from metier.domain.image import ImageType
from metier.domain.lifecycle import Lifecycle
from metier.domain.personality import Applied, Personality, SeedForm
from metier.domain.personalizing import (
    carried_by,
    carried_now,
    outdated_slots,
    personality_for,
    running_with,
)
from metier.domain.tier import SlotSettings, TierState
from tests.builders import a_fleet, a_host, a_slot, a_tier, a_virtual_node, an_image, an_instance

OLD, NEW = Personality(user_data="old"), Personality(user_data="new")


def test_what_is_prepared_is_what_is_foreseen() -> None:
    tier = a_tier(personality=NEW, slots=(SlotSettings(1, address="10.0.0.7/24"),))
    node = a_virtual_node(tier="web", instance=an_instance(), attributes=frozenset({"ssd"}))
    slot = a_slot(node=node.name, instance=an_instance())
    fleet = a_fleet(a_host(), node, tier, slot, an_image())
    prepare: dict[str, Any] = {
        "hostname": "web-1",
        "address": "10.0.0.7/24",
        "gateway": None,
        "personality": NEW,
        "vm_number": 1,
        "attributes": frozenset({"ssd"}),
    }
    action = PrepareGuest(
        node=node.name,
        slot=slot.id,
        image=an_image(),
        instance=an_instance(),
        why="a test",
        rule="R-TEST-1",
        **prepare,
    )
    assert carried_by(action) == carried_now(fleet, tier, 1, an_image())


def test_the_form_follows_the_image_unless_somebody_chose() -> None:
    fleet, windows = a_fleet(), an_image(type=ImageType.WINDOWS)
    assert carried_now(fleet, a_tier(), 1, an_image()).form is SeedForm.NOCLOUD
    assert carried_now(fleet, a_tier(), 1, windows).form is SeedForm.UNATTEND
    chosen = a_tier(personality=Personality(form=SeedForm.CONFIGDRIVE))
    assert carried_now(fleet, chosen, 1, windows).form is SeedForm.CONFIGDRIVE


def test_an_instance_is_told_what_it_was_told_first_and_a_new_one_what_is_written_now() -> None:
    applied = Applied(carried_now(a_fleet(), a_tier(personality=OLD), 1, an_image()))
    known = replace(applied.carried, instance="web-1-1")
    slot = a_slot(applied=Applied(known))
    tier = a_tier(personality=NEW)
    assert personality_for(tier, slot, an_instance()) == OLD
    assert personality_for(tier, slot, replace(an_instance(), id="web-1-2")) == NEW
    assert personality_for(tier, a_slot(), an_instance()) == NEW


def test_only_nodes_that_run_can_be_behind() -> None:
    tier = a_tier(state=TierState.ACTIVE, personality=OLD)
    node = a_virtual_node(tier="web", instance=an_instance())
    slot = a_slot(node=node.name, instance=an_instance())
    fleet = a_fleet(a_host(), node, tier, slot, an_image())
    told = replace(slot, applied=Applied(carried_now(fleet, tier, 1, an_image())))
    changed = replace(tier, personality=NEW)

    def behind(*records: Any) -> list[int]:
        return outdated_slots(a_fleet(a_host(), an_image(), *records), changed)

    assert behind(node, changed, told) == [1]
    assert behind(replace(node, lifecycle=Lifecycle.IDLE), changed, told) == []
    assert behind(node, changed, slot) == []
    elsewhere = replace(told.applied.carried, node=NodeId("host-1/VM9")) if told.applied else None
    assert elsewhere is not None
    assert behind(node, changed, replace(slot, applied=Applied(elsewhere))) == []
    assert running_with(a_fleet(), slot.id) is None


def test_what_a_node_has_of_its_own_makes_no_personality_older() -> None:
    tier = a_tier(state=TierState.ACTIVE, personality=OLD)
    node = a_virtual_node(tier="web", instance=an_instance())
    slot = a_slot(node=node.name, instance=an_instance())
    fleet = a_fleet(a_host(), node, tier, slot, an_image())
    told = replace(slot, applied=Applied(carried_now(fleet, tier, 1, an_image())))
    labelled = replace(node, attributes=frozenset({"ssd"}))
    assert outdated_slots(a_fleet(a_host(), an_image(), labelled, tier, told), tier) == []
