"""Stories: a small site in a simulated world, operators who change their minds, and faults.

story = Story(hosts=2, vms=3)
story.tier("web", target=2)
story.rest()                       # the fixed point: nothing left to do
assert story.running("web") == 2
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from metier.domain.actions import Action
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, SlotId, TierId
from metier.domain.image import CollectorSpec, OfferedVm
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import DISCOVERED, ENGAGED, Engagement, Node, Request
from metier.domain.plan import Plan
from metier.domain.pool import PoolSettings
from metier.domain.tier import Tier, TierState
from metier.sim.machines import Machine, Vm
from tests.builders import HOST_HARDWARE, NOW, a_fleet, a_host, a_host_image, a_host_tier, a_tier, an_image
from tests.unit.planner.rounds import Rounds

CHECKED = (CollectorSpec("tcp", port=80),)


class Story:
    """A site that starts with free hosts, an active host tier and no guest tier."""

    def __init__(
        self,
        hosts: int = 2,
        vms: int = 3,
        *,
        host_target: int | None = None,
        offers: Iterable[OfferedVm] = (),
        pool: PoolSettings | None = None,
        **host_fields: Any,
    ) -> None:
        host_image = a_host_image(vms=vms)
        if offers:
            host_image = replace(host_image, offers=tuple(offers))
        nodes = [a_host(f"host-{number}", tier=None, **host_fields) for number in range(1, hosts + 1)]
        target = hosts if host_target is None else host_target
        tier = a_host_tier(state=TierState.ACTIVE, target=target, maximum=hosts, minimum=0, priority=90)
        image = an_image(collectors=CHECKED, startup_s=60)
        fleet = a_fleet(host_image, image, tier, pool or PoolSettings(), *nodes)
        self.rounds = Rounds(fleet, NOW)
        self.datacentre = self.rounds.datacentre
        self.datacentre.usual_guest_boot_s = 4
        for node in nodes:
            self.put_up(node)

    # --- what is -----------------------------------------------------------------

    @property
    def fleet(self) -> Fleet:
        return self.rounds.fleet

    def node(self, name: str) -> Node:
        return self.fleet.nodes[NodeId(name)]

    def exists(self, name: str) -> bool:
        return NodeId(name) in self.fleet.nodes

    def members(self, tier: str) -> list[str]:
        return [node.name for node in self.fleet.member_nodes(TierId(tier))]

    def running(self, tier: str) -> list[str]:
        nodes = self.fleet.member_nodes(TierId(tier))
        return [node.name for node in nodes if node.lifecycle is Lifecycle.RUNNING]

    def waits(self, subject: str) -> list[str]:
        return [waiting.why for waiting in self.rounds.last.waiting if waiting.subject == subject]

    def rules(self, subject: str) -> set[str]:
        return {waiting.rule for waiting in self.rounds.last.waiting if waiting.subject == subject}

    def problems(self, subject: str | None = None) -> set[str]:
        found = self.rounds.last.findings
        return {finding.code for finding in found if subject is None or finding.subject == subject}

    def host(self, name: str) -> Machine:
        return self.datacentre.machines[NodeId(name)]

    def vm(self, name: str) -> Vm:
        host, number = name.split("/VM")
        return self.host(host).vms[int(number)]

    def put_up(self, node: Node, *, is_on: bool = False) -> None:
        """Put up the machine of a node."""
        hardware = replace(HOST_HARDWARE, networks=frozenset({"default"}))
        has_bmc = node.power is not None
        machine = self.datacentre.add(node.name, hardware, is_on=is_on, has_bmc=has_bmc, boot_s=4)
        machine.has_vmm = node.vmm is not None

    # --- what happens --------------------------------------------------------------

    def rest(self, rounds: int = 200) -> Plan:
        return self.rounds.rest(rounds=rounds)

    def go(self, rounds: int = 1) -> list[Action]:
        """Go round so many times; returns all actions."""
        return [action for _ in range(rounds) for action in self.rounds.round().actions]

    def until_rest(self) -> list[Action]:
        """Go to the fixed point; returns all actions on the way."""
        actions: list[Action] = []
        quiet = 0
        for _ in range(300):
            new = self.go()
            actions += new
            quiet = 0 if new or self.rounds.in_flight else quiet + 1
            if quiet == 8:
                return actions
        raise AssertionError(f"not at rest: {self.rounds.trace[-20:]}")

    def later(self, seconds: float) -> None:
        self.rounds.later(seconds)

    # --- what operators do -----------------------------------------------------------

    def tier(self, name: str, **fields: Any) -> None:
        """Create a tier or change one; a new one is active."""
        old = self.fleet.tiers.get(TierId(name))
        if old is None:
            new = a_tier(name, **({"state": TierState.ACTIVE} | fields))
        else:
            new = replace(old, **fields)
        self.rounds.edit(lambda draft: draft.put_tier(new))

    def change(self, name: str, **fields: Any) -> None:
        self.rounds.edit(lambda draft: draft.change_node(NodeId(name), **fields))

    def order(self, name: str, request: Request) -> None:
        self.change(name, request=request)

    def disengage(self, name: str) -> None:
        self.change(name, engagement=Engagement(False, "ann", self.rounds.now, "by hand"))

    def engage(self, name: str) -> None:
        self.change(name, engagement=ENGAGED)

    def add_host(self, name: str, **fields: Any) -> None:
        """Add a host that nobody has asked yet what it has."""
        values = {"hardware": None, "lifecycle": Lifecycle.NEW, "placement": DISCOVERED}
        node = a_host(name, tier=None, **(values | fields))
        self.put_up(node, is_on=True)
        self.rounds.edit(lambda draft: draft.put_node(node))

    def slot(self, tier: str, number: int) -> Any:
        return self.fleet.slot(SlotId(TierId(tier), number))

    def the_tier(self, name: str) -> Tier:
        return self.fleet.tiers[TierId(name)]


def names(actions: Iterable[Action], *kinds: type[Action]) -> list[str]:
    """Return what was done in order, as `ReleaseNode host-1`, of some kinds or all."""
    wanted = [action for action in actions if not kinds or isinstance(action, kinds)]
    return [f"{type(action).__name__} {action.node}" for action in wanted]


def rules_of(actions: Iterable[Action], kind: type[Action]) -> set[str]:
    return {action.rule for action in actions if isinstance(action, kind)}
