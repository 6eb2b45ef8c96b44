"""Every site that cannot be is named for what it is; one that a controller made never is."""

from dataclasses import replace
from typing import Any

import pytest

from metier.domain.fleet import SITE, Changes, Fleet, Kind
from metier.domain.hardware import Hardware
from metier.domain.ids import ImageRef, NodeId, SlotId, TierId
from metier.domain.image import CollectorSpec, OfferedVm
from metier.domain.node import NodeKind, Request
from metier.domain.observation import Observed
from metier.domain.personality import Applied, Personality, Variable
from metier.domain.pool import PoolSettings
from metier.domain.tier import Slot, SlotSettings, Trouble
from metier.operations.addresses import MAXIMUM_NODES
from metier.store import site_faults
from metier.store.site_faults import faults_of
from tests.builders import (
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    a_node,
    a_slot,
    a_tier,
    a_virtual_node,
    an_alert,
    an_image,
    an_instance,
    vm_facts,
)
from tests.contract.fleets import a_fleet_of_everything
from tests.unit.matrix.seeds.reading import carried
from tests.unit.planner.stories import Story

WEB, HOST, VM1 = TierId("web"), NodeId("host-1"), NodeId("host-1/VM1")


def site(*more: tuple[Kind, Any, Any]) -> Fleet:
    """Return a sound site with some records put in the place of its own, as a file may have them."""
    records: Changes = {
        Kind.IMAGE: {image.ref: image for image in (an_image(), a_host_image())},
        Kind.TIER: {tier.name: tier for tier in (a_tier(maximum=3), a_host_tier(maximum=3))},
        Kind.NODE: {node.name: node for node in (a_host(), a_virtual_node(tier="web"))},
        Kind.SLOT: {
            SlotId(WEB, 1): a_slot(node=VM1, instance=an_instance()),
            SlotId(TierId("hosts"), 1): a_slot("hosts", node=HOST),
        },
    }
    for kind, key, record in more:
        records.setdefault(kind, {})[key] = record
    return Fleet.of(records)


def node(record: Any) -> tuple[Kind, Any, Any]:
    return Kind.NODE, record.name, record


def tier(record: Any) -> tuple[Kind, Any, Any]:
    return Kind.TIER, record.name, record


def image(record: Any) -> tuple[Kind, Any, Any]:
    return Kind.IMAGE, record.ref, record


def slot(record: Slot) -> tuple[Kind, Any, Any]:
    return Kind.SLOT, record.id, record


def seen(name: str, record: Observed) -> tuple[Kind, Any, Any]:
    return Kind.OBSERVED, NodeId(name), record


CASES: list[tuple[tuple[Kind, Any, Any], str]] = [
    (node(a_node("../x")), "node ../x: '../x' cannot name a node"),
    (node(a_node("n", host=HOST)), "node n: a physical node has no host"),
    (node(a_node("n", kind=NodeKind.VIRTUAL)), "node n: a virtual node needs a host and a vm_number"),
    (node(a_virtual_node(number=0)), "node host-1/VM0: vm_number 0 does not lie from 1 to 9999"),
    (
        node(replace(a_virtual_node(number=2), name=NodeId("x"))),
        "node x: it is VM2 of host-1, and is not called so",
    ),
    (node(a_node("n", hardware=Hardware(-1))), "node n: memory_mib cannot be -1"),
    (node(a_node("n", hardware=Hardware(1, cpus=1 << 60))), "node n: cpus cannot be"),
    (node(a_virtual_node("host-9")), "node host-9/VM1: its host host-9 does not exist"),
    (node(a_virtual_node("host-1/VM1")), "'host-1/VM1' cannot name a node"),
    (node(a_host(vmm=None)), "node host-1/VM1: its host host-1 has no VM manager"),
    (node(a_virtual_node(number=2, tier="db")), "node host-1/VM2: it is in tier db, which does not exist"),
    (
        node(a_virtual_node(number=2, tier="web")),
        "node host-1/VM2: it is in slot web/1, and so is host-1/VM1",
    ),
    (node(a_virtual_node(number=2, tier="web", slot=2)), "it is in slot web/2, whose record names None"),
    (node(a_virtual_node(number=2, tier="web", slot=0)), "slot 0 does not lie from 1 to 100000"),
    (node(a_node("n", tier="web", slot=2)), "node n: a physical node cannot be in tier web, a guest tier"),
    (slot(a_slot(number=2, node=VM1)), "slot web/2: it names node host-1/VM1, which is not in it"),
    (slot(a_slot(number=2, node=NodeId("x"))), "slot web/2: it names node x, which is not in it"),
    (slot(a_slot("db")), "slot db/1: there is no such tier"),
    (slot(a_slot(number=-1)), "slot web/-1: its number does not lie"),
    (slot(a_slot(number=2, instance=an_instance())), "its instance 'web-1-1' belongs to slot web/1"),
    (
        slot(a_slot(number=2, instance=an_instance("web", 2, id="web-1-1"))),
        "slot web/2: it has instance web-1-1, and so has slot web/1",
    ),
    (tier(a_tier("a b")), "tier a b: 'a b' cannot name a tier"),
    (tier(a_tier(minimum=3, target=2, maximum=5)), "minimum 3, target 2 and maximum 5 do not rise from 0"),
    (tier(a_tier(target=1, maximum=1 << 40)), "do not rise from 0 to at most 100000"),
    (tier(a_tier(priority=0)), "tier web: priority 0 does not lie from 1 to 100"),
    (tier(a_tier(shutdown_s=-1)), "tier web: shutdown_s cannot be -1"),
    (tier(a_tier(image=ImageRef("no", "1"))), "tier web: its image no@1 does not exist"),
    (tier(a_tier(image=ImageRef("vmm", "1"))), "tier web: image vmm@1 is none for a guest tier"),
    (tier(a_tier(depends_on=(TierId("db"),))), "tier web: it depends on tier db, which does not exist"),
    (tier(a_tier(depends_on=(WEB,))), "tier web: the tiers that it depends on depend on each other"),
    (tier(a_tier(slots=(SlotSettings(1), SlotSettings(1)))), "tier web: slots: one number is there twice"),
    (tier(a_tier(slots=(SlotSettings(0),))), "slots: a number does not lie from 1 to 100000"),
    (tier(a_tier(slots=(SlotSettings(1, address="x"),))), "slots: 'x' of slot 1 is no address"),
    (
        tier(a_tier(personality=Personality(name_servers=("x",)))),
        "personality: name server 'x' is no address",
    ),
    (
        tier(a_tier(slots=(SlotSettings(1, personality=Personality(name_servers=("x",))),))),
        "personality: name server 'x' is no address",
    ),
    (
        tier(a_tier(personality=Personality(variables=(Variable("a", "b"), Variable("a", "c"))))),
        "personality: one variable is there twice",
    ),
    (
        tier(a_tier(personality=Personality(user_data="x" * (1 << 20) + "x"))),
        "personality: its texts have 1048577 characters, more than 1048576",
    ),
    (slot(a_slot(applied=Applied(carried(address="x")))), "slot web/1: applied: 'x' is no address"),
    (
        slot(a_slot(applied=Applied(carried(Personality(name_servers=("x",)))))),
        "applied: personality: name server 'x' is no address",
    ),
    (
        tier(a_tier(slots=(SlotSettings(1, "WWW"), SlotSettings(2, "www")), maximum=2)),
        "tier web: slot 2 is given www, and so is slot web/1",
    ),
    (
        tier(
            a_tier(
                slots=(SlotSettings(1, address="10.0.0.7/24"), SlotSettings(2, address="10.0.0.7/16")),
                maximum=2,
            )
        ),
        "slot 2 is given 10.0.0.7, and so is slot web/1",
    ),
    (
        tier(a_tier(collectors=(CollectorSpec("tcp", timeout_s=0.0),))),
        "collectors: 0.0 is no time that collector 'tcp' can take",
    ),
    (image(an_image("w@1", startup_s=-5)), "image w@1: startup_s cannot be -5"),
    (image(a_host_image("v@1", offers=(OfferedVm(1, 5), OfferedVm(1, 5)))), "offers: the numbers are not"),
    (image(a_host_image("v@1", offers=(OfferedVm(1, -5),))), "image v@1: memory_mib cannot be -5"),
    ((Kind.POOL, SITE, PoolSettings(warm_spares=-1)), "pool site: warm_spares cannot be -1"),
    ((Kind.ALERT, -1, an_alert(-1)), "alert -1: id cannot be -1"),
    ((Kind.JOB, -1, a_job(-1)), "job -1: id cannot be -1"),
    ((Kind.TROUBLE, TierId("db"), Trouble(TierId("db"))), "trouble db: there is no such tier"),
    (seen("host-9", Observed()), "observed host-9: there is no such node"),
    (seen("a b", Observed()), "observed a b: 'a b' cannot name a node"),
    (seen("host-1", Observed(vms=(vm_facts(0),))), "observed host-1: vms: the numbers are not"),
    (seen("host-1", Observed(vms=(vm_facts(1, hardware=Hardware(-1)),))), "memory_mib cannot be -1"),
]


@pytest.mark.parametrize(("record", "words"), CASES, ids=[words for _, words in CASES])
def test_it_is_named(record: tuple[Kind, Any, Any], words: str) -> None:
    assert [str(fault) for fault in faults_of(site(record)) if words in str(fault)]


def test_all_are_told() -> None:
    broken = site(tier(a_tier(priority=0)), node(a_node("n", hardware=Hardware(-1, cpus=-1))))
    assert len(faults_of(broken)) == 3


def test_a_long_chain_of_dependencies_is_no_circle_and_takes_no_time() -> None:
    count = 20_000
    tiers = [
        a_tier(f"t{n}", depends_on=(TierId(f"t{n + 1}"),) if n < count else ()) for n in range(count + 1)
    ]
    records: Changes = {Kind.IMAGE: {an_image().ref: an_image()}, Kind.TIER: {t.name: t for t in tiers}}
    assert faults_of(Fleet.of(records)) == []
    records[Kind.TIER][tiers[-1].name] = a_tier(tiers[-1].name, depends_on=(tiers[0].name,))
    assert len(faults_of(Fleet.of(records))) == count + 1


@pytest.mark.parametrize("fleet", [Fleet(), site()], ids=["empty", "small"])
def test_a_sound_site_has_none(fleet: Fleet) -> None:
    assert faults_of(fleet) == []


def test_the_fleet_of_everything_is_sound() -> None:
    assert faults_of(a_fleet_of_everything()) == []


def test_no_round_of_a_story_leads_to_one() -> None:
    story = Story(hosts=2, vms=3)
    story.tier("web", target=2)
    story.rest()
    assert faults_of(story.fleet) == []
    story.order("host-1", Request.POWER_OFF)
    for _ in range(10):
        story.go()
        assert faults_of(story.fleet) == []


def test_a_tier_may_have_as_many_slots_as_an_operator_may_give_it() -> None:
    assert site_faults.MOST_SLOTS == MAXIMUM_NODES
