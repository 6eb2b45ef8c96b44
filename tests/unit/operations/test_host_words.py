"""What a host tells about itself, and what is being copied to it, where people look for it."""

from typing import Any

import pytest

from metier.domain.fleet import Fleet
from metier.domain.host_details import HostDetails, StoreRoom
from metier.domain.ids import ImageRef, NodeId
from metier.domain.node import Baseline
from metier.domain.observation import Observed, Power
from metier.domain.tier import TierState
from metier.domain.transfer import Transfer
from metier.operations.registry import View
from tests.builders import (
    HOST_IMAGE,
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_tier,
    a_virtual_node,
    an_image,
    vm_facts,
)
from tests.unit.operations.asking import FakeServices, a_view, ask

MIB = 1 << 20
LACK = "it may not add disks (VirtualMachine.Config.AddNewDisk), which starting a guest needs"
DETAILS = HostDetails(
    product="VMware ESXi 6.5.0 build-5969303",
    patch_level="5969303",
    licence="Enterprise Plus, until 2027-01-01",
    stores=(StoreRoom("datastore1", 500, 120, is_shared=True, is_used=True),),
    networks=("VM Network",),
    lacks=(LACK,),
)
REMARK = "VM old of esx-1 cannot be taken over: it runs"


def a_site(**fields: Any) -> Fleet:
    seen = Observed(
        power=Power.ON,
        power_at=NOW,
        vmm_reachable=True,
        vmm_at=NOW,
        vms=(vm_facts(1, Power.OFF, is_aside=True), vm_facts(2, Power.OFF, is_staged=True)),
        vms_at=NOW,
        **({"details": DETAILS, "patch_level": "6000000", "staging_remarks": (REMARK,)} | fields),
    )
    return a_fleet(
        *(a_host_image(), an_image(), a_host_tier(state=TierState.ACTIVE)),
        *(a_tier("web", state=TierState.ACTIVE, target=2),),
        a_host("esx-1", baselines=(Baseline(HOST_IMAGE, "5969303"),)),
        *(a_virtual_node("esx-1", 1), a_virtual_node("esx-1", 2, tier="web")),
        observed={"esx-1": seen},
    )


def copying(fleet: Fleet, *nodes: str) -> View:
    """Return a view while web@1 is being copied to esx-1 for these nodes."""
    copies = [
        Transfer(NodeId(n), NodeId("esx-1"), ImageRef("web", "1"), NOW, 120 * MIB, 512 * MIB, 34 * MIB)
        for n in nodes
    ]
    return a_view(fleet, services=FakeServices(copies=copies))


def test_a_host_s_page_shows_what_it_told() -> None:
    row = ask(a_site(), "node", "show", name="esx-1")
    assert (row["product"], row["licence"]) == (DETAILS.product, DETAILS.licence)
    assert (row["patch_level"], row["baseline"]) == ("6000000", "5969303")
    assert row["datastores"] == [
        {
            "name": "datastore1",
            "capacity_gib": 500,
            "free_gib": 120,
            "is_shared": True,
            "is_used": True,
            "state": "",
        }
    ]
    assert row["networks"] == ["VM Network"]
    assert (row["lacks"], row["staging_remarks"]) == ([LACK], [REMARK])


def test_a_host_that_tells_nothing_has_nothing_there() -> None:
    fields: dict[str, Any] = {"details": HostDetails(), "patch_level": "", "staging_remarks": ()}
    row = ask(a_site(**fields), "node", "show", name="esx-1")
    assert (row["product"], row["patch_level"], row["licence"]) == (None, None, None)
    assert (row["datastores"], row["networks"], row["lacks"]) == ([], [], [])


def test_a_virtual_node_s_page_says_whose_vm_it_is_and_where_its_configuration_went() -> None:
    rows = [ask(a_site(), "node", "show", name=f"esx-1/VM{number}") for number in (1, 2)]
    assert [(row["is_staged"], row["configuration"]) for row in rows] == [
        (False, "its .vmx was moved aside when Metier shut it down"),
        (True, None),
    ]
    explained = ask(a_site(), "node", "explain", name="esx-1/VM1")
    assert explained["configuration"] == "its .vmx was moved aside when Metier shut it down"


def test_explain_says_what_a_host_s_account_lacks_and_what_was_not_taken_over() -> None:
    why = ask(a_site(), "node", "explain", name="esx-1")["why"]
    assert f"its account lacks: {LACK}" in why
    assert REMARK in why


WORDS = "copying web@1 to esx-1: 120 of 512 MiB, 34 MiB/s, about 12 s left"


@pytest.mark.parametrize(
    ("nodes", "shown"),
    [
        (("esx-1/VM2",), {"esx-1": WORDS, "esx-1/VM1": None, "esx-1/VM2": WORDS}),
        (("esx-1/VM1", "esx-1/VM2"), {"esx-1": WORDS, "esx-1/VM1": WORDS, "esx-1/VM2": WORDS}),
        ((), {"esx-1": None, "esx-1/VM1": None, "esx-1/VM2": None}),
    ],
)
def test_a_copy_is_shown_at_its_node_and_its_host(nodes: tuple[str, ...], shown: dict[str, str]) -> None:
    fleet = a_site()
    view = copying(fleet, *nodes)
    assert {row["name"]: row["copying"] for row in ask(fleet, "node", "list", view=view)} == shown
    for name, words in shown.items():
        assert ask(fleet, "node", "show", view=view, name=name)["copying"] == words
        assert (WORDS in ask(fleet, "node", "explain", view=view, name=name)["why"]) is (words is not None)


def test_a_tier_s_page_shows_the_copies_that_its_members_wait_for() -> None:
    fleet = a_site()
    assert ask(fleet, "tier", "show", view=copying(fleet, "esx-1/VM2"), name="web")["copying"] == [WORDS]
    assert ask(fleet, "tier", "show", view=copying(fleet), name="web")["copying"] == []
