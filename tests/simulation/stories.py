"""Random stories: what befalls a site and what its operators order, as lines of text that a seed decides.

    pass 12                          seconds go by
    host-1 dies                      a fault, as `sim/faults.py` tells it
    order tier edit name=web target=3

A line that is impossible at its moment (no such guest, a refused order) does nothing, so that
every part of a story is a story: that is what makes shortening possible.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from metier.control.observe import TIMEOUT_S
from metier.domain.errors import MetierError, chain
from metier.operations import load_operations
from metier.sim.faults import FAULTS, Fault, befall
from metier.sim.laws import Breach, Laws, at_target
from metier.sim.machines import BmcFault
from metier.sim.simulation import Simulation
from tests.simulation.site import HOSTS, begin, tidy

Story = Sequence[str]

GUEST_NUMBERS = (1, 2, 3)
ARCHIVE = "/archives/app.tgz"
TIERS = ("hosts", "web", "db", "batch")
STORIES = 40
"""How many seeds every run of the tests tells."""

BOUND_S = 4 * 3600.0
"""Within so long after the last fault everything must be well: several of the longest pauses there are."""

STAGED = (
    "VM of 512 MiB is staged on host-1",
    "host-2 is patched to build 200",
    "VM of 768 MiB is staged on host-3",
    "host-1 is patched to build 300",
)
"""What `with_staged` puts between the lines of a story."""

LEFT_OUT = frozenset(
    {"everything heals", "VM of N MiB is staged on MACHINE", "MACHINE is patched to build N"}
)
"""Faults that no story draws: the end of every story has the first, and `with_staged` brings the others."""

NUMBERS = {
    "N foreign VMs run on MACHINE": (0, 1, 2),
    "GUEST is given N MiB by hand": (512, 640, 768),
    "disk of the controller is full N times": (1, 3),
    "observations come up to N s late": (2, 8, 20),
    "image matrix is full after N bytes": (0, 1 << 29, 1 << 31),
}
OTHER_NUMBERS = (3, 20, 200)


@dataclass(slots=True)
class Told:
    """How a story went.

    Attributes:
        trace: Everything that was stored in the journal, and every line of the story, in order.
        breaches: The laws that did not hold.
        trouble: Why it did not end well, or what crashed; empty if it did.
    """

    trace: list[str]
    breaches: list[Breach]
    trouble: str = ""

    @property
    def fault(self) -> str:
        """What is wrong, in one line; empty if nothing is."""
        if self.breaches:
            return f"law {self.breaches[0].law}: {self.breaches[0].sentence}"
        return self.trouble


# --- drawing ------------------------------------------------------------------------------


def draw(seed: int, steps: int) -> list[str]:
    """Return a story that the seed alone decides."""
    chance = random.Random(seed)
    faults = [fault for fault in FAULTS if fault.sentence not in LEFT_OUT]
    lines: list[str] = []
    while len(lines) < steps:
        kind = chance.random()
        if kind < 0.35:
            lines.append(f"pass {_pick(chance, (1, 2, 4, 10, 30, 90, 400))}")
        elif kind < 0.70:
            lines.append(_sentence(chance, _pick(chance, faults)))
        else:
            lines.append(_pick(chance, ORDERS)(chance))
    return lines


def with_staged(story: Story) -> list[str]:
    """Return a story in which people also stage VMs on hosts, and patch these, now and then."""
    lines = list(story)
    step = len(lines) // len(STAGED)
    for number, line in reversed(list(enumerate(STAGED))):
        lines.insert(number * step, line)
    return lines


def _pick(chance: random.Random, choices: Sequence[Any]) -> Any:
    return choices[int(chance.random() * len(choices))]


def _sentence(chance: random.Random, fault: Fault) -> str:
    words = []
    for word in fault.sentence.split():
        match word:
            case "MACHINE" | "OTHER":
                words.append(_pick(chance, HOSTS))
            case "GUEST":
                words.append(_guest(chance))
            case "N":
                words.append(str(_pick(chance, NUMBERS.get(fault.sentence, OTHER_NUMBERS))))
            case _:
                words.append(word)
    return " ".join(words)


def _guest(chance: random.Random) -> str:
    return f"{_pick(chance, HOSTS)}/VM{_pick(chance, GUEST_NUMBERS)}"


def _node(chance: random.Random) -> str:
    return _pick(chance, HOSTS) if chance.random() < 0.3 else _guest(chance)


def _numbers(chance: random.Random) -> str:
    maximum = 1 + int(chance.random() * 4)
    target = int(chance.random() * (maximum + 1))
    minimum = int(chance.random() * (target + 1))
    return f"name={_pick(chance, TIERS)} minimum={minimum} target={target} maximum={maximum}"


def _switch(chance: random.Random) -> str:
    words = ("reboot_on_failure", "move_to_maintenance", "harvesting", "harvest_to_target", "keep_instances")
    return f"name={_pick(chance, TIERS)} {_pick(chance, words)}={_pick(chance, ('yes', 'no'))}"


def _setting(chance: random.Random) -> str:
    words = ("automatic_discovery", "automatic_inventory", "automatic_free", "power_off_idle")
    return f"{_pick(chance, words)}={_pick(chance, ('yes', 'yes', 'no'))}"


ROLLOUT_VERBS = ("pause", "resume", "rollback", "rollback")
ROLLOUT_SETTINGS = ("surge=0", "surge=1", "surge=2", "max_unavailable=1", "max_unavailable=2")


def _orders() -> list[Callable[[random.Random], str]]:
    tier_verbs = ("activate", "activate", "deactivate", "allocate", "deallocate", "resume")
    node_verbs = ("engage", "disengage", "power-on", "power-off", "power-cycle", "shutdown", "inventory")
    node_verbs += ("reserve", "release")
    return [
        lambda chance: f"order tier edit {_numbers(chance)}",
        lambda chance: f"order tier edit {_numbers(chance)}",
        lambda chance: f"order tier edit {_switch(chance)}",
        lambda chance: (
            f"order tier edit name={_pick(chance, TIERS)} spread={_pick(chance, ('spread', 'pack'))}"
        ),
        lambda chance: f"order tier {_pick(chance, tier_verbs)} name={_pick(chance, TIERS)}",
        lambda chance: f"order tier update name=web image=web@{_pick(chance, (1, 2))}",
        lambda chance: f"order tier {_pick(chance, ROLLOUT_VERBS)} name=web",
        lambda chance: f"order tier edit name=web {_pick(chance, ROLLOUT_SETTINGS)}",
        lambda chance: f"order node {_pick(chance, node_verbs)} name={_node(chance)}",
        lambda chance: f"order node {_pick(chance, node_verbs)} name={_node(chance)}",
        lambda chance: f"order node move name={_node(chance)} to={_pick(chance, ('free', 'maintenance'))}",
        lambda chance: f"order node attest-off name={_node(chance)} why=seen",
        lambda chance: f"order pool set {_setting(chance)}",
        lambda chance: f"order image import file={ARCHIVE} name=app version={_pick(chance, (1, 2, 3))}",
        lambda chance: f"order image delete name=app@{_pick(chance, (1, 2, 3))}",
    ]


ORDERS = _orders()


# --- telling ------------------------------------------------------------------------------


def tell(story: Story, seed: int = 0) -> Told:
    """Tell a story to its end: faults, then none, and everything must be well within a bound."""
    load_operations()
    simulation = begin(seed)
    simulation.watchers.append(lambda: end_hopeless_lies(simulation))
    laws = Laws(simulation)
    told = Told([], laws.breaches)
    simulation.round_watchers.append(lambda _before, finished: told.trace.extend(_lines(finished.entries)))
    try:
        for line in story:
            told.trace.append(f"{simulation.now:%H:%M:%S.%f} > {line}")
            happen(simulation, line)
            if laws.breaches:
                return told
        _end(simulation, told)
        laws.look_back()
    except Exception as error:  # whatever breaks, the story that broke it is what a reader needs
        told.trouble = f"{type(error).__name__}: {chain(error)}"
    return told


def happen(simulation: Simulation, line: str) -> None:
    """Let one line happen, if it can."""
    word, _, rest = line.partition(" ")
    try:
        if word == "pass":
            simulation.pass_s(float(rest))
        elif word == "order":
            _order(simulation, rest)
        else:
            befall(simulation, line)
    except MetierError:
        pass  # refused, or about what is not there: as in life


def _order(simulation: Simulation, words: str) -> None:
    noun, verb, *pairs = words.split()
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        arguments[key] = _VALUES[value] if value in _VALUES else int(value) if value.isdigit() else value
    if "version" in arguments:
        arguments["version"] = str(arguments["version"])
    if not simulation.controller.is_alive:
        return  # nobody hears it
    if verb == "attest-off" and not make_sure(simulation, arguments["name"]):
        return
    simulation.order(noun, verb, **arguments)


_VALUES = {"yes": True, "no": False}


def make_sure(simulation: Simulation, name: str) -> bool:
    """Look whether a node is off, as an operator does who gives his word for it."""
    host, _, number = name.partition("/VM")
    machine = simulation.datacentre.machine(host)
    if not number:
        return not machine.is_on
    vm = machine.vms.get(int(number))
    return not machine.is_on or vm is None or not vm.is_on


def end_hopeless_lies(simulation: Simulation) -> None:
    """End what nobody can survive: a BMC that says off of a machine that runs and cannot be reached.

    All evidence there is then says that its guests are down.  This is the one fault that the site
    does not owe survival: as long as the VM manager answers, the lie must be seen through.
    """
    for machine in simulation.datacentre.machines.values():
        is_lying = machine.bmc.fault is BmcFault.SAYS_OFF and machine.is_on
        is_silent = machine.delay_s > TIMEOUT_S or not machine.vmm_answers(simulation.now)
        if is_lying and is_silent:
            machine.bmc.fault = BmcFault.NONE


def _end(simulation: Simulation, told: Told) -> None:
    befall(simulation, "everything heals")
    simulation.skew = type(simulation.skew)()
    for _ in range(3):  # an operator looks in, and again for what was not yet at rest
        tidy(simulation)
        simulation.rest(BOUND_S, is_patient=True)
    told.trace.append(f"{simulation.now:%H:%M:%S.%f} at rest")
    fleet = simulation.fleet
    missed = [tier.name for tier in fleet.tiers.values() if not at_target(fleet, tier)]
    if missed:
        said = [f"{one.subject}: {one.why}" for one in simulation.controller.engine.last.plan.waiting]
        told.trouble = f"law 8: all is well and {', '.join(missed)} not at target; {'; '.join(said)}"


def _lines(entries: Sequence[Any]) -> list[str]:
    return [
        f"{one.at:%H:%M:%S.%f} {one.kind} {one.subject}: {one.message}" + (f" [{one.by}]" if one.by else "")
        for one in entries
    ]
