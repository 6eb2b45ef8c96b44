"""How values of a type are written as JSON, and what is said of data that cannot be read back."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from metier.domain.errors import Bug

T = TypeVar("T")


class Unreadable(ValueError):
    """Stored data does not have the form of the type that it is read as.

    Attributes:
        where: The path of the offending value, such as `hardware.memory_mib`.
        why: What is wrong with it.
    """

    def __init__(self, why: str, where: str = "") -> None:
        super().__init__(f"{where}: {why}" if where else why)
        self.where = where
        self.why = why

    def within(self, part: str) -> "Unreadable":
        """Return the same error as seen from one level further out."""
        return Unreadable(self.why, f"{part}.{self.where}" if self.where else part)


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How values of one type are written as JSON-ready data, and read back.

    Attributes:
        encode: None where values are JSON-ready as they are.
        decode: Raises Unreadable.
    """

    encode: Callable[[T], Any] | None
    decode: Callable[[Any], T]

    def write(self, value: T) -> Any:
        """Return `value` as JSON-ready data."""
        return value if self.encode is None else self.encode(value)

    def dumps(self, value: T) -> str:
        """Return `value` as JSON text: equal values give equal text.

        Raises:
            Bug: It holds something that JSON cannot say.
        """
        try:
            return json_text(self.write(value))
        except (TypeError, ValueError, RecursionError, AttributeError) as error:
            raise Bug(f"cannot write a {type(value).__name__} as JSON: {value!r}") from error

    def loads(self, text: str) -> T:
        """Read a value from JSON text; raises Unreadable."""
        return self.decode(parse_json(text))


# Escaped to ASCII, any string passes through any database, even one with NUL or half a surrogate pair.
json_text = json.JSONEncoder(ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
"""Return JSON-ready data as JSON text; equal data gives equal text."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON text; raises Unreadable, also for what is nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"this is not JSON: {error}") from error
