"""A Fleet with a record of every kind in it, and how two Fleets compare."""

from typing import Any

from metier.domain.fleet import SITE, Changes, Fleet, Kind
from metier.domain.observation import Observed, Power
from metier.domain.pool import PoolSettings
from metier.domain.tier import Trouble
from metier.domain.timing import Activity
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    a_procedure,
    a_tier,
    a_timing,
    a_virtual_node,
    an_alert,
    an_image,
    vm_facts,
)

TABLES = {
    Kind.NODE: "nodes",
    Kind.TIER: "tiers",
    Kind.SLOT: "slots",
    Kind.TROUBLE: "troubles",
    Kind.IMAGE: "images",
    Kind.ALERT: "alerts",
    Kind.JOB: "jobs",
    Kind.PROCEDURE: "procedures",
    Kind.OBSERVED: "observed",
    Kind.TIMING: "timings",
}


def a_fleet_of_everything() -> Fleet:
    """Return a Fleet with records of every kind, two of most."""
    return a_fleet(
        a_host_image(),
        an_image(),
        an_image("web@2.0-rc"),
        a_host_tier(),
        a_tier(target=2),
        a_host(),
        a_virtual_node(tier="web", slot=1),
        a_virtual_node(number=2, tier="web", slot=2),
        a_virtual_node(number=10),
        Trouble(a_tier().name, failures=(NOW, NOW)),
        an_alert(1),
        an_alert(12),
        a_job(1),
        a_job(12, arguments={"file": "web.tgz", "answers": {"memory": 256, "names": ["a"]}, "size": None}),
        a_procedure(1, capture={"attribute": ["ssd"]}, made=("update-web",)),
        a_procedure(12),
        a_timing(Activity.GUEST_BOOT, "web@2.0-rc", 4.5, 5.25, 4.0),
        a_timing(Activity.POWER_ON, "host-1", 181.25),
        PoolSettings(warm_spares=3),
        observed={
            "host-1": Observed(Power.ON, NOW, vms=(vm_facts(1), vm_facts(2))),
            "host-1/VM1": Observed(address="192.0.2.7"),
        },
    )


def everything_in(fleet: Fleet) -> Changes:
    """Return every record of a Fleet, as if each were new."""
    changes: Changes = {kind: dict(getattr(fleet, table)) for kind, table in TABLES.items()}
    return changes | {Kind.POOL: {SITE: fleet.pool}}


def the_same(one: Fleet, other: Fleet) -> bool:
    """Tell whether two Fleets hold the same records, and found the same indexes on them."""
    return everything_in(one) == everything_in(other) and _indexes(one) == _indexes(other)


def _indexes(fleet: Fleet) -> tuple[Any, ...]:
    free = {
        shape: {host: frozenset(names) for host, names in groups.items()}
        for shape, groups in fleet.free.items()
    }
    return fleet.tier_members, fleet.vms_of, free
