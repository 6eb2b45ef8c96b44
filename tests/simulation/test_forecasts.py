"""A forecast tells what a simulation of the same site then does: to each node in order, and when.

METIER_SIM_SEED tells the story of one seed.
"""

import os
import random
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from metier.domain.actions import Action
from metier.domain.fleet import Draft
from metier.domain.forecast import Forecast
from metier.domain.timing import Activity
from metier.operations import load_operations
from metier.sim.forecast import forecast
from metier.sim.pace import pace_of
from metier.sim.simulation import Simulation
from metier.sim.sketch import Sketch
from tests.builders import a_timing
from tests.simulation.site import begin
from tests.simulation.stories import ORDERS, draw, happen

SEED = os.environ.get("METIER_SIM_SEED")
SEEDS = [int(SEED)] if SEED else list(range(16))

PHASE_S = 5.5
"""Two simulations may look at the same thing so many seconds apart: the longest pause, and the look."""

SHUTDOWN_S = 7.0

LEFT_OUT = ("image import", "image delete", "clock of")
"""Jobs are not foreseen, and a controller whose clock is wrong is another matter."""


class Done(NamedTuple):
    """An action as it is told, and when it was decided."""

    node: str
    what: str
    after_s: float


def of(actions: Iterable[tuple[Action, float]]) -> list[Done]:
    return [
        Done(action.subject, f"{type(action).__name__} {action.subject}: {action.why}", after_s)
        for action, after_s in actions
    ]


def foreseen(found: Forecast) -> list[Done]:
    return of((one.action, one.after_s) for one in found.actions)


def by_node(done: Iterable[Done]) -> dict[str, dict[str, float]]:
    """Return what was done to each node, in order, and when first: what is in vain comes again."""
    found: dict[str, dict[str, float]] = {}
    for one in done:
        found.setdefault(one.node, {}).setdefault(one.what, one.after_s)
    return found


def happened(simulation: Simulation, seconds: float) -> list[Done]:
    """Return what a simulation of the same fleet does, begun anew, in so many seconds."""
    fleet, began = simulation.fleet, simulation.now
    other = Simulation(
        fleet, began, pace=pace_of(fleet), build=lambda seen, agenda: Sketch(seen, agenda.clock)
    )
    for node in fleet.nodes.values():
        if not node.is_virtual:  # a forecast puts up only what it needs
            other.datacentre.machine(node.name)
    actions: list[tuple[Action, float]] = []
    other.round_watchers.append(
        lambda _before, finished: actions.extend(
            (action, (other.now - began).total_seconds()) for action in finished.plan.actions
        )
    )
    other.pass_s(seconds)
    return of(actions)


@pytest.mark.parametrize("seed", SEEDS)
def test_orders_have_the_consequences_that_were_foreseen(seed: int) -> None:
    load_operations()
    simulation, chance = begin(seed), random.Random(seed)
    simulation.edit(_measure_shutdowns)
    simulation.pass_s(200)
    for _ in range(chance.randrange(8)):
        happen(simulation, _order(chance))
        simulation.pass_s(chance.choice((1, 5, 60, 300)))
    for _ in range(3):  # nobody waits for what was ordered before
        happen(simulation, _order(chance))
    fleet = simulation.fleet
    found = forecast(fleet, simulation.now)
    then = happened(simulation, found.seconds + PHASE_S)
    told, did = by_node(foreseen(found)), by_node(then)
    assert {node: list(done) for node, done in told.items()} == {
        node: list(done) for node, done in did.items()
    }
    for node, done in told.items():
        for what, after_s in done.items():
            assert after_s == pytest.approx(did[node][what], abs=PHASE_S), what


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_broken_stays_so_and_the_rest_is_foreseen(seed: int) -> None:
    load_operations()
    simulation, chance = begin(seed), random.Random(seed)
    simulation.edit(_measure_shutdowns)
    simulation.pass_s(150)
    for line in draw(seed, chance.randrange(3, 25)):
        if not any(words in line for words in LEFT_OUT):
            happen(simulation, line)
    fleet, records = simulation.fleet, dict(simulation.records.texts)
    found = forecast(fleet, simulation.now)
    assert forecast(fleet, simulation.now) == found
    assert simulation.fleet is fleet
    assert simulation.records.texts == records
    then = happened(simulation, found.seconds + PHASE_S)
    assert _without_switching(foreseen(found)) == _without_switching(then)
    assert not found.notes


def _without_switching(done: Iterable[Done]) -> list[str]:
    """Leave out what a forecast does not tell again and again: orders to devices that ignore them."""
    return sorted(one.what for one in done if not one.what.startswith("PowerOff "))


def _measure_shutdowns(draft: Draft) -> None:
    """Let it be known that guests shut down quickly: what is assumed is when they are asked again."""
    for image in draft.images:
        draft.put_timing(a_timing(Activity.GUEST_SHUTDOWN, str(image), SHUTDOWN_S))


def _order(chance: random.Random) -> str:
    line = chance.choice(ORDERS)(chance)
    return _order(chance) if any(words in line for words in LEFT_OUT) else line
