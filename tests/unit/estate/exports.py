"""Exports as RVTools writes them, made at test time."""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

Table = Sequence[Sequence[Any]]
Tabs = Mapping[str, Table]

INFO = (
    *("VM", "Powerstate", "Template", "SRM Placeholder", "Connection state", "Consolidation Needed"),
    *("CPUs", "Memory", "NICs", "Disks", "In Use MiB", "FT State", "EFI Secure boot", "Firmware", "Cluster"),
    *("Host", "OS according to the configuration file", "VM ID", "VI SDK Server"),
)
DISK = (
    *("VM", "Disk", "Capacity MiB", "Raw", "Disk Mode", "Sharing mode", "Thin", "Controller"),
    *("Shared Bus", "Raw Comp. Mode", "VM ID", "VI SDK Server"),
)
NIC = ("VM", "NIC label", "Adapter", "Network", "VM ID", "VI SDK Server")
SNAPSHOT = ("VM", "Name", "VM ID", "VI SDK Server")
HOST = ("Host", "Datacenter")

_INFO_USUAL: Mapping[str, Any] = {
    "Powerstate": "poweredOff",
    "Template": False,
    "SRM Placeholder": False,
    "Connection state": "connected",
    "Consolidation Needed": False,
    "CPUs": 2,
    "Memory": 4096,
    "In Use MiB": 10_240,
    "FT State": "notConfigured",
    "Firmware": "bios",
    "OS according to the configuration file": "Ubuntu Linux (64-bit)",
    "VI SDK Server": "vc.example.org",
}
_DISK_USUAL: Mapping[str, Any] = {
    "Disk": "Hard disk 1",
    "Capacity MiB": 40_960,
    "Raw": False,
    "Disk Mode": "persistent",
    "Sharing mode": "sharingNone",
    "Thin": True,
    "Controller": "VMware paravirtual SCSI",
    "Shared Bus": "noSharing",
    "VI SDK Server": "vc.example.org",
}


def row(heading: Sequence[str], *usual: Mapping[str, Any], **own: Any) -> list[Any]:
    """Return a row under `heading`; keywords have _ for spaces."""
    values: dict[str, Any] = {}
    for one in usual:
        values |= one
    values |= {key.replace("_", " "): value for key, value in own.items()}
    return [values.get(name, "") for name in heading]


def vm(name: str, **own: Any) -> list[Any]:
    return row(INFO, _INFO_USUAL, {"VM": name, "VM ID": f"id-{name}"}, **own)


def disk(name: str, **own: Any) -> list[Any]:
    return row(DISK, _DISK_USUAL, {"VM": name, "VM ID": f"id-{name}"}, **own)


def nic(name: str, adapter: str = "Vmxnet3", **own: Any) -> list[Any]:
    return row(
        NIC, {"VM": name, "VM ID": f"id-{name}", "Adapter": adapter, "VI SDK Server": "vc.example.org"}, **own
    )


def snapshot(name: str) -> list[Any]:
    return row(
        SNAPSHOT, {"VM": name, "VM ID": f"id-{name}", "Name": "before", "VI SDK Server": "vc.example.org"}
    )


def tabs(
    vms: Table, disks: Table = (), nics: Table = (), snapshots: Table = (), hosts: int = 2
) -> dict[str, Table]:
    return {
        "vInfo": [INFO, *vms],
        "vDisk": [DISK, *disks],
        "vNetwork": [NIC, *nics],
        "vSnapshot": [SNAPSHOT, *snapshots],
        "vHost": [HOST, *([f"esx-{number}", "DC"] for number in range(hosts))],
    }


SAMPLE = tabs(
    [
        vm("web-1"),
        vm("web 2 (old)", Powerstate="poweredOn", Firmware="efi"),
        vm("db", Powerstate="poweredOn"),
        vm("cluster-a"),
        vm("mac", **{"OS according to the configuration file": "Apple macOS 12 (64-bit)"}),
    ],
    [
        disk("web-1"),
        disk("web 2 (old)", Thin=False, Controller="LSI Logic"),
        disk("db", Capacity_MiB=1_048_576, Raw=True, **{"Raw Comp. Mode": "physicalMode"}),
        disk("db", Disk="Hard disk 2", Disk_Mode="independent_persistent"),
        disk("cluster-a", Sharing_mode="sharingMultiWriter"),
        disk("mac"),
    ],
    [nic("web-1"), nic("db", "Flexible")],
    [snapshot("db"), snapshot("db")],
)


def write_csv(folder: Path, contents: Tabs, separator: str = ",") -> Path:
    folder.mkdir()
    for name, table in contents.items():
        out = io.StringIO()
        csv.writer(out, delimiter=separator).writerows(table)
        (folder / f"RVTools_tab{name}.csv").write_text(out.getvalue(), encoding="utf-8-sig")
    return folder


# --- workbooks ------------------------------------------------------------------------------------

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_LINKS = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
_RELATIONS = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'


_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_FRAME = {
    "[Content_Types].xml": (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/>'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/xl/workbook.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
        '<Override PartName="/xl/sharedStrings.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/></Types>'
    ),
    "_rels/.rels": (
        f'<Relationships {_RELATIONS}><Relationship Id="rId1" Type="{_OFFICE}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>'
    ),
}


def write_workbook(path: Path, contents: Tabs, *, shares: bool = True) -> Path:
    """Write a workbook; its texts are shared between its cells, or stand in them."""
    path.write_bytes(zipped(workbook_parts(contents, shares=shares)))
    return path


def workbook_parts(contents: Tabs, *, shares: bool = True) -> dict[str, str]:
    strings: dict[str, int] | None = {} if shares else None
    sheets, relations, parts = "", "", dict(_FRAME)
    for number, (name, table) in enumerate(contents.items(), 1):
        sheets += f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
        relations += (
            f'<Relationship Id="rId{number}" Type="{_OFFICE}/worksheet" '
            f'Target="worksheets/sheet{number}.xml"/>'
        )
        parts[f"xl/worksheets/sheet{number}.xml"] = sheet_xml(table, strings)
    parts["xl/workbook.xml"] = f"<workbook {_MAIN} {_LINKS}><sheets>{sheets}</sheets></workbook>"
    parts["xl/_rels/workbook.xml.rels"] = f"<Relationships {_RELATIONS}>{relations}</Relationships>"
    if strings is not None:
        items = "".join(f"<si><t>{_text(text)}</t></si>" for text in strings)
        parts["xl/sharedStrings.xml"] = f"<sst {_MAIN}>{items}</sst>"
    return parts


def sheet_xml(table: Table, strings: dict[str, int] | None) -> str:
    lines = []
    for number, cells in enumerate(table, 1):
        inner = "".join(
            _cell(f"{_letters(place)}{number}", value, strings) for place, value in enumerate(cells)
        )
        lines.append(f'<row r="{number}">{inner}</row>')
    return f"<worksheet {_MAIN}><sheetData>{''.join(lines)}</sheetData></worksheet>"


def zipped(parts: Mapping[str, str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return out.getvalue()


def _cell(place: str, value: Any, strings: dict[str, int] | None) -> str:
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value}</v></c>'
    if value == "":
        return ""
    if strings is None:
        return f'<c r="{place}" t="inlineStr"><is><t>{_text(value)}</t></is></c>'
    return f'<c r="{place}" t="s"><v>{strings.setdefault(value, len(strings))}</v></c>'


def _letters(place: int) -> str:
    letters, rest = "", place + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(65 + letter) + letters
    return letters


def _text(text: str) -> str:
    """Return text as it stands in XML; what XML cannot hold is written as Excel does."""
    hidden = "".join(
        f"_x{ord(one):04X}_" if _is_hidden(one) else one for one in text.replace("_x", "_x005F_x")
    )
    return escape(hidden)


def _is_hidden(letter: str) -> bool:
    return (letter < " " or letter in "\ufffe\uffff") and letter not in "\t\n"
