"""The two long parts of a workbook, parsed as they come: its shared texts, and the cells of one table."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol
from xml.parsers import expat

from metier.domain.errors import Refusal

_AGAIN = "export it again, as .xlsx or as CSV"

# An export of RVTools has some hundred columns, and one more for each custom attribute.
_MOST_COLUMNS = 1_024

# What Excel itself allows.
_MOST_CELL_CHARS = 32_767

# The parser looks at a tag anew with every piece until it is whole, so its length is paid squared.
_MOST_TAG_BYTES = 1 << 20

# 50,000 VMs with all their tabs have some ten million cells and a million different texts.
_MOST_ELEMENTS = 60_000_000
_MOST_STRINGS = 4_000_000
_MOST_STRING_CHARS = 256_000_000

_COLUMN = re.compile(r"([A-Z]{1,3})[0-9]+")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class Listener(Protocol):
    """What a parsed part is told to."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Take the begin of an element."""

    def end(self, name: str) -> None:
        """Take its end."""

    def text(self, data: str) -> None:
        """Take text."""

    def rows(self) -> list[Sequence[str]]:
        """Return the rows that are complete, and forget them."""


def parsed(pieces: Iterable[bytes], listener: Listener, name: str) -> Iterator[Sequence[str]]:
    """Yield the rows that `listener` makes of a part.

    Raises:
        Refusal: It is no XML, defines a document type, or is beyond the limits.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = listener.start
    parser.EndElementHandler = listener.end
    parser.CharacterDataHandler = listener.text

    def doctype(*_: object) -> None:
        raise Refusal(
            f"cannot read {name}: it defines a document type, which no product writes", remedy=_AGAIN
        )

    parser.StartDoctypeDeclHandler = doctype
    fed = 0
    try:
        for piece in pieces:
            parser.Parse(piece, False)
            fed += len(piece)
            if fed - parser.CurrentByteIndex > _MOST_TAG_BYTES:
                raise Refusal(f"cannot read {name}: a tag in it is longer than 1 MiB", remedy=_AGAIN)
            yield from listener.rows()
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Refusal(f"cannot read {name}: it is no XML", remedy=_AGAIN) from error
    yield from listener.rows()


class _Text:
    """The text of the cell or shared text at hand: what stands in `<v>` or `<t>`, but no reading aid."""

    __slots__ = ("_in_aid", "_is_open", "_name", "_parts", "_size")

    def __init__(self, name: str) -> None:
        self._name = name
        self.clear()

    def clear(self) -> None:
        self._parts: list[str] = []
        self._size, self._is_open, self._in_aid = 0, False, False

    def start(self, local: str) -> None:
        if local in ("v", "t"):
            self._is_open = not self._in_aid
        elif local == "rPh":
            self._in_aid = True

    def end(self, local: str) -> None:
        if local in ("v", "t"):
            self._is_open = False
        elif local == "rPh":
            self._in_aid = False

    def add(self, data: str) -> None:
        if not self._is_open:
            return
        self._size += len(data)
        if self._size > _MOST_CELL_CHARS:
            raise Refusal(
                f"cannot read {self._name}: a cell has more than {_MOST_CELL_CHARS} characters", remedy=_AGAIN
            )
        self._parts.append(data)

    def taken(self) -> str:
        text = self._parts[0] if len(self._parts) == 1 else "".join(self._parts)
        return _ESCAPED.sub(_unescaped, text) if "_x" in text else text


class Strings:
    """Collects the texts that tables share."""

    def __init__(self, name: str) -> None:
        self.found: list[str] = []
        self._name, self._chars = name, 0
        self._text = _Text(name)

    def start(self, name: str, attributes: Mapping[str, str]) -> None:  # noqa: ARG002 - as expat calls it
        """Take the begin of an element."""
        local = name if ":" not in name else _local(name)
        if local == "si":
            self._text.clear()
        else:
            self._text.start(local)

    def end(self, name: str) -> None:
        """Take its end."""
        local = name if ":" not in name else _local(name)
        self._text.end(local)
        if local != "si":
            return
        text = self._text.taken()
        self._chars += len(text)
        self.found.append(text)
        if len(self.found) > _MOST_STRINGS or self._chars > _MOST_STRING_CHARS:
            raise Refusal(
                f"cannot read {self._name}: it has too many texts", remedy="export fewer VMs at once"
            )

    def text(self, data: str) -> None:
        """Take text."""
        self._text.add(data)

    def rows(self) -> list[Sequence[str]]:
        """Return nothing: texts are no rows."""
        return []


class Cells:
    """Makes rows of a table's cells."""

    def __init__(self, name: str, strings: Sequence[str]) -> None:
        self._name, self._strings = name, strings
        self._done: list[Sequence[str]] = []
        self._row: list[str] = []
        self._column, self._next, self._kind, self._elements = 0, 0, "", 0
        self._text = _Text(name)

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Take the begin of an element."""
        self._elements += 1
        if self._elements > _MOST_ELEMENTS:
            raise Refusal(
                f"cannot read {self._name}: it has too many cells", remedy="export fewer VMs at once"
            )
        local = name if ":" not in name else _local(name)
        if local == "c":
            self._column = self._place(attributes.get("r", ""))
            self._kind = attributes.get("t", "n")
            self._text.clear()
        elif local == "row":
            self._row, self._next = [], 0
        else:
            self._text.start(local)

    def end(self, name: str) -> None:
        """Take its end."""
        local = name if ":" not in name else _local(name)
        if local == "c":
            self._put(self._value())
        elif local == "row":
            self._done.append(self._row)
            self._row = []
        else:
            self._text.end(local)

    def text(self, data: str) -> None:
        """Take text."""
        self._text.add(data)

    def rows(self) -> list[Sequence[str]]:
        """Return the rows that are complete, and forget them."""
        done, self._done = self._done, []
        return done

    def _place(self, reference: str) -> int:
        """Return the column of a cell, from 0: `C7` is 2; without a reference the next one."""
        if not reference:
            return self._next
        match = _COLUMN.fullmatch(reference)
        if match is None:
            raise Refusal(f"cannot read {self._name}: {reference[:20]!r} names no cell", remedy=_AGAIN)
        column = 0
        for letter in match[1]:
            column = 26 * column + ord(letter) - 64
        return column - 1

    def _put(self, value: str) -> None:
        missing = self._column - len(self._row)
        if self._column < self._next:
            raise Refusal(f"cannot read {self._name}: the cells of a row are out of order", remedy=_AGAIN)
        if self._column >= _MOST_COLUMNS:
            raise Refusal(
                f"cannot read {self._name}: a row has more than {_MOST_COLUMNS} cells",
                remedy="export fewer columns",
            )
        self._next = self._column + 1
        if value:
            self._row.extend([""] * missing)
            self._row.append(value)

    def _value(self) -> str:
        text = self._text.taken()
        if self._kind == "s":
            return self._shared(text)
        return "" if self._kind == "e" else text

    def _shared(self, text: str) -> str:
        place = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else len(self._strings)
        if place >= len(self._strings):
            raise Refusal(f"cannot read {self._name}: it refers to a text that is not there", remedy=_AGAIN)
        return self._strings[place]


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _unescaped(match: re.Match[str]) -> str:
    """Return a letter that XML could not hold; half a letter stays as it was written."""
    number = int(match[1], 16)
    return match[0] if 0xD800 <= number <= 0xDFFF else chr(number)
