"""The power controller (BMC) of a simulated machine: keeps the protocol that every power driver keeps."""

# ruff: noqa: ARG002 - a call takes as long as whoever makes it lets it take; no deadline is looked at here

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from metier.domain.errors import Refused, Unavailable
from metier.domain.observation import Power
from metier.drivers.power.api import Capability
from metier.sim.datacentre import DataCentre
from metier.sim.machines import BmcFault, Machine

_LIES = {BmcFault.MUTE: Power.UNKNOWN, BmcFault.SAYS_ON: Power.ON, BmcFault.SAYS_OFF: Power.OFF}


class SimPower:
    """The switch of one machine of a simulated data centre."""

    CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset()

    def __init__(self, datacentre: DataCentre, node: str) -> None:
        self._datacentre = datacentre
        self._node = node

    def on(self, *, timeout_s: float) -> None:
        self._switch(on=True)

    def off(self, *, timeout_s: float) -> None:
        self._switch(on=False)

    def status(self, *, timeout_s: float) -> Power:
        with self._call("status", "ask for the power of") as machine:
            return _LIES.get(machine.bmc.fault, Power.ON if machine.is_on else Power.OFF)

    def _switch(self, *, on: bool) -> None:
        verb = "on" if on else "off"
        with self._call(verb, f"switch {verb}") as machine:
            if machine.bmc.fault is BmcFault.REFUSES:
                raise Refused(f"cannot switch {verb} {self._node}: its power controller refuses")
            if machine.bmc.fault is not BmcFault.IGNORES:
                self._datacentre.switch(self._node, on=on)

    @contextmanager
    def _call(self, verb: str, what: str) -> Iterator[Machine]:
        with self._datacentre.lock:
            machine = self._datacentre.machine(self._node)
            machine.bmc.calls += 1
            is_silent = machine.bmc.fault is BmcFault.DEAD or not machine.has_mains
            flaps = machine.bmc.fault is BmcFault.FLAPS and machine.bmc.calls % 2
            if is_silent or flaps or not machine.has_bmc:
                raise Unavailable(f"cannot {what} {self._node}: its power controller does not answer")
            with machine.meet_fault(verb, f"{what} {self._node}"):
                yield machine
