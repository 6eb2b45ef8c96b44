"""JSON from outside, read value by value, so that whatever is wrong is told with its line."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from metier.domain.errors import WrongUsage

LONGEST = 512 * 1000 * 1000
"""Most bytes of a document; a site of 100,000 nodes takes a seventh of it."""

MOST_VALUES = 16_000_000
"""Most values in a document: more could take more than 2 GB of memory; 100,000 nodes have a third of it."""

BAD = "bad-document"
"""Code of the errors of what cannot be read."""

_MOST_FAULTS = 20
_LONGEST_FAULT = 300
_WORTHLESS = re.compile(r"[ \t\r\n]*")
_LARGEST = 1 << 63


class JsonText:
    """A document and a place in it, which moves on as its parts are read.

    Attributes:
        name: What the operator calls it, for messages.
        at: Where the next part begins, in characters from 0.
    """

    def __init__(self, text: str, name: str) -> None:
        """Begin at the start.

        Raises:
            WrongUsage: It is larger than any document of ours.
        """
        self.text, self.name, self.at = text, name, 0
        _check_size(text, name)
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
        )
        self.skip()

    def line_of(self, at: int) -> int:
        """Return the line of a place, from 1."""
        return self.text.count("\n", 0, at) + 1

    def peek(self) -> str:
        """Return the next character; empty at the end."""
        return self.text[self.at : self.at + 1]

    def skip(self) -> None:
        """Move on to the next part."""
        match = _WORTHLESS.match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def value(self) -> Any:
        """Read one whole value; raises WrongUsage."""
        try:
            found, self.at = self._decoder.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            raise self._not_json(error.msg.lower(), error.pos) from None
        except ValueError as error:
            raise self._not_json(str(error), self.at) from None
        except RecursionError:
            raise self._not_json("it is nested too deeply", self.at) from None
        self.skip()
        return found

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that begins here; the caller reads the value after each.

        Raises:
            WrongUsage: It is no JSON, or has a key twice.
        """
        self._take("{")
        seen: set[str] = set()
        while self.peek() != "}":
            if seen:
                self._take(",")
            start = self.at
            key = self.value()
            if not isinstance(key, str):
                raise self._not_json("a key in quotes is missing", start)
            if key in seen:
                raise self._not_json(f"{short(key)} is there twice", start)
            seen.add(key)
            self._take(":")
            yield key
        self._take("}")

    def items(self) -> Iterator[None]:
        """Stop before each item of the array that begins here; the caller reads it."""
        self._take("[")
        is_first = True
        while self.peek() != "]":
            if not is_first:
                self._take(",")
            is_first = False
            yield
        self._take("]")

    def end(self) -> None:
        """Raise WrongUsage unless everything was read."""
        if self.peek():
            raise self._not_json("it goes on after its end", self.at)

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise self._not_json(f"{character!r} is missing", self.at)
        self.at += 1
        self.skip()

    def _not_json(self, why: str, at: int) -> WrongUsage:
        line = self.line_of(at)
        return WrongUsage(
            f"cannot read {self.name}: line {line} is not the JSON that it should be: {why}",
            code=BAD,
            remedy="give the file as `metier` wrote it; it may be cut short or edited",
        )


class Faults:
    """What is wrong with a document; the first twenty sentences are kept, and all are counted."""

    def __init__(self, source: JsonText) -> None:
        self._source = source
        self._count = 0
        self._first: list[tuple[int, str]] = []

    def add(self, at: int | None, why: str, *, first: int | None = None) -> None:
        """Take note of a fault at a place in the text; None for what no place is to blame for.

        `first` is where the same stands for the first time.
        """
        self._count += 1
        if len(self._first) < _MOST_FAULTS:
            cut = why if len(why) <= _LONGEST_FAULT else f"{why[:_LONGEST_FAULT]}…"
            before = "" if first is None else f", first in line {self._source.line_of(first)}"
            self._first.append((0 if at is None else self._source.line_of(at), cut + before))

    def check(self, what: str, remedy: str) -> None:
        """Raise WrongUsage if there are any."""
        if not self._count:
            return
        shown = [f"line {line}: {why}" if line else why for line, why in sorted(self._first)]
        more = self._count - len(shown)
        said = "; ".join(shown) + (f"; and {more} more" if more else "")
        raise WrongUsage(f"cannot read {self._source.name} as {what}: {said}", code=BAD, remedy=remedy)


def read_text(file: BinaryIO, name: str) -> str:
    """Return the text of a file that was opened for reading.

    Raises:
        WrongUsage: It is too large, or not UTF-8.
    """
    data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise _too_large(name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise WrongUsage(
            f"cannot read {name}: line {line} is not UTF-8 text",
            code=BAD,
            remedy="give the file as `metier` wrote it, not packed",
        ) from None


def short(raw: Any) -> str:
    """Return a value from outside as a message shows it."""
    text = raw if isinstance(raw, str) and raw.isprintable() and raw else repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _check_size(text: str, name: str) -> None:
    # Each value but the first stands behind one of these: they tell how much memory it will take.
    if len(text) > LONGEST or sum(map(text.count, ",[{")) > MOST_VALUES:
        raise _too_large(name)


def _too_large(name: str) -> WrongUsage:
    return WrongUsage(
        f"cannot read {name}: it has more than {LONGEST // 1_000_000} MB or {MOST_VALUES // 1_000_000} "
        "million values",
        code=BAD,
        remedy="give a file that `metier` wrote",
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"{short(key)} is there twice")
            seen.add(key)
    return found


def _integer(text: str) -> int:
    # Twenty characters hold every number that a record may have, with its sign.
    value = int(text[:21])
    if not -_LARGEST <= value < _LARGEST:
        raise ValueError(f"the number {short(text)} is out of all bounds")
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {short(text)} is out of all bounds")
    return value


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no value")
