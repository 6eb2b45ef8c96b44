"""Random crowded sites: hosts with free and taken nodes, some of which failed, and tiers in need."""

from dataclasses import replace

from hypothesis import strategies as st

from metier.domain.fleet import Fleet
from metier.domain.hardware import Requirements
from metier.domain.node import ENGAGED, Engagement, Node
from metier.domain.tier import Spread, Tier, TierState
from tests.builders import VM_HARDWARE, a_fleet, a_host, a_host_tier, a_tier, a_virtual_node, an_image

TIERS = ("web", "db", "batch")
DEAR = replace(VM_HARDWARE, memory_mib=1024)
FAST = replace(VM_HARDWARE, memory_mib=256, cpus=4)
# As dear as the usual one, though of another shape.
OTHER = replace(VM_HARDWARE, memory_mib=448, disk_gib=9)

NOTHING = Requirements()
NEEDS = (NOTHING, Requirements(memory_mib=512), Requirements(memory_mib=1024), Requirements(cpus=2))

seldom = st.sampled_from((0, 0, 0, 0, 1, 2))
homes = st.sampled_from(("free",) * 6 + TIERS + ("maintenance",))


@st.composite
def fleets(draw: st.DrawFn, *, demanding: bool = False) -> Fleet:
    """Return hosts with free and taken nodes, of which some failed or are promised, and tiers in need.

    Unless they are `demanding` every guest tier can use every virtual node.
    """
    hosts = range(1, draw(st.integers(1, 5)) + 1)
    filled = dict.fromkeys(TIERS, 0)
    nodes = [
        _guest(draw, f"host-{host}", number, filled)
        for host in hosts
        for number in range(1, draw(st.integers(0, 5)) + 1)
    ]
    site: list[Node | Tier] = [
        a_host(
            f"host-{host}",
            slot=host,
            failures=draw(seldom),
            engagement=ENGAGED if draw(seldom) < 2 else Engagement(False),
        )
        for host in hosts
    ]
    site += [
        a_host(f"spare-{n}", tier=None, failures=draw(seldom)) for n in range(1, draw(st.integers(0, 3)) + 1)
    ]
    more = draw(st.integers(0, 2))
    site.append(a_host_tier(state=TierState.ACTIVE, minimum=0, target=len(hosts) + more, priority=70))
    needs = st.sampled_from(NEEDS) if demanding else st.just(NOTHING)
    site += [_tier(draw, name, filled[name], draw(needs)) for name in TIERS]
    return a_fleet(*draw(st.permutations(nodes)), *site, an_image())


def _guest(draw: st.DrawFn, host: str, number: int, filled: dict[str, int]) -> Node:
    home = draw(homes)
    hardware = draw(st.sampled_from((VM_HARDWARE, VM_HARDWARE, OTHER, DEAR, FAST)))
    if home in TIERS:
        filled[home] += 1
        return a_virtual_node(host, number, tier=home, slot=filled[home], hardware=hardware)
    promised = draw(st.sampled_from((None,) * 6 + TIERS))
    return a_virtual_node(
        host, number, place=home, hardware=hardware, failures=draw(seldom), promised=promised
    )


def _tier(draw: st.DrawFn, name: str, has: int, needs: Requirements) -> Tier:
    target = draw(st.integers(0, 8))
    return a_tier(
        name,
        state=TierState.ALLOCATED,
        minimum=draw(st.integers(0, target)),
        target=target,
        maximum=max(1, has, target),
        priority=draw(st.sampled_from((10, 50, 90))),
        spread=draw(st.sampled_from(Spread)),
        requirements=needs,
    )
