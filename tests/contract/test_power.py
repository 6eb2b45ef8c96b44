"""The power contract over a simulated BMC and over an operator's commands."""

import shlex
import sys
from pathlib import Path

import pytest

from metier.drivers.power.api import PowerController
from metier.drivers.power.command import CommandPower
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.machines import BmcFault
from metier.sim.power import SimPower
from tests.builders import NOW
from tests.contract.power_suite import PowerSuite, PowerTestbed

NODE = "host-1"


class SimTestbed:
    """The only machine of a data centre."""

    def __init__(self) -> None:
        self._datacentre = DataCentre(VirtualClock(NOW))
        self._machine = self._datacentre.add(NODE)

    def open(self) -> PowerController:
        return SimPower(self._datacentre, NODE)

    def turn(self, *, on: bool) -> None:
        self._datacentre.switch(NODE, on=on)

    def is_on(self) -> bool:
        return self._machine.is_on

    def silence(self) -> None:
        self._machine.bmc.fault = BmcFault.MUTE

    def cut_off(self) -> None:
        self._machine.bmc.fault = BmcFault.DEAD


# The node is a file; the operator's program switches it, and knows two ways to fail.
PROGRAM = """
import pathlib, sys
folder, verb = pathlib.Path(sys.argv[1]), sys.argv[2]
if (folder / "cut-off").exists():
    sys.exit("no route to the controller")
match verb:
    case "on": (folder / "power").touch()
    case "off": (folder / "power").unlink(missing_ok=True)
    case _:
        mute = (folder / "mute").exists()
        print("Busy, try later" if mute else "ON (chassis)" if (folder / "power").exists() else "off")
"""


class CommandTestbed:
    """Three commands of one small program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "program").write_text(PROGRAM)

    def open(self) -> PowerController:
        words = [sys.executable, "-I", str(self._folder / "program"), str(self._folder)]
        settings = {verb: shlex.join([*words, verb]) for verb in ("on", "off", "status")}
        return CommandPower.open(NODE, settings)

    def turn(self, *, on: bool) -> None:
        if on:
            (self._folder / "power").touch()
        else:
            (self._folder / "power").unlink(missing_ok=True)

    def is_on(self) -> bool:
        return (self._folder / "power").exists()

    def silence(self) -> None:
        (self._folder / "mute").touch()

    def cut_off(self) -> None:
        (self._folder / "cut-off").touch()


class TestSimPower(PowerSuite):
    @pytest.fixture
    def testbed(self) -> PowerTestbed:
        return SimTestbed()


class TestCommandPower(PowerSuite):
    @pytest.fixture
    def testbed(self, tmp_path: Path) -> PowerTestbed:
        return CommandTestbed(tmp_path)
