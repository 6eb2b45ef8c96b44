"""Turns what a controller's journal recorded into a scenario: the same orders, and what nobody ordered.

Of what was seen only that befell the site which neither an order nor a decision explains:
a VM that went off though nobody stopped it, a host that stopped answering.  What several
observations tell of one cause is that one cause, at the time of the first.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

from metier.domain.fleet import Fleet
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node
from metier.sim.scenario import At, Scenario, Step
from metier.sim.typed import typed
from metier.store.api import Entry

SYMPTOMS_S = 60.0
"""Observations so close to each other may tell of one cause: looks at a host are seconds apart."""

STARTUP_S = 3600.0
"""No guest is waited for longer than this until its services answer."""

MOST_LOOKED_AT = 2_000
"""So many entries are looked at for the cause of one: more in a minute no journal has."""

SLACK = timedelta(seconds=60)
"""A replay goes on for so long after the last entry: what was decided then may come a little later."""

_SWITCHES = frozenset(("PowerOn", "PowerOff", "StartGuest", "ShutdownGuest", "StopGuest"))
_STOPS = frozenset(("ShutdownGuest", "StopGuest"))
_STAGES = frozenset(("StageVms", "RemoveVms"))


_BUILD = re.compile(r"\d{1,9}", re.ASCII)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal came to.

    Attributes:
        scenario: Orders, and what nobody ordered.
        documents: Files that its commands name, by name.
        left_out: What could not be made a line of, in sentences.
    """

    scenario: Scenario
    documents: Mapping[str, str]
    left_out: tuple[str, ...]


def replay_of(entries: Sequence[Entry], fleet: Fleet, name: str) -> Replay:
    """Return what the entries tell as a scenario for a site that was exported before the first of them."""
    reading = _Reading(entries, fleet)
    for place, entry in enumerate(entries):
        reading.take(place, entry)
    reading.add(entries[-1].at + SLACK, "end")
    *steps, end = reading.steps
    title = " ".join(f"what {PurePath(name).name} recorded".split())
    return Replay(
        Scenario(name, title, steps=tuple(steps), end=end), reading.documents, tuple(reading.left_out)
    )


@dataclass(slots=True)
class _State:
    """What is known of one node so far.

    Attributes:
        told: The last work that switches it: `PowerOff`, `StartGuest`.
        place: The entry that told it; -1 for none.
        off: The last entry by which it went off, as a host takes its guests with it; -2 for none.
        staged: When its VMs were last made or removed by work.
        is_down: Its VM was last seen off.
        health: As it was last seen.
        broken: What befell it and was not ended yet, by the word for it.
    """

    told: str = ""
    place: int = -1
    off: int = -2
    staged: datetime = _LONG_AGO
    is_down: bool = False
    health: str = ""
    broken: set[str] = field(default_factory=set)


class _Reading:
    """One reading of one journal."""

    def __init__(self, entries: Sequence[Entry], fleet: Fleet) -> None:
        self._entries = entries
        self._machines = {str(node.name) for node in fleet.nodes.values() if not node.is_virtual}
        self._states = {str(node.name): _before(fleet, node) for node in fleet.nodes.values()}
        self._last = _LONG_AGO
        self.steps: list[Step] = []
        self.documents: dict[str, str] = {}
        self.left_out: list[str] = []

    def take(self, place: int, entry: Entry) -> None:
        """Read one entry."""
        match entry.kind:
            case "operation":
                self._order(entry)
            case "action":
                self._act(place, entry)
            case "observation" if entry.subject in self._machines:
                self._machine(place, entry)
            case "observation" if entry.subject.partition("/")[0] in self._machines:
                self._guest(place, entry)

    def _order(self, entry: Entry) -> None:
        key, arguments = entry.data.get("operation"), entry.data.get("arguments")
        if not isinstance(key, str) or not isinstance(arguments, Mapping):
            self.left_out.append(
                f"order {entry.id} at {entry.at:%H:%M:%S}: the journal does not tell its arguments"
            )
            return
        file = f"document-{entry.id}.json"
        found = typed(key, arguments, file)
        if not found.command:
            self.left_out.append(f"order {entry.id} at {entry.at:%H:%M:%S}: {found.why}")
            return
        if found.document:
            self.documents[file] = found.document
        if key == "node add":
            self._machines.add(str(arguments.get("name")))
        self._add(entry, found.command)

    def _act(self, place: int, entry: Entry) -> None:
        state, word = self._state(entry.subject), entry.data.get("action")
        if not isinstance(word, str):
            return
        if word in _SWITCHES:
            state.told, state.place = word, place
        if word in _STAGES:
            state.staged = entry.at
        if word == "StartGuest":
            state.health = ""

    # --- what was seen of machines ----------------------------------------------

    def _machine(self, place: int, entry: Entry) -> None:
        state, name, data = self._state(entry.subject), entry.subject, entry.data
        if data.get("vmm_reachable") is False:
            self._does_not_answer(place, entry, state)
        elif data.get("vmm_reachable") is True:
            self._end(entry, state, "network", f"network to {name} is mended")
        power = data.get("power")
        if power == "off" or "dead" in state.broken:
            state.off = place
        if power == "off" and state.told != "PowerOff" and not state.broken & {"dead", "off"}:
            self._begin(entry, state, "off", f"{name} loses power")
        elif power == "unknown" and not state.broken & {"dead", "bmc"} and self._stays_unknown(place, name):
            if False in self._soon(place, name, "vmm_reachable", name):
                self._begin(entry, state, "dead", f"{name} dies")
            else:
                self._begin(entry, state, "bmc", f"BMC of {name} is dead")
        elif power in ("on", "off"):
            self._end(entry, state, "bmc", f"BMC of {name} is well")
            self._end(entry, state, "dead", f"{name} is repaired")
        if power == "on":
            if state.told != "PowerOn":
                self._add(entry, f"{name} is switched on by hand")
            state.broken.discard("off")
        level = data.get("patch_level")
        if isinstance(level, str) and _BUILD.fullmatch(level):
            self._add(entry, f"{name} is patched to build {level}")
        foreign = data.get("foreign_running")
        if type(foreign) is int and 0 <= foreign < 10_000:
            self._add(entry, f"{foreign} foreign VMs run on {name}")
        self._vms(entry, name)

    def _stays_unknown(self, place: int, name: str) -> bool:
        """Say whether a power controller is silent for long; after each order it is unknown for a moment."""
        powers = [
            entry.data.get("power") for entry in self._ahead(place, SYMPTOMS_S) if entry.subject == name
        ]
        return not {"on", "off"} & {power for power in powers if isinstance(power, str)}

    def _does_not_answer(self, place: int, entry: Entry, state: _State) -> None:
        """Find out why a machine does not answer: what is seen first may be that its VM manager is gone."""
        if state.told == "PowerOff" or state.broken & {"dead", "off", "network"}:
            return
        powers = self._soon(place, entry.subject, "power", entry.subject)
        if powers[-1:] == ["unknown"]:
            self._begin(entry, state, "dead", f"{entry.subject} dies")
        elif "off" in powers:
            self._begin(entry, state, "off", f"{entry.subject} loses power")
        else:
            self._begin(entry, state, "network", f"network to {entry.subject} breaks")

    def _vms(self, entry: Entry, host: str) -> None:
        vms = entry.data.get("vms")
        for number, power in vms.items() if isinstance(vms, Mapping) else ():
            name = f"{host}/VM{number}"
            state = self._state(name)
            state.is_down = power == "off"
            is_told = state.told in _STOPS or self._state(host).off > state.place
            if power == "off" and not is_told:
                self._add(entry, f"guest {name} dies")
            elif power == "on" and state.told != "StartGuest":
                self._add(entry, f"{name} is started by hand")
        gone = entry.data.get("gone")
        for number in gone if isinstance(gone, list) else ():
            if (entry.at - self._state(host).staged).total_seconds() > SYMPTOMS_S:
                self._add(entry, f"{host}/VM{number} is deleted by hand")

    # --- what was seen of guests --------------------------------------------------

    def _guest(self, place: int, entry: Entry) -> None:
        state, health = self._state(entry.subject), entry.data.get("health")
        host, _, number = entry.subject.partition("/VM")
        is_held = state.is_down or state.told in _STOPS or "hung" in state.broken
        if health == "critical" and not is_held:
            is_sudden = state.health == "normal" or self._never_comes(place, entry.subject)
            if is_sudden and not self._is_of_its_host(place, host, number):
                self._begin(entry, state, "hung", f"guest {entry.subject} hangs")
        elif health == "normal":
            self._end(entry, state, "hung", f"guest {entry.subject} recovers")
        state.health = str(health) if health is not None else state.health

    def _is_of_its_host(self, place: int, host: str, number: str) -> bool:
        """Say whether a guest's services fail because it, or its host, goes off or is not reached."""
        state = self._state(host)
        if state.broken & {"dead", "off", "network"} or state.told == "PowerOff":
            return True
        name = f"{host}/VM{number}"
        offs = [vms for vms in self._soon(place, host, "vms", name) if isinstance(vms, Mapping)]
        is_off = any(vms.get(number) == "off" for vms in offs)
        is_host_gone = False in self._soon(place, host, "vmm_reachable", host)
        return is_off or is_host_gone or "off" in self._soon(place, host, "power", host)

    def _never_comes(self, place: int, subject: str) -> bool:
        """Say whether a guest that starts is given up before its services answered."""
        for entry in self._ahead(place, STARTUP_S):
            if entry.subject == subject and entry.data.get("health") == "normal":
                return False
            if entry.subject == subject and entry.data.get("action") == "FailNode":
                return True
        return False

    def _ahead(self, place: int, seconds: float) -> Iterator[Entry]:
        """Yield the entries of so many seconds, from one on."""
        until = self._entries[place].at + timedelta(seconds=seconds)
        for entry in self._entries[place : place + MOST_LOOKED_AT]:
            if entry.at > until:
                return
            yield entry

    def _soon(self, place: int, subject: str, key: str, stopped: str) -> list[Any]:
        """Return what is told of a node's `key` from an entry on, while it may be of the same cause.

        What comes after an order to stop the node `stopped` is of that.
        """
        found = []
        for entry in self._ahead(place, SYMPTOMS_S):
            if entry.subject == stopped and entry.data.get("action") in (*_STOPS, "PowerOff"):
                break
            if entry.kind == "observation" and entry.subject == subject and key in entry.data:
                found.append(entry.data[key])
        return found

    # --- lines ----------------------------------------------------------------------

    def _state(self, name: str) -> _State:
        return self._states.setdefault(name, _State())

    def _begin(self, entry: Entry, state: _State, word: str, sentence: str) -> None:
        state.broken.add(word)
        self._add(entry, sentence)

    def _end(self, entry: Entry, state: _State, word: str, sentence: str) -> None:
        if word in state.broken:
            state.broken.remove(word)
            self._add(entry, sentence)

    def _add(self, entry: Entry, text: str) -> None:
        self.add(entry.at, text)

    def add(self, at: datetime, text: str) -> None:
        """Write a line; its date only where it is another than that of the line before."""
        moment = max(at.astimezone(UTC), self._last)
        is_same_day = bool(self.steps) and moment.date() == self._last.date()
        self.steps.append(Step(At(moment.time(), on=None if is_same_day else moment.date()), text))
        self._last = moment


def _before(fleet: Fleet, node: Node) -> _State:
    """Return what was known of a node when the site was exported."""
    told = {Lifecycle.STOPPING: "PowerOff", Lifecycle.BOOTING: "PowerOn"}.get(node.lifecycle, "")
    if node.is_virtual and told:
        told = "ShutdownGuest" if told == "PowerOff" else "StartGuest"
    health = fleet.seen(node.name).health
    return _State(told, health=str(health.value))
