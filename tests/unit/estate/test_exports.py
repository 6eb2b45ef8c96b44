"""Exports of RVTools and lists of our own: the same estate whatever form it comes in."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.errors import MetierError, NoSuchThing, Refusal
from metier.estate.cells import number
from metier.estate.inventory import Estate, EstateVm, Power
from metier.estate.plain import COLUMNS
from metier.estate.reading import ExportedInventory
from metier.estate.tables import MOST_ROWS, records
from tests.unit.estate.exports import DISK, INFO, SAMPLE, disk, tabs, vm, write_csv, write_workbook

_GIB = 1 << 30


def read(path: Path) -> Estate:
    return ExportedInventory(path).read()


def by_name(estate: Estate) -> dict[str, EstateVm]:
    return {one.name: one for one in estate.vms}


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    return write_workbook(tmp_path / "export.xlsx", SAMPLE)


def test_a_workbook_is_read_tab_by_tab(workbook: Path) -> None:
    estate = read(workbook)
    vms = by_name(estate)
    assert list(vms) == ["web-1", "web 2 (old)", "db", "cluster-a", "mac"]
    assert estate.hosts == 2
    web, db = vms["web-1"], vms["db"]
    assert (web.power, web.memory_mib, web.cpus, web.firmware) == (Power.OFF, 4096, 2, "bios")
    assert web.disks is not None
    assert (web.capacity_bytes, web.disks[0].thin, web.disks[0].raw) == (40 * _GIB, True, "")
    assert db.disks is not None
    assert [one.raw for one in db.disks] == ["physical", ""]
    assert (db.snapshots, web.snapshots) == (2, 0)
    assert db.nics is not None
    assert [one.model for one in db.nics] == ["Flexible"]
    assert vms["web 2 (old)"].firmware == "uefi"
    assert vms["cluster-a"].disks is not None
    assert vms["cluster-a"].disks[0].is_shared


def test_every_form_of_an_export_says_the_same(workbook: Path, tmp_path: Path) -> None:
    expected = read(workbook).vms
    assert read(write_workbook(tmp_path / "inline.xlsx", SAMPLE, shares=False)).vms == expected
    assert read(write_csv(tmp_path / "csv", SAMPLE)).vms == expected
    assert read(write_csv(tmp_path / "german", SAMPLE, ";")).vms == expected
    workbook.rename(workbook.with_suffix(".csv"))
    assert read(workbook.with_suffix(".csv")).vms == expected


def test_older_headings_and_tabs_are_known(tmp_path: Path) -> None:
    older = {"VM": "vm", "Capacity MiB": "Capacity MB", "In Use MiB": "In use MB", "Memory": "MEMORY"}
    contents = {
        f"tab{name}": [[older.get(str(head), head) for head in table[0]], *table[1:]]
        for name, table in SAMPLE.items()
    }
    assert (
        read(write_workbook(tmp_path / "old.xlsx", contents)).vms
        == read(write_csv(tmp_path / "c", SAMPLE)).vms
    )


def test_a_tab_without_ids_is_joined_by_name(tmp_path: Path) -> None:
    last = DISK.index("VM ID")
    contents = {**SAMPLE, "vDisk": [list(line)[:last] for line in SAMPLE["vDisk"]]}
    assert (
        read(write_workbook(tmp_path / "e.xlsx", contents)).vms == read(write_csv(tmp_path / "c", SAMPLE)).vms
    )


def test_two_vms_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    contents = tabs(
        [vm("web", VM_ID="a"), vm("web", VM_ID="b", Memory=64)],
        [disk("web", VM_ID="b"), disk("web", VM_ID="a"), disk("web", VM_ID="b")],
    )
    found = read(write_csv(tmp_path / "c", contents)).vms
    assert [len(one.disks or ()) for one in found] == [1, 2]
    assert not any(one.is_ambiguous for one in found)


def test_two_vms_of_one_name_without_ids_are_named_as_such(tmp_path: Path) -> None:
    contents = tabs([vm("web", VM_ID=""), vm("web", VM_ID=""), vm("db")], [disk("web", VM_ID="")])
    found = read(write_csv(tmp_path / "c", contents)).vms
    assert [one.is_ambiguous for one in found] == [True, True, False]
    assert [len(one.disks or ()) for one in found] == [1, 1, 0]


def test_what_a_missing_tab_would_tell_is_unknown_and_not_none(tmp_path: Path) -> None:
    estate = read(write_workbook(tmp_path / "e.xlsx", {"vInfo": SAMPLE["vInfo"]}))
    web = estate.vms[0]
    assert (web.disks, web.nics, web.snapshots, estate.hosts) == (None, None, None, None)
    assert any("vDisk" in remark for remark in estate.remarks)


def test_one_csv_of_the_tab_vinfo_is_enough(tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "c", SAMPLE)
    (folder / "RVTools_tabvInfo.csv").rename(tmp_path / "some name.csv")
    assert len(read(tmp_path / "some name.csv").vms) == 5
    with pytest.raises(Refusal, match="not vInfo"):
        read(folder / "RVTools_tabvDisk.csv")


def test_a_list_of_our_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "Name;Power;Memory MiB;CPUs;Disks GiB;Thin;Controller;NICs;Firmware;"
        "Guest OS;Snapshots;Raw;Shared;TPM\n"
        "web-1;on;2.048;2;40+100;yes;pvscsi;vmxnet3+e1000;uefi;Debian 12;0;no;no;no\n"
        ";;;;;;;;;;;;;\n"
        "Büro;off;1024;1;8;;;;;Windows 10;2;yes;;ja\n"
        "empty\n",
        encoding="cp1252",
    )
    web, office, empty = read(path).vms
    assert (web.power, web.memory_mib, web.capacity_bytes) == (Power.ON, 2048, 140 * _GIB)
    assert web.disks is not None
    assert [(one.thin, one.controller) for one in web.disks] == [(True, "pvscsi")] * 2
    assert [one.model for one in web.nics or ()] == ["vmxnet3", "e1000"]
    assert (office.name, office.snapshots, office.has_tpm) == ("Büro", 2, True)
    assert office.disks is not None
    assert office.disks[0].raw == "unknown"
    assert (empty.disks, empty.memory_mib, empty.snapshots) == (None, None, None)


def test_a_list_with_a_wrong_size_names_the_vm(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("name,disks_gib\nweb,40+much\n", encoding="utf-8")
    with pytest.raises(Refusal, match=r"list\.csv, VM web: 'much' is no size"):
        read(path)


def test_utf_16_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("name\tmemory_mib\nwéb\t512\n", encoding="utf-16")
    assert [(one.name, one.memory_mib) for one in read(path).vms] == [("wéb", 512)]


def test_only_line_ends_end_lines(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes('name,cpus\r\na\u2028b\x0bc,1\r\n"d\r\ne",2\r\n'.encode())
    assert [(one.name, one.cpus) for one in read(path).vms] == [("a b c", 1), ("d e", 2)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1024", 1024), (" 1,024 ", 1024), ("1.024", 1024), ("1\u00a0024", 1024), ("12'288", 12288)),
        *(("1.5", 2), ("1,5", 2), ("2.0", 2), ("1E3", 1000), ("0", 0)),
        *(
            ("", None),
            ("-1", None),
            ("x", None),
            ("1e99", None),
            ("9" * 18, None),
            ("1,02,4", None),
            ("٣", None),
        ),
    ],
)
def test_numbers_are_read_as_people_and_programs_write_them(text: str, value: int | None) -> None:
    assert number(text) == value


class EndlessSheet:
    name = "vInfo"

    def rows(self) -> Iterator[Sequence[str]]:
        yield ["VM"]
        yield from repeat([""])


def test_a_table_without_end_is_left() -> None:
    with pytest.raises(Refusal, match=f"more than {MOST_ROWS} rows"):
        list(records(EndlessSheet(), {"vm": ("VM",)}, "vm"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "headings"),
        (b"a,b\n1,2\n", "headings"),
        (b"\xd0\xcf\x11\xe0rest", "old kind"),
        (b"\x7fELF\0\0", "no text"),
        (b'name,cpus\n"' + b"x" * 200_000 + b'",1\n', "no line of a table"),
        (b"name" + b",x" * 2000 + b"\n", "more than 1024 cells"),
        (b"PK\x03\x04 and no more", "zip directory"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "export"
    path.write_bytes(content)
    with pytest.raises(Refusal, match=words):
        read(path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoSuchThing, match="no file"):
        read(tmp_path / "none.xlsx")
    with pytest.raises(Refusal, match=r"no \.csv files"):
        read(tmp_path)
    with pytest.raises(Refusal, match="no tab vInfo"):
        read(write_workbook(tmp_path / "e.xlsx", {"vDisk": SAMPLE["vDisk"]}))
    with pytest.raises(Refusal, match="names no column 'VM'"):
        read(write_workbook(tmp_path / "f.xlsx", {"vInfo": [["Name of it"]]}))


def test_every_column_of_the_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    words = {
        "name": "web",
        "disks_gib": "8",
        "nics": "e1000",
        "power": "on",
        "firmware": "efi",
        "guest_os": "x",
    }
    for column in COLUMNS:
        value = words.get(column.name, "yes" if column.name not in ("host", "cluster", "folder") else "here")
        value = "7" if column.name in ("memory_mib", "cpus", "used_gib", "snapshots") else value
        extra = "" if column.name in ("name", "disks_gib") else ",disks_gib"
        path.write_text(f"name,{column.name}{extra}\nweb,{value}{',8' if extra else ''}\n", encoding="utf-8")
        (found,) = read(path).vms
        plain = EstateVm("web", disks=found.disks if column.name == "name" else None)
        assert found != plain or column.name == "name", column.name


CELLS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(["=1+1", "-", "1e999", "9" * 400, "\u202e", "%2f", "TRUE", "poweredOn", "notConfigured"]),
)


@given(st.lists(st.lists(CELLS, min_size=len(INFO), max_size=len(INFO)), max_size=4), st.data())
def test_no_value_of_a_cell_does_harm(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[Any]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    disks = data.draw(st.lists(st.lists(CELLS, min_size=len(DISK), max_size=len(DISK)), max_size=4))
    path = write_workbook(folder / "e.xlsx", {"vInfo": [INFO, *lines], "vDisk": [DISK, *disks]})
    try:
        estate = read(path)
    except MetierError:
        pytest.fail("a workbook that is one was refused")
    for one in estate.vms:
        assert one.name
        assert one.name == " ".join(one.name.split())
        assert one.memory_mib is None or 0 <= one.memory_mib <= 1 << 50
        assert all(disk.capacity_bytes is None or disk.capacity_bytes >= 0 for disk in one.disks or ())
