"""Tables and other forms of the same rows."""

import io
from typing import Any

import pytest

from metier.cli.output import list_text, printable, row_text, size, table
from metier.operations.paths import row_name

ROWS = [
    {"name": "web-1", "status": "normal", "memory_mib": 512, "engaged": True, "reason": None},
    {"name": "web-10", "status": "booting", "memory_mib": 16384, "engaged": False, "reason": "a; b"},
]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_columns_are_aligned_numbers_to_the_right() -> None:
    assert table(ROWS, ("name", "memory_mib", "engaged", "reason"), None).splitlines() == [
        "NAME    MEMORY MIB  ENGAGED  REASON",
        "web-1          512  yes      -",
        "web-10       16384  no       a; b",
    ]


def test_a_table_fits_the_terminal_by_cutting_the_widest_column() -> None:
    rows = [{"name": "web", "why": "x" * 200, "rule": "R-TEST-1"}]
    lines = table(rows, ("name", "why", "rule"), 40).splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert "xxx… " in lines[1]
    assert lines[1].startswith("web ")
    assert lines[1].endswith("R-TEST-1")


def test_piped_output_is_whole_and_plain() -> None:
    rows = [{"name": "x" * 300, "status": "normal"}]
    text = list_text(rows, ("name", "status"), "table", io.StringIO())
    assert "x" * 300 in text
    assert "\x1b" not in text


def test_a_terminal_gets_colour_unless_it_is_asked_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = list_text(ROWS, ("name", "status"), "table", Terminal())
    assert "\x1b[32mnormal\x1b[0m" in text
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in list_text(ROWS, ("name", "status"), "table", Terminal())


def test_colour_does_not_move_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    coloured = list_text(ROWS, ("status", "name"), "table", Terminal())
    for code in ("\x1b[32m", "\x1b[36m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == list_text(ROWS, ("status", "name"), "table", io.StringIO())


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "name"])
def test_an_empty_list_is_no_error(form: str) -> None:
    text = list_text([], ("name", "status"), form, io.StringIO())
    expected = {"table": "NAME  STATUS", "wide": "NAME  STATUS", "json": "[]", "yaml": "[]", "name": ""}
    assert text == expected[form]


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\nc\\u202ed"
    assert "\x1b" not in table([{"name": "\x1b[31m"}], ("name",), None)
    assert "\x1b" not in row_text({"name": "\x1b[31m", "list": ["\x1b x"]}, "table", io.StringIO())


def test_sizes_are_for_people() -> None:
    assert [size(count) for count in (0, 1023, 1024, 1 << 30, 1 << 60)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.0 GiB",
        "1024.0 PiB",
    ]
    assert "1.5 GiB" in table([{"size_bytes": 3 << 29}], ("size_bytes",), None)


def test_one_row_shows_lists_and_tables_within() -> None:
    row: dict[str, Any] = {
        "name": "web",
        "waiting_for": ["web/1 waits for a node", "web/2 too"],
        "depends_on": ["hosts", "db"],
        "requirements": {"memory_mib": 512},
        "slots": [{"slot": 1, "address": "10.0.0.1/24"}, {"slot": 2, "hostname": "www"}],
        "nothing": None,
    }
    assert row_text(row, "table", io.StringIO()).splitlines() == [
        "name:         web",
        "waiting for:",
        "  - web/1 waits for a node",
        "  - web/2 too",
        "depends on:   hosts,db",
        "requirements: memory_mib=512",
        "slots:",
        "  SLOT  ADDRESS      HOSTNAME",
        "     1  10.0.0.1/24  -",
        "     2  -            www",
    ]


def test_rows_are_named_by_name_version_or_id() -> None:
    assert row_name({"name": "w2k", "version": "raw"}) == "w2k@raw"
    assert row_name({"name": "web"}) == "web"
    assert row_name({"id": 7, "version": 1}) == "7"
