"""Reads the tables of an `.xlsx` workbook as streams, in bounded memory.

Nothing of it is carried out: formulas count by the value that was stored with them,
links and macros are not looked at.  The zip archive is read by the same checked reader
as imported packages.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Part, Window
from metier.drivers.formats.archive.zip import STORED, ZipMember, ZipReader
from metier.drivers.formats.markup import Element, parse_markup
from metier.estate.worksheet import Cells, Strings, parsed

_AGAIN = "export it again, as .xlsx or as CSV"
_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class WorkbookLimits:
    """The most that is accepted of a workbook.

    Attributes:
        file_bytes: The file; an export of 10,000 VMs has some 15 MB.
        part_bytes: What one table, or the texts that they share, may unpack to.
        index_bytes: The same for the small parts that say where the others are.
        members: Files in its archive.
    """

    file_bytes: int = 256 << 20
    part_bytes: int = 512 << 20
    index_bytes: int = 4 << 20
    members: int = 10_000


class Workbook:
    """An open workbook; close it after use."""

    def __init__(self, path: Path, limits: WorkbookLimits | None = None) -> None:
        """Open it.

        Raises:
            Refusal: It is no workbook, or beyond the limits.
        """
        self._name, self._limits = path.name, limits or WorkbookLimits()
        self._window = Part.whole(path).open()
        try:
            if self._window.size_bytes > self._limits.file_bytes:
                raise self._refusal(f"it has more than {self._limits.file_bytes} bytes, which is the limit")
            self._members = self._found()
            self._places = self._sheet_places()
            self._strings: Sequence[str] | None = None
        except BaseException:  # whatever it is, no file may stay open
            self._window.close()
            raise

    def close(self) -> None:
        """Close its file."""
        self._window.close()

    def sheets(self) -> list["WorkbookSheet"]:
        """Return its tables in their order."""
        return [WorkbookSheet(self, name, place) for name, place in self._places]

    def rows(self, place: str, sheet: str) -> Iterator[Sequence[str]]:
        """Yield the rows of the table that is the member `place`."""
        if self._strings is None:
            self._strings = self._shared()
        name = f"{self._name}, {sheet}"
        return parsed(self._pieces(place, self._limits.part_bytes), Cells(name, self._strings), name)

    def _found(self) -> Mapping[str, ZipMember]:
        found: dict[str, ZipMember] = {}
        for member in ZipReader(self._window, self._name, self._limits.members).members():
            key = member.name.casefold()
            if key in found:
                raise self._refusal(f"it holds {member.name[:80]!r} twice")
            found[key] = member
        return found

    def _sheet_places(self) -> list[tuple[str, str]]:
        """Return the name of each table, and the member that holds it."""
        book = "xl/workbook.xml"
        if book not in self._members:
            raise self._refusal("it is a zip archive, but no Excel workbook")
        targets = {
            relation.get("Id"): _resolved(relation.get("Target"))
            for relation in self._tree("xl/_rels/workbook.xml.rels").each("Relationship")
            if relation.get("TargetMode") != "External"
        }
        places = [
            (sheet.get("name")[:64], targets.get(sheet.get("id"), ""))
            for sheet in self._tree(book).each("sheets", "sheet")
        ]
        return [(name, place) for name, place in places if place in self._members]

    def _shared(self) -> Sequence[str]:
        """Return the texts that tables refer to by number."""
        place, strings = "xl/sharedstrings.xml", Strings(self._name)
        if place in self._members:
            for _ in parsed(self._pieces(place, self._limits.part_bytes), strings, self._name):
                pass
        return strings.found

    def _tree(self, place: str) -> Element:
        if place not in self._members:
            raise self._refusal(f"it has no {place}")
        return parse_markup(b"".join(self._pieces(place, self._limits.index_bytes)), self._name)

    def _pieces(self, place: str, most_bytes: int) -> Iterator[bytes]:
        member = self._members[place]
        if member.size > most_bytes:
            raise self._refusal(
                f"{member.name[:80]!r} in it unpacks to {member.size} bytes; at most {most_bytes} are read"
            )
        member.refuse_method(self._name)
        if member.method == STORED:
            return _stored(self._window, member)
        return member.pieces(self._window, self._name)

    def _refusal(self, why: str) -> Refusal:
        return Refusal(f"cannot read {self._name}: {why}", remedy=_AGAIN)


@dataclass(frozen=True, slots=True)
class WorkbookSheet:
    """One table of an open workbook."""

    book: Workbook
    name: str
    place: str

    def rows(self) -> Iterator[Sequence[str]]:
        """Yield its rows as text; numbers as they are stored."""
        return self.book.rows(self.place, self.name)


def is_workbook(path: Path) -> bool:
    """Tell whether a file begins as a zip archive does."""
    with closing(Part.whole(path).open()) as window:
        return window.read(4, 0) == b"PK\x03\x04"


def _resolved(target: str) -> str:
    """Return the member that a relation of the workbook names."""
    bare = target[:512].replace("\\", "/")
    inner = bare if bare.startswith("/") else f"/xl/{bare}"
    return re.sub("^/+", "", posixpath.normpath(inner)).casefold()


def _stored(window: Window, member: ZipMember) -> Iterator[bytes]:
    at, end = member.at, member.at + member.size
    while at < end and (piece := window.read(min(_PIECE_BYTES, end - at), at)):
        yield piece
        at += len(piece)
