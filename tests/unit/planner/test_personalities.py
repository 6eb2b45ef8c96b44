"""What the planner has a guest told, and what is remembered of it."""

from dataclasses import replace

from metier.domain import actions as act
from metier.domain.fleet import Fleet
from metier.domain.ids import SlotId, TierId
from metier.domain.lifecycle import Lifecycle
from metier.domain.personality import Personality, Variable
from metier.domain.personalizing import carried_by
from metier.domain.tier import SlotSettings, TierState
from metier.planner.effects import Done, begin, settle
from metier.planner.plan import decide
from tests.builders import NOW, a_fleet, a_host, a_host_image, a_host_tier, a_tier, a_virtual_node, an_image

SLOT = SlotId(TierId("web"), 1)
TIER = Personality(user_data="old", scripts=("a",))


def a_site() -> Fleet:
    role = Personality(variables=(Variable("role", "db"),))
    settings = SlotSettings(1, "www", "10.0.0.7/24", "10.0.0.1", role)
    tier = a_tier(state=TierState.ACTIVE, depends_on=(TierId("hosts"),), personality=TIER, slots=(settings,))
    node = a_virtual_node(tier="web", lifecycle=Lifecycle.IDLE, attributes=frozenset({"ssd"}))
    hosts = a_host_tier(state=TierState.ACTIVE)
    return a_fleet(a_host_image(), an_image(), hosts, tier, a_host(), node)


def prepares(fleet: Fleet) -> list[act.PrepareGuest]:
    return [action for action in decide(fleet, NOW).actions if isinstance(action, act.PrepareGuest)]


def test_a_guest_is_told_what_was_written_for_its_tier_and_its_slot() -> None:
    (action,) = prepares(a_site())
    assert action.personality.user_data == "old"
    assert dict(action.personality.variables) == {"role": "db"}
    assert (action.vm_number, action.attributes) == (1, frozenset({"ssd"}))


def test_what_it_was_told_is_remembered_with_its_slot() -> None:
    fleet = a_site()
    (action,) = prepares(fleet)
    draft = fleet.edit()
    begin(draft, action, NOW)
    settle(draft, action, Done(digest="d1"), NOW)
    applied = draft.slot(SLOT).applied
    assert applied is not None
    assert (applied.carried, applied.digest) == (carried_by(action), "d1")


def test_an_instance_that_is_started_again_is_told_the_same_again() -> None:
    fleet = a_site()
    (action,) = prepares(fleet)
    draft = fleet.edit()
    begin(draft, action, NOW)
    settle(draft, action, Done(), NOW)
    draft.change_node(action.node, lifecycle=Lifecycle.IDLE)
    draft.put_tier(replace(draft.tiers[TierId("web")], personality=Personality(user_data="new")))
    (again,) = prepares(draft.freeze())
    assert again.instance == action.instance
    assert again.personality == action.personality
    slot = draft.slot(SLOT)
    draft.change_node(action.node, instance=None)
    draft.put_slot(replace(slot, instance=None))
    (anew,) = prepares(draft.freeze())
    assert anew.instance != action.instance
    assert anew.personality.user_data == "new"
