"""Where the SQL store's tests keep a store, and how they hurt it there."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from metier.store.open import open_store
from metier.store.schema import OURS, Schema
from metier.store.sql import SqlStore

ROOT = Path(__file__).resolve().parents[2]

# What a controller in another process does: it saves one generation after the other until it is killed.
_CONTROLLER = """
import sys
from dataclasses import replace
from metier.domain.fleet import Kind
from metier.store.open import open_store
from tests.builders import a_node
from tests.contract.store_suite import an_entry

store = open_store(sys.argv[1])
print("held", store.hold("the killed one"), flush=True)
for generation in range(1, int(sys.argv[2]) + 1):
    node = replace(a_node(), problem=str(generation))
    store.save({Kind.NODE: {node.name: node}}, generation, [an_entry(str(generation))])
    print("saved", generation, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A state folder."""

    where: str

    def open(self, schema: Schema = OURS) -> SqlStore:
        return open_store(self.where, schema=schema)

    def run(self, statement: str) -> list[Any]:
        """Run one statement in the database, past the store."""
        with closing(sqlite3.connect(Path(self.where, "metier.db"), isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()

    def refuse_entries(self) -> None:
        """Make every new journal entry an error."""
        self.run("CREATE TRIGGER no BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, 'no entries'); END")

    def fill_disk(self, store: SqlStore) -> None:
        """Leave no room for what the holder writes."""
        assert store._hold is not None
        with store._hold.connection.begin():
            pages = store._hold.connection.exec_driver_sql("PRAGMA page_count").scalar()
            store._hold.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def make_room(self, store: SqlStore) -> None:
        """Undo `fill_disk`."""
        assert store._hold is not None
        with store._hold.connection.begin():
            store._hold.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

    def free_the_hold(self, store: SqlStore) -> None:
        """Let another controller in although `store` still believes that it holds."""
        Path(self.where, "controller.lock").unlink()


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """A PostgreSQL database."""

    where: str

    def open(self, schema: Schema = OURS) -> SqlStore:
        return open_store(self.where, schema=schema)

    def run(self, statement: str) -> list[Any]:
        """Run one statement in the database, past the store."""
        with psycopg.connect(self.where, autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def refuse_entries(self, sqlstate: str = "P0001") -> None:
        """Make every new journal entry an error."""
        raising = f"BEGIN RAISE EXCEPTION 'no entries' USING ERRCODE = '{sqlstate}'; END"
        self.run(f"CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $${raising}$$")
        self.run("CREATE TRIGGER no BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION no()")

    def fill_disk(self, store: SqlStore) -> None:
        """Answer what the holder writes as a server does whose disk is full."""
        self.refuse_entries("53100")

    def make_room(self, store: SqlStore) -> None:
        """Undo `fill_disk`."""
        self.run("DROP TRIGGER no ON journal")

    def free_the_hold(self, store: SqlStore) -> None:
        """Let another controller in although `store` still believes that it holds."""
        assert store._hold is not None
        with store._hold.connection.begin():
            store._hold.connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")


SqlPlace = FolderPlace | ServerPlace


@contextmanager
def another_controller(place: SqlPlace, saves: int) -> Iterator[subprocess.Popen[str]]:
    """Start a process that holds the store there; it is past "held" when this yields."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CONTROLLER, place.where, str(saves)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("held")
            yield process
        finally:
            process.kill()
