"""Looks that the simulator leaves out would have changed nothing.

Each story is told twice, with every look put and with those parked that tell nothing new, and both
journals must be the same: every decision, outcome, observation and alert, to the millisecond.

Three things depend on how often the loop turns or asks, in life as well, and are kept out:

* a plan that did something is followed by another one after a moment, or sooner if anything else
  turns the loop: here it follows at once, in both;
* what does not come back is given up at the first turn after its deadline: calls that hang or are
  slow have a test of their own, which compares decisions in their order and not in their time;
* a BMC that answers every other call, a post that draws a delay for each message, and a disk that
  is full for so many rounds count what they are asked, and are asked less.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest

from metier.operations import load_operations
from metier.planner import incremental
from metier.sim.controller import USUAL_S, Pace
from metier.sim.simulation import Simulation
from metier.store.api import Entry
from tests.builders import NOW
from tests.simulation.site import a_site, build
from tests.simulation.stories import draw, happen

SEEDS = range(24)
STEPS = 14
HOUR_S = 3600.0

LONGEST_PASS_S = 60.0
"""Every look of a story is put once, which takes its time."""

COME_UP_S = 60.0

BESIDE_S = 0.0171
"""Between two lines of a story, so that they meet looks that are under way."""

ODD_S = {word: usual_s + number * 0.00137 for number, (word, usual_s) in enumerate(USUAL_S.items(), 1)}
"""No two kinds of call take equally long: what happens at one moment has no order to compare."""

COUNTED = re.compile(r"BMC of .* flaps|observations come up to .*|disk of the controller is full .*")
GIVEN_UP = re.compile(r"VM manager of .* hangs|.* is slow by .*")


def story_of(seed: int, *left_out: re.Pattern[str]) -> list[str]:
    """Return a story without the lines of some kinds, and without long waits."""
    lines = [line for line in draw(seed, STEPS) if not any(kind.fullmatch(line) for kind in left_out)]
    return [_shortened(line) for line in lines]


def _shortened(line: str) -> str:
    word, _, seconds = line.partition(" ")
    return f"pass {min(LONGEST_PASS_S, float(seconds))}" if word == "pass" else line


def told(story: Sequence[str], seed: int, *, is_parking: bool) -> Simulation:
    """Return the site after a story, which begins when it is at rest."""
    load_operations()
    pace = Pace(call_s=dict(ODD_S), is_parking=is_parking)
    simulation = Simulation(a_site(), NOW, seed=seed, build=build, pace=pace)
    simulation.pass_s(COME_UP_S)
    for line in story:
        happen(simulation, line)
        simulation.pass_s(BESIDE_S)
    simulation.pass_s(LONGEST_PASS_S)
    return simulation


def journal(simulation: Simulation) -> "Counter[tuple[str, ...]]":
    """Return what was stored, without the order of what came at one moment."""
    return Counter(
        (f"{one.at:%H:%M:%S.%f}"[:-3], one.kind, one.subject, one.by, one.message)
        for one in simulation.records.entries
    )


def decisions(simulation: Simulation) -> dict[str, list[tuple[str, str]]]:
    """Return what was done with each node and by which rule, in order."""
    by_node: dict[str, list[tuple[str, str]]] = {}
    for one in simulation.records.entries:
        if one.kind == "action":
            by_node.setdefault(one.subject, []).append((_word(one), one.by))
    return by_node


def _word(entry: Entry) -> str:
    return entry.message.partition(":")[0]


def looks(simulation: Simulation) -> int:
    """Return how often power controllers were asked."""
    return sum(machine.bmc.calls for machine in simulation.datacentre.machines.values())


@pytest.fixture(autouse=True)
def _goes_round_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "AGAIN", timedelta())


@pytest.mark.parametrize("seed", SEEDS)
def test_parked_looks_change_nothing(seed: int) -> None:
    story = story_of(seed, COUNTED, GIVEN_UP)
    parked, unparked = (journal(told(story, seed, is_parking=is_parking)) for is_parking in (True, False))
    assert parked - unparked == unparked - parked == Counter(), story


@pytest.mark.parametrize("seed", SEEDS)
def test_parked_looks_change_no_decision_while_calls_are_given_up(seed: int) -> None:
    story = story_of(seed, COUNTED)
    parked, unparked = (decisions(told(story, seed, is_parking=is_parking)) for is_parking in (True, False))
    assert parked == unparked, story


def test_a_controller_that_starts_sees_what_was_begun_before() -> None:
    """A guest that goes off after its controller died is seen off when it would be seen."""
    story = ["order node shutdown name=host-1/VM1", "pass 1", "controller starts", "pass 10"]
    parked, unparked = (journal(told(story, 1, is_parking=is_parking)) for is_parking in (True, False))
    assert parked == unparked


def test_an_hour_at_rest_takes_no_look() -> None:
    simulation = told([], 1, is_parking=True)
    before = looks(simulation)
    simulation.pass_s(HOUR_S)
    assert looks(simulation) == before
