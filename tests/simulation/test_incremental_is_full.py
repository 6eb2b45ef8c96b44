"""What the planner decides from what changed is what it would decide from everything.

Each round of random stories is planned twice, on the very Fleet the controller planned from.
What a step reads and `planner/reach.py` has no line for shows here, as a round that differs.
"""

from collections import Counter
from datetime import datetime
from typing import ClassVar

import pytest

from metier.control import engine
from metier.domain.fleet import Changes, Fleet
from metier.domain.plan import Plan
from metier.operations import load_operations
from metier.planner.incremental import Planner, Round
from metier.planner.plan import decide, plan_of
from metier.sim.faults import befall
from tests.simulation.site import begin, tidy
from tests.simulation.stories import draw, happen

STEPS = 40

SEEDS = range(20, 36)
"""Other stories than those that are judged by the laws; a fence for a VM that vanished is among them."""

LEAST_PARTIAL = 0.5
"""At least so many rounds must look at a part only: a whole plan is like a whole plan in any case."""


class Watched(Planner):
    """A planner that looks at as little as it may, and notes every round in which that was too little.

    Attributes:
        differences: What differed, in words; of the whole class, for a story may start several controllers.
        rounds: How many rounds looked at everything, and how many at a part.
    """

    differences: ClassVar[list[str]] = []
    rounds: ClassVar[Counter[str]] = Counter()

    def __init__(self, epoch: int = 0) -> None:
        super().__init__(epoch, most=1.0)

    def plan(self, fleet: Fleet, now: datetime, changes: Changes | None) -> Round:
        planned = super().plan(fleet, now, changes)
        is_whole = planned.work.scope.nodes is None
        Watched.rounds["whole" if is_whole else "partial"] += 1
        if not is_whole:
            full = plan_of(decide(fleet, now, epoch=planned.work.epoch))
            Watched.differences += [f"{now:%H:%M:%S.%f} {one}" for one in _differences(planned, full)]
        return planned

    @classmethod
    def forget(cls) -> None:
        """Begin with the next story."""
        cls.differences.clear()
        cls.rounds.clear()


def _differences(planned: Round, full: Plan) -> list[str]:
    """Compare actions in their order, and what is said and asked for in any."""
    found = []
    if planned.plan.actions != full.actions:
        found.append(f"decided {planned.plan.actions}, should be {full.actions}")
    for what in ("waiting", "findings", "wake"):
        mine, its = set(getattr(planned.plan, what)), set(getattr(full, what))
        if mine != its:
            found.append(f"{what}: too much {mine - its}, too little {its - mine}")
    return [f"{one}; looked at {planned.work.scope}" for one in found]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_round_decides_and_says_what_a_plan_of_everything_would(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_operations()
    monkeypatch.setattr(engine, "Planner", Watched)
    Watched.forget()
    simulation = begin(seed)
    story = draw(seed, STEPS)
    for number, line in enumerate(story):
        happen(simulation, line)
        assert not Watched.differences, (story[: number + 1], Watched.differences[0])
    befall(simulation, "everything heals")
    tidy(simulation)
    simulation.pass_s(600)
    assert not Watched.differences, (story, Watched.differences[0])
    assert Watched.rounds["partial"] > LEAST_PARTIAL * Watched.rounds.total(), Watched.rounds
