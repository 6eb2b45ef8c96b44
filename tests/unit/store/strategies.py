"""Hypothesis strategies for any dataclass, from its type hints: what the domain gains is covered at once."""

import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NewType

from hypothesis import strategies as st

from metier.domain.ids import TierId
from metier.domain.node import Place, Placement
from metier.domain.timing import LONGEST_S, MOST_SAMPLES, Timing, TimingId

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)

_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    int: st.integers(),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    type(None): st.none(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    object: JSON,
}


@functools.cache
def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a type that a record may hold."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(values_of, arguments))
    if origin is tuple and arguments[1:] == (...,):
        return _several(arguments[0]).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, arguments))
    if origin is frozenset:
        return _several(arguments[0]).map(frozenset)
    if origin in (dict, Mapping):
        return st.dictionaries(*map(values_of, arguments), max_size=3)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    return _named(hint)


def _several(hint: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(values_of(hint), max_size=3)


def _named(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, NewType):
        return values_of(hint.__supertype__)
    if issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(_valid(hint), **{each.name: values_of(hints[each.name]) for each in fields(hint)})
    return st.builds(hint, **{name: values_of(each) for name, each in typing.get_type_hints(hint).items()})


def _valid(cls: Any) -> Callable[..., Any]:
    """Return the class, or where it refuses some combinations of fields, what makes valid ones of them."""
    return _VALID.get(cls, cls)


def _placement(place: Place, tier: TierId | None, slot: int | None) -> Placement:
    if tier is None or slot is None:
        return Placement(Place.FREE if place is Place.TIER else place)
    return Placement(Place.TIER, tier, slot)


def _timing(id: TimingId, seconds: tuple[float, ...], generation: int) -> Timing:  # noqa: A002 - its field
    valid = tuple(min(abs(each), LONGEST_S) for each in (*seconds, 0.0))
    return Timing(id, valid[-MOST_SAMPLES:], generation)


_VALID: dict[Any, Callable[..., Any]] = {Placement: _placement, Timing: _timing}
