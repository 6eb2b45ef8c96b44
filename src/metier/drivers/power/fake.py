"""A power controller in memory; it switches the hosts of whatever fake data centre it is given."""

# ruff: noqa: ARG002 - nothing here takes time, so no deadline is looked at

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from metier.domain.errors import DriverError, OutcomeUnknown, Unavailable
from metier.domain.observation import Power
from metier.drivers.power.api import Capability
from metier.drivers.settings import parse_settings, setting


class Switches(Protocol):
    """What a fake data centre lets a power controller do."""

    def switch(self, node: str, on: bool) -> None:
        """Give a node power or cut it."""

    def is_on(self, node: str) -> bool:
        """Whether a node has power."""


class Panel:
    """Switches with nothing behind them; everything is off at first."""

    def __init__(self) -> None:
        self._on: set[str] = set()
        self._lock = threading.Lock()

    def switch(self, node: str, on: bool) -> None:
        """Give a node power or cut it."""
        with self._lock:
            if on:
                self._on.add(node)
            else:
                self._on.discard(node)

    def is_on(self, node: str) -> bool:
        """Whether a node has power."""
        return node in self._on


_sites: dict[str, Switches] = {}


def wire(name: str, switches: Switches) -> None:
    """Let the controllers opened with `site=name` in this process switch these."""
    _sites[name] = switches


@dataclass(frozen=True, slots=True)
class Settings:
    """Which fake data centre a node stands in."""

    site: str = setting("Name of the data centre in memory that the node stands in.", default="fake")


class FakePower:
    """The power controller of one node of a fake site.

    Attributes:
        faults: Errors that the next calls raise, first to last; nothing is done by those calls.
        is_mute: It answers neither on nor off.
    """

    CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset()
    SETTINGS: ClassVar[type[Settings]] = Settings

    def __init__(self, switches: Switches, node: str) -> None:
        self._switches = switches
        self._node = node
        self.faults: list[type[DriverError]] = []
        self.is_mute = False

    @classmethod
    def open(cls, node: str, settings: Mapping[str, str]) -> "FakePower":
        """Return the controller of one node of the site that the settings name."""
        name = parse_settings(Settings, "fake", settings).site
        return cls(_sites.setdefault(name, Panel()), node)

    @classmethod
    def check_settings(cls, settings: Mapping[str, str]) -> None:
        """Raise WrongUsage if a setting is unknown."""
        parse_settings(Settings, "fake", settings)

    def on(self, *, timeout_s: float) -> None:
        self._meet_fault("switch on")
        self._switches.switch(self._node, True)

    def off(self, *, timeout_s: float) -> None:
        self._meet_fault("switch off")
        self._switches.switch(self._node, False)

    def status(self, *, timeout_s: float) -> Power:
        self._meet_fault("ask for the power of")
        if self.is_mute:
            return Power.UNKNOWN
        return Power.ON if self._switches.is_on(self._node) else Power.OFF

    def _meet_fault(self, verb: str) -> None:
        if self.faults:
            kind = self.faults.pop(0)
            # Asking changes nothing, so its outcome is never unknown.
            kind = Unavailable if kind is OutcomeUnknown and verb.startswith("ask") else kind
            raise kind(f"cannot {verb} {self._node}: a planted fault")
