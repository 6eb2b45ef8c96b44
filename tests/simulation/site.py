"""A random site: commands that operators give and faults that befall it, each as plain data.

A command is a word and two numbers that choose what it happens to, so that a story is a
list that can be printed, shortened and told again.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from metier.domain import actions as act
from metier.domain.fleet import Draft
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, image_ref, natural
from metier.domain.image import CollectorSpec
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import ENGAGED, FREE, Engagement, Node, Place, Placement, Request
from metier.domain.pool import PoolSettings
from metier.domain.tier import Spread, Tier, TierKind, TierState
from metier.planner.effects import Failed, Outcome
from metier.sim.rounds import Rounds
from metier.sim.world import SimHost, SimVm, World
from tests.builders import HOST_HARDWARE, NOW, a_fleet, a_host, a_host_image, a_host_tier, a_tier, an_image
from tests.simulation.laws import Broken, watch_laws

CHECKED = (CollectorSpec("tcp", port=80),)
ROUNDS_TO_REST = 400
"""Far more than the longest orderly way: a failure, two reboots, maintenance, a host's power cycle."""

CALM_ROUNDS = 6
"""So many rounds without an action or work in flight are rest."""

FATES = ("fine", "fails", "refused", "lost", "done but unsure", "slow")


class Command(NamedTuple):
    """What happens next, to whom, and how."""

    word: str
    which: int
    how: int


class Site:
    """Three hosts, one without a power controller, and three guest tiers of different importance."""

    def __init__(self) -> None:
        hosts = [a_host(f"host-{n}", tier=None) for n in (1, 2)]
        hosts.append(a_host("host-3", tier=None, power=None))
        fleet = a_fleet(
            a_host_image(vms=3),
            an_image(collectors=CHECKED, startup_s=30),
            an_image("web@2", collectors=CHECKED, startup_s=30),
            an_image("plain@1", startup_s=30),
            *_tiers(),
            _POOL,
            *hosts,
        )
        world = World(host_boot_s=4, guest_boot_s=4)
        for node in hosts:
            has_switch = node.power is not None
            world.add(node.name, HOST_HARDWARE, has_switch=has_switch, is_on=not has_switch)
        self.rounds = Rounds(fleet, world, NOW)
        self.fates: deque[str] = deque()
        watch_laws(self.rounds)

    def do(self, command: Command) -> None:
        """Let a command happen, and go round a few times."""
        self.rounds.trace.append(f"{self.rounds.number}: {command}")
        COMMANDS[command.word](self, command)
        for _ in range(1 + command.how % 3):
            self.go()

    def go(self) -> None:
        """Go round once, with the fates that were dealt."""
        self.rounds.round(takes=self._takes, carry=self._carry)

    def heal(self) -> None:
        """End all faults: from here on everything answers, and an operator says go on."""
        self.fates.clear()
        for host in self.rounds.world.hosts.values():
            host.reachable = host.switchable = True
            host.is_on = host.is_on or not host.has_switch
            host.is_sick, host.foreign_running = False, 0
            for vm in host.vms.values():
                vm.answers = vm.obeys = True
                vm.is_on = vm.is_on and not vm.by_hand
        self.resume()

    def resume(self) -> None:
        """Let automation go on in every tier."""

        def release(draft: Draft) -> None:
            for trouble in list(draft.troubles.values()):
                draft.put_trouble(replace(trouble, braked_since=None, failures=()))

        self.rounds.edit(release)

    def tidy(self) -> None:
        """Give the orders of an operator who wants the site as it began, all of it running."""

        def put(draft: Draft) -> None:
            draft.put_pool(_POOL)
            for tier in _tiers():
                draft.put_tier(tier)
            for node in list(draft.nodes.values()):
                draft.put_node(_forgiven(replace(node, engagement=ENGAGED, request=None)))

        self.rounds.edit(put)

    def settle(self) -> None:
        """Go round until nothing is done any more, skipping over mere waiting."""
        calm = 0
        for _ in range(ROUNDS_TO_REST):
            self.go()
            is_busy = bool(self.rounds.last.actions or self.rounds.in_flight)
            calm = 0 if is_busy else calm + 1
            if calm < CALM_ROUNDS:
                continue
            later = [at for at, _ in self.rounds.last.wake if at > self.rounds.now]
            if not later:
                return
            self.rounds.now, calm = min(later), 0
        raise Broken(f"no rest after {ROUNDS_TO_REST} rounds: {self.rounds.last}")

    # --- choosing ------------------------------------------------------------------

    def host(self, number: int) -> SimHost:
        hosts = list(self.rounds.world.hosts.values())
        return hosts[number % len(hosts)]

    def vm(self, number: int) -> tuple[SimHost, SimVm] | None:
        vms = [(host, vm) for host in self.rounds.world.hosts.values() for vm in host.vms.values()]
        return vms[number % len(vms)] if vms else None

    def node(self, number: int) -> Node:
        nodes = sorted(self.rounds.fleet.nodes.values(), key=lambda node: natural(node.name))
        return nodes[number % len(nodes)]

    def tier(self, number: int) -> Tier:
        tiers = sorted(self.rounds.fleet.tiers.values(), key=lambda tier: tier.name)
        return tiers[number % len(tiers)]

    def change(self, node: Node, **fields: object) -> None:
        self.rounds.edit(lambda draft: draft.change_node(node.name, **fields))

    def put_tier(self, tier: Tier) -> None:
        self.rounds.edit(lambda draft: draft.put_tier(tier))

    # --- fates -----------------------------------------------------------------------

    def _takes(self, action: act.Work) -> int:
        return 4 if self.fates and self.fates[0] == "slow" else 1

    def _carry(self, action: act.Work, do: Callable[[], Outcome]) -> Outcome:
        fate = self.fates.popleft() if self.fates else "fine"
        if fate == "fails":
            return Failed("no route to host")
        if fate == "refused":
            return Failed("not enough room", final=True)
        if fate == "lost":
            return Failed("connection reset", unsure=True)
        outcome = do()
        return Failed("no answer in time", unsure=True) if fate == "done but unsure" else outcome


_POOL = PoolSettings(reboot_window_s=120, storm_window_s=60, harvest_cooldown_s=60)


def _tiers() -> list[Tier]:
    active = {"state": TierState.ACTIVE}
    return [
        a_host_tier(minimum=1, target=3, maximum=4, priority=90, **active),
        a_tier("db", minimum=1, target=1, maximum=2, priority=60, keep_instances=True, **active),
        a_tier("web", minimum=2, target=3, maximum=4, depends_on=("db",), **active),
        a_tier("batch", minimum=0, target=2, maximum=4, priority=10, image=image_ref("plain@1"), **active),
    ]


def _forgiven(node: Node) -> Node:
    withheld = node.placement.place in (Place.MAINTENANCE, Place.RESERVED)
    if withheld and node.lifecycle is Lifecycle.IDLE and node.pending is None:
        return replace(node, placement=FREE, failures=0, to_diagnose=False, problem="")
    return node


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
    site.fates.append(FATES[command.how % len(FATES)])
    site.fates.extend(["fine"] * (command.which % 3))


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
