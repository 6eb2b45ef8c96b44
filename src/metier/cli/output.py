"""Printing rows: as tables for people, as JSON, YAML or names for programs."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import click

from metier.operations.paths import row_name

Row = Mapping[str, Any]
FORMS = ("table", "wide", "json", "yaml", "name")

_GAP = "  "
_NARROWEST = 8
_USUAL_WIDTH = 80
_COLOURS = {
    "normal": "32",
    "active": "32",
    "done": "32",
    "critical": "31",
    "failed": "31",
    "unreachable": "31",
    "warning": "33",
    "waiting for fence": "33",
    "booting": "36",
    "starting": "36",
    "running": "36",
}
_COLOURED = frozenset({"status", "state", "severity", "health"})
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def list_text(rows: Sequence[Row], columns: Sequence[str], form: str, stream: TextIO) -> str:
    """Return a list in the given form, without its last line end."""
    if form == "name":
        return "\n".join(row_name(row) for row in rows)
    if form in ("json", "yaml"):
        return _data([dict(row) for row in rows], form)
    shown = list(columns) or (list(rows[0]) if rows else [])
    if form == "wide" and rows:
        shown += [key for key in rows[0] if key not in shown]
    width = terminal_width(stream) if form == "table" else None
    return table(rows, shown, width, colour=has_colour(stream))


def row_text(row: Any, form: str, stream: TextIO) -> str:
    """Return one row in the given form; a table leaves out what is unknown or empty."""
    if form in ("json", "yaml"):
        return _data(row, form)
    if not isinstance(row, Mapping):
        return _text(row)
    if form == "name":
        return row_name(row)
    shown = {key: value for key, value in row.items() if form == "wide" or value not in (None, "", [], {})}
    label_width = max((len(_header(key)) for key in shown), default=0)
    colour = has_colour(stream)
    return "\n".join(_entry(key, value, label_width, colour=colour) for key, value in shown.items())


def table(rows: Sequence[Row], columns: Sequence[str], width: int | None, *, colour: bool = False) -> str:
    """Return aligned columns under their headers, cut to `width` where it is given."""
    cells = [[_cell(column, row.get(column)) for column in columns] for row in rows]
    headers = [_header(column).upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    if width is not None:
        widths = _fitted(widths, width)
    right = [bool(rows) and all(_is_number(row.get(column)) for row in rows) for column in columns]
    plain = [""] * len(columns)
    lines = [_line(headers, widths, right, plain)]
    lines += [_line(row, widths, right, _colours(row, columns) if colour else plain) for row in cells]
    return "\n".join(lines)


def size(count: float) -> str:
    """Return a number of bytes as a person says it: `1.5 GiB`."""
    for unit in _UNITS[:-1]:
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: names and messages come from outside."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def indented(text: str, space: str = "  ") -> list[str]:
    """Return the lines of a text, set in, without anything that could steer a terminal."""
    return [f"{space}{printable(line.expandtabs())}".rstrip() for line in text.splitlines()]


def has_colour(stream: TextIO) -> bool:
    """Tell whether to colour what goes to `stream`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def emit(text: str) -> None:
    """Write text and a line end to standard output; ends the command if nobody reads any more."""
    try:
        sys.stdout.write(f"{text}\n" if text else "")
        sys.stdout.flush()
    except BrokenPipeError as error:
        # Whoever read had enough, which is no failure; and Python must not try again at its end.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
        raise click.exceptions.Exit(0) from error


def _data(value: Any, form: str) -> str:
    if form == "json":
        import json

        return json.dumps(value, indent=2, ensure_ascii=False)
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
    return text.rstrip("\n")


def _header(column: str) -> str:
    return column.removesuffix("_bytes").replace("_", " ")


def _cell(column: str, value: Any) -> str:
    if column.endswith("_bytes") and _is_number(value) and value is not None:
        return size(value)
    return _text(value)


def _text(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(str(key))}={_text(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        separator = "; " if any(" " in str(inner) for inner in value) else ","
        return separator.join(_text(inner) for inner in value)
    return printable(_without_fraction(str(value)))


def _without_fraction(text: str) -> str:
    """Return a time without the parts of a second that nobody reads; other text as it is."""
    is_time = text.endswith("Z") and text[10:11] == "T" and text[19:20] == "." and text[20:-1].isdecimal()
    return f"{text[:19]}Z" if is_time else text


def _entry(key: str, value: Any, width: int, *, colour: bool) -> str:
    label = f"{_header(key)}:".ljust(width + 1)
    if isinstance(value, str) and "\n" in value:
        return "\n".join([f"{_header(key)}:", *indented(value)])
    if isinstance(value, Mapping) and any("\n" in str(inner) for inner in value.values()):
        blocks = ((printable(str(name)), indented(str(inner), "    ")) for name, inner in value.items())
        return "\n".join(
            [f"{_header(key)}:", *(line for name, block in blocks for line in (f"  {name}:", *block))]
        )
    if isinstance(value, list) and value and all(isinstance(inner, Mapping) for inner in value):
        columns = list(dict.fromkeys(column for inner in value for column in inner))
        inner_table = table(value, columns, None, colour=colour)
        return f"{_header(key)}:\n" + "\n".join(f"  {line}".rstrip() for line in inner_table.splitlines())
    if isinstance(value, list) and any(" " in str(inner) for inner in value):
        return f"{_header(key)}:\n" + "\n".join(f"  - {_text(inner)}" for inner in value)
    text = _cell(key, value)
    if colour:
        text = painted(text, _colours([text], [key])[0])
    return f"{label} {text}"


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], colours: Sequence[str]) -> str:
    parts = []
    for cell, width, to_right, colour in zip(cells, widths, right, colours, strict=True):
        text = _cut(cell, width)
        padding = " " * (width - len(text))
        text = painted(text, colour)
        parts.append(padding + text if to_right else text + padding)
    return _GAP.join(parts).rstrip()


def painted(text: str, colour: str) -> str:
    """Return text in a colour given as the terminal's number for it; as it is without one."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _fitted(widths: Sequence[int], width: int) -> list[int]:
    """Return narrower columns until they fit: always the widest first."""
    fitted = list(widths)
    excess = sum(fitted) + len(_GAP) * (len(fitted) - 1) - width
    while excess > 0 and max(fitted, default=0) > _NARROWEST:
        widest = fitted.index(max(fitted))
        rest = [one for index, one in enumerate(fitted) if index != widest]
        floor = max(max(rest, default=0) - 1, _NARROWEST)
        cut = min(excess, max(fitted[widest] - floor, 1))
        fitted[widest] -= cut
        excess -= cut
    return fitted


def _colours(cells: Sequence[str], columns: Sequence[str]) -> list[str]:
    return [
        _COLOURS.get(cell, "") if column in _COLOURED else ""
        for column, cell in zip(columns, cells, strict=True)
    ]


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def terminal_width(stream: TextIO) -> int | None:
    """Return the width of the terminal that `stream` is, None if it is none."""
    if not stream.isatty():
        return None
    if (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        # Some terminals do not know their width and say 0.
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except OSError:
        return _USUAL_WIDTH
