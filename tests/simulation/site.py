"""A small site under the laws, whose work can be dealt any fate; `commands.py` says what happens to it."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from metier.domain import actions as act
from metier.domain.fleet import Draft
from metier.domain.ids import NodeId, image_ref, natural
from metier.domain.image import CollectorSpec
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import ENGAGED, FREE, Node, Place
from metier.domain.pool import PoolSettings
from metier.domain.tier import Tier, TierState
from metier.planner.effects import UNSURE_START_S, Failed, Outcome
from metier.sim.rounds import STEP_S, Rounds
from metier.sim.world import SimHost, SimVm, World
from tests.builders import HOST_HARDWARE, NOW, a_fleet, a_host, a_host_image, a_host_tier, a_tier, an_image
from tests.simulation.laws import Broken, watch_laws

CHECKED = (CollectorSpec("tcp", port=80),)
ROUNDS_TO_REST = 400
"""Far more than the longest orderly way: a failure, two reboots, maintenance, a host's power cycle."""

CALM_ROUNDS = 6
"""So many rounds without an action or work in flight are rest."""

FATES = ("fine", "fails", "refused", "lost", "done but unsure", "done late", "slow")

LATE = timedelta(seconds=UNSURE_START_S - 4)
"""A start that was given up may still come true so much later, but not after `UNSURE_START_S`."""


class Late(NamedTuple):
    """Work that comes true on a host after it was given up, if the host stays on until then."""

    at: datetime
    host: NodeId | None
    do: Callable[[], Outcome]


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
        self._late: list[Late] = []
        watch_laws(self.rounds)

    def go(self) -> None:
        """Go round once, with the fates that were dealt."""
        self._do_late_work()
        self.rounds.round(takes=self._takes, carry=self._carry)

    def _do_late_work(self) -> None:
        now = self.rounds.now
        hosts = {name for name, host in self.rounds.world.hosts.items() if host.is_on}
        possible = [late for late in self._late if late.host in hosts]
        self._late = [late for late in possible if late.at > now]
        for late in possible:
            if timedelta(0) <= now - late.at < timedelta(seconds=STEP_S):
                late.do()

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
        if fate == "done late" and isinstance(action, act.StartGuest):
            host = self.rounds.fleet.nodes[action.node].host
            self._late.append(Late(self.rounds.now + LATE, host, do))
            return Failed("no answer in time", unsure=True)
        outcome = do()
        return outcome if fate in ("fine", "slow") else Failed("no answer in time", unsure=True)


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
