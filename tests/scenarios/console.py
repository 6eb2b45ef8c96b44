"""An operator's console for the controller of a story."""

from functools import cache

from fastapi import FastAPI

from metier.cli.inprocess import Console, Line
from metier.operations import load_operations
from metier.operations.registry import OPERATIONS
from metier.sim.relay import Relay
from metier.sim.simulation import Simulation
from metier.web.app import Parts, build_app


def console_of(simulation: Simulation) -> Console:
    """Return the console at which Ann sits; there is one story at a time."""
    relay, app = _the_api()
    relay.simulation = simulation
    return Console(Line(app, simulation.pass_s, caller="ann"))


@cache
def _the_api() -> tuple[Relay, FastAPI]:
    load_operations()
    relay = Relay()
    return relay, build_app(relay, lambda _: None, Parts(OPERATIONS, clock=relay.now))
