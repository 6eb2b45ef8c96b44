"""How near a plan comes to the best that any assignment of free nodes to tiers could do.

The planner gives each tier in turn its cheapest fits, and leaves one to another tier that would
go short without it.  However nodes differ, no assignment gives any tier more without giving a
tier that is served before it less.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.hardware import Hardware, Requirements
from metier.planner.plan import decide
from tests.unit.planner.brute_force import (
    PLANNED_AT,
    Case,
    Want,
    best,
    distributions,
    fits,
    fleet_of,
    planned,
    worth,
)

MEMORY = st.sampled_from((256, 512, 1024, 2048))
CPUS = st.sampled_from((1, 2, 4))
WORDS = st.frozensets(st.sampled_from(("ssd", "gpu")))


def cases(
    vms: st.SearchStrategy[Hardware], needs: st.SearchStrategy[Requirements]
) -> st.SearchStrategy[Case]:
    """Draw at most six virtual nodes on at most three hosts, and at most three tiers that want them."""
    hosts = st.lists(st.lists(vms, max_size=2).map(tuple), min_size=1, max_size=3).map(tuple)
    tiers = st.lists(wants(needs), min_size=1, max_size=3).map(tuple)
    return st.builds(Case, hosts, tiers)


def wants(needs: st.SearchStrategy[Requirements]) -> st.SearchStrategy[Want]:
    priorities = st.sampled_from((10, 50, 90))
    return st.builds(_want, priorities, st.integers(0, 2), st.integers(0, 2), needs)


def _want(priority: int, minimum: int, more: int, needs: Requirements) -> Want:
    return Want(priority, minimum, max(1, minimum + more), needs)


BY_MEMORY = cases(st.builds(Hardware, MEMORY), st.builds(Requirements, MEMORY))

SIZES = ((256, 1, 8), (512, 2, 8), (1024, 2, 16), (4096, 4, 16))
BY_SIZE = cases(
    st.sampled_from([Hardware(*size) for size in SIZES]),
    st.builds(Requirements, MEMORY, CPUS, st.sampled_from((4, 8, 16))),
)

BY_ALL = cases(
    st.builds(Hardware, MEMORY, CPUS, st.just(8), attributes=WORDS),
    st.builds(Requirements, MEMORY, CPUS, attributes=WORDS),
)


@given(BY_MEMORY)
def test_r_alloc_1_nodes_that_differ_in_memory_alone_are_given_out_as_well_as_can_be(case: Case) -> None:
    assert worth(case, planned(case)) == worth(case, best(case))


@given(BY_SIZE)
def test_r_alloc_1_so_are_nodes_of_which_each_is_larger_in_everything_than_the_next(case: Case) -> None:
    assert worth(case, planned(case)) == worth(case, best(case))


@given(BY_ALL)
def test_r_alloc_1_and_so_are_nodes_of_which_none_has_all_that_another_has(case: Case) -> None:
    counts = planned(case)
    assert counts in distributions(case)
    assert worth(case, counts) == worth(case, best(case))


@given(BY_ALL)
def test_r_alloc_1_no_node_stays_free_that_a_tier_below_its_target_could_use(case: Case) -> None:
    left = decide(fleet_of(case), PLANNED_AT).fleet.free
    short = [
        tier for tier, count in zip(case.tiers, planned(case), strict=True) if count < min(tier.target, 6)
    ]
    assert not [(shape, tier) for shape in left for tier in short if fits(shape.hardware, tier.needs)]


# --- what is left to others ---------------------------------------------------------------


def two_tiers(first: Hardware, second: Hardware, rare: Requirements) -> Case:
    """Return a case in which an undemanding tier comes first, and one of the two nodes serves both."""
    return Case(((first,), (second,)), (Want(90, 1, 1, Requirements(256)), Want(10, 1, 1, rare)))


SCARCE = {
    "the rare attribute is on the smaller node": two_tiers(
        Hardware(256, attributes=frozenset({"ssd"})),
        Hardware(8192),
        Requirements(attributes=frozenset({"ssd"})),
    ),
    "the many CPUs are on the node with less memory": two_tiers(
        Hardware(256, cpus=4), Hardware(4096), Requirements(cpus=4)
    ),
}


@pytest.mark.parametrize("case", SCARCE.values(), ids=SCARCE.keys())
def test_r_alloc_3_the_cheapest_fit_is_left_to_a_lesser_tier_that_has_no_other(case: Case) -> None:
    assert planned(case) == (1, 1) == best(case)
    (first, second) = decide(fleet_of(case), PLANNED_AT).actions[:2]
    assert "it is the cheapest fit but for what is left to tier-2, with a surplus of " in first.why
    assert "it is the cheapest fit, with a surplus of " in second.why
