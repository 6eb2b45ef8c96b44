"""Applying a site file."""

from typing import Any

import pytest

from metier.domain.errors import MetierError, NeedsAcceptance, NoSuchThing, Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef, NodeId, TierId
from metier.domain.image import CollectorSpec
from metier.domain.node import Endpoint
from metier.domain.tier import SlotSettings, TierState
from metier.operations.registry import Caller, Outcome
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_node,
    a_tier,
    a_virtual_node,
    an_image,
)
from tests.unit.operations.asking import ALICE, change, still

WEB, HOSTS = TierId("web"), TierId("hosts")

DOCUMENT: dict[str, Any] = {
    "pools": {"automatic_free": True, "warm_spares": 2},
    "images": [{"image": "vmm@1", "vms": 3, "vm_memory": 512}, "web@1"],
    "nodes": [
        {
            "name": "host-1",
            "vmm": "libvirt",
            "url": "qemu:///system",
            "vmm_settings": {"store": "/srv"},
            "power": "command",
            "power_settings": {"on": "/bin/on"},
            "power_ip": "10.0.0.5",
            "attributes": ["ssd"],
        },
        {"name": "host-2", "engaged": False, "why": "not yet racked"},
    ],
    "tiers": [
        {
            "name": "web",
            "image": "web@1",
            "state": "active",
            "target": 2,
            "maximum": 3,
            "depends_on": ["hosts"],
            "requirements": {"memory_mib": 512, "attributes": ["ssd"]},
            "reboot_on_failure": False,
            "collectors": ["http:80/health"],
            "slots": [{"slot": 1, "hostname": "www1", "address": "10.0.1.7/24", "gateway": "10.0.1.1"}],
        },
        {"name": "hosts", "image": "vmm@1", "state": "active", "target": 2},
    ],
}


def applied(
    fleet: Fleet, document: Any, *, caller: Caller = ALICE, prune: bool = False
) -> tuple[Fleet, Outcome]:
    return change(fleet, "", "apply", caller=caller, document=document, prune=prune)


def changed(outcome: Outcome) -> list[tuple[str, str, str]]:
    assert outcome.row is not None
    return [(row["kind"], row["name"], row["change"]) for row in outcome.row["changes"]]


def test_a_whole_site_follows_from_one_file() -> None:
    fleet, outcome = applied(a_fleet(an_image()), DOCUMENT)
    assert fleet.pool.warm_spares == 2
    assert len(fleet.images[ImageRef("vmm", "1")].offers) == 3
    host = fleet.nodes[NodeId("host-1")]
    assert host.vmm == Endpoint("libvirt", {"store": "/srv", "url": "qemu:///system"})
    assert (host.power_ip, host.attributes) == ("10.0.0.5", {"ssd"})
    assert fleet.nodes[NodeId("host-2")].engagement.why == "not yet racked"
    web = fleet.tiers[WEB]
    assert (web.minimum, web.target, web.maximum, web.state) == (1, 2, 3, TierState.ACTIVE)
    assert web.depends_on == ("hosts",)
    assert (web.requirements.memory_mib, web.requirements.attributes) == (512, {"ssd"})
    assert web.collectors == (CollectorSpec("http", 80, "/health"),)
    assert web.slots == (SlotSettings(1, "www1", "10.0.1.7/24", "10.0.1.1"),)
    assert not web.reboot_on_failure
    assert outcome.message == "site file applied: 6 changes"
    assert changed(outcome) == [
        ("pools", "site", "warm_spares 1 → 2"),
        ("image", "vmm@1", "added"),
        ("node", "host-1", "added"),
        ("node", "host-2", "added"),
        ("tier", "hosts", "added"),
        ("tier", "web", "added"),
    ]


def test_applying_the_same_file_again_changes_nothing() -> None:
    fleet, _ = applied(a_fleet(an_image()), DOCUMENT)
    again, outcome = applied(fleet, DOCUMENT)
    assert again is fleet
    assert outcome.message == "the site is as the file says already"
    assert changed(outcome) == []


def test_what_the_file_does_not_mention_is_left_alone() -> None:
    fleet = a_fleet(an_image(), a_tier(target=3, priority=70), a_node())
    after, outcome = applied(fleet, {"tiers": {"web": {"target": 2}}})
    assert after.tiers[WEB].priority == 70
    assert NodeId("node-1") in after.nodes
    assert changed(outcome) == [("tier", "web", "target 3 → 2")]


def test_differences_are_told_in_words() -> None:
    fleet = a_fleet(an_image(), a_tier(), a_node(attributes=frozenset({"ssd"})))
    _, outcome = applied(
        fleet,
        {
            "nodes": [{"name": "node-1", "attributes": [], "engaged": False}],
            "tiers": [{"name": "web", "memory": 512, "harvesting": False, "state": "allocated"}],
        },
    )
    assert changed(outcome) == [
        ("node", "node-1", "attributes ssd → nothing, engaged on → off"),
        ("tier", "web", "state inactive → allocated, harvesting on → off, memory_mib 0 → 512"),
    ]


def test_secrets_are_not_told() -> None:
    body = {
        "name": "h",
        "vmm": "libvirt",
        "url": "qemu+tls://root:sesame@h/",
    }
    fleet, _ = applied(a_fleet(), {"nodes": [{"name": "h", "vmm": "libvirt", "url": "qemu:///system"}]})
    _, outcome = applied(fleet, {"nodes": [body]})
    assert "sesame" not in str(outcome)


def test_a_tier_that_goes_down_is_stopped_before_it_is_changed() -> None:
    fleet = a_fleet(a_host_image(), a_host_image("vmm@2"), a_host_tier(state=TierState.ACTIVE))
    after, _ = applied(fleet, {"tiers": [{"name": "hosts", "image": "vmm@2", "state": "inactive"}]})
    assert after.tiers[HOSTS].image.version == "2"
    with pytest.raises(Refusal, match="cannot change the image of active tier hosts"):
        applied(fleet, {"tiers": [{"name": "hosts", "image": "vmm@2"}]})


def test_all_warnings_are_asked_at_once() -> None:
    fleet = a_fleet(
        a_host(),
        a_host("host-2", slot=1, tier="more"),
        a_host_tier(state=TierState.ACTIVE),
        a_host_tier("more", state=TierState.ACTIVE),
        a_virtual_node(tier="web", slot=1),
        a_virtual_node("host-2", tier="web", slot=2),
        a_tier(target=2, state=TierState.ACTIVE),
        an_image(),
    )
    document = {"tiers": {"hosts": {"state": "allocated"}, "more": {"state": "inactive"}}}
    with pytest.raises(NeedsAcceptance) as refusal:
        applied(fleet, document)
    assert len(refusal.value.warnings) == 2
    after, _ = applied(fleet, document, caller=Caller("alice", NOW, accept_warnings=True))
    assert after.tiers[TierId("more")].state is TierState.INACTIVE


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the site file: expected a mapping"),
        ({"tiers": 3}, "tiers: expected a list, found 3"),
        ({"tiers": ["a", 3]}, r"tiers\[1\]: expected a mapping"),
        ({"tier": []}, "tier: there is no such setting; there are: images, nodes, pools, tiers"),
        ({"tiers": [{"image": "web@1"}]}, r"tiers\[0\]: name is missing"),
        ({"tiers": [{"name": "a", "image": "web@1", "minmum": 1}]}, r"tiers\[0\]\.minmum: there is no such"),
        ({"tiers": {"a": {"image": "web@1", "minmum": 1}}}, r"tiers\.a\.minmum: there is no such"),
        (
            {"tiers": [{"name": "a", "image": "web@1", "target": "3"}]},
            r"tiers\[0\]\.target: expected a whole",
        ),
        (
            {"tiers": [{"name": "a", "image": "web@1", "harvesting": "no"}]},
            r"harvesting: expected true or false, found 'no'",
        ),
        ({"tiers": [{"name": "a", "image": "web@1", "depends_on": 3}]}, "expected a list of texts, found 3"),
        (
            {"tiers": [{"name": "a", "image": "web@1", "depends_on": [[]]}]},
            r"depends_on\[0\]: expected a text",
        ),
        ({"tiers": [{"name": "a"}]}, r"tiers\[0\]: image is missing"),
        ({"tiers": [{"name": "a", "image": "web@1", "state": "on"}]}, "there is no state 'on'"),
        ({"tiers": [{"name": "a", "image": "web@1", "slots": {"1": "x"}}]}, r"slots: expected a list"),
        ({"tiers": [{"name": "a", "image": "web@1", "slots": [{"hostname": "x"}]}]}, "slot is missing"),
        (
            {"tiers": [{"name": "a", "image": "web@1", "slots": [{"slot": 1, "gateway": "10.0.0.1"}]}]},
            "a gateway goes with an address",
        ),
        (
            {"tiers": [{"name": "a", "image": "web@1", "cpus": 1, "requirements": {"cpus": 2}}]},
            r"cpus: the same is given in tiers\[0\]\.requirements",
        ),
        (
            {"tiers": [{"name": "a", "image": "web@1", "memory": 1, "memory_mib": 2}]},
            "the same is given twice",
        ),
        ({"nodes": [{"name": "h", "engaged": "no"}]}, r"nodes\[0\]\.engaged: expected true or false"),
        ({"nodes": [{"name": "h", "attributes": [True]}]}, r"attribute\[0\]: expected a text"),
        ({"nodes": [{"name": "h", "engaged": 1}]}, r"nodes\[0\]\.engaged: expected true or false"),
        ({"tiers": {"a": {"name": 3}}}, r"tiers\.a\.name: the name stands before it already"),
        ({"pools": {"warm": 1}}, r"pools\.warm: there is no such setting"),
        ({"images": ["web"]}, "names no image version"),
    ],
)
def test_a_faulty_file_is_refused_with_the_path_of_the_fault(document: Any, message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        applied(a_fleet(an_image()), document)


def test_images_must_exist_unless_they_are_host_images() -> None:
    with pytest.raises(NoSuchThing, match=r"images\[0\]: there is no image w2k@1"):
        applied(a_fleet(), {"images": ["w2k@1"]})
    fleet = a_fleet(a_host_image())
    with pytest.raises(Refusal, match="image vmm@1 offers other VMs, and a version never changes"):
        applied(fleet, {"images": {"vmm@1": {"vms": 2, "vm_memory": 512}}})
    with pytest.raises(Refusal, match="is of type vmm-host, not linux"):
        applied(fleet, {"images": {"vmm@1": {"type": "linux"}}})
    after, _ = applied(fleet, {"images": {"vmm@1": {"vms": 3, "vm_memory": 512, "minimum_memory_mib": 4096}}})
    assert after.images[ImageRef("vmm", "1")].requirements.memory_mib == 4096


def test_nothing_is_pruned_unless_it_is_asked_for_and_the_section_is_there() -> None:
    fleet = a_fleet(an_image(), a_tier(), a_tier("old"), a_node(), a_node("node-2"))
    after, _ = applied(fleet, {"tiers": {"web": {}}})
    assert TierId("old") in after.tiers
    after, outcome = applied(fleet, {"tiers": {"web": {}}}, prune=True)
    assert set(after.tiers) == {"web"}
    assert set(after.nodes) == {"node-1", "node-2"}
    assert changed(outcome) == [("tier", "old", "removed")]
    after, _ = applied(fleet, {"nodes": ["node-2"]}, prune=True)
    assert set(after.nodes) == {"node-2"}
    assert len(after.tiers) == 2


def test_pruning_a_tier_with_nodes_deallocates_it_first() -> None:
    member = a_virtual_node(tier="web")
    fleet = a_fleet(a_host(), a_host_tier(), member, a_tier(state=TierState.ACTIVE), an_image())
    after, outcome = applied(fleet, {"tiers": {"hosts": {}}, "nodes": []}, prune=True)
    assert after.tiers[WEB].state is TierState.INACTIVE
    assert NodeId("host-1") in after.nodes
    assert any("tier web is deallocated first" in note for note in outcome.warnings)
    assert any("cannot remove node host-1: it is in tier hosts" in note for note in outcome.warnings)


def test_waiting_covers_every_tier_of_the_file() -> None:
    fleet = a_fleet(an_image(), a_tier(state=TierState.ACTIVE), a_tier("idle"))
    document = {"tiers": [{"name": "web"}, {"name": "idle"}]}
    assert still(fleet, "", "apply", document=document) == [
        "tier web: 0 nodes are allocated and the target is 1"
    ]


def test_a_file_is_applied_as_a_whole_or_not_at_all() -> None:
    fleet = a_fleet(an_image())
    before = dict(fleet.tiers)
    with pytest.raises(MetierError):
        applied(fleet, {"tiers": [{"name": "web", "image": "web@1"}, {"name": "bad", "image": "nothing@1"}]})
    assert fleet.tiers == before
