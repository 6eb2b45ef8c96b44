"""What would follow if a host died now (R-ALLOC-1, R-HARVEST-1, R-STORM-1, R-ENGAGE-2)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from metier.domain.fleet import Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import TierId
from metier.domain.image import CollectorSpec
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Pending
from metier.domain.observation import Health, Observed
from metier.domain.tier import Trouble
from metier.planner.losses import BelowMinimum, Verdict
from tests.builders import (
    NOW,
    a_host,
)
from tests.unit.planner.mortal_site import AWAY, BIG, a_site, active, assessed, dies, guest, loss_of

# --- room to restore ---------------------------------------------------------------------


def test_a_loss_that_the_free_pool_makes_good() -> None:
    fleet = a_site(active(minimum=2, target=2), guest(1, 1, "web", 1), guest(2, 1, "web", 2), guest(2, 2))
    domain = dies(fleet)
    web = loss_of("web", domain)
    assert (web.now, web.lost, web.left, web.restorable, web.after) == (2, 1, 1, 1, 2)
    assert (web.falls, web.stays_below, web.short_of_minimum, web.missing) == (True, False, 0, 0)
    assert domain.verdict is Verdict.RESTORED


def test_a_tier_that_keeps_its_minimum_survives_without_being_restored() -> None:
    fleet = a_site(active(minimum=1, target=2), guest(1, 1, "web", 1), guest(2, 1, "web", 2))
    domain = dies(fleet)
    web = loss_of("web", domain)
    assert domain.verdict is Verdict.SURVIVED
    assert (web.falls, web.short_of_minimum, web.short_of_target) == (False, 0, 1)
    assert (web.missing, web.node, web.obstacle) == (1, "virtual node of 256 MiB", "")


def test_free_virtual_nodes_die_with_their_host() -> None:
    fleet = a_site(active(minimum=2, target=2), guest(1, 1, "web", 1), guest(1, 2), guest(2, 1, "web", 2))
    assert dies(fleet).verdict is Verdict.NOT_SURVIVED
    assert loss_of("web", dies(fleet)).missing == 1


def test_guests_of_one_tier_packed_on_one_host() -> None:
    fleet = a_site(
        active(minimum=3, target=3), *(guest(1, n, "web", n) for n in (1, 2, 3)), guest(2, 1), guest(2, 2)
    )
    web = loss_of("web", dies(fleet))
    assert (web.lost, web.left, web.restorable, web.short_of_minimum, web.missing) == (3, 0, 2, 1, 1)
    assert dies(fleet, "host-2").tiers == (loss_of("hosts", dies(fleet, "host-2")),)
    found = assessed(fleet)
    assert [domain.name for domain in found.of(Verdict.NOT_SURVIVED)] == ["host-1"]
    assert [domain.name for domain in found.of(Verdict.SURVIVED)] == ["host-2"]


def test_the_more_important_tier_is_served_first() -> None:
    fleet = a_site(
        active("db", priority=80, minimum=1, target=1),
        active("web", priority=20, minimum=1, target=1),
        guest(1, 1, "web", 1),
        guest(1, 2, "db", 1),
        guest(2, 1),
    )
    domain = dies(fleet)
    assert [loss.tier for loss in domain.tiers] == ["hosts", "db", "web"]
    assert [loss.restorable for loss in domain.tiers] == [0, 1, 0]


def test_nodes_that_do_not_fit_are_no_room() -> None:
    needs = Requirements(memory_mib=1024, cpus=2, networks=frozenset({"dmz"}))
    node = guest(1, 1, "web", 1, hardware=BIG)
    fleet = a_site(active(minimum=1, target=1, requirements=needs), node, guest(2, 1), guest(2, 2))
    web = loss_of("web", dies(fleet))
    assert (web.missing, web.node) == (1, "virtual node of 1024 MiB and 2 CPUs and network dmz")


def test_what_is_short_already_competes_for_what_is_there() -> None:
    fleet = a_site(
        active("db", priority=80, minimum=2, target=2),
        active("web", priority=20, minimum=1, target=1),
        guest(1, 1, "web", 1),
        guest(2, 1, "db", 1),
        guest(2, 2),
    )
    assert loss_of("web", dies(fleet)).restorable == 0
    assert assessed(fleet).below_minimum == (BelowMinimum(TierId("db"), 1, 2),)


# --- harvesting ----------------------------------------------------------------------------


def test_a_less_important_tier_pays() -> None:
    fleet = a_site(
        active("db", priority=80, minimum=1, target=1),
        active("batch", priority=10, minimum=1, target=2),
        guest(1, 1, "db", 1),
        guest(2, 1, "batch", 1),
        guest(2, 2, "batch", 2),
    )
    domain = dies(fleet)
    db, batch = loss_of("db", domain), loss_of("batch", domain)
    assert (db.harvested, db.allocated, db.after) == (((TierId("batch"), 1),), 0, 1)
    assert (batch.lost, batch.given, batch.after, batch.missing) == (0, 1, 1, 1)
    assert domain.verdict is Verdict.RESTORED


def test_a_tier_keeps_its_minimum_and_one_that_is_not_to_be_harvested_keeps_all() -> None:
    for fields in ({"minimum": 2}, {"minimum": 1, "harvesting": False}):
        fleet = a_site(
            active("db", priority=80, minimum=1, target=1),
            active("batch", priority=10, target=2, **fields),
            guest(1, 1, "db", 1),
            guest(2, 1, "batch", 1),
            guest(2, 2, "batch", 2),
        )
        domain = dies(fleet)
        assert loss_of("db", domain).restorable == 0
        assert domain.verdict is Verdict.NOT_SURVIVED


def test_who_pays_takes_from_others_in_turn() -> None:
    fleet = a_site(
        active("db", priority=80, minimum=1, target=1, requirements=Requirements(memory_mib=1024)),
        active("web", priority=50, minimum=0, target=1, harvest_to_target=True),
        active("batch", priority=10, minimum=0, target=1),
        guest(1, 1, "db", 1, hardware=BIG),
        guest(2, 1, "web", 1, hardware=BIG),
        guest(2, 2, "batch", 1),
    )
    domain = dies(fleet)
    assert loss_of("db", domain).harvested == ((TierId("web"), 1),)
    web = loss_of("web", domain)
    assert (web.given, web.harvested, web.after) == (1, ((TierId("batch"), 1),), 1)
    assert loss_of("batch", domain).after == 0


def test_who_pays_is_made_good_from_the_free_pool_where_it_can() -> None:
    fleet = a_site(
        active("db", priority=80, minimum=1, target=1, requirements=Requirements(memory_mib=1024)),
        active("web", priority=50, minimum=0, target=1),
        guest(1, 1, "db", 1, hardware=BIG),
        guest(2, 1, "web", 1, hardware=BIG),
        guest(2, 2),
    )
    web = loss_of("web", dies(fleet))
    assert (web.given, web.allocated, web.after) == (1, 1, 1)


def test_a_node_that_did_no_work_is_no_loss_to_who_gives_it() -> None:
    fleet = a_site(
        active("db", priority=80, minimum=1, target=1),
        active("batch", priority=10, minimum=0, target=1, collectors=(CollectorSpec("ping"),)),
        guest(1, 1, "db", 1),
        guest(2, 1, "batch", 1),
        observed={"host-2/VM1": Observed(health=Health.CRITICAL, failed_checks=1)},
    )
    domain = dies(fleet)
    assert loss_of("db", domain).harvested == ((TierId("batch"), 1),)
    batch = loss_of("batch", domain)
    assert (batch.now, batch.given, batch.after) == (0, 0, 0)


def test_what_was_harvested_a_moment_ago_is_not_taken_again() -> None:
    fleet = a_site(
        active("db", priority=80, minimum=1, target=1),
        active("batch", priority=10, minimum=0, target=1),
        guest(1, 1, "db", 1),
        guest(2, 1, "batch", 1, harvested_at=NOW),
    )
    assert dies(fleet).verdict is Verdict.NOT_SURVIVED


# --- what holds it back --------------------------------------------------------------------


def test_a_brake_keeps_a_tier_from_being_restored() -> None:
    fleet = a_site(
        active(minimum=2, target=2),
        Trouble(TierId("web"), braked_since=NOW),
        guest(1, 1, "web", 1),
        guest(2, 1, "web", 2),
        guest(2, 2),
    )
    web = loss_of("web", dies(fleet))
    assert (web.restorable, web.missing) == (0, 0)
    assert web.obstacle == "its brake taken off by metier tier resume web"


def test_so_many_hosts_at_once_are_a_storm() -> None:
    racked = [a_host(f"host-{n}", slot=n, attributes=frozenset({"rack=a"})) for n in (1, 2, 3)]
    spare = [a_host(f"spare-{n}", tier=None) for n in (1, 2, 3)]
    hosts = loss_of("hosts", dies(a_site(*racked, *spare, hosts=4), "rack=a", "rack"))
    assert (hosts.lost, hosts.restorable) == (3, 0)
    assert hosts.obstacle.startswith("its brake")


def test_a_disengaged_member_is_lost_and_keeps_its_slot() -> None:
    away = guest(1, 1, "web", 1, engagement=AWAY)
    fleet = a_site(active(minimum=2, target=2), away, guest(2, 1, "web", 2), guest(2, 2))
    domain = dies(fleet)
    web = loss_of("web", domain)
    assert (web.lost, web.restorable, web.missing) == (1, 0, 0)
    assert web.obstacle == "1 of its slots held by host-1/VM1 (disengaged)"
    assert loss_of("hosts", domain).obstacle == (
        "1 of its slots held by host-1 (host-1/VM1 on it is disengaged)"
    )


def test_guests_of_a_disengaged_host_are_replaced_and_the_host_is_not() -> None:
    host = a_host(slot=1, engagement=AWAY)
    fleet = a_site(
        host, active(minimum=1, target=1), guest(1, 1, "web", 1), guest(2, 1), a_host("spare", tier=None)
    )
    domain = dies(fleet)
    assert loss_of("web", domain).restorable == 1
    assert loss_of("hosts", domain).obstacle == "1 of its slots held by host-1 (disengaged)"


def test_a_host_that_keeps_its_slot_though_it_failed() -> None:
    fleet = a_site(a_host("spare", tier=None))
    fleet = _with_tier(fleet, "hosts", move_to_maintenance=False)
    hosts = loss_of("hosts", dies(fleet))
    assert hosts.obstacle == "1 of its slots held by host-1 (failed, and move_to_maintenance is off)"


def test_other_members_that_do_not_work_are_named_as_such() -> None:
    broken = guest(2, 1, "web", 2, lifecycle=Lifecycle.FAILED)
    fleet = a_site(
        active(minimum=2, target=2, move_to_maintenance=False), guest(1, 1, "web", 1), broken, guest(2, 2)
    )
    web = loss_of("web", dies(fleet))
    assert (web.now, web.lost, web.left, web.after) == (1, 1, 0, 1)
    assert web.obstacle == "1 of its slots held by other members that do not work"
    assert dies(fleet).verdict is Verdict.RESTORED, "it is as far below its minimum as it was"


def test_what_is_harvested_and_what_is_held_are_told_apart() -> None:
    fleet = a_site(
        active("db", priority=80, minimum=3, target=3),
        active("batch", priority=10, minimum=0, target=1),
        guest(1, 1, "db", 1, engagement=AWAY),
        guest(1, 2, "db", 2),
        guest(1, 3, "db", 3),
        guest(2, 1, "batch", 1),
    )
    db = loss_of("db", dies(fleet))
    assert (db.lost, db.restorable, db.short_of_minimum, db.missing) == (3, 1, 2, 1)
    assert db.obstacle == "1 of its slots held by host-1/VM1 (disengaged)"


def test_work_in_flight_on_the_dead_does_not_hold_it_up() -> None:
    pending = Pending("PrepareGuest", 1, NOW, NOW + timedelta(hours=6))
    busy = guest(1, 1, "web", 1, lifecycle=Lifecycle.PREPARING, pending=pending)
    fleet = a_site(
        a_host(slot=1, pending=pending),
        a_host("spare", tier=None),
        active(minimum=1, target=1),
        busy,
        guest(2, 1),
    )
    domain = dies(fleet)
    assert [loss.restorable for loss in domain.tiers] == [1, 1]


def test_a_start_in_doubt_does_not_outlive_its_host() -> None:
    later = NOW + timedelta(minutes=1)
    fleet = a_site(
        a_host(slot=1, started_at=later),
        active(minimum=1, target=1),
        guest(1, 1, "web", 1, started_at=later),
        guest(2, 1),
    )
    assert loss_of("web", dies(fleet)).restorable == 1


def test_guests_that_die_with_their_host_are_no_storm() -> None:
    fleet = a_site(
        active(priority=95, minimum=1, target=3),
        *(guest(1, n, "web", n) for n in (1, 2, 3)),
        a_host("spare", tier=None),
    )
    assert loss_of("hosts", dies(fleet)).restorable == 1


def _with_tier(fleet: Fleet, name: str, **fields: Any) -> Fleet:
    draft = fleet.edit()
    draft.put_tier(replace(fleet.tiers[TierId(name)], **fields))
    return draft.freeze()
