"""The exported site: everything that plans are made from, as one JSON document, and how it is read back.

    {"format": "metier-site", "version": 1, "metier": "0.1.0", "exported": "2026-03-01T12:00:00Z",
     "generation": 4711, "journal_id": 90210,
     "records": {"node": [{"name": "host-1", …}], "tier": […], "observed": [{"node": "host-1", …}], …},
     "journal": [{"id": 90210, "at": …, "kind": "action", …}]}

A record is written as the store writes it; one that does not name its own key, an
observation, has it as `node`.

Left out: all settings of drivers (their URLs, commands and passwords), of which only the
driver's name stays; the folders of archives that jobs import; and where drivers and
people wrote something (problems, alerts, the journal) every URL, and every word that is a
setting or a telling part of one.  What stays is what plans are made from and reasons are
told with: names, addresses and host names, requirements, what was seen, and who gave
which order and why.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from typing import Any

from metier import __version__
from metier.domain.errors import WrongUsage
from metier.domain.fleet import RECORD_TYPES, SITE, Changes, Fleet, Kind
from metier.domain.ids import ImageRef, SlotId
from metier.store.api import Entry
from metier.store.codec import form_of
from metier.store.form import Unreadable
from metier.store.journal_file import ENTRY, JournalReader
from metier.store.json_text import BAD, Faults, JsonText, short
from metier.store.records import without_collecting
from metier.store.site_faults import Fault, faults_of, record_faults
from metier.store.site_secrets import Censor

FORMAT = "metier-site"
VERSION = 1

MOST_RECORDS = 1_000_000
"""Most records of an exported site: 100,000 nodes have a few each."""

_FORMS = {kind: form_of(record_type) for kind, record_type in RECORD_TYPES.items()}
_KEY_FIELDS = {
    Kind.NODE: "name",
    Kind.TIER: "name",
    Kind.SLOT: "id",
    Kind.TROUBLE: "tier",
    Kind.IMAGE: "ref",
    Kind.ALERT: "id",
    Kind.JOB: "id",
    Kind.PROCEDURE: "id",
    Kind.OBSERVED: "node",
    Kind.TIMING: "id",
}
_REQUIRED = {
    kind: tuple(
        part.name
        for part in fields(record_type)
        if part.default is MISSING and part.default_factory is MISSING
    )
    for kind, record_type in RECORD_TYPES.items()
}
_REMEDY = "export it anew with `metier export-site`"


@dataclass(frozen=True, slots=True)
class SiteFile:
    """An exported site, read and found to be one that can be planned from.

    Attributes:
        exported: When the fleet was as it is here.
        journal_id: Id of the last journal entry that the fleet has in it; 0 for none.
        entries: The end of the journal, oldest first; as many as were asked for.
        metier: The version of Metier that wrote it.
    """

    fleet: Fleet
    exported: datetime
    journal_id: int
    entries: tuple[Entry, ...]
    metier: str


def dump_site(fleet: Fleet, now: datetime, entries: Sequence[Entry], journal_id: int) -> dict[str, Any]:
    """Return the document of a site, JSON-ready, without secrets.

    Args:
        fleet: The snapshot to write.
        now: When it was taken.
        entries: The end of the journal, oldest first.
        journal_id: Id of the last entry that `fleet` has in it.
    """
    censor = Censor(fleet)
    records: dict[str, list[Any]] = {}
    for kind, by_key in fleet.records().items():
        raws = [censor.record(kind, _FORMS[kind].write(record)) for record in by_key.values()]
        if kind is Kind.OBSERVED:
            raws = [{"node": name, **raw} for name, raw in zip(by_key, raws, strict=True)]
        records[kind.value] = raws
    return {
        "format": FORMAT,
        "version": VERSION,
        "metier": __version__,
        "exported": _MOMENT.write(now),
        "generation": fleet.generation,
        "journal_id": journal_id,
        "records": records,
        "journal": [ENTRY.write(censor.entry(entry)) for entry in entries],
    }


def read_site(text: str, name: str) -> SiteFile:
    """Read an exported site.

    Args:
        text: The document.
        name: What the operator calls it, for messages.

    Raises:
        WrongUsage: It is no JSON, no exported site, of a version that this Metier does
            not know, has a record that is no such record, or describes a site that
            cannot be; the message has every fault, with line, kind, key and field.
    """
    reader = _Reader(JsonText(text, name))
    with without_collecting():
        reader.read()
        reader.check_header()
        return reader.site()


def _count(raw: Any) -> int:
    if type(raw) is not int or raw < 0:
        raise Unreadable(f"{raw} is no count")
    return raw


_MOMENT = form_of(datetime)
_HEADER: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "format": ("a word", form_of(str).decode),
    "version": ("a whole number", _count),
    "metier": ("a word", form_of(str).decode),
    "exported": ("a moment of RFC 3339", _MOMENT.decode),
    "generation": ("a whole number", _count),
    "journal_id": ("a whole number", _count),
}


class _Reader:
    """One reading of one document.

    What is wrong with records is held back until it is known that this is an exported
    site of this version, for which these are faults at all.
    """

    def __init__(self, source: JsonText) -> None:
        self._source = source
        self._faults = Faults(source)
        self._header: dict[str, Any] = {}
        self._parts: dict[str, int] = {}
        self._records: Changes = {kind: {} for kind in Kind}
        self._places: dict[tuple[Kind, Any], int] = {}
        self._journal = JournalReader(source, self._faults)
        self._count = 0

    def read(self) -> None:
        source = self._source
        if source.peek() != "{":
            source.value()
            raise self._no_site(0)
        for key in source.members():
            self._parts[key] = source.at
            if key == "records" and source.peek() == "{":
                self._read_records()
            elif key == "journal" and source.peek() == "[":
                for _ in source.items():
                    self._journal.read()
            else:
                self._header[key] = source.value()
        source.end()

    def check_header(self) -> None:
        """Raise WrongUsage if this is another kind of document, or of another version, or has faults."""
        found = self._header
        if found.get("format") != FORMAT:
            raise self._no_site(self._parts.get("format", 0))
        if found.get("version") != VERSION:
            raise self._other_version(found.get("version"))
        for key, (what, decode) in _HEADER.items():
            try:
                found[key] = decode(found[key])
            except KeyError:
                self._faults.add(None, f"{key} is missing")
            except (Unreadable, OverflowError):
                self._faults.add(self._parts[key], f"{key} {short(found[key])} is not {what}")
        if "records" not in self._parts:
            self._faults.add(None, "records is missing")
        for key in sorted(found.keys() - _HEADER.keys()):
            self._faults.add(self._parts[key], self._odd_part(key))
        self._faults.check("an exported site", _REMEDY)

    def site(self) -> SiteFile:
        """Return what was read; raises WrongUsage if no site can be so."""
        fleet = Fleet.of(self._records, self._header["generation"])
        for fault in faults_of(fleet):
            self._add(fault)
        self._faults.check("an exported site", "mend the file, or export it anew with `metier export-site`")
        return SiteFile(
            fleet,
            self._header["exported"],
            self._header["journal_id"],
            tuple(self._journal.entries),
            self._header["metier"],
        )

    def _read_records(self) -> None:
        for word in self._source.members():
            at = self._source.at
            kind = Kind(word) if word in _KINDS else None
            if kind is None or self._source.peek() != "[":
                self._source.value()
                why = "the records are no array" if kind else "this version knows no records of that kind"
                self._faults.add(at, f"{short(word)}: {why}")
                continue
            for _ in self._source.items():
                self._read_record(kind)

    def _read_record(self, kind: Kind) -> None:
        self._count += 1
        if self._count > MOST_RECORDS:
            raise WrongUsage(
                f"cannot read {self._source.name}: it has more than {MOST_RECORDS} records",
                code=BAD,
                remedy="give a site of at most 100,000 nodes",
            )
        at = self._source.at
        raw = self._source.value()
        try:
            key, record = _record(kind, raw)
        except Unreadable as error:
            self._faults.add(at, f"{_label(kind, raw)}: {error}")
            return
        if key in self._records[kind]:
            self._faults.add(at, f"{kind} {key}: it is there twice", first=self._places[kind, key])
            return
        self._records[kind][key], self._places[kind, key] = record, at
        for why in record_faults(kind, key, record):
            self._add(Fault(kind, key, why))

    def _add(self, fault: Fault) -> None:
        self._faults.add(self._places.get((fault.kind, fault.key)), str(fault))

    def _odd_part(self, key: str) -> str:
        if key in ("records", "journal"):
            return f"{key} is no {'object' if key == 'records' else 'array'}"
        return f"this version knows no part {short(key)}"

    def _no_site(self, at: int) -> WrongUsage:
        line = self._source.line_of(at)
        return WrongUsage(
            f'cannot read {self._source.name}: line {line} does not say "format": "{FORMAT}", '
            "so it is no exported site",
            code=BAD,
            remedy="write one with `metier export-site --out FILE`",
        )

    def _other_version(self, version: object) -> WrongUsage:
        line = self._source.line_of(self._parts.get("version", self._parts["format"]))
        writer = self._header.get("metier")
        by = f"Metier {short(writer)}" if isinstance(writer, str) else "an unknown Metier"
        form = "no form that it tells" if version is None else f"form {short(version)}"
        return WrongUsage(
            f"cannot read {self._source.name}: line {line}: it was exported by {by} in {form}; "
            f"this is Metier {__version__}, which reads form {VERSION}",
            code="other-version",
            remedy="use the version of Metier that wrote it, or export the site anew with this one",
        )


_KINDS = frozenset(Kind)


def _record(kind: Kind, raw: Any) -> tuple[Any, Any]:
    """Return key and record of what the document has for a record; raises Unreadable."""
    if type(raw) is not dict:
        raise Unreadable("it is no object")
    body = dict(raw)
    key = body.pop("node", None) if kind is Kind.OBSERVED else None
    missing = [name for name in _REQUIRED[kind] if name not in body]
    if kind is Kind.OBSERVED and type(key) is not str:
        missing.append("node")
    if missing:
        raise Unreadable(f"{', '.join(missing)} is missing")
    try:
        record = _FORMS[kind].decode(body)
    except OverflowError as error:
        raise Unreadable("a moment or a number in it is out of all bounds") from error
    if kind is Kind.POOL:
        return SITE, record
    return (key if kind is Kind.OBSERVED else getattr(record, _KEY_FIELDS[kind])), record


def _label(kind: Kind, raw: Any) -> str:
    """Return what a record that cannot be read is called, as far as that can be told."""
    key = raw.get(_KEY_FIELDS.get(kind, "")) if type(raw) is dict else None
    if type(key) is list and len(key) == 2 and all(type(part) in (str, int) for part in key):
        key = str(ImageRef(*key) if kind is Kind.IMAGE else SlotId(*key))
    return kind.value if key is None else f"{kind} {short(key)}"
