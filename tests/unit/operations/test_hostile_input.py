"""Whatever is asked, an operation answers or refuses; it never breaks and never does half of it."""

import json
from contextlib import suppress
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from metier.domain.errors import MetierError
from metier.domain.fleet import Fleet
from metier.domain.tier import TierState
from metier.operations.registry import Argument, Caller, Operation
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    a_node,
    a_tier,
    a_virtual_node,
    an_alert,
    an_image,
)
from tests.unit.operations.asking import OWN, a_view

FLEET = a_fleet(
    a_host(),
    a_host_tier(state=TierState.ACTIVE),
    a_host_image(),
    a_virtual_node(tier="web"),
    a_virtual_node(number=2),
    a_node(),
    a_tier(state=TierState.ACTIVE),
    a_tier("api"),
    an_image(),
    an_alert(),
    a_job(),
)

NAMES = "node-1 host-1 host-1/VM1 host-1/vm2 web api hosts new web@1 vmm@1 vmm web@ @ / .. free active"
VALUES = (
    "1=10.0.0.7/24,10.0.0.1 1=www 2= = a=b 10.0.0.1-10.0.0.9/24 10.0.0.9-::1/24 ::1 2h 9999999d "
    "2026-03-02T00:00:00Z 0001-01-01T00:00:00+14:00 ping http:80/x tcp:0 memory=256 memory=256,networks=a+ "
    "/tmp/x.tgz spread linux maintenance allocated"
)
WORDS = st.sampled_from([*NAMES.split(), *VALUES.split(), "", "x" * 300])
TEXTS = st.one_of(WORDS, st.text(max_size=40))
NUMBERS = st.one_of(st.integers(-2, 8), st.integers())
DOCUMENTS: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.sampled_from(["name", "image", "target", "slots", "state", "engaged", "slot"]), TEXTS
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
SITES = st.dictionaries(st.sampled_from(["pools", "images", "nodes", "tiers"]), DOCUMENTS, max_size=4)


def values_of(argument: Argument) -> st.SearchStrategy[Any]:
    kinds = get_args(argument.type) or (argument.type,)
    if argument.name == "document":
        return st.one_of(SITES, DOCUMENTS)
    if Ellipsis in kinds:
        return st.lists(TEXTS, max_size=3).map(tuple)
    if bool in kinds:
        return st.booleans()
    return NUMBERS if int in kinds else TEXTS


@st.composite
def requests(draw: st.DrawFn, found: list[Operation]) -> tuple[Operation, Any]:
    chosen = draw(st.sampled_from(found))
    given_values = {
        argument.name: draw(values_of(argument))
        for argument in chosen.arguments
        if argument.required or draw(st.booleans())
    }
    return chosen, chosen.arguments_type(**given_values)


CHANGES = [found for found in OWN.values() if found.is_change]
READS = [found for found in OWN.values() if not found.is_change]


def carried_out(fleet: Fleet, request: tuple[Operation, Any]) -> Fleet:
    found, arguments = request
    assert found.change is not None
    draft = fleet.edit()
    with suppress(MetierError):
        outcome = found.change(draft, arguments, Caller("mallory", NOW, accept_warnings=True))
        assert outcome.message
        json.dumps(outcome.row, allow_nan=False)
        return draft.freeze()
    return fleet


@given(st.lists(requests(CHANGES), min_size=1, max_size=6))
def test_changes_answer_or_refuse_and_leave_a_fleet_that_can_be_read(
    asked: list[tuple[Operation, Any]],
) -> None:
    fleet = FLEET
    for request in asked:
        fleet = carried_out(fleet, request)
    view = a_view(fleet)
    for tier in fleet.tiers.values():
        assert tier.minimum <= tier.target <= tier.maximum
        assert tier.image in fleet.images
        assert all(1 <= slot.number <= tier.maximum for slot in tier.slots)
    for noun in ("node", "tier", "image", "job"):
        found = OWN[noun, "list"]
        assert found.read is not None
        json.dumps(found.read(view, found.arguments_type()), allow_nan=False)
    names = [
        tier.hostname(number).lower()
        for tier in fleet.tiers.values()
        for number in range(1, tier.maximum + 1)
    ]
    if len(names) < 1000:
        assert len(names) == len(set(names))


@given(requests(READS))
def test_reads_answer_or_refuse(request: tuple[Operation, Any]) -> None:
    found, arguments = request
    assert found.read is not None
    with suppress(MetierError):
        json.dumps(found.read(a_view(FLEET), arguments), allow_nan=False)


@given(requests([found for found in CHANGES if found.settled is not None]))
def test_waiting_answers_or_refuses(request: tuple[Operation, Any]) -> None:
    found, arguments = request
    assert found.settled is not None
    with suppress(MetierError):
        assert all(isinstance(sentence, str) for sentence in found.settled(a_view(FLEET), arguments))
