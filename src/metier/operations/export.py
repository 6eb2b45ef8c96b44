"""The whole site as one document, to be simulated elsewhere."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from metier.operations.parsing import in_range
from metier.operations.registry import Row, View, option, reads

_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSite:
    """How much of the journal goes with it."""

    journal: int = option("how many of the last journal entries to add, 0 to 10000", 1000)


@reads("", "export-site", ExportSite, examples=("metier export-site", "metier export-site --journal 0"))
def export_site(view: View, arguments: ExportSite) -> Row:
    """Write all that plans are made from as one JSON document, for simulating it elsewhere.

    It has every record and the end of the journal.  Settings of drivers are left out,
    with the URLs, commands and passwords in them; names and addresses are not.
    """
    journal = in_range(arguments.journal, "--journal", 0, _MOST)
    return view.services.export_site(view.fleet, view.now, journal=journal)


def document_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a document as JSON text, a line for each record and entry: lines by which faults are told."""
    yield "{"
    for place, (key, value) in enumerate(document.items()):
        comma = "" if place == len(document) - 1 else ","
        if isinstance(value, list) and value:
            yield from _array(f"  {_text(key)}: ", value, "  ", comma)
        elif isinstance(value, Mapping) and value:
            yield f"  {_text(key)}: {{"
            yield from _object(value)
            yield f"  }}{comma}"
        else:
            yield f"  {_text(key)}: {_text(value)}{comma}"
    yield "}"


def _object(value: Mapping[str, Any]) -> Iterator[str]:
    for place, (key, inner) in enumerate(value.items()):
        comma = "" if place == len(value) - 1 else ","
        if isinstance(inner, list) and inner:
            yield from _array(f"    {_text(key)}: ", inner, "    ", comma)
        else:
            yield f"    {_text(key)}: {_text(inner)}{comma}"


def _array(start: str, items: list[Any], indent: str, comma: str) -> Iterator[str]:
    yield f"{start}["
    for item in items[:-1]:
        yield f"{indent}  {_text(item)},"
    yield f"{indent}  {_text(items[-1])}"
    yield f"{indent}]{comma}"


# Escaped to ASCII, so that the file is the same whatever the locale of whoever writes or reads it.
_text = json.JSONEncoder(separators=(", ", ": ")).encode
