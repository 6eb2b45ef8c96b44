"""Which hosts die together, and what becomes of the hosts' own tiers (R-HOST-1, R-FENCE-1)."""

from dataclasses import replace
from typing import Any

from metier.domain.lifecycle import Lifecycle
from metier.domain.observation import Observed, Power
from metier.domain.tier import TierState
from metier.planner.losses import Resilience, Verdict
from metier.planner.resilience import failure_domains
from tests.builders import (
    NOW,
    VM_HARDWARE,
    a_fleet,
    a_host,
    a_node,
    a_tier,
    a_virtual_node,
)
from tests.unit.planner.mortal_site import a_site, active, assessed, dies, guest, loss_of

# --- hosts ---------------------------------------------------------------------------------


def test_a_host_tier_is_restored_from_spare_hosts_and_their_vms_are_not_counted() -> None:
    fleet = a_site(active(minimum=1, target=1), guest(1, 1, "web", 1), a_host("spare", tier=None), minimum=2)
    domain = dies(fleet)
    hosts = loss_of("hosts", domain)
    assert (hosts.falls, hosts.allocated, hosts.after) == (True, 1, 2)
    assert loss_of("web", domain).restorable == 0


def test_a_host_tier_without_a_spare_host() -> None:
    hosts = loss_of("hosts", dies(a_site(minimum=2)))
    assert (hosts.missing, hosts.node) == (1, "physical node")
    assert dies(a_site(minimum=2)).verdict is Verdict.NOT_SURVIVED


def test_hosts_that_nothing_could_prove_down_are_named() -> None:
    silent = Observed(Power.UNKNOWN, NOW, power_error="no answer")
    fleet = a_site(a_host(slot=1, power=None), hosts=3, observed={"host-2": silent})
    assert [domain.unproved for domain in assessed(fleet).domains] == [("host-1",), ("host-2",), ()]


# --- which domains there are -----------------------------------------------------------------


def test_each_host_in_use_is_a_domain_of_its_own() -> None:
    fleet = a_site(a_host("spare", tier=None), guest(1, 1), hosts=10)
    assert list(failure_domains(fleet)) == [f"host-{n}" for n in range(1, 11)]
    used = a_site(a_host("spare", tier=None, place="maintenance"), a_virtual_node("spare"))
    assert "spare" in failure_domains(used)


def test_hosts_with_one_label_are_one_domain_with_their_spares() -> None:
    rack = frozenset({"rack=a", "ssd"})
    fleet = a_site(
        a_host("host-1", slot=1, attributes=rack),
        a_host("host-2", slot=2, hardware=replace(VM_HARDWARE, attributes=rack)),
        a_host("spare", tier=None, attributes=rack),
        a_host("other", tier=None, attributes=frozenset({"rack=b"})),
        a_host("host-4", slot=4, attributes=frozenset({"rack=a", "rack=c"})),
        hosts=4,
    )
    assert failure_domains(fleet, "rack") == {
        "host-3": ("host-3",),
        "rack=a": ("host-1", "host-2", "host-4", "spare"),
        "rack=c": ("host-4",),
    }
    assert "rack=a" not in failure_domains(fleet, "rac")


def test_a_rack_of_two_hosts_takes_its_spare_host_with_it() -> None:
    rack: dict[str, Any] = {"attributes": frozenset({"rack=a"})}
    fleet = a_site(
        a_host("host-1", slot=1, **rack),
        a_host("host-2", slot=2, **rack),
        a_host("spare", tier=None, **rack),
        active(minimum=2, target=3),
        guest(1, 1, "web", 1),
        guest(2, 1, "web", 2),
        guest(3, 1, "web", 3),
        guest(3, 2),
        guest(2, 2),
        hosts=3,
    )
    domain = dies(fleet, "rack=a", "rack")
    web = loss_of("web", domain)
    assert (web.lost, web.left, web.restorable, web.missing) == (2, 1, 1, 1), "missing to the target"
    assert loss_of("hosts", domain).restorable == 0
    assert domain.verdict is Verdict.RESTORED
    assert all(dies(fleet, f"host-{n}").verdict is Verdict.SURVIVED for n in (1, 2, 3))


def test_a_spare_host_that_dies_too_replaces_nothing() -> None:
    rack: dict[str, Any] = {"attributes": frozenset({"rack=a"})}
    spares = [a_host("spare-1", tier=None, **rack), a_host("spare-2", tier=None)]
    fleet = a_site(a_host(slot=1, **rack), *spares)
    assert loss_of("hosts", dies(fleet, "rack=a", "rack")).allocated == 1
    lone = a_site(a_host(slot=1, **rack), spares[0])
    assert loss_of("hosts", dies(lone, "rack=a", "rack")).allocated == 0


def test_tiers_that_are_not_active_lose_nothing_that_serves() -> None:
    fleet = a_site(
        a_tier(state=TierState.ALLOCATED, minimum=1, target=1),
        guest(1, 1, "web", 1, lifecycle=Lifecycle.IDLE),
        a_node("metal"),
    )
    assert [loss.tier for loss in dies(fleet).tiers] == ["hosts"]
    assert assessed(fleet).below_minimum == ()


def test_an_empty_site_has_no_domains() -> None:
    assert assessed(a_fleet()) == Resilience((), ())
    assert failure_domains(a_fleet(a_node("metal"))) == {}


def test_asking_changes_nothing() -> None:
    fleet = a_site(active(minimum=1, target=1), guest(1, 1, "web", 1), guest(2, 1))
    before = (dict(fleet.nodes), dict(fleet.observed), dict(fleet.slots), fleet.generation)
    assert assessed(fleet) == assessed(fleet)
    assert (fleet.nodes, fleet.observed, fleet.slots, fleet.generation) == before
