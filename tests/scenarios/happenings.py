"""What can happen in a story besides commands: `> WORDS`, each kind one pattern and one function."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, TierId
from metier.domain.node import Node
from metier.domain.observation import Health
from metier.domain.status import health, status
from metier.sim.world import SimHost, SimVm, World
from tests.scenarios.console import Console
from tests.scenarios.controller import VirtualController
from tests.scenarios.records import MemoryStore

HOST_HARDWARE = Hardware(memory_mib=8192, cpus=4, disk_gib=100, image_forms=frozenset({"vmm-host"}))
QUIET_S = 30
"""So long without an action is quiet: longer than any pause of the loop between two looks."""

LONGEST_S = 3600
UNITS_S = {"second": 1, "minute": 60, "hour": 3600}

IMPORT = "metier image import --file web.tgz --name {name} --version {version} --minimum-memory-mib 256"
CHECKED = " --collector tcp:80 --startup-seconds 60"


class Impossible(Exception):
    """A story asks for what is not there, or waits in vain."""


class Theatre:
    """Everything that one story plays with."""

    def __init__(self, now: Any) -> None:
        self.world = World(host_boot_s=20, guest_boot_s=8)
        self.controller = VirtualController(MemoryStore(), self.world, now)
        self.console = Console(self.controller)

    @property
    def fleet(self) -> Fleet:
        """What the controller knows."""
        return self.controller.fleet

    def node(self, name: str) -> Node:
        """Return a node by its own name, or by the host name of its slot."""
        for node in self.fleet.nodes.values():
            if name in (node.name, self._hostname(node)):
                return node
        raise Impossible(f"there is no node {name}")

    def _hostname(self, node: Node) -> str | None:
        slot = node.placement.slot
        return None if node.tier is None or slot is None else self.fleet.tiers[node.tier].hostname(slot)

    def host(self, name: str) -> SimHost:
        """Return a machine of the world."""
        return self.world.hosts[NodeId(name)]

    def vm(self, name: str) -> SimVm:
        """Return the VM of a virtual node."""
        vm = self.world.vm(self.node(name))
        if vm is None:
            raise Impossible(f"{name} has no VM")
        return vm

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Let time pass until something is so."""
        for _ in range(LONGEST_S):
            if is_so():
                return
            self.controller.tick()
        raise Impossible(f"waited an hour in vain until {what}")

    def command(self, line: str) -> None:
        """Type a command that must succeed."""
        said = self.console.type(line)
        if said.status:
            raise Impossible(f"{line}: {said.text}")


class Happening(NamedTuple):
    """One kind of line, and what it does with the words in its pattern's groups."""

    pattern: re.Pattern[str]
    do: Callable[..., None]


HAPPENINGS: list[Happening] = []

Do = Callable[..., None]


def happens(pattern: str) -> Callable[[Do], Do]:
    """Register what `> PATTERN` does."""

    def register(do: Do) -> Do:
        HAPPENINGS.append(Happening(re.compile(pattern), do))
        return do

    return register


def happen(theatre: Theatre, words: str) -> None:
    """Let a line of a story happen."""
    for happening in HAPPENINGS:
        match = happening.pattern.fullmatch(words)
        if match is not None:
            happening.do(theatre, *match.groups())
            return
    raise Impossible(f"nothing is known to happen that is called {words!r}")


# --- how it begins ------------------------------------------------------------------


@happens(r"(\d+) hosts?")
def _hosts(theatre: Theatre, count: str) -> None:
    """Put hosts into the data centre, and add them as nodes: each inventoried, free and off."""
    for number in range(1, int(count) + 1):
        theatre.world.add(f"host-{number}", HOST_HARDWARE, is_on=True)
        theatre.command(
            f"metier node add host-{number} --vmm fake --power fake --address 192.0.2.{number} --wait"
        )
    _until_quiet(theatre)


@happens(r"guest image (\w+)@(\d+)")
def _guest_image(theatre: Theatre, name: str, version: str) -> None:
    theatre.command(IMPORT.format(name=name, version=version) + CHECKED + " --wait")


@happens(r"host tier (\w+) of (\d+) with (\d+) VMs? each")
def _host_tier(theatre: Theatre, name: str, count: str, vms: str) -> None:
    """Create a host tier and let it run; its image is called as it is."""
    theatre.command(f"metier image create {name} --version 1 --vms {vms} --vm-memory 512")
    theatre.command(f"metier tier create {name} --image {name}@1 --minimum 0 --target {count}")
    theatre.command(f"metier tier activate {name} --wait")
    _until_quiet(theatre)


@happens(r"guest tier (\w+) of (\d+)")
def _guest_tier(theatre: Theatre, name: str, count: str) -> None:
    """Create a guest tier on web@1 and let it run."""
    theatre.command(f"metier tier create {name} --image web@1 --target {count}")
    theatre.command(f"metier tier activate {name} --wait")
    _until_quiet(theatre)


@happens(r"quietly: (metier .*)")
def _quietly(theatre: Theatre, line: str) -> None:
    theatre.command(line)


# --- faults and other people ----------------------------------------------------------


@happens(r"(host-\d+) loses power")
def _power_lost(theatre: Theatre, name: str) -> None:
    theatre.host(name).lose_power()


@happens(r"the network to (host-\d+) breaks")
def _network_breaks(theatre: Theatre, name: str) -> None:
    theatre.host(name).reachable = False


@happens(r"the power controller of (host-\d+) (falls silent|answers again)")
def _switch(theatre: Theatre, name: str, how: str) -> None:
    theatre.host(name).switchable = how == "answers again"


@happens(r"the network to (host-\d+) is mended")
def _network_mended(theatre: Theatre, name: str) -> None:
    theatre.host(name).reachable = True


@happens(r"guest (\S+) (?:dies|is shut down by its own OS)")
def _guest_dies(theatre: Theatre, name: str) -> None:
    theatre.vm(name).is_on = False


@happens(r"guest (\S+) stops answering")
def _guest_mute(theatre: Theatre, name: str) -> None:
    theatre.vm(name).answers = False


@happens(r"guest (\S+) answers again")
def _guest_well(theatre: Theatre, name: str) -> None:
    theatre.vm(name).answers = True


@happens(r"somebody starts (\S+) by hand")
def _started_by_hand(theatre: Theatre, name: str) -> None:
    vm = theatre.vm(name)
    vm.is_on, vm.by_hand = True, vm.slot is None
    vm.ready_at = theatre.controller.clock.now() + timedelta(seconds=theatre.world.guest_boot_s)


@happens(r"somebody gives (\S+) (\d+) MiB")
def _reconfigured(theatre: Theatre, name: str, memory_mib: str) -> None:
    vm = theatre.vm(name)
    vm.hardware = replace(vm.hardware, memory_mib=int(memory_mib))


# --- time -------------------------------------------------------------------------------


@happens(r"(\d+) (second|minute|hour)s? pass(?:es)?")
def _time_passes(theatre: Theatre, count: str, unit: str) -> None:
    for _ in range(int(count) * UNITS_S[unit]):
        theatre.controller.tick()


@happens(r"until all is quiet")
def _until_quiet(theatre: Theatre) -> None:
    quiet_s = 0
    for _ in range(LONGEST_S):
        if quiet_s == QUIET_S:
            return
        before = theatre.controller.rounds
        theatre.controller.tick()
        is_still = theatre.controller.rounds == before or not theatre.controller.last.plan.actions
        quiet_s = quiet_s + 1 if is_still and not theatre.controller.in_flight else 0
    raise Impossible("an hour went by and it was never quiet")


@happens(r"until tier (\S+) has (\d+) normal nodes?")
def _until_normal(theatre: Theatre, name: str, count: str) -> None:
    def is_normal() -> bool:
        members = theatre.fleet.member_nodes(TierId(name))
        states = [health(theatre.fleet, node) for node in members]
        return len(states) == int(count) and all(state is Health.NORMAL for state in states)

    theatre.until(is_normal, f"tier {name} has {count} normal nodes")


@happens(r"until (\S+) is ([a-z ]+)")
def _until_status(theatre: Theatre, name: str, word: str) -> None:
    def is_so() -> bool:
        node = theatre.fleet.nodes.get(NodeId(name))
        return node is not None and word in (status(theatre.fleet, node), node.placement.place)

    theatre.until(is_so, f"{name} is {word}")
