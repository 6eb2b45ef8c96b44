"""Whatever a record holds is read back as it was written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.errors import Bug
from metier.domain.fleet import RECORD_TYPES, Kind
from metier.domain.host_details import HostDetails, StoreRoom
from metier.domain.node import Baseline, Node, Placement
from metier.domain.observation import Observed
from metier.store.api import Entry
from metier.store.codec import form_of
from metier.store.form import Unreadable
from tests.builders import HOST_IMAGE, NOW, a_node, a_tier, a_virtual_node, vm_facts
from tests.unit.store.strategies import values_of

MORE_TYPES: list[type[Any]] = [*RECORD_TYPES.values(), Entry]


@pytest.mark.parametrize("cls", MORE_TYPES)
@given(data=st.data())
def test_every_record_is_read_as_it_was_written(cls: Any, data: st.DataObject) -> None:
    record = data.draw(values_of(cls))
    form = form_of(cls)
    text = form.dumps(record)
    assert form.loads(text) == record
    assert form.dumps(form.loads(text)) == text


@given(data=st.data())
def test_no_damage_to_a_record_is_anything_but_unreadable(data: st.DataObject) -> None:
    raw = form_of(Node).write(data.draw(values_of(Node)))
    raw[data.draw(st.sampled_from(sorted(raw)))] = data.draw(values_of(object))
    try:
        form_of(Node).decode(raw)
    except Unreadable:
        return


def test_what_earlier_versions_stored_is_read() -> None:
    node, seen = form_of(Node), form_of(Observed)
    raw = node.write(a_node(baselines=(Baseline(HOST_IMAGE, "100"),)))
    del raw["baselines"]
    assert node.decode(raw) == a_node()
    facts = vm_facts(is_aside=True, is_staged=True)
    details = HostDetails(patch_level="100", stores=(StoreRoom("datastore1", 500, 100),), lacks=("a right",))
    now = Observed(vms=(facts,), details=details, patch_level="100", staging_remarks=("it runs",))
    assert seen.loads(seen.dumps(now)) == now
    raw = seen.write(now)
    for name in ("details", "patch_level", "staging_remarks"):
        del raw[name]
    for name in ("is_aside", "is_staged"):
        del raw["vms"][0][name]
    assert seen.decode(raw) == Observed(vms=(vm_facts(),))


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    name: str = ""


ORIGIN = Point(0)


@dataclass(frozen=True, slots=True)
class Leaf:
    size: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A field of each type that records may have."""

    word: str
    number: int = 7
    ratio: float = 0.0
    flag: bool = True
    maybe: int | None = None
    maybe_none: int | None = 5
    colour: Colour = Colour.RED
    point: Point = ORIGIN
    moment: datetime | None = None
    many: tuple[int, ...] = ()
    pair: tuple[int, str] = (1, "")
    points: frozenset[Point] = frozenset()
    words: frozenset[str] = frozenset()
    by_colour: Mapping[Colour, Leaf] = field(default_factory=dict)
    leaf: Leaf = field(default_factory=Leaf)
    leaves: tuple[Leaf, ...] | None = None
    scalar: str | int | bool | None = None
    choice: Literal["a", "b"] = "a"
    anything: object = None


FORM = form_of(Sample)


@given(values_of(Sample))
def test_every_type_of_field_is_read_as_it_was_written(sample: Sample) -> None:
    assert FORM.loads(FORM.dumps(sample)) == sample


def test_the_text_is_stable() -> None:
    tier = a_tier(slots=(), depends_on=("a", "b"))
    assert form_of(type(tier)).dumps(tier) == form_of(type(tier)).dumps(replace(tier))
    one = Sample("w", words=frozenset("abc"), by_colour={Colour.RED: Leaf(1), Colour.BLUE: Leaf(2)})
    other = Sample("w", words=frozenset("cba"), by_colour={Colour.BLUE: Leaf(2), Colour.RED: Leaf(1)})
    assert FORM.dumps(one) == FORM.dumps(other)


def test_empty_values_that_are_the_default_are_left_out_and_nothing_else() -> None:
    assert form_of(Leaf).write(Leaf()) == {}
    raw = FORM.write(Sample("w", maybe=0, maybe_none=None, leaves=(), ratio=0.0))
    assert raw["maybe"] == 0
    assert raw["maybe_none"] is None
    assert raw["leaves"] == []
    assert raw["number"] == 7
    assert raw["leaf"] == {}
    assert not {"ratio", "many", "words", "moment", "by_colour"} & set(raw)


def test_what_is_written_is_json_a_person_can_read() -> None:
    raw = json.loads(FORM.dumps(Sample("w", point=Point(3, "n"), moment=NOW, colour=Colour.BLUE)))
    assert raw["point"] == [3, "n"]
    assert raw["moment"] == "2026-03-01T12:00:00Z"
    assert raw["colour"] == "blue"


def test_moments_are_kept_in_utc() -> None:
    east = datetime(2026, 3, 1, 14, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    read = FORM.loads(FORM.dumps(Sample("w", moment=east))).moment
    assert read == east
    assert read is not None
    assert read.tzinfo is UTC
    assert FORM.decode({"word": "w", "moment": "2026-03-01T14:00:00+02:00"}).moment == NOW


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"word": 5}, "word: 5 is no str"),
        ({"word": "w", "number": True}, "number: True is no int"),
        ({"word": "w", "number": "5"}, "number: '5' is no int"),
        ({"word": "w", "ratio": "1"}, "ratio: '1' is no number"),
        ({"word": "w", "colour": "green"}, "colour: 'green' is none of red, blue"),
        ({"word": "w", "colour": []}, "colour: [] is none of red, blue"),
        ({"word": "w", "choice": 1}, "choice: 1 is none of a, b"),
        ({"word": "w", "point": [1]}, "point: an array of 1 stands where 2 belong"),
        ({"word": "w", "point": "1a"}, "point: '1a' is no array"),
        ({"word": "w", "many": [1, "x"]}, "many.1: 'x' is no int"),
        ({"word": "w", "many": None}, "many: None is no array"),
        ({"word": "w", "leaf": {"size": None}}, "leaf.size: None is no int"),
        ({"word": "w", "leaves": [{}, {"size": 1.5}]}, "leaves.1.size: 1.5 is no int"),
        ({"word": "w", "by_colour": {"red": {"size": ""}}}, "by_colour.red.size: '' is no int"),
        ({"word": "w", "by_colour": {"pink": {}}}, "by_colour.pink: 'pink' is none of red, blue"),
        ({"word": "w", "moment": "yesterday"}, "moment: 'yesterday' is no moment of RFC 3339"),
        ({"word": "w", "moment": 5}, "moment: 5 is no moment of RFC 3339"),
        ({"word": "w", "moment": "2026-03-01T14:00:00"}, "moment: '2026-03-01T14:00:00' has no time zone"),
        ({"word": "w", "scalar": 1.5}, "scalar: 1.5 is no str | int | bool | None"),
        ({"word": "w", "size": 1}, "this version knows no field 'size' of a Sample"),
        ({}, "this makes no Sample: Sample.__init__() missing 1 required positional argument: 'word'"),
        ([], "[] is no object"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(raw: Any, message: str) -> None:
    with pytest.raises(Unreadable) as caught:
        FORM.decode(raw)
    assert str(caught.value) == message


def test_a_record_that_refuses_its_fields_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="placement"):
        form_of(Placement).decode({"place": "free", "tier": "web"})


@pytest.mark.parametrize("text", ["", "{", "\0", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_text_that_is_no_json_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        form_of(Leaf).loads(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: 2, "a": 3}, NOW])
def test_what_json_cannot_say_is_a_bug(value: object) -> None:
    with pytest.raises(Bug):
        FORM.dumps(Sample("w", anything=value))


def test_a_moment_without_a_zone_is_a_bug() -> None:
    with pytest.raises(Bug):
        FORM.dumps(Sample("w", moment=datetime(2026, 1, 1)))  # noqa: DTZ001 - that is the point


@dataclass(frozen=True, slots=True)
class Tree:
    children: "tuple[Tree, ...]" = ()


def test_a_type_may_hold_itself() -> None:
    tree = Tree((Tree(), Tree((Tree(),))))
    assert form_of(Tree).loads(form_of(Tree).dumps(tree)) == tree


@dataclass(frozen=True, slots=True)
class Unstorable:
    what: complex = 0j


@dataclass(frozen=True, slots=True)
class Ambiguous:
    what: Leaf | Point | None = None


@dataclass(frozen=True, slots=True)
class NumberKeys:
    what: Mapping[int, str] = field(default_factory=dict)


@pytest.mark.parametrize("cls", [Unstorable, Ambiguous, NumberKeys])
def test_a_type_without_a_form_is_a_bug_each_time(cls: type[Any]) -> None:
    for _ in range(2):
        with pytest.raises(Bug, match=rf"{cls.__name__}\.what cannot be stored"):
            form_of(cls)


def test_every_kind_of_record_has_a_form() -> None:
    assert set(RECORD_TYPES) == set(Kind)
    for record in (a_node(), a_virtual_node(tier="web", slot=3)):
        assert form_of(Node).loads(form_of(Node).dumps(record)) == record
