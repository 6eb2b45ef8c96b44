"""The small site that random stories are told of, and what an operator does who wants it as it began."""

from dataclasses import replace

from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import image_ref
from metier.domain.image import CollectorSpec
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import ENGAGED, FREE, Node, Place
from metier.domain.pool import PoolSettings
from metier.domain.tier import Tier, TierState
from metier.sim.clock import Agenda
from metier.sim.datacentre import DataCentre
from metier.sim.simulation import Simulation
from tests.builders import HOST_HARDWARE, NOW, a_fleet, a_host, a_host_image, a_host_tier, a_tier, an_image

CHECKED = (CollectorSpec("tcp", port=80),)
HOSTS = ("host-1", "host-2", "host-3")
WITHOUT_BMC = "host-3"
POOL = PoolSettings(reboot_window_s=120, storm_window_s=60, harvest_cooldown_s=60)


def a_site() -> Fleet:
    """Return three hosts, one without a power controller, and three guest tiers of different importance."""
    return a_fleet(
        a_host_image(vms=3),
        an_image(collectors=CHECKED, startup_s=30),
        an_image("web@2", collectors=CHECKED, startup_s=30),
        an_image("plain@1", startup_s=30),
        *tiers(),
        POOL,
        *[a_host(name, tier=None, **({"power": None} if name == WITHOUT_BMC else {})) for name in HOSTS],
    )


def tiers() -> list[Tier]:
    """Return the tiers as the operator wants them."""
    active = {"state": TierState.ACTIVE}
    return [
        a_host_tier(minimum=1, target=3, maximum=4, priority=90, **active),
        a_tier("db", minimum=1, target=1, maximum=2, priority=60, keep_instances=True, **active),
        a_tier("web", minimum=2, target=3, maximum=4, depends_on=("db",), **active),
        a_tier("batch", minimum=0, target=2, maximum=4, priority=10, image=image_ref("plain@1"), **active),
    ]


def build(fleet: Fleet, agenda: Agenda) -> DataCentre:
    """Return the machines: what has no power controller is on."""
    datacentre = DataCentre(agenda.clock)
    datacentre.usual_guest_boot_s, datacentre.guest_stop_s = 4.0, 2.0
    hardware = replace(HOST_HARDWARE, networks=frozenset({"default"}))
    for node in fleet.nodes.values():
        has_bmc = node.power is not None
        datacentre.add(node.name, hardware, is_on=not has_bmc, has_bmc=has_bmc, boot_s=10.0)
    return datacentre


def begin(seed: int = 0) -> Simulation:
    """Return the site before its first round."""
    return Simulation(a_site(), NOW, seed=seed, build=build)


def tidy(simulation: Simulation) -> None:
    """Give the orders of an operator who wants the site as it began, all of it running."""

    def put(draft: Draft) -> None:
        draft.put_pool(POOL)
        for tier in tiers():
            draft.put_tier(tier)
        for trouble in list(draft.troubles.values()):
            draft.put_trouble(replace(trouble, braked_since=None, failures=()))
        for node in list(draft.nodes.values()):
            draft.put_node(_forgiven(replace(node, engagement=ENGAGED, request=None)))

    simulation.edit(put)
    for machine, vm in list(simulation.datacentre.vms()):
        if vm.by_hand:
            simulation.datacentre.stop_vm(machine, vm)
    for machine in simulation.datacentre.machines.values():
        machine.foreign = {name: False for name in machine.foreign if name in machine.staged}
        machine.strays.clear()
        simulation.datacentre.changed(machine)


def _forgiven(node: Node) -> Node:
    withheld = node.placement.place in (Place.MAINTENANCE, Place.RESERVED)
    if withheld and node.lifecycle is Lifecycle.IDLE and node.pending is None:
        return replace(node, placement=FREE, failures=0, to_diagnose=False, problem="")
    return node
