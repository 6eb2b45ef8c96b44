"""Whether a simulated data centre shows already what a sentence says: then it need not befall it again."""

from collections.abc import Callable, Mapping

from metier.domain.errors import MetierError
from metier.sim.faults import find_guest, find_machine, read_fault
from metier.sim.machines import BmcFault
from metier.sim.simulation import Simulation

_Shows = Callable[[Simulation, Mapping[str, str]], bool]


def _is_off(simulation: Simulation, words: Mapping[str, str]) -> bool:
    return not find_machine(simulation, words["machine"]).is_on


def _is_unreached(simulation: Simulation, words: Mapping[str, str]) -> bool:
    machine = find_machine(simulation, words["machine"])
    return not (machine.is_on and machine.reachable)


def _is_mute(simulation: Simulation, words: Mapping[str, str]) -> bool:
    machine = find_machine(simulation, words["machine"])
    return not machine.has_mains or machine.bmc.fault is not BmcFault.NONE


def _guest_is_off(simulation: Simulation, words: Mapping[str, str]) -> bool:
    place, vm = find_guest(simulation, words["guest"])
    return not (place.is_on and vm.is_on)


def _guest_is_on(simulation: Simulation, words: Mapping[str, str]) -> bool:
    place, vm = find_guest(simulation, words["guest"])
    return vm.is_on or not place.is_on


def _guest_fails(simulation: Simulation, words: Mapping[str, str]) -> bool:
    place, vm = find_guest(simulation, words["guest"])
    return not (place.is_on and vm.is_on and vm.answers)


_SHOWS: Mapping[str, _Shows] = {
    "MACHINE dies": lambda simulation, words: not find_machine(simulation, words["machine"]).has_mains,
    "MACHINE loses power": _is_off,
    "MACHINE is switched on by hand": lambda simulation, words: not _is_off(simulation, words),
    "network to MACHINE breaks": _is_unreached,
    "BMC of MACHINE is dead": _is_mute,
    "guest GUEST dies": _guest_is_off,
    "guest GUEST hangs": _guest_fails,
    "GUEST is started by hand": _guest_is_on,
}
"""By sentence; of every other nobody can say."""


def is_shown(simulation: Simulation, sentence: str) -> bool:
    """Say whether what a sentence says is so already, or what it is about is not there at all."""
    try:
        fault, words = read_fault(sentence)
        shows = _SHOWS.get(fault.sentence)
        if "guest" in words:
            find_guest(simulation, words["guest"])
        return shows is not None and shows(simulation, words)
    except MetierError:
        return True
