"""From an operation's arguments to the models that check requests and describe them."""

import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, WithJsonSchema, create_model

from metier.domain.errors import WrongUsage
from metier.operations.registry import Argument, Operation

_NO_TEXT = re.compile(rb"\\u(?:0000|d[89a-f])", re.IGNORECASE)
_STRICT_SCALARS = (bool, int, float)
_FORBID = ConfigDict(extra="forbid", allow_inf_nan=False)


class ChangeQuery(BaseModel):
    """What every change takes in its query."""

    model_config = _FORBID

    plan: bool = Field(default=False, description="Change nothing; answer what would follow.")
    accept_warnings: bool = Field(default=False, description="The consequences are accepted.")
    settled: bool = Field(
        default=False, description="Change nothing; answer what its effect still waits for."
    )


class PageQuery(BaseModel):
    """What every list takes in its query."""

    model_config = _FORBID

    limit: int = Field(default=1000, ge=1, le=10_000, description="How many at most.")
    cursor: str = Field(
        default="", max_length=1000, description="Where to go on: `X-Next-Cursor` of the page before."
    )


class NoQuery(BaseModel):
    """For what takes nothing in its query."""

    model_config = _FORBID


def body_model(operation: Operation, parts: Iterable[Argument]) -> type[BaseModel]:
    """Return the model of a request's body; numbers and switches must be JSON's own."""
    return _model(operation, "Request", parts, NoQuery, strict=True)


def query_model(operation: Operation, parts: Iterable[Argument], base: type[BaseModel]) -> type[BaseModel]:
    """Return the model of a request's query: the base's fields, and the arguments."""
    own = [part for part in parts if part.name not in base.model_fields]
    return _model(operation, "Query", own, base, strict=False)


def refuse_what_is_no_text(body: bytes) -> None:
    """Refuse JSON with half characters or NUL in it, which no store and no terminal takes.

    Raises:
        WrongUsage: The body, which is JSON, has such text in it.
    """
    if _NO_TEXT.search(body) is None:
        return
    text = json.dumps(json.loads(body), ensure_ascii=False)
    # An escaped NUL stays escaped; one behind an escaped backslash is innocent.
    if "\\u0000" in text.replace("\\\\", "") or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise WrongUsage("the request makes no sense: its body has a NUL or half a character in it")


def with_choices(argument: Argument) -> Any:
    """Return the type of an argument, narrowed to its choices."""
    if not argument.choices:
        return argument.type
    return _replaced(argument.type, str, _one_of(argument.choices))


def arguments_from(operation: Operation, *models: BaseModel | None, **named: Any) -> Any:
    """Build the operation's arguments from what was checked."""
    values = dict(named)
    for model in models:
        for part in operation.arguments:
            if model is not None and part.name in type(model).model_fields:
                values[part.name] = getattr(model, part.name)
    return operation.arguments_type(**values)


def _model(
    operation: Operation, suffix: str, parts: Iterable[Argument], base: type[BaseModel], *, strict: bool
) -> type[BaseModel]:
    name = "".join(word.title() for word in operation.key.replace("-", " ").split()) + suffix
    fields: dict[str, Any] = {part.name: _field(part, strict=strict) for part in parts}
    return create_model(name, __base__=base, __doc__=operation.help, **fields)


def _field(argument: Argument, *, strict: bool) -> Any:
    hint = with_choices(argument)
    if strict:
        for scalar in _STRICT_SCALARS:
            hint = _replaced(hint, scalar, Annotated[scalar, Strict()])
    if get_origin(hint) is Mapping:
        hint = Annotated[hint, AfterValidator(_finite)]
    info: dict[str, Any] = {"description": argument.help}
    if argument.example:
        info["examples"] = [_example(argument)]
    return (hint, Field(**info) if argument.required else Field(default=argument.default, **info))


def _example(argument: Argument) -> Any:
    is_list = get_origin(argument.type) is tuple
    return [argument.example] if is_list else argument.example


def _replaced(hint: Any, old: Any, new: Any) -> Any:
    """Return `hint` with the type `old` in it replaced by `new`, in unions and tuples as well."""
    if hint is old:
        return new
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return reduce(or_, (_replaced(part, old, new) for part in inner))
    if origin is tuple:
        return types.GenericAlias(tuple, tuple(_replaced(part, old, new) for part in inner))
    return hint


def _finite(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a document; refuses the NaN and Infinity that Python's JSON takes and JSON has not."""
    json.dumps(document, allow_nan=False)
    return document


def _one_of(choices: Sequence[str]) -> Any:
    def check(word: str) -> str:
        if word not in choices:
            raise ValueError(f"{word!r} is none of {', '.join(choices)}")
        return word

    return Annotated[str, AfterValidator(check), WithJsonSchema({"type": "string", "enum": list(choices)})]
