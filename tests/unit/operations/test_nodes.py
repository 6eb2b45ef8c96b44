"""Adding, changing and removing physical nodes."""

import pytest

from metier.domain.errors import GenerationMismatch, NeedsAcceptance, NoSuchThing, Refusal, WrongUsage
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Endpoint, Place
from metier.domain.tier import Fence
from metier.operations.registry import Caller
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_node,
    a_slot,
    a_virtual_node,
    an_instance,
)
from tests.unit.operations.asking import ask, change

HOST = NodeId("host-1")


def test_an_added_node_is_discovered_and_waits_for_its_inventory() -> None:
    fleet, outcome = change(
        a_fleet(),
        "node",
        "add",
        name="host-1",
        vmm="libvirt",
        url="qemu+ssh://10.0.0.5/system",
        vmm_setting=("store=/srv",),
        power="command",
        power_setting=("on=/bin/on --fast=1", "off=/bin/off"),
        address="10.0.0.5",
        attribute=("ssd", "rack=a"),
    )
    node = fleet.nodes[HOST]
    assert (node.placement.place, node.lifecycle, node.hardware) == (Place.DISCOVERED, Lifecycle.NEW, None)
    assert node.vmm == Endpoint("libvirt", {"url": "qemu+ssh://10.0.0.5/system", "store": "/srv"})
    assert node.power == Endpoint("command", {"on": "/bin/on --fast=1", "off": "/bin/off"})
    assert (node.power_ip, node.attributes) == ("10.0.0.5", {"ssd", "rack=a"})
    assert outcome.message == "node host-1 added"
    assert outcome.warnings == ()


def test_adding_a_node_says_what_it_will_lack() -> None:
    _, outcome = change(a_fleet(), "node", "add", name="host-1")
    assert len(outcome.warnings) == 2
    assert "no VM manager" in outcome.warnings[0]
    assert "no power controller" in outcome.warnings[1]


def test_a_node_is_not_added_twice() -> None:
    with pytest.raises(Refusal, match="cannot add node host-1: it exists already"):
        change(a_fleet(a_host()), "node", "add", name="host-1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "host 1"}, "cannot name a node"),
        ({"name": "host-1/VM1"}, "cannot name a node"),
        ({"name": ""}, "cannot name a node"),
        ({"name": "h", "address": "10.0.0.5/24"}, "is not an IP address"),
        ({"name": "h", "address": "300.1.1.1"}, "is not an IP address"),
        ({"name": "h", "vmm_setting": ("store=/srv",)}, "settings are given for no driver"),
        ({"name": "h", "vmm": "libvirt", "vmm_setting": ("store",)}, "is not KEY=VALUE"),
        ({"name": "h", "vmm": "libvirt", "vmm_setting": ("a=1", "a=2")}, "names a twice"),
        ({"name": "h", "vmm": "libvirt", "vmm_setting": ("url=x",), "url": "y"}, "URL is given twice"),
        ({"name": "h", "vmm": "lib virt"}, "cannot name a driver"),
        ({"name": "h", "vmm": "libvirt", "url": "a\nb"}, "control character"),
        ({"name": "h", "attribute": ("a b",)}, "cannot be an attribute"),
    ],
)
def test_a_node_that_makes_no_sense_is_not_added(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        change(a_fleet(), "node", "add", **arguments)


def test_an_edit_changes_what_is_given_and_nothing_else() -> None:
    before = a_host(vmm=Endpoint("libvirt", {"url": "a", "store": "s"}), attributes=frozenset({"ssd"}))
    fleet, _ = change(a_fleet(before, a_host_tier()), "node", "edit", name="host-1", url="b")
    node = fleet.nodes[HOST]
    assert node.vmm == Endpoint("libvirt", {"url": "b", "store": "s"})
    assert node.attributes == {"ssd"}
    assert node.power == before.power


def test_new_attributes_count_at_once_and_an_empty_word_removes_them() -> None:
    fleet, _ = change(a_fleet(a_node()), "node", "edit", name="node-1", attribute=("ssd",))
    hardware = fleet.nodes[NodeId("node-1")].hardware
    assert hardware is not None
    assert hardware.attributes == {"ssd"}
    fleet, outcome = change(fleet, "node", "edit", name="node-1", attribute=("",))
    assert fleet.nodes[NodeId("node-1")].attributes == frozenset()
    assert outcome.row is not None
    assert outcome.row["attributes"] == []


def test_an_edit_that_changes_nothing_says_so() -> None:
    before = a_fleet(a_node(power_ip="10.0.0.5"))
    fleet, outcome = change(before, "node", "edit", name="node-1", address="10.0.0.5")
    assert fleet is before
    assert outcome.message == "node node-1 is so already"


def test_another_driver_does_not_inherit_settings() -> None:
    fleet, _ = change(
        a_fleet(a_node(power=Endpoint("fake", {"on": "x"}))), "node", "edit", name="node-1", power="command"
    )
    assert fleet.nodes[NodeId("node-1")].power == Endpoint("command", {})


def test_a_virtual_node_is_not_edited() -> None:
    fleet = a_fleet(a_host(), a_host_tier(), a_virtual_node())
    with pytest.raises(Refusal, match="follows its VM and its host"):
        change(fleet, "node", "edit", name="host-1/vm1", attribute=("ssd",))


def test_an_edit_of_an_older_state_is_refused() -> None:
    fleet = a_fleet(a_node(generation=7))
    with pytest.raises(GenerationMismatch, match="generation 7, not 6"):
        change(fleet, "node", "edit", caller=Caller("bob", NOW, expects=6), name="node-1", address="")
    change(fleet, "node", "edit", caller=Caller("bob", NOW, expects=7), name="node-1", address="")


def test_a_free_node_is_removed() -> None:
    fleet, outcome = change(a_fleet(a_host(tier=None)), "node", "remove", name="host-1")
    assert not fleet.nodes
    assert outcome == type(outcome)("node host-1 removed")


def test_removing_names_what_stands_in_the_way() -> None:
    with pytest.raises(Refusal, match="it is in tier hosts"):
        change(a_fleet(a_host(), a_host_tier()), "node", "remove", name="host-1")
    hosting = a_fleet(a_host(tier=None), a_virtual_node(), a_virtual_node(number=2))
    with pytest.raises(Refusal, match="it hosts host-1/VM1, host-1/VM2"):
        change(hosting, "node", "remove", name="host-1")
    with pytest.raises(Refusal, match="as long as its host offers its VM"):
        change(hosting, "node", "remove", name="host-1/VM1")
    with pytest.raises(NoSuchThing, match="there is no node nowhere"):
        change(hosting, "node", "remove", name="nowhere")


def test_a_node_that_may_still_run_a_slot_is_not_removed() -> None:
    slot = a_slot(fences=(Fence(NodeId("host-1/VM1"), HOST, 1, NOW),))
    with pytest.raises(Refusal, match=r"no evidence yet .* slot web/1 is down"):
        change(a_fleet(a_host(tier=None), slot), "node", "remove", name="host-1")


def test_removing_a_node_that_keeps_data_needs_acceptance() -> None:
    slot = a_slot(number=2, instance=an_instance("web", 2))
    fleet = a_fleet(a_host(tier=None), slot)
    with pytest.raises(NeedsAcceptance) as refusal:
        change(fleet, "node", "remove", name="host-1")
    assert refusal.value.warnings == (
        "slot web/2 keeps its data on host-1: it starts from its image next time",
    )
    after, _ = change(fleet, "node", "remove", caller=Caller("bob", NOW, accept_warnings=True), name="host-1")
    assert HOST not in after.nodes


def test_settings_are_shown_without_their_secrets() -> None:
    vmm = Endpoint("libvirt", {"url": "qemu+ssh://root:sesame@h/system", "password": "sealed:sesame"})
    row = ask(a_fleet(a_host(vmm=vmm), a_host_tier(), a_host_image()), "node", "show", name="host-1")
    assert "sesame" not in str(row)
    assert row["vmm_settings"] == {"password": "…", "url": "qemu+ssh://…@h/system"}
