"""Host names and addresses of slots."""

from typing import Any

import pytest

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import TierId
from metier.domain.tier import SlotSettings, Tier, TierState
from tests.builders import a_fleet, a_host, a_host_image, a_host_tier, a_tier, a_virtual_node, an_image
from tests.unit.operations.asking import change

WEB = TierId("web")


def a_site(*more: Any) -> Fleet:
    return a_fleet(a_host_image(), an_image(), a_host_tier(), *more)


def created(*more: Any, **arguments: Any) -> Tier:
    defaults = {"name": "web", "image": "web@1", "target": 3}
    fleet, _ = change(a_site(*more), "tier", "create", **(defaults | arguments))
    return fleet.tiers[WEB]


def test_slots_take_addresses_gateways_and_host_names() -> None:
    """S8, P20."""
    tier = created(
        slot_address=("1=10.0.0.7/24,10.0.0.1", "3=2001:db8:0::7/64"), hostname=("1=www1", "2=www2.example")
    )
    assert tier.slots == (
        SlotSettings(1, "www1", "10.0.0.7/24", "10.0.0.1"),
        SlotSettings(2, "www2.example"),
        SlotSettings(3, None, "2001:db8::7/64"),
    )
    assert [tier.hostname(number) for number in (1, 2, 3)] == ["www1", "www2.example", "web-3"]


def test_a_range_fills_all_slots_and_no_more() -> None:
    tier = created(addresses="10.0.0.9-10.0.0.20/24", gateway="10.0.0.1")
    assert [(slot.number, slot.address, slot.gateway) for slot in tier.slots] == [
        (1, "10.0.0.9/24", "10.0.0.1"),
        (2, "10.0.0.10/24", "10.0.0.1"),
        (3, "10.0.0.11/24", "10.0.0.1"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"slot_address": ("1=10.0.0.7",)}, "lacks its prefix length"),
        ({"slot_address": ("1=10.0.0.700/24",)}, "is not an address"),
        ({"slot_address": ("10.0.0.7/24",)}, "is not SLOT=VALUE"),
        ({"slot_address": ("0=10.0.0.7/24",)}, "must lie from 1 to 3"),
        ({"slot_address": ("4=10.0.0.7/24",)}, "must lie from 1 to 3"),
        ({"slot_address": ("x=10.0.0.7/24",)}, "must be a whole number from 1 to 3"),
        ({"slot_address": ("1=10.0.0.0/24",)}, "names the network"),
        ({"slot_address": ("1=10.0.0.255/24",)}, "names the network"),
        ({"slot_address": ("1=127.0.0.1/8",)}, "not an address that a node can have"),
        ({"slot_address": ("1=0.0.0.0/0",)}, "not an address that a node can have"),
        ({"slot_address": ("1=10.0.0.7/24,10.0.1.1",)}, "is not in 10.0.0.0/24"),
        ({"slot_address": ("1=10.0.0.7/24,10.0.0.7",)}, "is the slot's own address"),
        ({"slot_address": ("1=10.0.0.7/24,x",)}, "gateway 'x' is not an IP address"),
        ({"slot_address": ("1=,10.0.0.1",)}, "given without an address"),
        ({"hostname": ("1=a_b",)}, "cannot be a host name"),
        ({"hostname": ("1=-a",)}, "cannot be a host name"),
        ({"hostname": ("1=" + "a" * 64,)}, "cannot be a host name"),
        ({"hostname": ("1=a..b",)}, "cannot be a host name"),
        ({"addresses": "10.0.0.9-10.0.0.10/24"}, "has 2 addresses, too few for the 3 slots of tier web"),
        ({"addresses": "10.0.0.9/24"}, "is not a range of addresses"),
        ({"addresses": "10.0.0.20-10.0.0.9/24"}, "has 0 addresses"),
        ({"addresses": "10.0.0.9-10.0.1.20/24"}, "leave their network"),
        ({"addresses": "10.0.0.1-10.200.0.1/8"}, "1 to 100000 can be given"),
        ({"gateway": "10.0.0.1"}, "--gateway is given without --addresses"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        created(**given)


def test_an_address_is_given_once_in_the_site() -> None:
    with pytest.raises(Refusal, match=r"cannot give address 10\.0\.0\.7 to slot 2 of tier web: slot 1"):
        created(slot_address=("1=10.0.0.7/24", "2=10.0.0.7/16"))
    other = a_tier("db", slots=(SlotSettings(1, None, "10.0.0.7/24"),))
    with pytest.raises(Refusal, match="slot 1 of tier db has it"):
        created(other, slot_address=("1=10.0.0.7/24",))
    with pytest.raises(Refusal, match="node host-1 has it"):
        created(a_host(power_ip="10.0.0.7"), slot_address=("1=10.0.0.7/24",))


def test_a_host_tier_s_slot_may_carry_its_node_s_own_address() -> None:
    tier = created(a_host(power_ip="10.0.0.7"), image="vmm@1", slot_address=("1=10.0.0.7/24",))
    assert tier.slots == (SlotSettings(1, None, "10.0.0.7/24"),)


def test_a_host_name_is_given_once_in_the_site() -> None:
    with pytest.raises(Refusal, match="cannot give host name www to slot 2 of tier web: slot 1 of tier web"):
        created(hostname=("1=www", "2=www"))
    other = a_tier("db", slots=(SlotSettings(1, "www"),))
    with pytest.raises(Refusal, match="slot 1 of tier db has it"):
        created(other, hostname=("1=WWW",))
    with pytest.raises(Refusal, match="slot 1 of tier hosts by default has it"):
        created(hostname=("1=hosts-1",))
    with pytest.raises(Refusal, match="slot 2 of tier web by default has it"):
        created(hostname=("1=web-2",))
    with pytest.raises(Refusal, match="slot 1 of tier web by default has it"):
        created(a_tier("db", slots=(SlotSettings(1, "web-1"),)))
    assert created(hostname=("1=web-1", "2=web-9")).hostname(2) == "web-9"


def test_settings_of_slots_above_a_lower_maximum_are_dropped() -> None:
    tier = a_tier(target=3, slots=tuple(SlotSettings(n, f"www{n}") for n in (1, 2, 3)))
    fleet, _ = change(a_site(tier), "tier", "edit", name="web", target=2, maximum=2)
    assert [slot.number for slot in fleet.tiers[WEB].slots] == [1, 2]


def test_raising_the_maximum_says_which_slots_have_no_address() -> None:
    tier = a_tier(slots=(SlotSettings(1, None, "10.0.0.7/24"),))
    _, outcome = change(a_site(tier), "tier", "edit", name="web", maximum=3)
    assert outcome.warnings == ("slots 2 to 3 of tier web have no address and take one by DHCP",)


def test_an_empty_text_takes_a_slot_back_to_the_default() -> None:
    tier = a_tier(
        target=2, slots=(SlotSettings(1, "www", "10.0.0.7/24"), SlotSettings(2, "w2", "10.0.0.8/24"))
    )
    fleet, _ = change(a_site(tier), "tier", "edit", name="web", slot_address=("1=",), hostname=("1=",))
    assert fleet.tiers[WEB].slots == (SlotSettings(2, "w2", "10.0.0.8/24"),)
    fleet, _ = change(fleet, "tier", "edit", name="web", addresses="")
    assert fleet.tiers[WEB].slots == (SlotSettings(2, "w2"),)


def personalized(fleet: Fleet, **arguments: Any) -> tuple[SlotSettings, ...]:
    after, _ = change(fleet, "tier", "personalize", **({"name": "web", "slot": 1} | arguments))
    return after.tiers[WEB].slots


def test_a_slot_is_personalized_part_by_part() -> None:
    fleet = a_site(a_tier(slots=(SlotSettings(1, "www", "10.0.0.7/24", "10.0.0.1"),)))
    assert personalized(fleet, hostname="w") == (SlotSettings(1, "w", "10.0.0.7/24", "10.0.0.1"),)
    assert personalized(fleet, address="10.0.1.7/24") == (SlotSettings(1, "www", "10.0.1.7/24"),)
    assert personalized(fleet, gateway="") == (SlotSettings(1, "www", "10.0.0.7/24"),)
    assert personalized(fleet, hostname="", address="") == ()


def test_personalizing_refuses_what_it_must() -> None:
    fleet = a_site(a_tier())
    with pytest.raises(WrongUsage, match="the slot of tier web cannot be 2"):
        personalized(fleet, slot=2, hostname="www")
    with pytest.raises(WrongUsage, match="nothing is given for slot 1 of tier web"):
        personalized(fleet)
    with pytest.raises(Refusal, match="slot 1 of tier hosts by default has it"):
        personalized(fleet, hostname="hosts-1")
    with pytest.raises(WrongUsage, match="given without an address"):
        personalized(fleet, gateway="10.0.0.1")


def test_a_host_tier_is_personalized_only_while_it_is_not_active() -> None:
    """R-HOSTIMAGE-1, S67."""
    fleet = a_fleet(a_host_image(), a_host_tier(state=TierState.ACTIVE))
    with pytest.raises(Refusal, match="cannot personalize host tier hosts: it is active"):
        change(fleet, "tier", "personalize", name="hosts", slot=1, hostname="h1")
    with pytest.raises(Refusal, match="cannot personalize host tier hosts: it is active"):
        change(fleet, "tier", "edit", name="hosts", hostname=("1=h1",))
    idle = a_fleet(a_host_image(), a_host_tier(state=TierState.ALLOCATED))
    after, _ = change(idle, "tier", "personalize", name="hosts", slot=1, hostname="h1")
    assert after.tiers[TierId("hosts")].hostname(1) == "h1"


def test_a_running_node_keeps_its_name_until_its_next_start() -> None:
    fleet = a_site(a_host(), a_virtual_node(tier="web"), a_tier(state=TierState.ACTIVE))
    _, outcome = change(fleet, "tier", "personalize", name="web", slot=1, hostname="www")
    assert outcome.warnings == ("the node that runs there keeps what it has until it is started again",)
    after, outcome = change(fleet, "tier", "personalize", name="web", slot=1, hostname="")
    assert outcome.message == "slot 1 of tier web is so already"
    assert after is fleet
