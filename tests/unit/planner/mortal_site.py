"""Small sites of hosts and guests, and what is said of the death of their hosts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from metier.domain.fleet import Fleet
from metier.domain.node import Engagement, Node
from metier.domain.observation import Observed
from metier.domain.tier import Tier, TierState
from metier.planner.losses import FailureDomain, Resilience, TierLoss
from metier.planner.resilience import assess, failure_domains
from tests.builders import (
    NOW,
    VM_HARDWARE,
    Record,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_tier,
    a_virtual_node,
    an_image,
)

AWAY = Engagement(False, "ann")
BIG = replace(VM_HARDWARE, memory_mib=2048)


def a_site(
    *records: Record, hosts: int = 2, minimum: int = 0, observed: dict[str, Observed] | None = None
) -> Fleet:
    """Return hosts at work, and what else is given; each host that is given replaces its like."""
    given = {record.name for record in records if isinstance(record, Node)}
    nodes = [a_host(f"host-{n}", slot=n) for n in range(1, hosts + 1) if f"host-{n}" not in given]
    tier = a_host_tier(state=TierState.ACTIVE, priority=90, minimum=minimum, target=hosts, maximum=hosts)
    return a_fleet(a_host_image(), an_image(), tier, *nodes, *records, observed=observed)


def active(name: str = "web", **fields: Any) -> Tier:
    return a_tier(name, **({"state": TierState.ACTIVE} | fields))


def guest(host: int, number: int, tier: str | None = None, slot: int | None = None, **fields: Any) -> Node:
    return a_virtual_node(f"host-{host}", number, tier=tier, slot=slot, **fields)


def assessed(fleet: Fleet, by: str = "") -> Resilience:
    return assess(fleet, NOW + timedelta(seconds=10), failure_domains(fleet, by))


def dies(fleet: Fleet, name: str = "host-1", by: str = "") -> FailureDomain:
    return next(domain for domain in assessed(fleet, by).domains if domain.name == name)


def loss_of(tier: str, domain: FailureDomain) -> TierLoss:
    return next(loss for loss in domain.tiers if loss.tier == tier)
