"""The store on a database that speaks SQL: SQLite and PostgreSQL alike."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from metier.domain.errors import Bug
from metier.domain.fleet import Changes, Fleet, Kind
from metier.store.api import Entry
from metier.store.database import Database
from metier.store.faults import HoldLost, translated
from metier.store.hold import Hold, take_hold
from metier.store.holder import HOLDING, Clock, this_process, wall_clock
from metier.store.records import (
    OBSERVATIONS,
    body_text,
    column_text,
    entry_of,
    entry_text,
    fleet_records,
    key_text,
    without_collecting,
)
from metier.store.tables import INTENT, JOURNAL, OBSERVATION, SITE

Rows = list[dict[str, Any]]

_LARGEST_ID = 2**63 - 1

# Entries removed in one transaction, so that a save never waits long for a `trim`.
_TRIM_BATCH = 10_000


def _upsert(table: sa.Table, dialect: str) -> Any:
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    new = {name: insert.excluded[name] for name in ("generation", "body")}
    return insert.on_conflict_do_update(index_elements=["kind", "key"], set_=new)


def _delete(table: sa.Table) -> Any:
    return sa.delete(table).where(
        table.c.kind == sa.bindparam("of_kind"), table.c.key == sa.bindparam("of_key")
    )


class SqlStore:
    """A `Store`; reading is safe from any thread, writing waits for its turn."""

    def __init__(self, database: Database, clock: Clock = wall_clock) -> None:
        self._database = database
        self._clock = clock
        self._writing = threading.RLock()
        self._hold: Hold | None = None
        dialect = database.writer.dialect.name
        tables = (INTENT, OBSERVATION)
        self._upserts = {table: _upsert(table, dialect) for table in tables}
        self._deletes = {table: _delete(table) for table in tables}

    @property
    def name(self) -> str:
        """The path or URL it was opened with, without a password."""
        return self._database.name

    # --- the hold ----------------------------------------------------------------

    def hold(self, holder: str) -> int:
        with self._writing, translated(HOLDING, self.name):
            if self._hold is not None:
                raise Bug(f"this store holds {self.name} already")
            self._hold = take_hold(self._database, this_process(holder, self._clock))
            return self._hold.epoch

    def release(self) -> None:
        with self._writing:
            if self._hold is not None:
                self._hold.resign()
                self._let_go()

    def _let_go(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.end()

    @contextmanager
    def transaction(self, generation: int | None = None) -> Iterator[sa.Connection]:
        """Yield a connection to write through as the holder: all of it is kept or, on any error, none.

        Args:
            generation: The Fleet generation that is reached by it; None if it stays.

        Raises:
            Refusal: This store is not held by us, or not any more.
        """
        with self._writing:
            if self._hold is None:
                raise HoldLost(
                    f"cannot save to {self.name}: this process does not hold it; nothing was written",
                    remedy="start the controller again",
                )
            try:
                with self._hold.transaction(generation) as connection:
                    yield connection
            except HoldLost:
                self._let_go()
                raise

    # --- the Fleet ---------------------------------------------------------------

    def load(self) -> Fleet:
        with translated("read", self.name), self._database.reader.begin() as connection:
            generation = connection.execute(sa.select(SITE.c.generation)).scalar_one()
            rows = _rows(connection)
        with without_collecting():
            return Fleet.of(fleet_records(rows), generation)

    def save(self, changes: Changes, generation: int, entries: Sequence[Entry]) -> None:
        work = self._changed(changes, generation)
        if entries:
            work.append((sa.insert(JOURNAL), [_journal_row(entry) for entry in entries]))
        with translated("save to", self.name), self.transaction(generation) as connection:
            for statement, rows in work:
                connection.execute(statement, rows)

    def _changed(self, changes: Changes, generation: int) -> list[tuple[Any, Rows]]:
        """Return what to execute; everything is put into JSON before the transaction begins."""
        put: dict[sa.Table, Rows] = {INTENT: [], OBSERVATION: []}
        removed: dict[sa.Table, Rows] = {INTENT: [], OBSERVATION: []}
        for kind, by_key in changes.items():
            table = _table(kind)
            for key, record in by_key.items():
                text = key_text(key)
                if record is None:
                    removed[table].append({"of_kind": kind.value, "of_key": text})
                else:
                    body = body_text(kind, record)
                    put[table].append(
                        {"kind": kind.value, "key": text, "generation": generation, "body": body}
                    )
        work = [(self._upserts[table], rows) for table, rows in put.items() if rows]
        return work + [(self._deletes[table], rows) for table, rows in removed.items() if rows]

    # --- the journal -------------------------------------------------------------

    def journal(self, *, after: int = 0, limit: int = 100, subject: str | None = None) -> Sequence[Entry]:
        found = _entries(subject).where(JOURNAL.c.id > _within(after)).order_by(JOURNAL.c.id)
        return self._read_entries(found.limit(_within(limit)))

    def journal_tail(self, *, limit: int = 100, subject: str | None = None) -> Sequence[Entry]:
        found = _entries(subject).order_by(JOURNAL.c.id.desc()).limit(_within(limit))
        return self._read_entries(found)[::-1]

    def _read_entries(self, query: Any) -> list[Entry]:
        with translated("read the journal of", self.name), self._database.reader.begin() as connection:
            rows = connection.execute(query).all()
        return [entry_of(number, body) for number, body in rows]

    def trim(self, keep: int) -> int:
        """Remove the oldest journal entries so that the newest `keep` remain; returns how many went.

        Raises:
            Refusal: This store is not held by us.
        """
        newest = sa.select(JOURNAL.c.id).order_by(JOURNAL.c.id.desc()).offset(_within(keep)).limit(1)
        with translated("trim the journal of", self.name):
            with self.transaction() as connection:
                last = connection.execute(newest).scalar()
            removed = 0
            while last is not None:
                oldest = sa.select(JOURNAL.c.id).where(JOURNAL.c.id <= last).order_by(JOURNAL.c.id)
                with self.transaction() as connection:
                    some = sa.delete(JOURNAL).where(JOURNAL.c.id.in_(oldest.limit(_TRIM_BATCH)))
                    count = connection.execute(some).rowcount
                removed += count
                if count < _TRIM_BATCH:
                    break
        return removed

    # --- the rest ----------------------------------------------------------------

    def site_id(self) -> str:
        """Return the identity that the site got when its store was made."""
        with translated("read", self.name), self._database.reader.begin() as connection:
            return str(connection.execute(sa.select(SITE.c.id)).scalar_one())

    def backup(self) -> Iterator[bytes]:
        # Here because that module also restores, and so opens stores.
        from metier.store.backup import backup_lines

        with translated("back up", self.name), self._database.reader.connect() as connection:
            yield from backup_lines(connection)

    def close(self) -> None:
        self.release()
        self._database.reader.dispose()


def _table(kind: Kind) -> sa.Table:
    return OBSERVATION if kind in OBSERVATIONS else INTENT


def _rows(connection: sa.Connection) -> list[Any]:
    rows: list[Any] = []
    for table in (INTENT, OBSERVATION):
        query = sa.select(table.c.kind, table.c.key, table.c.body).order_by(table.c.kind, table.c.key)
        rows += connection.execute(query).all()
    return rows


def _journal_row(entry: Entry) -> dict[str, Any]:
    return {"subject": column_text(entry.subject), "body": entry_text(entry)}


def _entries(subject: str | None) -> Any:
    query = sa.select(JOURNAL.c.id, JOURNAL.c.body)
    return query if subject is None else query.where(JOURNAL.c.subject == column_text(subject))


def _within(number: int) -> int:
    """Return `number` as a database can compare it; a negative one counts as 0."""
    return min(max(number, 0), _LARGEST_ID)
