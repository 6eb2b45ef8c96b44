"""Reads CSV files as tables: comma, semicolon or tab between the cells, whichever the heading has."""

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from metier.domain.errors import Refusal

_MOST_BYTES = 128 << 20
_MOST_FILES = 1_000
_MOST_COLUMNS = 1_024
_SEPARATORS = ",;\t|"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class CsvSheet:
    """One CSV file; it is called as the tab it is, or as itself."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path

    def rows(self) -> Iterator[Sequence[str]]:
        """Yield its rows.

        Raises:
            Refusal: It cannot be read, is no table, or beyond the limits.
        """
        # Lines end as in files: other letters that Unicode calls line ends may stand in a cell.
        lines = io.StringIO(self._text(), newline="")
        heading = next((line for line in lines if line.strip()), "")
        lines.seek(0)
        reader = csv.reader(lines, delimiter=_separator(heading))
        try:
            for row in reader:
                if len(row) > _MOST_COLUMNS:
                    raise self._refusal(f"line {reader.line_num} has more than {_MOST_COLUMNS} cells")
                if row:
                    yield row
        except csv.Error as error:
            raise self._refusal(f"line {reader.line_num} is no line of a table") from error

    def _text(self) -> str:
        try:
            with self._path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise Refusal(f"cannot read {self.name}: {error.strerror}", remedy="name another file") from error
        if len(data) > _MOST_BYTES:
            raise self._refusal(f"it has more than {_MOST_BYTES} bytes, which is the limit")
        if b"\0" in data[:4096] and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise self._refusal("it is no text")
        coding = next((coding for mark, coding in _MARKS if data.startswith(mark)), "utf-8")
        try:
            return data.decode(coding)
        except UnicodeDecodeError:
            return data.decode("cp1252", "replace")  # what Windows wrote before it spoke UTF-8

    def _refusal(self, why: str) -> Refusal:
        return Refusal(f"cannot read {self.name}: {why}", remedy="export it again, as CSV in UTF-8")


def csv_sheets(folder: Path) -> list[CsvSheet]:
    """Return the CSV files of a folder, by name.

    Raises:
        Refusal: There are none, or too many.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and path.is_file())
    if not found or len(found) > _MOST_FILES:
        amount = "no" if not found else f"more than {_MOST_FILES}"
        raise Refusal(
            f"cannot read folder {folder.name}: it has {amount} .csv files",
            remedy="name the folder that RVTools wrote its RVTools_tabv….csv files to",
        )
    return [CsvSheet(path) for path in found]


def _separator(heading: str) -> str:
    return max(_SEPARATORS, key=heading.count)
