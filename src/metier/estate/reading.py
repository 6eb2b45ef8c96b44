"""Opens an export by what it is, not by what it is called."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from metier.domain.errors import NoSuchThing, Refusal
from metier.estate import plain, rvtools
from metier.estate.cells import known_as
from metier.estate.csv_files import CsvSheet, csv_sheets
from metier.estate.inventory import Estate
from metier.estate.workbook import Workbook, is_workbook

# Old Excel files begin so; RVTools never wrote them, but a person may have saved one as such.
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True, slots=True)
class ExportedInventory:
    """An inventory out of an RVTools workbook, its CSV files, or a CSV with our own columns."""

    path: Path

    def read(self) -> Estate:
        """Return the estate; see `Inventory`."""
        try:
            if self.path.is_dir():
                return rvtools.estate_of(csv_sheets(self.path), f"RVTools CSV files in {self.path.name}")
            if not self.path.is_file():
                raise NoSuchThing(
                    f"there is no file {self.path}", remedy="name an export of RVTools, or a CSV"
                )
            return self._of_file()
        except OSError as error:
            raise Refusal(f"cannot read {self.path}: {error.strerror}", remedy="name another file") from error

    def _of_file(self) -> Estate:
        name = self.path.name
        if is_workbook(self.path):
            with closing(Workbook(self.path)) as book:
                return rvtools.estate_of(book.sheets(), f"RVTools workbook {name}")
        with self.path.open("rb") as file:
            if file.read(4) == _OLD_EXCEL:
                raise Refusal(
                    f"cannot read {name}: it is an Excel file of the old kind, or protected by a password",
                    remedy="save it as .xlsx without a password",
                )
        return _of_csv(CsvSheet(self.path), name)


def _of_csv(sheet: CsvSheet, name: str) -> Estate:
    heading = {known_as(text) for text in next(sheet.rows(), ())}
    if "vm" in heading:
        if not heading >= {"cpus", "memory"}:
            raise Refusal(
                f"cannot read {name}: it is a tab of an RVTools export, but not vInfo, which lists the VMs",
                remedy="name the folder that all its CSV files are in",
            )
        return rvtools.estate_of((_Renamed(sheet),), f"RVTools tab vInfo in {name}")
    if "name" in heading:
        return plain.estate_of(sheet, f"list {name}")
    raise Refusal(
        f"cannot read {name}: its first line has neither RVTools' headings nor a column 'name'",
        remedy="give the columns headings: name, power, memory_mib, cpus, disks_gib, guest_os, firmware",
    )


class _Renamed:
    """The one tab of an export that was named by itself, whatever its file is called."""

    name = "vInfo"

    def __init__(self, sheet: CsvSheet) -> None:
        self.rows = sheet.rows
