"""What a change would alter in what guests are told, before it is made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from metier.control.personal_changes import MOST_SLOTS, rewritten
from metier.control.services import LoopServices
from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.domain.forecast import Forecast, Rewritten
from metier.domain.ids import SlotId, TierId
from metier.domain.personality import Carried, Personality
from metier.domain.tier import SlotSettings
from metier.store.memory import MemoryStore
from tests.builders import NOW, a_fleet, a_tier, an_image
from tests.unit.control.site import NotedDrivers, a_datacentre, tools_of

WEB = TierId("web")
FLEET = a_fleet(an_image(), a_tier(target=2), a_tier("db"))


def texts(every: Sequence[Carried]) -> Sequence[Mapping[str, str]]:
    return [{"user-data": f"{carried.personality.user_data}{carried.slot}"} for carried in every]


def changed(fleet: Fleet = FLEET, **fields: object) -> Fleet:
    draft = fleet.edit()
    draft.put_tier(replace(draft.tiers[WEB], **fields))
    return draft.freeze()


def test_each_slot_has_its_own_difference() -> None:
    found = rewritten(FLEET, changed(personality=Personality(user_data="a")), texts)
    assert [one.slot for one in found] == [SlotId(WEB, 1), SlotId(WEB, 2)]
    assert found[1].difference.splitlines()[-2:] == ["-2", "+a2"]
    own = SlotSettings(2, personality=Personality(user_data="b"))
    assert [one.slot.number for one in rewritten(FLEET, changed(slots=(own,)), texts)] == [2]


def test_what_leaves_the_texts_as_they_are_is_not_told_of() -> None:
    assert rewritten(FLEET, FLEET, texts) == ()
    assert rewritten(FLEET, changed(priority=9), texts) == ()
    assert rewritten(FLEET, changed(slots=(SlotSettings(1, "www"),)), texts) == ()
    assert rewritten(a_fleet(an_image()), FLEET, texts) == ()


def test_of_a_large_tier_so_many_slots_are_told_of() -> None:
    large = a_fleet(an_image(), a_tier(target=2, maximum=5000))
    found = rewritten(large, changed(large, personality=Personality(user_data="a")), texts)
    assert len(found) == MOST_SLOTS


def services(tools_texts: object) -> LoopServices:
    store = MemoryStore()
    store.hold("the test")
    tools = replace(tools_of(NotedDrivers(a_datacentre())), texts=tools_texts)
    return LoopServices(store, tools, lambda: FLEET, foresee=lambda _fleet, _now: Forecast(notes=("n",)))


def test_a_preview_says_what_guests_would_be_told() -> None:
    forecast = services(texts).foresee(changed(personality=Personality(user_data="a")), NOW)
    assert [type(one) for one in forecast.rewritten] == [Rewritten] * 2
    assert services(texts).foresee(FLEET, NOW).rewritten == ()


def test_a_preview_that_cannot_render_says_so_and_goes_on() -> None:
    def broken(_: object) -> Sequence[Mapping[str, str]]:
        raise Refusal("no renderer")

    forecast = services(broken).foresee(changed(personality=Personality(user_data="a")), NOW)
    assert forecast.notes == ("n", "how what guests are told would differ is not known: no renderer")
