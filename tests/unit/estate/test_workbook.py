"""Workbooks from outside: none of the tricks that zip archives and XML allow gets anywhere."""

import zipfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.estate.workbook import Workbook, WorkbookLimits
from tests.unit.estate.exports import sheet_xml, workbook_parts, write_workbook, zipped

SHEET = "xl/worksheets/sheet1.xml"
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def rows(path: Path, limits: WorkbookLimits | None = None) -> list[Sequence[str]]:
    with closing(Workbook(path, limits)) as book:
        (sheet,) = book.sheets()
        return list(sheet.rows())


def with_sheet(tmp_path: Path, xml: str, shared: str = "") -> Path:
    parts = workbook_parts({"vInfo": []})
    parts[SHEET] = xml
    if shared:
        parts["xl/sharedStrings.xml"] = shared
    path = tmp_path / "export.xlsx"
    path.write_bytes(zipped(parts))
    return path


def sheet_of(inner: str) -> str:
    return f"<worksheet {_MAIN}><sheetData>{inner}</sheetData></worksheet>"


def test_gaps_kinds_and_formulas(tmp_path: Path) -> None:
    xml = sheet_of(
        '<row r="1"><c r="B1" t="str"><f>1+1</f><v>two</v></c><c r="D1" t="b"><v>1</v></c></row>'
        '<row r="3"><c/><c><v>1.5</v></c><c t="e"><v>#REF!</v></c><c t="s"><v>0</v></c></row>'
    )
    rich = '<r><t>ri</t></r><r><t xml:space="preserve">ch </t></r><rPh><t>no</t></rPh>'
    shared = f"<sst {_MAIN}><si>{rich}</si></sst>"
    assert rows(with_sheet(tmp_path, xml, shared)) == [["", "two", "", "1"], ["", "1.5", "", "rich "]]


def test_prefixed_names_are_understood(tmp_path: Path) -> None:
    cell = '<x:c t="str"><x:v>é</x:v></x:c>'
    main = _MAIN.replace("xmlns", "xmlns:x")
    xml = f"<x:worksheet {main}><x:sheetData><x:row>{cell}</x:row></x:sheetData></x:worksheet>"
    path = with_sheet(tmp_path, xml)
    assert rows(path) == [["é"]]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=5))
def test_every_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("text") / "e.xlsx"
    for shares in (True, False):
        (found,) = rows(write_workbook(path, {"vInfo": [texts]}, shares=shares))
        assert list(found) + [""] * (len(texts) - len(found)) == texts


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type"),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "document type"),
        ("<worksheet>", "no XML"),
        ("<a>&unknown;</a>", "no XML"),
        (sheet_of('<row><c r="AMK1"><v>1</v></c></row>'), "more than 1024 cells"),
        (sheet_of('<row><c r="XFD1"><v>1</v></c></row>'), "more than 1024 cells"),
        (sheet_of('<row><c r="ZZZZ1"><v>1</v></c></row>'), "names no cell"),
        (sheet_of('<row><c r="&#66;"><v>1</v></c></row>'), "names no cell"),
        (sheet_of('<row><c r="B1"><v>1</v></c><c r="A1"><v>1</v></c></row>'), "out of order"),
        (sheet_of('<row><c t="s"><v>0</v></c></row>'), "not there"),
        (sheet_of('<row><c t="s"><v>-1</v></c></row>'), "not there"),
        (sheet_of(f'<row><c t="s"><v>{"9" * 5000}</v></c></row>'), "not there"),
        (sheet_of(f'<row><c t="str"><v>{"x" * 40_000}</v></c></row>'), "32767 characters"),
        (sheet_of(f"<row>{'<c/>' * 1025}</row>"), "more than 1024 cells"),
        (f'<worksheet a="{"x" * (3 << 20)}"/>', "longer than 1 MiB"),
        (f"<worksheet><!--{'x' * (3 << 20)}--></worksheet>", "longer than 1 MiB"),
    ],
)
def test_hostile_tables_are_refused(tmp_path: Path, xml: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        rows(with_sheet(tmp_path, xml))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = with_sheet(tmp_path, sheet_of(" " * 200_000))
    assert path.stat().st_size < 4_000
    assert rows(path) == []
    with pytest.raises(Refusal, match=r"unpacks to 2\d{5} bytes; at most 100000 are read"):
        rows(path, WorkbookLimits(part_bytes=100_000))
    with pytest.raises(Refusal, match="which is the limit"):
        rows(path, WorkbookLimits(file_bytes=100))
    with pytest.raises(Refusal, match="which is the limit"):
        rows(path, WorkbookLimits(members=2))


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    size = len(sheet_of(" " * 200_000))
    path = with_sheet(tmp_path, sheet_of(" " * 200_000))
    data = path.read_bytes()
    assert data.count(size.to_bytes(4, "little")) >= 2
    path.write_bytes(data.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(Refusal, match="damaged"):
        rows(path)


def test_links_to_other_files_are_not_followed(tmp_path: Path) -> None:
    for target, mode in (("../../../etc/passwd", ""), ("worksheets/sheet1.xml", 'TargetMode="External"')):
        parts = workbook_parts({"vInfo": [["VM"]]})
        place = "xl/_rels/workbook.xml.rels"
        parts[place] = parts[place].replace('Target="worksheets/sheet1.xml"', f'{mode} Target="{target}"')
        path = tmp_path / "e.xlsx"
        path.write_bytes(zipped(parts))
        with closing(Workbook(path)) as book:
            assert book.sheets() == []


def test_a_workbook_that_says_two_things_at_once_is_refused(tmp_path: Path) -> None:
    parts = workbook_parts({"vInfo": [["VM"]]})
    path = tmp_path / "e.xlsx"
    path.write_bytes(zipped({**parts, "XL/Worksheets/Sheet1.xml": "<a/>"}))
    with pytest.raises(Refusal, match="twice"):
        rows(path)
    for missing in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels"):
        path.write_bytes(zipped({name: text for name, text in parts.items() if name != missing}))
        with pytest.raises(Refusal, match="no"):
            rows(path)


def test_a_workbook_may_be_stored_without_packing(tmp_path: Path) -> None:
    path = tmp_path / "e.xlsx"
    path.write_bytes(zipped(workbook_parts({"vInfo": [["VM", 1, True]]}), zipfile.ZIP_STORED))
    assert rows(path) == [["VM", "1", "1"]]


@given(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=4))
def test_damage_anywhere_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, at: int, damage: bytes
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "e.xlsx"
    data = zipped(workbook_parts({"vInfo": [["VM", "Powerstate"], ["web", "poweredOn"]]}))
    at %= len(data)
    for bad in (data[:at], data[:at] + damage + data[at + len(damage) :]):
        path.write_bytes(bad)
        try:
            with closing(Workbook(path)) as book:
                for sheet in book.sheets():
                    list(sheet.rows())
        except Refusal:
            continue


def test_a_table_is_read_as_it_comes(tmp_path: Path) -> None:
    path = with_sheet(tmp_path, sheet_xml([[f"row {number}", number] for number in range(60_000)], None))
    with closing(Workbook(path)) as book:
        lines = iter(book.sheets()[0].rows())
        assert next(lines) == ["row 0", "0"]
        assert sum(1 for _ in lines) == 59_999
