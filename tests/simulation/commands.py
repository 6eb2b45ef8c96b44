"""What can happen to a site: faults that befall it and orders that operators give, each as plain data.

A command is a word and two numbers that choose what it happens to, so that a story is a
list that can be printed, shortened and told again.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from metier.domain.fleet import Draft
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, image_ref
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import ENGAGED, FREE, Engagement, Node, NodeKind, Place, Placement, Request
from metier.domain.tier import Spread, TierKind, TierState
from tests.builders import a_host
from tests.simulation.site import FATES, Site


class Command(NamedTuple):
    """What happens next, to whom, and how."""

    word: str
    which: int
    how: int


# --- faults ----------------------------------------------------------------------------


def _host_dies(site: Site, command: Command) -> None:
    site.host(command.which).lose_power()


def _host_cut_off(site: Site, command: Command) -> None:
    host = site.host(command.which)
    host.reachable = not host.reachable


def _switch_breaks(site: Site, command: Command) -> None:
    host = site.host(command.which)
    host.switchable = not host.switchable


def _others_move_in(site: Site, command: Command) -> None:
    host = site.host(command.which)
    host.foreign_running = command.how % 2 if host.is_on else 0


def _vm_switched_by_hand(site: Site, command: Command) -> None:
    found = site.vm(command.which)
    if found is not None and found[0].is_on:
        vm = found[1]
        vm.is_on, vm.by_hand, vm.ready_at = not vm.is_on, not vm.is_on, site.rounds.now


def _service_breaks(site: Site, command: Command) -> None:
    found = site.vm(command.which)
    if found is not None:
        found[1].answers = not found[1].answers


def _guest_stops_obeying(site: Site, command: Command) -> None:
    found = site.vm(command.which)
    if found is not None:
        found[1].obeys = not found[1].obeys


def _vm_vanishes(site: Site, command: Command) -> None:
    found = site.vm(command.which)
    if found is not None:
        found[0].vms.pop(found[1].number)


def _vm_reconfigured(site: Site, command: Command) -> None:
    found = site.vm(command.which)
    if found is not None and not found[1].is_on:
        found[1].hardware = replace(found[1].hardware, memory_mib=(512, 768, 640)[command.how % 3])


def _fate(site: Site, command: Command) -> None:
    for number in range(1 + command.which % 5):
        site.fates.append(FATES[(command.how + number * command.which) % len(FATES)])


def _restart(site: Site, command: Command) -> None:
    site.rounds.restart(lost=lambda action: (command.how + len(action.node)) % 2 == 0)


def _time_passes(site: Site, command: Command) -> None:
    site.rounds.now += timedelta(seconds=(5, 40, 150, 700)[command.how % 4])


# --- operators ---------------------------------------------------------------------------


def _engagement(site: Site, command: Command) -> None:
    node = site.node(command.which)
    until = site.rounds.now + timedelta(seconds=20) if command.how % 3 == 0 else None
    changed = Engagement(False, "ann", site.rounds.now, "", until) if node.engaged else ENGAGED
    site.change(node, engagement=changed)


def _host_engagement(site: Site, command: Command) -> None:
    node = site.rounds.fleet.nodes[site.host(command.which).name]
    site.change(node, engagement=Engagement(False, "ann", site.rounds.now) if node.engaged else ENGAGED)


def _target(site: Site, command: Command) -> None:
    tier = site.tier(command.which)
    target = command.how % (tier.maximum + 1)
    site.put_tier(replace(tier, target=target, minimum=min(tier.minimum, target)))


def _maximum(site: Site, command: Command) -> None:
    tier = site.tier(command.which)
    maximum = 1 + command.how % 4
    target = min(tier.target, maximum)
    site.put_tier(replace(tier, maximum=maximum, target=target, minimum=min(tier.minimum, target)))


def _tier_state(site: Site, command: Command) -> None:
    site.put_tier(replace(site.tier(command.which), state=list(TierState)[command.how % 3]))


def _switches(site: Site, command: Command) -> None:
    tier = site.tier(command.which)
    bits = command.how
    site.put_tier(
        replace(
            tier,
            reboot_on_failure=bool(bits & 1),
            move_to_maintenance=bool(bits & 2),
            harvest_to_target=bool(bits & 4),
            harvesting=bool(bits & 8) or not bits & 4,
            spread=Spread.PACK if bits & 16 else Spread.SPREAD,
        )
    )


def _image(site: Site, command: Command) -> None:
    tier = site.tier(command.which)
    if tier.kind is TierKind.GUEST and tier.state is not TierState.ACTIVE and tier.name != "batch":
        site.put_tier(replace(tier, image=image_ref(f"web@{1 + command.how % 2}")))


def _pools(site: Site, command: Command) -> None:
    bits = command.how
    pool = replace(
        site.rounds.fleet.pool,
        automatic_discovery=bits % 5 != 0,
        automatic_inventory=bits % 7 != 0,
        automatic_free=bits % 3 != 0,
        power_off_idle=bool(bits & 1),
        idle_off_after_s=30,
        warm_spares=bits % 2,
    )
    site.rounds.edit(lambda draft: draft.put_pool(pool))


def _order(site: Site, command: Command) -> None:
    _give_order(site, site.node(command.which), list(Request)[command.how % 4])


def _order_host(site: Site, command: Command) -> None:
    node = site.rounds.fleet.nodes[site.host(command.which).name]
    _give_order(site, node, list(Request)[command.how % 4])


def _give_order(site: Site, node: Node, request: Request) -> None:
    tier = site.rounds.fleet.tiers.get(node.tier) if node.tier else None
    starts = request in (Request.POWER_ON, Request.POWER_CYCLE)
    if node.placement.place is Place.QUARANTINED or (not node.is_virtual and node.power is None):
        return
    if node.is_virtual and starts and (tier is None or tier.state is not TierState.ACTIVE):
        return
    site.change(node, request=request)


def _move(site: Site, command: Command) -> None:
    """Move a node that rests outside tiers to another pool; out of maintenance it is forgiven."""
    node = site.node(command.which)
    places = (Place.FREE, Place.RESERVED, Place.MAINTENANCE, Place.FREE)
    if node.tier is None and node.lifecycle is Lifecycle.IDLE and node.pending is None and node.hardware:
        place = places[command.how % 4]
        placement = FREE if place is Place.FREE else Placement(place)
        site.change(node, placement=placement, failures=0, retry=None, promised=None, to_diagnose=False)


def _inventory(site: Site, command: Command) -> None:
    """Ask a node that rests outside tiers anew what it has."""
    node = site.node(command.which)
    at_rest = node.lifecycle in (Lifecycle.IDLE, Lifecycle.NEW) and node.pending is None
    if node.placement.place in (Place.FREE, Place.DISCOVERED) and at_rest:
        placement, now = Placement(Place.DISCOVERED), site.rounds.now
        site.change(node, placement=placement, lifecycle=Lifecycle.NEW, retry=None, since=now)


def _remove(site: Site, command: Command) -> None:
    """Remove a physical node that rests outside tiers, or a tier that is inactive and empty."""
    node, tier = site.node(command.which), site.tier(command.which)
    is_empty = tier.state is TierState.INACTIVE and not site.rounds.fleet.members(tier.name)
    if command.how % 2 and is_empty and len(site.rounds.fleet.tiers) > 1:
        site.rounds.edit(lambda draft: draft.remove_tier(tier.name))
    elif node.tier is None and node.kind is NodeKind.PHYSICAL and len(site.rounds.world.hosts) > 3:
        if site.rounds.fleet.vms_of.get(node.name):
            return
        site.rounds.edit(lambda draft: draft.remove_node(node.name))
        del site.rounds.world.hosts[node.name]


def _attest(site: Site, command: Command) -> None:
    """Give one's word for a fenced node, having made sure of it."""

    def vouch(draft: Draft) -> None:
        for slot in list(draft.slots.values()):
            for fence in slot.fences:
                _make_sure(site, fence.host, fence.vm_number)
            fences = tuple(replace(fence, attested="ann") for fence in slot.fences)
            draft.put_slot(replace(slot, fences=fences))

    site.rounds.edit(vouch)


def _make_sure(site: Site, host: NodeId | None, number: int | None) -> None:
    machine = site.rounds.world.hosts.get(host) if host is not None else None
    vm = machine.vms.get(number) if machine is not None and number is not None else None
    if vm is not None:
        vm.is_on = False


def _resume(site: Site, _command: Command) -> None:
    site.resume()


def _add_host(site: Site, command: Command) -> None:
    number = len(site.rounds.world.hosts) + 1
    if number <= 5:
        name = f"host-{number}"
        if name in site.rounds.world.hosts:
            return
        fields = {"placement": Placement(Place.DISCOVERED), "lifecycle": Lifecycle.NEW, "hardware": None}
        node = a_host(name, tier=None, since=site.rounds.now, **fields)
        hardware = Hardware(memory_mib=4096 * (1 + command.how % 3), cpus=4)
        site.rounds.world.add(name, hardware, is_on=True)
        site.rounds.edit(lambda draft: draft.put_node(node))


COMMANDS: dict[str, Callable[[Site, Command], None]] = {
    "host dies": _host_dies,
    "host cut off or back": _host_cut_off,
    "switch breaks or mends": _switch_breaks,
    "others move in": _others_move_in,
    "vm switched by hand": _vm_switched_by_hand,
    "service breaks or mends": _service_breaks,
    "guest stops obeying or obeys": _guest_stops_obeying,
    "vm vanishes": _vm_vanishes,
    "vm reconfigured": _vm_reconfigured,
    "fate": _fate,
    "fate again": _fate,
    "restart": _restart,
    "time passes": _time_passes,
    "engagement": _engagement,
    "host engagement": _host_engagement,
    "target": _target,
    "maximum": _maximum,
    "tier state": _tier_state,
    "switches": _switches,
    "image": _image,
    "pools": _pools,
    "order": _order,
    "order host": _order_host,
    "move": _move,
    "inventory": _inventory,
    "remove": _remove,
    "attest": _attest,
    "resume": _resume,
    "add host": _add_host,
}


def random_story(seed: int, steps: int) -> list[Command]:
    """Return a story that the seed alone decides."""
    chance = random.Random(seed)
    words = list(COMMANDS)
    return [
        Command(chance.choice(words), chance.randrange(1000), chance.randrange(1000)) for _ in range(steps)
    ]


def happen(site: Site, command: Command) -> None:
    """Let a command happen, and go round a few times."""
    site.rounds.trace.append(f"{site.rounds.number}: {command}")
    COMMANDS[command.word](site, command)
    for _ in range(1 + command.how % 3):
        site.go()
