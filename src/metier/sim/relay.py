"""The way from an API to whichever controller of a simulation holds the store at the moment."""

from datetime import datetime
from typing import Any

from metier.domain.forecast import Forecast
from metier.operations.registry import Caller, Operation, Outcome, View
from metier.sim.simulation import Simulation


class Relay:
    """Keeps `operations.registry.Controller` for a simulation, which may get a new controller at any time.

    Attributes:
        simulation: May be exchanged: building an API takes longer than most simulations.
    """

    simulation: Simulation

    def now(self) -> datetime:
        """Return the simulation's moment."""
        return self.simulation.now

    def is_up(self) -> bool:
        """Say whether there is a controller that answers."""
        return self.simulation.controller.is_alive

    def pass_s(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.simulation.pass_s(seconds)

    def view(self) -> View:
        """Return the last finished round."""
        return self.simulation.controller.view()

    def change(self, operation: Operation, arguments: Any, caller: Caller) -> Outcome:
        """Carry out a change."""
        return self.simulation.controller.change(operation, arguments, caller)

    def preview(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Outcome, Forecast]:
        """Return what a change would answer, and what would follow."""
        return self.simulation.controller.preview(operation, arguments, caller)

    def wait_for_change(self, generation: int, timeout_s: float) -> int:
        """Return at once: whoever waits lets time pass himself."""
        return self.simulation.controller.wait_for_change(generation, timeout_s)
