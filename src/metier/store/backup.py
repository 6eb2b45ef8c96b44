"""The backup format: JSON lines between a header and an end that proves the rest.

    {"metier-backup":1,"schema":1,"version":"0.1.0","site":"…","generation":7,"epoch":3}
    {"kind":"node","key":"n1","generation":7,"body":{…}}
    {"entry":12,"body":{…}}
    {"end":2,"sha256":"…"}

`end` counts the lines between, `sha256` is taken over all bytes before that line.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from metier import __version__
from metier.domain.errors import Refusal
from metier.domain.fleet import Kind
from metier.store.codec import form_of
from metier.store.faults import translated
from metier.store.form import Unreadable, parse_json
from metier.store.holder import Clock, wall_clock
from metier.store.open import open_store
from metier.store.records import OBSERVATIONS, body_text, column_text, entry_of, entry_text, key_of, record_of
from metier.store.schema import SCHEMA_VERSION
from metier.store.tables import INTENT, JOURNAL, OBSERVATION, SITE

FORMAT_VERSION = 1

# Rows fetched or written at a time, so that a journal of any length passes through little memory.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup says of itself, besides its format version."""

    schema: int
    version: str
    site: str
    generation: int
    epoch: int


@dataclass(frozen=True, slots=True)
class RecordLine:
    """One record; `body` is its JSON."""

    kind: Kind
    key: str
    generation: int
    body: object


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One journal entry with its id."""

    entry: int
    body: object


@dataclass(frozen=True, slots=True)
class End:
    """The last line."""

    end: int
    sha256: str


_HEADER, _RECORD, _ENTRY, _END = form_of(Header), form_of(RecordLine), form_of(EntryLine), form_of(End)


# --- backup ------------------------------------------------------------------


def backup_lines(connection: sa.Connection) -> Iterator[bytes]:
    """Yield a backup of what the transaction of `connection` sees."""
    digest = hashlib.sha256()
    count = -1
    for text in _texts(connection):
        line = text.encode("ascii") + b"\n"
        digest.update(line)
        count += 1
        yield line
    yield _dumps({"end": count, "sha256": digest.hexdigest()}).encode("ascii") + b"\n"


def _texts(connection: sa.Connection) -> Iterator[str]:
    site = connection.execute(sa.select(SITE)).one()
    yield _dumps(
        {
            "metier-backup": FORMAT_VERSION,
            "schema": SCHEMA_VERSION,
            "version": __version__,
            "site": site.id,
            "generation": site.generation,
            "epoch": site.epoch,
        }
    )
    for table in (INTENT, OBSERVATION):
        query = sa.select(table).order_by(table.c.kind, table.c.key)
        for row in connection.execute(query, execution_options={"yield_per": _BATCH}):
            start = _dumps({"kind": row.kind, "key": row.key, "generation": row.generation})
            yield f'{start[:-1]},"body":{row.body}}}'
    query = sa.select(JOURNAL).order_by(JOURNAL.c.id)
    for row in connection.execute(query, execution_options={"yield_per": _BATCH}):
        yield f'{{"entry":{row.id},"body":{row.body}}}'


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


# --- restore -----------------------------------------------------------------


def restore(where: str | Path, lines: Iterable[bytes], *, clock: Clock = wall_clock) -> int:
    """Fill an empty store from a backup: with all of it or, on any error, with nothing.

    Every record and journal entry is read as its type before it is kept.

    Args:
        where: As for `open_store`; a store that is missing is made.
        lines: The backup, a line each.
        clock: As for `open_store`.

    Returns:
        How many records and journal entries it has now.

    Raises:
        Refusal: The store is not empty, or held; or the backup is damaged, cut short,
            or of another format or schema version.
        NoSpace: The disk is full.
    """
    reader = _Reader(lines)
    header = reader.header()
    store = open_store(where, clock=clock)
    try:
        store.hold("metier restore")
        with translated("restore", store.name), store.transaction() as connection:
            _refuse_full(connection, store.name)
            for table, rows in _batches(reader.rows()):
                connection.execute(sa.insert(table), rows)
            _finish(connection, header)
    finally:
        store.close()
    return reader.count


def _refuse_full(connection: sa.Connection, name: str) -> None:
    used = connection.execute(sa.select(SITE.c.generation)).scalar_one() > 0
    for table in (INTENT, OBSERVATION, JOURNAL):
        used = (
            used
            or connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None
        )
    if used:
        raise Refusal(
            f"cannot restore {name}: it is not empty",
            code="store-not-empty",
            remedy="restore into a new folder or database, then start Metier with that",
        )


def _batches(
    rows: Iterable[tuple[sa.Table, dict[str, Any]]],
) -> Iterator[tuple[sa.Table, list[dict[str, Any]]]]:
    of_table: sa.Table | None = None
    batch: list[dict[str, Any]] = []
    for table, row in rows:
        if batch and (table is not of_table or len(batch) == _BATCH):
            assert of_table is not None
            yield of_table, batch
            batch = []
        of_table = table
        batch.append(row)
    if of_table is not None:
        yield of_table, batch


def _finish(connection: sa.Connection, header: Header) -> None:
    """Take over who the site is; later holds get an epoch that no action in the backup was begun in."""
    now = connection.execute(sa.select(SITE.c.epoch)).scalar_one()
    connection.execute(
        sa.update(SITE).values(
            id=column_text(header.site), generation=header.generation, epoch=max(now, header.epoch), holder=""
        )
    )
    if connection.dialect.name == "postgresql":
        # Rows that brought their id along did not move the sequence that gives the next one.
        last = sa.select(sa.func.max(JOURNAL.c.id)).scalar_subquery()
        sequence = sa.func.pg_get_serial_sequence("journal", "id")
        connection.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(last, 1), last.is_not(None))))


class _Reader:
    """Reads a backup line by line, counting and summing as it goes."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._digest = hashlib.sha256()
        self._number = 0
        self.count = 0

    def header(self) -> Header:
        """Read the first line; raises Refusal unless it is that of a backup of this format and schema."""
        line, raw = self._next()
        found = raw.pop("metier-backup", None)
        if type(found) is not int:
            raise _bad("this is no backup of Metier")
        if found != FORMAT_VERSION or raw.get("schema") != SCHEMA_VERSION:
            raise Refusal(
                f"cannot restore: the backup has format {found} and schema version {raw.get('schema')}, "
                f"made by Metier {raw.get('version')}; this is Metier {__version__}, which restores "
                f"format {FORMAT_VERSION} with schema version {SCHEMA_VERSION}",
                code="other-backup",
                remedy="restore it with the Metier that made it; a later one upgrades that store by itself",
            )
        self._digest.update(line)
        with _refusing(1):
            header = _HEADER.decode(raw)
            _check_counts(header.generation, header.epoch)
        return header

    def rows(self) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
        """Yield the rows to insert, up to an end that fits them; raises Refusal."""
        while True:
            line, raw = self._next()
            with _refusing(self._number):
                if "end" in raw:
                    self._check_end(_END.decode(raw))
                    return
                row = _record_row(raw) if "kind" in raw else _entry_row(raw)
            self._digest.update(line)
            self.count += 1
            yield row

    def _check_end(self, end: End) -> None:
        if end.end != self.count or end.sha256 != self._digest.hexdigest():
            raise _bad("its lines are not those that it was made of")
        if next(self._lines, None) is not None:
            raise _bad(f"it goes on after its end in line {self._number}")

    def _next(self) -> tuple[bytes, dict[str, Any]]:
        self._number += 1
        line = next(self._lines, b"")
        if not line.endswith(b"\n"):
            raise _bad(f"it is cut short in line {self._number}")
        with _refusing(self._number):
            raw = parse_json(line)
        if type(raw) is not dict:
            raise _bad(f"line {self._number} is no object")
        return line, raw


@contextmanager
def _refusing(number: int) -> Iterator[None]:
    try:
        yield
    except Unreadable as error:
        raise _bad(f"line {number} cannot be read") from error


def _record_row(raw: dict[str, Any]) -> tuple[sa.Table, dict[str, Any]]:
    line = _RECORD.decode(raw)
    _check_counts(line.generation)
    key_of(line.kind, line.key)
    record = record_of(line.kind, _dumps(line.body))
    table = OBSERVATION if line.kind in OBSERVATIONS else INTENT
    row = {"kind": line.kind.value, "key": line.key, "generation": line.generation}
    return table, row | {"body": body_text(line.kind, record)}


def _entry_row(raw: dict[str, Any]) -> tuple[sa.Table, dict[str, Any]]:
    line = _ENTRY.decode(raw)
    _check_counts(line.entry)
    entry = entry_of(line.entry, _dumps(line.body))
    return JOURNAL, {"id": line.entry, "subject": column_text(entry.subject), "body": entry_text(entry)}


def _check_counts(*numbers: int) -> None:
    """Refuse what no count of ours ever reaches, and what would leave no room to count on."""
    for number in numbers:
        if not 0 <= number < 1 << 62:
            raise Unreadable(f"{number} is no count")


def _bad(why: str) -> Refusal:
    return Refusal(f"cannot restore: {why}", code="bad-backup", remedy="use another backup")
