"""What can happen in a story besides commands: `> WORDS`, each kind one pattern and one function."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from metier.domain.errors import Bug
from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, TierId
from metier.domain.node import Node
from metier.domain.observation import Health
from metier.domain.status import health, status
from metier.drivers.hypervisor.api import Ended
from metier.sim.controller import Pace
from metier.sim.faults import befall
from metier.sim.machines import BmcFault, Machine, Vm
from metier.sim.simulation import Simulation
from tests.scenarios.console import console_of

HOST_HARDWARE = Hardware(
    memory_mib=8192,
    cpus=4,
    disk_gib=100,
    networks=frozenset({"default"}),
    image_forms=frozenset({"vmm-host"}),
)
HOST_BOOT_S = 20.0
RETIRE_S = 3.0
"""Taking an instance off a VM is slow here, so that stories can come in between."""

LONGEST_S = 3600
UNITS_S = {"second": 1, "minute": 60, "hour": 3600}

IMPORT = "metier image import --file web.tgz --name {name} --version {version} --minimum-memory-mib 256"
CHECKED = " --collector tcp:80 --startup-seconds 60"


class Impossible(Exception):
    """A story asks for what is not there, or waits in vain."""


class Theatre:
    """Everything that one story plays with."""

    def __init__(self, now: datetime) -> None:
        pace = Pace()
        pace.call_s["RetireGuest"] = RETIRE_S
        self.simulation = Simulation(Fleet(), now, pace=pace)
        self.datacentre = self.simulation.datacentre
        self.console = console_of(self.simulation)

    @property
    def fleet(self) -> Fleet:
        """What the controller knows."""
        return self.simulation.fleet

    def node(self, name: str) -> Node:
        """Return a node by its own name, or by the host name of its slot."""
        for node in self.fleet.nodes.values():
            if name in (node.name, self._hostname(node)):
                return node
        raise Impossible(f"there is no node {name}")

    def _hostname(self, node: Node) -> str | None:
        slot = node.placement.slot
        return None if node.tier is None or slot is None else self.fleet.tiers[node.tier].hostname(slot)

    def host(self, name: str) -> Machine:
        """Return a machine of the data centre."""
        return self.datacentre.machine(name)

    def vm(self, name: str) -> tuple[Machine, Vm]:
        """Return the VM of a virtual node, and its machine."""
        node = self.node(name)
        machine = self.host(node.host or "")
        vm = machine.vms.get(node.vm_number or 0)
        if vm is None:
            raise Impossible(f"{name} has no VM")
        return machine, vm

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Let time pass until something is so."""
        for _ in range(LONGEST_S):
            if is_so():
                return
            self.simulation.pass_s(1)
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
        theatre.datacentre.add(f"host-{number}", HOST_HARDWARE, is_on=True, boot_s=HOST_BOOT_S)
        theatre.command(
            f"metier node add host-{number} --vmm simulated --power simulated"
            f" --address 192.0.2.{number} --wait"
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
    theatre.datacentre.switch(name, on=False)


@happens(r"the network to (host-\d+) breaks")
def _network_breaks(theatre: Theatre, name: str) -> None:
    _set_network(theatre, name, works=False)


@happens(r"the power controller of (host-\d+) (falls silent|answers again)")
def _switch(theatre: Theatre, name: str, how: str) -> None:
    machine = theatre.host(name)
    machine.bmc.fault = BmcFault.NONE if how == "answers again" else BmcFault.DEAD
    theatre.datacentre.changed(machine)


@happens(r"the network to (host-\d+) is mended")
def _network_mended(theatre: Theatre, name: str) -> None:
    _set_network(theatre, name, works=True)


@happens(r"guest (\S+) (dies|is shut down by its own OS)")
def _guest_dies(theatre: Theatre, name: str, how: str) -> None:
    theatre.datacentre.stop_vm(*theatre.vm(name), Ended.CUT if how == "dies" else Ended.BY_GUEST)


@happens(r"guest (\S+) (stops answering|answers again)")
def _guest_mute(theatre: Theatre, name: str, how: str) -> None:
    machine, vm = theatre.vm(name)
    vm.answers = how == "answers again"
    theatre.datacentre.changed(machine)


@happens(r"somebody starts (\S+) by hand")
def _started_by_hand(theatre: Theatre, name: str) -> None:
    machine, vm = theatre.vm(name)
    theatre.datacentre.start_vm(machine, vm, by_hand=vm.slot is None)


@happens(r"somebody gives (\S+) (\d+) MiB")
def _reconfigured(theatre: Theatre, name: str, memory_mib: str) -> None:
    machine, vm = theatre.vm(name)
    vm.set_memory(int(memory_mib))
    theatre.datacentre.changed(machine)


@happens(r"(host-\d+ is patched to build \d+|VM of \d+ MiB is staged on host-\d+)")
def _told(theatre: Theatre, sentence: str) -> None:
    befall(theatre.simulation, sentence)


@happens(r"(host-\d+) moves aside the configuration of VMs that Metier shut down")
def _moves_aside(theatre: Theatre, name: str) -> None:
    theatre.host(name).puts_aside = True


def _set_network(theatre: Theatre, name: str, *, works: bool) -> None:
    machine = theatre.host(name)
    machine.reachable = works
    theatre.datacentre.changed(machine)


# --- time -------------------------------------------------------------------------------


@happens(r"(\d+) (second|minute|hour)s? pass(?:es)?")
def _time_passes(theatre: Theatre, count: str, unit: str) -> None:
    theatre.simulation.pass_s(int(count) * UNITS_S[unit])


@happens(r"until all is quiet")
def _until_quiet(theatre: Theatre) -> None:
    try:
        theatre.simulation.rest(LONGEST_S)
    except Bug as error:
        raise Impossible(str(error)) from error


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
