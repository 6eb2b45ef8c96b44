"""What an operator must accept before nodes that work for tiers are stopped (R-FORCE-1, R-HOSTDOWN-1)."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from metier.domain.errors import NeedsAcceptance
from metier.domain.fleet import Fleet, Shape
from metier.domain.guests import active_guests, is_active_guest
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, SlotId, natural
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import cost, needs_of, obstacles, shape_obstacles
from metier.domain.node import Node
from metier.domain.tier import Tier
from metier.operations.registry import Caller


def accept_or_raise(message: str, warnings: Sequence[str], caller: Caller) -> None:
    """Raise NeedsAcceptance with `warnings`, unless there are none or the caller accepted them."""
    if warnings and not caller.accept_warnings:
        raise NeedsAcceptance(message, warnings)


def guest_warnings(fleet: Fleet, hosts: Collection[NodeId]) -> list[str]:
    """Return one warning per active guest on `hosts`, as if all of them went down together."""
    guests = [guest for host in sorted(hosts, key=natural) for guest in active_guests(fleet, host)]
    tiers = {guest.tier: _tier_of(fleet, guest) for guest in guests}
    lost = {guest.name for guest in guests}
    # Both are the same for all guests of a tier, and a site may have many thousands of them.
    minimums = {name: _minimum(fleet, tier, lost) for name, tier in tiers.items()}
    free = _surviving(fleet, hosts)
    spares = {name: _replacements(fleet, tier, free) for name, tier in tiers.items()}
    promised: set[NodeId] = set()
    warnings = []
    for guest in guests:
        spare = next((name for name in spares[guest.tier] if name not in promised), None)
        if spare is not None:
            promised.add(spare)
        replacement = f"{spare} is free to replace it" if spare else "no replacement is free"
        warnings.append(
            f"{_position(guest)}: {minimums[guest.tier]}; {replacement}; {_local_data(fleet, guest)}"
        )
    return warnings


def member_warning(fleet: Fleet, node: Node) -> list[str]:
    """Return the warning that an active guest itself is stopped; it keeps its slot and its data."""
    if not is_active_guest(fleet, node):
        return []
    tier = _tier_of(fleet, node)
    return [f"{_position(node)}: {_minimum(fleet, tier, {node.name})}"]


def foreign_warning(fleet: Fleet, host: NodeId) -> list[str]:
    """Return the warning that VMs which are not Metier's go down with a host."""
    running = fleet.seen(host).foreign_running
    if not running:
        return []
    vms = "1 VM that is" if running == 1 else f"{running} VMs that are"
    return [f"{host} runs {vms} not Metier's: what runs there is cut off too"]


def _position(node: Node) -> str:
    return f"{node.name} is active in tier {node.tier}, slot {node.placement.slot}"


def _minimum(fleet: Fleet, tier: Tier, lost: Collection[NodeId]) -> str:
    working = [node for node in fleet.member_nodes(tier.name) if node.lifecycle is Lifecycle.RUNNING]
    left = sum(node.name not in lost for node in working)
    if left >= tier.minimum:
        return f"the tier keeps its minimum of {tier.minimum} with {left} left"
    fell = "is already" if len(working) < tier.minimum else "falls"
    return f"the tier {fell} below its minimum of {tier.minimum} with {left} left"


def _local_data(fleet: Fleet, guest: Node) -> str:
    assert guest.placement.tier is not None
    assert guest.placement.slot is not None
    slot = fleet.slot(SlotId(guest.placement.tier, guest.placement.slot))
    instance = slot.instance or guest.instance
    if instance is not None and instance.store == guest.host:
        return f"its local data on {guest.host} is lost"
    return "no local data is lost"


def _surviving(fleet: Fleet, lost_hosts: Collection[NodeId]) -> dict[Shape, list[NodeId]]:
    """Return the free nodes whose hosts stay up, by shape and in the order of their names."""
    return {
        shape: sorted((name for host in hosts if host not in lost_hosts for name in hosts[host]), key=natural)
        for shape, hosts in fleet.free.items()
    }


def _replacements(fleet: Fleet, tier: Tier, free: Mapping[Shape, Sequence[NodeId]]) -> Iterator[NodeId]:
    """Yield the nodes of `free` that fit the tier, cheapest first."""
    needs = needs_of(fleet, tier)
    shapes = [shape for shape in free if not shape_obstacles(needs, tier, shape)]
    for shape in sorted(shapes, key=lambda shape: (cost(needs, shape), _order(shape.hardware))):
        for name in free[shape]:
            if not obstacles(fleet, fleet.nodes[name], tier):
                yield name


def _order(hardware: Hardware) -> tuple[object, ...]:
    """Return a key that puts shapes of equal cost in the same order on every run."""
    return hardware.memory_mib, hardware.cpus, sorted(hardware.attributes), sorted(hardware.networks)


def _tier_of(fleet: Fleet, node: Node) -> Tier:
    assert node.tier is not None
    return fleet.tier(node.tier)
