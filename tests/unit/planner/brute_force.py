"""Every way to give nodes to tiers, tried out; and the same site, for the planner to plan.

Nothing here is shared with the planner: what fits, who comes first and what is better
are written down a second time, as R-ALLOC-1 and R-ALLOC-2 say it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware, Requirements
from metier.domain.ids import TierId
from metier.domain.observation import Observed, Power, VmFacts
from metier.domain.tier import TierState
from metier.planner.plan import decide
from tests.builders import NOW, Record, a_fleet, a_host, a_host_image, a_host_tier, a_virtual_node, an_image
from tests.builders import a_tier as a_tier_record

SEEN_AT = NOW + timedelta(seconds=5)
PLANNED_AT = NOW + timedelta(seconds=10)

Counts = tuple[int, ...]
"""How many nodes each tier has, in the order of `Case.tiers`."""


@dataclass(frozen=True, slots=True)
class Want:
    """A guest tier that has nothing yet: how many nodes it wants, and of what sort."""

    priority: int
    minimum: int
    target: int
    needs: Requirements = field(default_factory=Requirements)


@dataclass(frozen=True, slots=True)
class Case:
    """Hosts, each with its free virtual nodes, and the tiers that want them."""

    hosts: tuple[tuple[Hardware, ...], ...]
    tiers: tuple[Want, ...]


def fits(has: Hardware, needs: Requirements) -> bool:
    """Say whether a node can serve a tier; only of what the cases vary."""
    return (
        has.memory_mib >= needs.memory_mib
        and has.cpus >= needs.cpus
        and has.disk_gib >= needs.disk_gib
        and has.attributes >= needs.attributes
    )


def worth(case: Case, counts: Counts) -> Counts:
    """Return what a distribution is worth; of two, the better compares greater.

    First each tier's nodes up to its minimum, most important tier first; then up to its
    target, in the same order (R-ALLOC-1).  Equal priorities go by name, here by position.
    """
    order = sorted(range(len(case.tiers)), key=lambda tier: -case.tiers[tier].priority)
    minima = (min(counts[tier], case.tiers[tier].minimum) for tier in order)
    targets = (counts[tier] for tier in order)
    return (*minima, *targets)


def distributions(case: Case) -> set[Counts]:
    """Return the counts of every assignment there is, none above its target."""
    found: set[Counts] = {(0,) * len(case.tiers)}
    for has in (vm for host in case.hosts for vm in host):
        takers = [number for number, tier in enumerate(case.tiers) if fits(has, tier.needs)]
        found |= {
            (*counts[:taker], counts[taker] + 1, *counts[taker + 1 :])
            for counts in found
            for taker in takers
            if counts[taker] < case.tiers[taker].target
        }
    return found


def best(case: Case) -> Counts:
    """Return the counts of a distribution that none is better than."""
    return max(distributions(case), key=lambda counts: worth(case, counts))


def planned(case: Case) -> Counts:
    """Return the counts that one plan leads to."""
    fleet = decide(fleet_of(case), PLANNED_AT).fleet
    return tuple(len(fleet.members(TierId(f"tier-{number}"))) for number, _ in enumerate(case.tiers, start=1))


# --- the same for the planner -----------------------------------------------------------


def fleet_of(case: Case) -> Fleet:
    """Return a site at rest but for the tiers: hosts run and answer, all their VMs are off and free."""
    number = len(case.hosts)
    records: list[Record] = [
        a_host_image(vms=0),
        an_image(requirements=Requirements()),
        a_host_tier(state=TierState.ACTIVE, priority=100, target=number),
    ]
    for position, vms in enumerate(case.hosts, start=1):
        records.append(a_host(f"host-{position}", slot=position, staged_at=NOW, started_at=NOW))
        records += [
            a_virtual_node(f"host-{position}", slot, hardware=vm) for slot, vm in enumerate(vms, start=1)
        ]
    records += [
        a_tier_record(
            f"tier-{position}",
            state=TierState.ACTIVE,
            priority=want.priority,
            minimum=want.minimum,
            target=want.target,
            requirements=want.needs,
        )
        for position, want in enumerate(case.tiers, start=1)
    ]
    seen = {f"host-{position}": _seen(vms) for position, vms in enumerate(case.hosts, start=1)}
    return a_fleet(*records, observed=seen)


def _seen(vms: Sequence[Hardware]) -> Observed:
    facts = tuple(VmFacts(slot, Power.OFF, vm) for slot, vm in enumerate(vms, start=1))
    return Observed(
        Power.ON, SEEN_AT, vmm_reachable=True, vmm_at=SEEN_AT, vms=facts, vms_at=SEEN_AT, accelerated=True
    )
