"""Tables by known headings: the columns that are understood, wherever they stand."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from metier.domain.errors import Refusal
from metier.estate.cells import known_as

MOST_ROWS = 1_048_575
"""Rows of one table below its heading: what a worksheet can have."""

Fields = Mapping[str, Sequence[str]]
"""What is looked for: a field's name, and the headings by which it is known, best first."""

Record = Mapping[str, str]
"""One row: the text of each field that its table has."""


class Sheet(Protocol):
    """One table: its rows as text, the first being the heading."""

    @property
    def name(self) -> str:
        """What it is called."""

    def rows(self) -> Iterator[Sequence[str]]:
        """Yield the rows; short ones stand for empty cells at their end."""


class Columns(NamedTuple):
    """Where the fields of a table are."""

    places: Mapping[str, int]

    @classmethod
    def found(cls, headings: Sequence[str], fields: Fields) -> "Columns":
        """Find the fields by their headings; where two are alike the first counts."""
        known: dict[str, int] = {}
        for place, text in enumerate(headings):
            known.setdefault(known_as(text), place)
        places = {}
        for field, names in fields.items():
            found = [known[heading] for heading in map(known_as, names) if heading in known]
            if found:
                places[field] = found[0]
        return cls(places)

    def record(self, row: Sequence[str]) -> Record:
        """Return one row by its fields."""
        length = len(row)
        return {field: row[place] if place < length else "" for field, place in self.places.items()}


def records(sheet: Sheet, fields: Fields, needed: str) -> Iterator[Record]:
    """Yield the rows of a table whose field `needed` is not empty.

    Raises:
        Refusal: It has no such column, or too many rows.
    """
    rows = sheet.rows()
    heading = next(rows, ())
    columns = Columns.found(heading, fields)
    if needed not in columns.places:
        raise Refusal(
            f"cannot read {sheet.name}: its first row names no column {fields[needed][0]!r}",
            remedy="export it again with all columns and with their headings",
        )
    for count, row in enumerate(rows):
        if count >= MOST_ROWS:
            raise Refusal(f"cannot read {sheet.name}: it has more than {MOST_ROWS} rows")
        record = columns.record(row)
        if record[needed].strip():
            yield record
