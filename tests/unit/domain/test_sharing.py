"""Who takes how many nodes of which shape, and what is left to whom (R-ALLOC-3)."""

from metier.domain.fleet import Shape
from metier.domain.hardware import Hardware
from metier.domain.ids import TierId
from metier.domain.node import NodeKind
from metier.domain.sharing import Shares

A, B, C = (TierId(name) for name in "abc")
SMALL, FAST, LARGE = (
    Shape(NodeKind.VIRTUAL, hardware)
    for hardware in (Hardware(256), Hardware(256, cpus=4), Hardware(4096, cpus=2))
)


def held(shares: Shares) -> dict[str, dict[str, int]]:
    """Return what each tier has, without what it has none of."""
    words = {SMALL: "small", FAST: "fast", LARGE: "large"}
    return {
        tier: {words[shape]: count for shape, count in had.items() if count}
        for tier, had in shares.held.items()
    }


def test_each_takes_the_cheapest_that_is_left_while_that_leaves_nobody_short() -> None:
    shares = Shares({SMALL: 2, LARGE: 2}, {A: [SMALL, LARGE], B: [LARGE]})
    shares.serve(A, 3)
    shares.serve(B, 1)
    assert held(shares) == {A: {"small": 2, "large": 1}, B: {"large": 1}}
    assert not shares.is_exchanged


def test_what_another_has_no_substitute_for_is_left_to_it() -> None:
    shares = Shares({FAST: 2, LARGE: 1}, {A: [FAST, LARGE], B: [FAST]})
    shares.serve(A, 2)
    shares.serve(B, 3)
    assert held(shares) == {A: {"fast": 1, "large": 1}, B: {"fast": 1}}, "whoever was before has no node less"
    assert shares.is_exchanged


def test_what_is_left_may_pass_through_a_third_tier() -> None:
    shares = Shares({SMALL: 1, FAST: 1, LARGE: 1}, {A: [FAST, LARGE], B: [SMALL, FAST], C: [SMALL]})
    shares.serve(A, 1)
    shares.serve(B, 1)
    shares.serve(C, 1)
    assert held(shares) == {A: {"large": 1}, B: {"fast": 1}, C: {"small": 1}}


def test_what_cannot_be_had_is_not_looked_for_again() -> None:
    shares = Shares({SMALL: 1, LARGE: 1}, {A: [SMALL], B: [SMALL], C: [SMALL, LARGE]})
    shares.serve(A, 2)
    shares.serve(B, 1)
    shares.serve(C, 2)
    assert held(shares) == {A: {"small": 1}, B: {}, C: {"large": 1}}
    assert not shares.is_exchanged
