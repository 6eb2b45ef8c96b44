"""Records as JSON: a codec for any frozen dataclass, compiled once from its type hints.

A field whose value is empty, and whose default is that same empty value, is left
out.  Every other field is written even where it equals its default, so that a
default changed later does not change what an operator decided earlier.  A field
that stored data lacks takes its default; one that the class does not know is an
error, because dropping it would lose what a newer Metier wrote.
"""

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Literal, NewType, TypeVar

from metier.domain.errors import Bug
from metier.store.form import Form, Unreadable, json_text

T = TypeVar("T")


_forms: dict[Any, Form[Any]] = {}


def form_of(cls: type[T]) -> Form[T]:
    """Return the codec of a dataclass, or of any type that one may hold; compiled at the first call.

    Raises:
        Bug: The type, or that of one of its fields, has no form in JSON.
    """
    return _form(cls)


def _form(hint: Any) -> Form[Any]:
    found = _forms.get(hint)
    if found is None:
        # Until it is compiled, a type that holds itself finds this forwarder.
        _forms[hint] = _forwarder(hint)
        try:
            found = _forms[hint] = _compile(hint)
        except Bug:
            del _forms[hint]
            raise
    return found


def _forwarder(hint: Any) -> Form[Any]:
    def encode(value: Any) -> Any:
        return _forms[hint].write(value)

    def decode(raw: Any) -> Any:
        return _forms[hint].decode(raw)

    return Form(encode, decode)


def _compile(hint: Any) -> Form[Any]:
    if hint in _SCALARS:
        return _SCALARS[hint]
    build = _BY_ORIGIN.get(typing.get_origin(hint))
    if build is not None:
        return build(hint)
    if isinstance(hint, NewType):
        return _form(hint.__supertype__)
    if isinstance(hint, type):
        if issubclass(hint, StrEnum):
            return _enum(hint)
        if issubclass(hint, tuple) and hasattr(hint, "_fields"):
            return _named_tuple(hint)
        if is_dataclass(hint):
            return _record(hint)
    raise Bug(f"the store has no form for values of type {hint}")


# --- one value ---------------------------------------------------------------


def _scalar(kind: type[T]) -> Form[T]:
    def decode(raw: Any) -> T:
        # The exact type: JSON's true is no number.
        if type(raw) is kind:
            found: T = raw
            return found
        raise Unreadable(f"{_short(raw)} is no {kind.__name__}")

    return Form(None, decode)


def _decode_float(raw: Any) -> float:
    if type(raw) is float or type(raw) is int:
        return float(raw)
    raise Unreadable(f"{_short(raw)} is no number")


def _decode_none(raw: Any) -> None:
    if raw is not None:
        raise Unreadable(f"{_short(raw)} is not null")


def _encode_moment(value: datetime) -> str:
    if value.tzinfo is not UTC:
        if value.tzinfo is None:
            raise Bug(f"{value} has no time zone")
        value = value.astimezone(UTC)
    return value.isoformat()[:-6] + "Z"


def _decode_moment(raw: Any) -> datetime:
    try:
        value = datetime.fromisoformat(raw)
    except (ValueError, TypeError) as error:
        raise Unreadable(f"{_short(raw)} is no moment of RFC 3339") from error
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None:
        raise Unreadable(f"{_short(raw)} has no time zone")
    return value.astimezone(UTC)


def _as_it_is(raw: Any) -> Any:
    return raw


_SCALARS: dict[Any, Form[Any]] = {
    str: _scalar(str),
    int: _scalar(int),
    bool: _scalar(bool),
    float: Form(None, _decode_float),
    None: Form(None, _decode_none),
    type(None): Form(None, _decode_none),
    datetime: Form(_encode_moment, _decode_moment),
    object: Form(None, _as_it_is),
    Any: Form(None, _as_it_is),
}


def _enum(cls: type[StrEnum]) -> Form[StrEnum]:
    members = {member.value: member for member in cls}

    def decode(raw: Any) -> StrEnum:
        try:
            return members[raw]
        except (KeyError, TypeError):
            raise Unreadable(f"{_short(raw)} is none of {', '.join(members)}") from None

    return Form(None, decode)


def _literal(hint: Any) -> Form[Any]:
    allowed = typing.get_args(hint)

    def decode(raw: Any) -> Any:
        if any(raw == value and type(raw) is type(value) for value in allowed):
            return raw
        raise Unreadable(f"{_short(raw)} is none of {', '.join(map(str, allowed))}")

    return Form(None, decode)


def _union(hint: Any) -> Form[Any]:
    choices = typing.get_args(hint)
    others = [choice for choice in choices if choice is not type(None)]
    if len(others) == 1:
        return _optional(_form(others[0]))
    if all(choice in (str, int, float, bool) for choice in others):
        kinds = frozenset(choices)

        def decode(raw: Any) -> Any:
            if type(raw) in kinds:
                return raw
            raise Unreadable(f"{_short(raw)} is no {hint}")

        return Form(None, decode)
    raise Bug(f"the store cannot tell apart what a {hint} holds")


def _optional(inner: Form[Any]) -> Form[Any]:
    encode, decode = inner.encode, inner.decode
    return Form(
        None if encode is None else lambda value: None if value is None else encode(value),
        lambda raw: None if raw is None else decode(raw),
    )


# --- several values ----------------------------------------------------------


def _array(raw: Any) -> list[Any]:
    if type(raw) is list:
        return raw
    raise Unreadable(f"{_short(raw)} is no array")


def _object(raw: Any) -> dict[str, Any]:
    if type(raw) is dict:
        return raw
    raise Unreadable(f"{_short(raw)} is no object")


def _tuple(hint: Any) -> Form[Any]:
    arguments = typing.get_args(hint)
    if len(arguments) != 2 or arguments[1] is not ...:
        return _fixed(tuple, [_form(argument) for argument in arguments])
    item = _form(arguments[0])
    return Form(
        lambda value: [item.write(each) for each in value], lambda raw: _items(item.decode, raw, tuple)
    )


def _named_tuple(cls: Any) -> Form[Any]:
    hints = typing.get_type_hints(cls)
    return _fixed(cls._make, [_form(hints[name]) for name in cls._fields])


def _fixed(make: Callable[[list[Any]], Any], items: list[Form[Any]]) -> Form[Any]:
    def encode(value: Any) -> list[Any]:
        return [item.write(each) for item, each in zip(items, value, strict=True)]

    def decode(raw: Any) -> Any:
        if len(_array(raw)) != len(items):
            raise Unreadable(f"an array of {len(raw)} stands where {len(items)} belong")
        return make([item.decode(each) for item, each in zip(items, raw, strict=True)])

    return Form(encode, decode)


def _frozenset(hint: Any) -> Form[Any]:
    arguments = typing.get_args(hint)
    item = _form(arguments[0])
    order = None if item.encode is None else json_text
    return Form(
        lambda value: sorted((item.write(each) for each in value), key=order),
        lambda raw: _items(item.decode, raw, frozenset),
    )


def _items(decode: Callable[[Any], Any], raw: Any, make: Callable[[list[Any]], T]) -> T:
    found: list[Any] = []
    try:
        for each in _array(raw):
            found.append(decode(each))  # noqa: PERF401 - its length says where reading stopped
        return make(found)
    except Unreadable as error:
        raise error.within(str(len(found))) if type(raw) is list else error from None


def _mapping(hint: Any) -> Form[Any]:
    arguments = typing.get_args(hint)
    if not _is_word(arguments[0]):
        raise Bug(f"the store needs words for the keys of a {hint}")
    key, item = (_form(argument) for argument in arguments)

    def decode(raw: Any) -> dict[Any, Any]:
        found = {}
        for name, value in _object(raw).items():
            try:
                found[key.decode(name)] = item.decode(value)
            except Unreadable as error:
                raise error.within(name) from None
        return found

    if item.encode is None:
        return Form(dict, decode)
    return Form(lambda value: {name: item.write(each) for name, each in value.items()}, decode)


def _is_word(hint: Any) -> bool:
    if isinstance(hint, NewType):
        return _is_word(hint.__supertype__)
    return isinstance(hint, type) and issubclass(hint, str)


_BY_ORIGIN: dict[Any, Callable[[Any], Form[Any]]] = {
    typing.Union: _union,
    types.UnionType: _union,
    Literal: _literal,
    tuple: _tuple,
    frozenset: _frozenset,
    Mapping: _mapping,
    dict: _mapping,
}


# --- a dataclass -------------------------------------------------------------


def _record(cls: type[Any]) -> Form[Any]:
    hints = typing.get_type_hints(cls)
    known = [each for each in fields(cls) if each.init]
    forms = {each.name: _form_of_field(cls, each.name, hints[each.name]) for each in known}
    return Form(_record_encoder(cls, forms), _record_decoder(cls, forms))


def _form_of_field(cls: type[Any], name: str, hint: Any) -> Form[Any]:
    try:
        return _form(hint)
    except Bug as error:
        raise Bug(f"{cls.__name__}.{name} cannot be stored") from error


_ALWAYS_WRITTEN = object()


def _empty_defaults(cls: type[Any]) -> dict[str, Any]:
    """Return for each field the empty value that need not be written, if it has one."""
    found = {}
    for each in fields(cls):
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        found[each.name] = _ALWAYS_WRITTEN if default is MISSING or default else default
    return found


def _record_encoder(cls: type[Any], forms: dict[str, Form[Any]]) -> Callable[[Any], dict[str, Any]]:
    empty = _empty_defaults(cls)
    plan = [(name, empty[name], form.encode, attrgetter(name)) for name, form in forms.items()]

    def encode(record: Any) -> dict[str, Any]:
        raw = {}
        for name, default, encoder, get in plan:
            value = get(record)
            # An empty value is still written where the default is another one: 0 is not None.
            if value or value != default:
                raw[name] = value if encoder is None else encoder(value)
        return raw

    return encode


def _record_decoder(cls: type[Any], forms: dict[str, Form[Any]]) -> Callable[[Any], Any]:
    decoders = {name: form.decode for name, form in forms.items()}

    def decode(raw: Any) -> Any:
        values = {}
        name = ""
        try:
            for name, value in _object(raw).items():
                values[name] = decoders[name](value)
        except Unreadable as error:
            raise error.within(name) if name else error from None
        except KeyError:
            raise Unreadable(f"this version knows no field {_short(name)} of a {cls.__name__}") from None
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise Unreadable(f"this makes no {cls.__name__}: {error}") from error

    return decode


def _short(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}…"
