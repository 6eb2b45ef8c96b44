"""Random operators and random faults: whatever happens, the laws hold; when it ends, all is well again.

METIER_SIM_SEED tells one story again, METIER_SIM_STEPS makes stories longer.
"""

import os

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from metier.domain.errors import chain
from tests.simulation.commands import COMMANDS, Command, happen, random_story
from tests.simulation.laws import Broken, at_target
from tests.simulation.site import Site

SEED = int(os.environ.get("METIER_SIM_SEED") or 0)
STEPS = int(os.environ.get("METIER_SIM_STEPS") or 40)
STORIES = 24

commands = st.builds(Command, st.sampled_from(sorted(COMMANDS)), st.integers(0, 999), st.integers(0, 999))


def tell(story: list[Command], label: str) -> None:
    """Tell a story, end its faults and see the site come to rest, then to its target."""
    site = Site()
    try:
        for command in story:
            happen(site, command)
        site.heal()
        site.settle()
        for _ in range(3):  # an operator looks in, and again for what was not yet at rest
            site.tidy()
            site.heal()
            site.settle()
        missed = [
            tier.name for tier in site.rounds.fleet.tiers.values() if not at_target(site.rounds.fleet, tier)
        ]
        if missed:
            raise Broken(f"all is well and tiers {missed} are not at target: {site.rounds.last}")
    except Exception as error:  # whatever breaks, the story that broke it is what a reader needs
        trace = "\n".join(site.rounds.trace)
        raise Broken(f"{chain(error)}\nhappened in\n{label}\n{trace}") from error


@settings(
    max_examples=100,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(commands, max_size=20))
def test_the_laws_hold_whatever_happens(story: list[Command]) -> None:
    tell(story, f"story: {story}")


def test_long_stories_end_well() -> None:
    for seed in range(SEED, SEED + STORIES):
        tell(random_story(seed, STEPS), f"METIER_SIM_SEED={seed} METIER_SIM_STEPS={STEPS}")


def test_the_same_seed_gives_the_same_trace() -> None:
    traces = []
    for _ in range(2):
        site = Site()
        for command in random_story(SEED, 10):
            happen(site, command)
        traces.append(site.rounds.trace)
    assert traces[0] == traces[1]
