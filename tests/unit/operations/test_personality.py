"""What slots are told: set, shown, compared; and carried in site files."""

from dataclasses import replace
from typing import Any

import pytest

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import TierId
from metier.domain.image import ImageType
from metier.domain.personality import Applied, PersonalFile, Personality, SeedForm, Variable
from metier.domain.personalizing import carried_now
from metier.domain.tier import SlotSettings, Tier, TierState
from metier.operations.registry import View
from tests.builders import (
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_slot,
    a_tier,
    a_virtual_node,
    an_image,
    an_instance,
)
from tests.unit.operations.asking import a_view, ask, change

WEB = TierId("web")
MOTD = PersonalFile("/etc/motd", "hi {{ role }}", "0600")


def a_site(**tier: Any) -> Fleet:
    return a_fleet(a_host_image(), an_image(), a_host_tier(), a_tier(target=2, **tier))


def personalized(fleet: Fleet, **arguments: Any) -> Tier:
    return change(fleet, "tier", "personalize", name="web", **arguments)[0].tiers[WEB]


def test_a_tier_is_personalized_part_by_part_and_cleared_by_empty_texts() -> None:
    fleet, outcome = change(
        a_site(),
        "tier",
        "personalize",
        name="web",
        form="configdrive",
        user_data="#cloud-config\n",
        add_file=("/etc/motd,600=hi {{ role }}", "/x=a=b"),
        script=("one", "two"),
        set=("role=db", "place=a"),
        name_server=("10.0.0.2",),
    )
    assert outcome.message == "tier web personalized"
    assert fleet.tiers[WEB].personality == Personality(
        form=SeedForm.CONFIGDRIVE,
        user_data="#cloud-config\n",
        files=(MOTD, PersonalFile("/x", "a=b")),
        scripts=("one", "two"),
        variables=(Variable("place", "a"), Variable("role", "db")),
        name_servers=("10.0.0.2",),
    )
    cleared = personalized(
        fleet,
        form="default",
        user_data="",
        add_file=("/etc/motd=", "/x="),
        script=("",),
        set=("role=", "place="),
        name_server=("",),
    )
    assert cleared.personality == Personality()


def test_a_slot_has_what_differs_from_its_tier() -> None:
    tier = personalized(a_site(), add_file=("/etc/motd=tier",), set=("role=front", "x=1"), script=("a",))
    fleet = a_fleet(a_host_image(), an_image(), a_host_tier(), tier)
    own = personalized(fleet, slot=2, set=("role=back",), add_file=("/etc/motd=own",), script=("b",))
    image = fleet.images[tier.image]
    first, second = (carried_now(fleet, own, number, image).personality for number in (1, 2))
    assert first == tier.personality
    assert dict(second.variables) == {"role": "back", "x": "1"}
    assert [file.content for file in second.files] == ["own"]
    assert second.scripts == ("a", "b")
    fleet = a_fleet(a_host_image(), an_image(), a_host_tier(), own)
    back = personalized(fleet, slot=2, set=("role=",), add_file=("/etc/motd=",), script=("",))
    assert back == replace(tier, generation=back.generation)


def test_names_and_addresses_do_not_lose_a_slot_its_personality() -> None:
    own = Personality(scripts=("x",))
    fleet = a_site(slots=(SlotSettings(1, "www", "10.0.0.7/24", None, own),))
    for arguments in (
        {"addresses": "10.0.0.20-10.0.0.29/24"},
        {"addresses": ""},
        {"hostname": ("1=w",)},
        {"slot_address": ("1=10.0.0.9/24",)},
    ):
        after, _ = change(fleet, "tier", "edit", name="web", **arguments)
        assert after.tiers[WEB].slot_settings(1).personality == own
    assert personalized(fleet, slot=1, hostname="").slot_settings(1).personality == own


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing is given for tier web"),
        ({"slot": 2}, "nothing is given for slot 2 of tier web"),
        ({"slot": 3, "set": ("a=b",)}, "the slot of tier web cannot be 3"),
        ({"hostname": "www"}, "is given without a slot"),
        ({"form": "floppy"}, "--form cannot be 'floppy'"),
        ({"set": ("role",)}, "is not NAME=VALUE"),
        ({"set": ("hostname=x",)}, "value hostname cannot be set: every slot has one of its own"),
        ({"set": ("a b=x",)}, "is no name for a value"),
        ({"set": ("a=" + "x" * 5000,)}, "has 5000 characters, more than 4096"),
        ({"set": tuple(f"a{n}=x" for n in range(201))}, "201 values, more than 200"),
        ({"add_file": ("/etc/motd",)}, "is not PATH=FILE"),
        ({"add_file": ("/etc/motd,999=x",)}, "'999' is no mode of a file"),
        ({"add_file": tuple(f"/{n}=x" for n in range(101))}, "101 files, more than 100"),
        ({"script": ("x",) * 51}, "51 scripts, more than 50"),
        ({"user_data": "x" * (1 << 20) + "x"}, "1048577 characters in its texts"),
        ({"name_server": ("x",)}, "name server 'x' is no address"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        personalized(a_site(), **given)


def test_a_host_tier_is_told_something_else_only_while_it_is_not_active() -> None:
    """R-HOSTIMAGE-1, S67."""
    fleet = a_fleet(a_host_image(), a_host_tier(state=TierState.ACTIVE))
    with pytest.raises(Refusal, match="cannot personalize host tier hosts: it is active"):
        change(fleet, "tier", "personalize", name="hosts", set=("a=b",))
    tiers = [{"name": "hosts", "personality": {"scripts": ["x"]}}]
    with pytest.raises(Refusal, match="cannot personalize host tier hosts: it is active"):
        change(fleet, "", "apply", document={"tiers": tiers})


def test_windows_names_that_are_cut_are_named() -> None:
    image = an_image(type=ImageType.WINDOWS)
    fleet = a_fleet(image, a_tier("production-web-front", target=5))
    _, outcome = change(fleet, "tier", "personalize", name="production-web-front", set=("a=b",))
    (warning,) = outcome.warnings
    assert warning == (
        "Windows takes 15 characters of a name: production-web-front-1 to production-we-1, "
        "production-web-front-2 to production-we-2, production-web-front-3 to production-we-3, and 2 more"
    )


# --- shown and compared --------------------------------------------------------------------------


def read(view: View, noun: str, verb: str, **arguments: Any) -> Any:
    return ask(view.fleet, noun, verb, view=view, **arguments)


def a_running_site(personality: Personality, told: Personality) -> Fleet:
    tier = a_tier(target=2, state=TierState.ACTIVE, personality=told)
    node = a_virtual_node(tier="web", instance=an_instance())
    slot = a_slot(node=node.name, instance=an_instance())
    fleet = a_fleet(a_host_image(), an_image(), a_host_tier(), a_host(), node, tier, slot)
    applied = Applied(carried_now(fleet, tier, 1, an_image()), "d1")
    after = replace(tier, personality=personality)
    return a_fleet(
        a_host_image(), an_image(), a_host_tier(), a_host(), node, after, replace(slot, applied=applied)
    )


def test_a_slot_is_shown_as_it_is_rendered_with_what_differs_from_what_runs() -> None:
    old, new = Personality(user_data="old\n"), Personality(user_data="new\n", files=(MOTD,))
    row = read(a_view(a_running_site(new, old)), "tier", "personality", name="web", slot=1)
    assert (row["form"], row["node"], row["instance"]) == ("nocloud", "host-1/VM1", "web-1-1")
    assert row["texts"] == {"user-data": "new\n", "/etc/motd": "hi {{ role }}", "meta": "web-1"}
    assert (row["runs_with"], row["started_with"]) == ("an older one", "d1")
    assert row["difference"].splitlines() == [
        "--- user-data",
        "+++ user-data",
        "@@ -1 +1 @@",
        "-old",
        "+new",
        "--- nothing",
        "+++ /etc/motd",
        "@@ -0,0 +1 @@",
        "+hi {{ role }}",
    ]


def test_a_tier_says_which_slots_run_with_the_same() -> None:
    same, other = Personality(user_data="a"), Personality(user_data="b")
    for personality, word in ((same, "the same"), (other, "an older one")):
        view = a_view(a_running_site(personality, same))
        row = read(view, "tier", "personality", name="web")
        assert [slot["runs_with"] for slot in row["slots"]] == [word, ""]
        assert row["templates"] == dict(personality.texts)
        explained = read(view, "tier", "explain", name="web")["older_personality"]
        assert (explained is None) is (personality == same)
    assert explained.startswith("1 slot runs with an older personality: 1;")


def test_a_slot_without_a_node_is_shown_with_a_remark() -> None:
    row = read(a_view(a_site()), "tier", "personality", name="web", slot=2)
    assert row["remarks"] == ["no node fills the slot: what only a node has stands here as an example"]
    assert (row["node"], row["runs_with"], row["started_with"]) == (None, "", None)
    with pytest.raises(WrongUsage, match="the slot of tier web cannot be 3"):
        read(a_view(a_site()), "tier", "personality", name="web", slot=3)


# --- site files ----------------------------------------------------------------------------------

IN_A_FILE = {
    "form": "configdrive",
    "user_data": "#cloud-config\n",
    "files": [{"path": "/etc/motd", "content": "hi {{ role }}", "mode": "0600"}],
    "scripts": ["one"],
    "set": {"role": "db", "port": 80},
    "name_servers": ["10.0.0.2"],
}


def applied(fleet: Fleet, **tier: Any) -> Fleet:
    return change(fleet, "", "apply", document={"tiers": [{"name": "web", **tier}]})[0]


def test_a_site_file_has_whole_personalities() -> None:
    slots = [{"slot": 2, "personality": {"set": {"role": "back"}}}]
    after = applied(a_site(personality=Personality(scripts=("gone",))), personality=IN_A_FILE, slots=slots)
    tier = after.tiers[WEB]
    assert tier.personality == Personality(
        form=SeedForm.CONFIGDRIVE,
        user_data="#cloud-config\n",
        files=(MOTD,),
        scripts=("one",),
        variables=(Variable("port", "80"), Variable("role", "db")),
        name_servers=("10.0.0.2",),
    )
    assert tier.slots == (SlotSettings(2, personality=Personality(variables=(Variable("role", "back"),))),)
    assert applied(after, target=2) is after
    bare = applied(after, personality=None, slots=[{"slot": 2, "personality": None}])
    assert (bare.tiers[WEB].personality, bare.tiers[WEB].slots) == (Personality(), ())


def test_a_text_of_the_same_length_is_a_change_too() -> None:
    fleet = a_site(personality=Personality(user_data="a"))
    _, outcome = change(
        fleet, "", "apply", document={"tiers": [{"name": "web", "personality": {"user_data": "b"}}]}
    )
    assert outcome.message == "site file applied: 1 change"


@pytest.mark.parametrize(
    ("personality", "message"),
    [
        ("x", r"tiers\[0\].personality: expected a mapping"),
        ({"x": 1}, r"tiers\[0\].personality.x: there is no such setting"),
        ({"files": {}, "scripts": "x"}, r"personality.scripts: expected a list"),
        ({"scripts": [{}]}, r"personality.scripts\[0\]: expected a text"),
        ({"files": [{"content": "x"}]}, r"personality.files\[0\]: path is missing"),
        ({"files": [{"path": "/x", "mode": 420}]}, r"files\[0\].mode: write it in quotes"),
        ({"files": [{"path": "/x"}, {"path": "/x"}]}, "two files of one path"),
        ({"set": {"a": True}}, r"personality.set.a: expected a text"),
        ({"form": "x"}, r"personality.form cannot be 'x'"),
    ],
)
def test_a_wrong_personality_in_a_site_file_is_named_with_its_place(personality: Any, message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        applied(a_site(), personality=personality)
