"""What a scenario speaks of, judged before anything runs: sentences, commands, and the names in them.

Machines and tiers are there at the start or made by a command of the scenario.  Guests come
and go; of them only what can never be is refused.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from metier.domain.errors import MetierError
from metier.domain.fleet import Fleet
from metier.operations.registry import Form, Operation
from metier.sim.faults import read_fault
from metier.sim.scenario import Scenario, Step, Trouble

_NUMBER = re.compile(r"\d{1,6}", re.ASCII)
_VIRTUAL = re.compile(r"(?P<host>[^/]+)/VM\d+", re.IGNORECASE | re.ASCII)
_SLOTS_BY = frozenset(("tier create", "tier personalize", "apply"))
"""Operations that may give slots host names which no tier of the site has."""


class Vocabulary:
    """The names that there can be, line after line.

    Attributes:
        troubles: What was found so far.
    """

    def __init__(self, scenario: Scenario, fleet: Fleet) -> None:
        self._scenario, self._fleet = scenario, fleet
        self._nodes = {str(name) for name in fleet.nodes}
        self._machines = {str(node.name) for node in fleet.nodes.values() if not node.is_virtual}
        self._tiers = {str(name) for name in fleet.tiers}
        self._has_new_slots = False
        self.troubles: list[Trouble] = []

    def judge_fault(self, step: Step) -> None:
        """Take note of what is wrong with a sentence."""
        try:
            _, words = read_fault(step.text)
        except MetierError as error:
            self._trouble(step, str(error), error.remedy)
            return
        for key, name in words.items():
            if key in ("machine", "other") and name not in self._machines:
                self._trouble(
                    step, f"there is no machine {name}", self._naming("physical node", self._machines)
                )
            if key == "guest" and not self._can_be_guest(name):
                self._trouble(
                    step, f"there can be no guest {name}", "name it as host-1/VM2 or by its slot's host name"
                )

    def judge_order(self, step: Step, operation: Operation, values: Mapping[str, Any]) -> None:
        """Take note of names that an operation cannot find, and of those that it makes."""
        names = _names(operation, values)
        self._has_new_slots |= operation.key in _SLOTS_BY or values.get("maximum") is not None
        known = {"node": self._nodes, "tier": self._tiers}.get(operation.noun)
        if operation.key == "apply":
            # What a site file makes is its own affair: from here on any name may be right.
            self._nodes, self._tiers, self._machines = _Anything(), _Anything(), _Anything()
        if known is None:
            return
        if operation.form is Form.CREATE:
            known.update(names)
            self._machines.update(names if operation.noun == "node" else ())
            return
        for name in names:
            if name not in known and not (operation.noun == "node" and self._can_be_guest(name)):
                self._trouble(
                    step, f"there is no {operation.noun} {name}", self._naming(operation.noun, known)
                )

    def judge_command(self, step: Step, fault: str) -> None:
        """Take note of a command that is not understood."""
        self._trouble(step, f"`{step.command}`: {fault}", "see `metier --help`")

    def _can_be_guest(self, name: str) -> bool:
        match = _VIRTUAL.fullmatch(name)
        if match is not None:
            return match["host"] in self._machines
        return self._has_new_slots or any(name == hostname for hostname in self._hostnames(name))

    def _hostnames(self, like: str) -> Iterator[str]:
        """Yield the host names of the slots that a name may mean by a number in it, and of odd ones."""
        numbers = {int(number) for number in _NUMBER.findall(like)}
        for tier in self._fleet.tiers.values():
            yield from (tier.hostname(number) for number in sorted(numbers) if number <= tier.maximum)
            yield from (slot.hostname for slot in tier.slots if slot.hostname)

    def _naming(self, noun: str, known: set[str]) -> str:
        some = ", ".join(sorted(known)[:5])
        more = ", …" if len(known) > 5 else ""
        return f"name a {noun} of the site: {some}{more}" if some else f"the site has no {noun}"

    def _trouble(self, step: Step, why: str, remedy: str) -> None:
        self.troubles.append(self._scenario.trouble(step.line, why, remedy))


def _names(operation: Operation, values: Mapping[str, Any]) -> list[str]:
    """Return the things that an operation is about, by its first argument."""
    named = next((part.name for part in operation.arguments if part.positional), "")
    value = values.get(named)
    return [str(one) for one in value] if isinstance(value, tuple) else [str(value)] if value else []


class _Anything(set[str]):
    """A set that has every name."""

    def __contains__(self, _: object) -> bool:
        return True
