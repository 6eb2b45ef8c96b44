"""Creating, changing and deleting tiers."""

from typing import Any

import pytest

from metier.domain.errors import GenerationMismatch, NoSuchThing, Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef, TierId
from metier.domain.image import CollectorSpec
from metier.domain.tier import Spread, Tier, TierKind, TierState
from metier.operations.registry import Caller
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_node,
    a_slot,
    a_tier,
    a_virtual_node,
    an_image,
    an_instance,
)
from tests.unit.operations.asking import change

WEB = TierId("web")


def a_site(*more: Any) -> Fleet:
    return a_fleet(a_host_image(), an_image(), a_host_tier(), *more)


def created(**arguments: Any) -> Tier:
    fleet, _ = change(a_site(), "tier", "create", **({"name": "web", "image": "web@1"} | arguments))
    return fleet.tiers[WEB]


def test_the_kind_follows_from_the_image() -> None:
    """S3."""
    assert created().kind is TierKind.GUEST
    assert created(image="vmm@1").kind is TierKind.HOST
    assert created().state is TierState.INACTIVE


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({}, (1, 1, 1)),
        ({"target": 3}, (1, 3, 3)),
        ({"minimum": 2}, (2, 2, 2)),
        ({"maximum": 5}, (1, 1, 5)),
        ({"target": 0}, (0, 0, 1)),
        ({"minimum": 1, "target": 2, "maximum": 4}, (1, 2, 4)),
    ],
)
def test_of_the_three_numbers_some_may_be_left_out(given: dict[str, int], counts: tuple[int, ...]) -> None:
    """S4, S8."""
    tier = created(**given)
    assert (tier.minimum, tier.target, tier.maximum) == counts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"minimum": 3, "target": 2}, "minimum 3, target 2 and maximum 2 of tier web do not fit"),
        ({"target": 3, "maximum": 2}, "minimum 1, target 3 and maximum 2 of tier web do not fit"),
        ({"minimum": -1}, "the minimum of tier web cannot be -1"),
        ({"minimum": 0, "target": 0, "maximum": 0}, "the maximum of tier web cannot be 0"),
        ({"target": 100_001}, "must lie from 0 to 100000"),
        ({"priority": 0}, "priority cannot be 0: it must lie from 1 to 100"),
        ({"priority": 101}, "priority cannot be 101"),
        ({"memory": -1}, "memory in MiB cannot be -1"),
        ({"cpus": -1}, "the number of CPUs cannot be -1"),
        ({"startup_seconds": 100_000}, "startup time in seconds cannot be 100000"),
        ({"failure_threshold": 0}, "failure threshold cannot be 0"),
        ({"max_unhealthy_percent": 101}, "in percent cannot be 101"),
        ({"collector": ("http:99999/",)}, "the port of collector"),
        ({"collector": ("tcp",)}, "collector tcp needs a port"),
        ({"collector": ("http 80",)}, "is not a collector"),
        ({"collector": ("ping", "ping")}, "collector ping is given twice"),
        ({"spread": "wide"}, "spread cannot be 'wide'"),
        ({"attribute": ("a b",)}, "cannot be an attribute"),
        ({"architecture": "x86 64"}, "cannot name a CPU architecture"),
        ({"depends_on": ("web",)}, "tier web cannot depend on itself"),
        ({"name": "a/b"}, "cannot name a tier"),
        ({"image": "web@"}, r"cannot name an? image version"),
    ],
)
def test_a_tier_that_makes_no_sense_is_not_created(given: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        created(**given)


def test_all_settings_reach_the_tier() -> None:
    """S5, S6, S7, S13, S64, P20."""
    tier = created(
        target=2,
        priority=70,
        depends_on=("hosts",),
        memory=512,
        cpus=2,
        disk=10,
        nics=1,
        architecture="x86_64",
        attribute=("ssd",),
        network=("default",),
        reboot_on_failure=False,
        move_to_maintenance=False,
        harvesting=False,
        harvest_to_target=True,
        spread="pack",
        keep_instances=True,
        collector=("ping", "tcp:22", "http:8080/health", "http/x"),
        startup_seconds=90,
        shutdown_seconds=0,
        failure_threshold=5,
        max_unhealthy_percent=60,
    )
    assert tier.requirements == Requirements(
        512, 2, 10, "x86_64", 1, frozenset({"ssd"}), frozenset({"default"})
    )
    switches = (tier.reboot_on_failure, tier.move_to_maintenance, tier.harvesting, tier.harvest_to_target)
    assert switches == (False, False, False, True)
    assert tier.collectors == (
        CollectorSpec("ping"),
        CollectorSpec("tcp", 22),
        CollectorSpec("http", 8080, "/health"),
        CollectorSpec("http", 80, "/x"),
    )
    assert (tier.startup_s, tier.shutdown_s, tier.failure_threshold) == (90, 0, 5)
    assert (tier.priority, tier.depends_on, tier.spread, tier.keep_instances) == (
        70,
        ("hosts",),
        Spread.PACK,
        True,
    )
    assert tier.max_unhealthy_percent == 60


def test_an_image_must_exist_and_be_active() -> None:
    with pytest.raises(NoSuchThing, match="there is no image nothing@1"):
        created(image="nothing@1")
    with pytest.raises(NoSuchThing, match="there is no image nothing"):
        created(image="nothing")
    fleet = a_fleet(an_image(active=False))
    with pytest.raises(Refusal, match="image web@1 is not active"):
        change(fleet, "tier", "create", name="web", image="web@1")


def test_a_name_alone_means_the_newest_active_version() -> None:
    fleet = a_fleet(an_image("web@2"), an_image("web@10"), an_image("web@11", active=False))
    fleet, _ = change(fleet, "tier", "create", name="web", image="web")
    assert fleet.tiers[WEB].image == ImageRef("web", "10")


def test_a_tier_is_not_created_twice_whatever_its_letters() -> None:
    for name in ("hosts", "Hosts"):
        with pytest.raises(Refusal, match="there is a tier hosts already"):
            change(a_site(), "tier", "create", name=name, image="web@1")


def test_a_guest_tier_without_a_host_tier_is_warned_about() -> None:
    _, outcome = change(a_fleet(an_image()), "tier", "create", name="web", image="web@1")
    assert outcome.warnings == ("there is no host tier yet whose virtual nodes tier web could use",)
    _, outcome = change(a_site(), "tier", "create", name="web", image="web@1")
    assert outcome.warnings == (
        "tier web depends on no host tier, so its nodes may come from any of them: hosts",
    )
    _, outcome = change(a_site(), "tier", "create", name="web", image="web@1", depends_on=("hosts",))
    assert outcome.warnings == ()


def test_dependencies_exist_and_go_in_no_circle() -> None:
    with pytest.raises(NoSuchThing, match="there is no such tier"):
        created(depends_on=("nowhere",))
    fleet = a_site(a_tier("a", depends_on=(TierId("b"),)), a_tier("b", depends_on=(WEB,)), a_tier("web"))
    with pytest.raises(WrongUsage, match="in a circle, web → a → b → web"):
        change(fleet, "tier", "edit", name="web", depends_on=("hosts", "a"))


def test_an_edit_keeps_what_is_not_given() -> None:
    """S4, S64."""
    tier = a_tier(target=3, priority=70, requirements=Requirements(memory_mib=512, cpus=2))
    fleet, outcome = change(a_site(tier), "tier", "edit", name="web", target=2, memory=0)
    after = fleet.tiers[WEB]
    assert (after.minimum, after.target, after.maximum, after.priority) == (1, 2, 3, 70)
    assert after.requirements == Requirements(cpus=2)
    assert outcome.message == "tier web changed"


def test_an_empty_word_takes_a_list_back() -> None:
    tier = a_tier(
        depends_on=(TierId("hosts"),),
        collectors=(CollectorSpec("ping"),),
        startup_s=9,
        requirements=Requirements(attributes=frozenset({"ssd"}), architecture="arm64"),
    )
    fleet, _ = change(
        a_site(tier),
        "tier",
        "edit",
        name="web",
        depends_on=("",),
        collector=("",),
        attribute=("",),
        architecture="",
        startup_seconds=0,
    )
    after = fleet.tiers[WEB]
    assert (after.depends_on, after.collectors, after.startup_s) == ((), None, None)
    assert after.requirements == Requirements()


def test_an_edit_that_changes_nothing_says_so() -> None:
    before = a_site(a_tier(target=3))
    fleet, outcome = change(before, "tier", "edit", name="web", target=3)
    assert fleet is before
    assert outcome.message == "tier web is so already"


def test_a_target_below_the_minimum_is_refused_with_the_three_numbers() -> None:
    tier = a_tier(minimum=2, target=3, maximum=5)
    with pytest.raises(WrongUsage, match="minimum 2, target 1 and maximum 5 of tier web") as refusal:
        change(a_site(tier), "tier", "edit", name="web", target=1)
    assert "--minimum 1 --target 1 --maximum 5" in refusal.value.remedy


def test_the_maximum_may_go_below_occupied_slots() -> None:
    members = [a_virtual_node(number=n, tier="web", slot=n) for n in (1, 2, 3)]
    fleet = a_site(a_host(), a_tier(target=3), *members)
    after, _ = change(fleet, "tier", "edit", name="web", target=2, maximum=2)
    assert after.tiers[WEB].maximum == 2
    assert len(after.members(WEB)) == 3


def test_an_edit_of_an_older_state_is_refused() -> None:
    with pytest.raises(GenerationMismatch, match="tier web was changed meanwhile"):
        change(
            a_site(a_tier(generation=3)),
            "tier",
            "edit",
            caller=Caller("bob", NOW, expects=2),
            name="web",
            target=1,
        )


@pytest.mark.parametrize("verb", ["edit", "update"])
def test_an_active_host_tier_keeps_its_image(verb: str) -> None:
    """R-HOSTIMAGE-1: the manual deactivates it, updates it, and activates it again."""
    fleet = a_fleet(a_host_image(), a_host_image("vmm@2"), a_host_tier(state=TierState.ACTIVE))
    with pytest.raises(Refusal, match="image of active tier hosts from vmm@1 to vmm@2") as refusal:
        change(fleet, "tier", verb, name="hosts", image="vmm@2")
    assert "metier tier deactivate hosts" in refusal.value.remedy


@pytest.mark.parametrize("verb", ["edit", "update"])
def test_a_tier_that_is_not_active_moves_to_another_version(verb: str) -> None:
    """R-HOSTIMAGE-1, S35, S74."""
    for tier, image in (
        (a_host_tier(), "vmm@2"),
        (a_host_tier(state=TierState.ALLOCATED), "vmm@2"),
        (a_tier(state=TierState.ALLOCATED), "web@2"),
        (a_tier(), "web"),
    ):
        fleet = a_fleet(a_host_image(), a_host_image("vmm@2"), an_image(), an_image("web@2"), tier)
        after, _ = change(fleet, "tier", verb, name=tier.name, image=image)
        assert after.tiers[tier.name].image.version == "2"


def test_a_tier_does_not_change_its_kind() -> None:
    with pytest.raises(WrongUsage, match="image vmm@1 makes a host tier, and tier web is a guest tier"):
        change(a_site(a_tier()), "tier", "update", name="web", image="vmm@1")


def test_an_empty_inactive_tier_is_deleted() -> None:
    """S2."""
    fleet, outcome = change(a_site(a_tier()), "tier", "delete", name="web")
    assert WEB not in fleet.tiers
    assert outcome.message == "tier web deleted"
    keeping = a_site(a_tier(keep_instances=True), a_slot(instance=an_instance()))
    _, outcome = change(keeping, "tier", "delete", name="web")
    assert outcome.warnings == ("the data that web/1 kept on host-1 has no tier any more",)


def test_deleting_names_what_stands_in_the_way() -> None:
    with pytest.raises(Refusal, match="it is active") as refusal:
        change(a_site(a_tier(state=TierState.ACTIVE)), "tier", "delete", name="web")
    assert "metier tier deallocate web" in refusal.value.remedy
    with pytest.raises(Refusal, match="host-1/VM1 is still in it"):
        change(a_site(a_tier(), a_virtual_node(tier="web")), "tier", "delete", name="web")
    with pytest.raises(Refusal, match="tier web depends on it"):
        change(a_site(a_tier(depends_on=(TierId("hosts"),))), "tier", "delete", name="hosts")
    with pytest.raises(NoSuchThing, match="there is no tier nowhere"):
        change(a_site(), "tier", "delete", name="nowhere")
    assert a_node().name == "node-1"
