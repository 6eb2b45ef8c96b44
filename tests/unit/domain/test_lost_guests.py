"""A VM that is gone may have been moved: what proves then that it is down (R-FENCE-1, R-DRIFT-1)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from metier.domain.evidence import is_lost, is_proved_down, proof_of_down, whereabouts
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId
from metier.domain.observation import Observed, Power, Stray
from metier.domain.tier import Fence, TierState
from tests.builders import NOW, a_fleet, a_host, a_host_tier, a_virtual_node, vm_facts

HOST, OTHER = NodeId("host-1"), NodeId("host-2")
RAISED = NOW + timedelta(seconds=10)
AFTER = RAISED + timedelta(seconds=1)
LOST = Fence(NodeId("host-1/VM1"), HOST, 1, NOW, raised=RAISED, is_lost=True)
WITHOUT = Observed(Power.ON, AFTER, vmm_reachable=True, vmm_at=AFTER, vms=(vm_facts(2),), vms_at=AFTER)
OFF = Observed(Power.OFF, AFTER)


def a_site(here: Observed = WITHOUT, there: Observed = WITHOUT) -> Fleet:
    tier = a_host_tier(state=TierState.ACTIVE, target=2, maximum=2)
    hosts = [a_host("host-1", slot=1), a_host("host-2", slot=2)]
    return a_fleet(tier, *hosts, observed={"host-1": here, "host-2": there})


def strays(power: Power, number: int = 1) -> Observed:
    return replace(WITHOUT, strays=(Stray(HOST, number, power),))


def test_it_is_down_when_every_host_was_asked_since_and_none_has_it() -> None:
    assert proof_of_down(a_site(), LOST) == "host host-1 no longer has VM1, and no other host has it"


@pytest.mark.parametrize(
    "there",
    [
        strays(Power.ON),
        strays(Power.UNKNOWN),
        Observed(),
        replace(WITHOUT, vms_at=RAISED),
        replace(WITHOUT, vmm_reachable=False),
        replace(OFF, power_at=RAISED),
    ],
)
def test_it_may_run_where_it_was_seen_or_where_nobody_looked(there: Observed) -> None:
    assert proof_of_down(a_site(there=there), LOST) is None


@pytest.mark.parametrize("there", [OFF, strays(Power.OFF), strays(Power.ON, number=2)])
def test_it_runs_on_no_host_that_is_off_nor_where_it_is_off_or_another(there: Observed) -> None:
    assert proof_of_down(a_site(there=there), LOST) is not None


def test_a_vm_of_its_number_that_is_off_proves_nothing() -> None:
    again = replace(WITHOUT, vms=(vm_facts(1, Power.OFF),))
    assert proof_of_down(a_site(again, strays(Power.ON)), LOST) is None
    assert proof_of_down(a_site(OFF, strays(Power.ON)), LOST) is None


def test_it_is_told_where_it_is() -> None:
    assert whereabouts(a_site(there=strays(Power.ON)), LOST) == (OTHER, None)
    assert whereabouts(a_site(there=Observed()), LOST) == (None, OTHER)
    assert whereabouts(a_site(), LOST) == (None, None)


def test_an_operators_word_counts() -> None:
    sworn = replace(LOST, attested="ann")
    assert proof_of_down(a_site(there=strays(Power.ON)), sworn) == "ann vouched for it"


def test_a_vm_that_is_gone_is_lost_and_not_down() -> None:
    node = a_virtual_node("host-1", 1, tier="web", started_at=NOW)
    assert is_lost(a_site(), node)
    assert not is_proved_down(a_site(), node)
    assert not is_lost(a_site(replace(WITHOUT, vms_at=NOW)), node)
    assert not is_lost(a_site(replace(WITHOUT, vms=(vm_facts(1),))), node)
