"""A state folder with a SQLite database in it."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from metier.domain.errors import Refusal
from metier.store.database import Database
from metier.store.faults import damaged_file, translated
from metier.store.holder import HOLDING, Clock, FolderLock, Holder, this_process
from metier.store.schema import Schema, refuse_newer, schema_version, upgrade

DATABASE_FILE = "metier.db"
LOCK_FILE = "controller.lock"

# Readers never wait in WAL mode; a writer waits this long for a backup tool or `trim`, in seconds.
_BUSY_TIMEOUT_S = 5.0

# FULL costs one fsync for each save and loses nothing even when the power fails; NORMAL could lose the
# last saves, and with them a decision that a driver has already carried out.  See bench/store.py.
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)


class FolderGuard:
    """Holds a state folder by the lock of its lock file, whatever the connection."""

    def __init__(self, folder: Path) -> None:
        self._lock = FolderLock(folder / LOCK_FILE)

    def acquire(self, _connection: sa.Connection, holder: Holder, /) -> None:
        self._lock.acquire(holder, HOLDING)

    def release(self, _connection: sa.Connection, /) -> None:
        self._lock.release()


def open_folder(folder: Path, schema: Schema, clock: Clock) -> Database:
    """Open a state folder's database, made or migrated first if need be.

    Raises:
        Refusal: The folder or the database cannot be used; the message says why.
        NoSpace: The disk is full.
    """
    path = folder / DATABASE_FILE
    with translated("open", str(path)):
        _own_folder(folder)
        if not path.exists():
            _create(path, schema, clock)
        _check_file(path)
        engine = _engine(path)
        try:
            _migrate(engine, path, schema, clock)
        except BaseException:  # whatever went wrong, it is closed
            engine.dispose()
            raise
    writer = engine.execution_options(metier_begin="BEGIN IMMEDIATE")
    return Database(str(path), engine, writer, FolderGuard(folder))


def _own_folder(folder: Path) -> None:
    """Make the folder if it is missing, and close it to others where it is clearly ours."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    if not folder.is_dir():
        raise Refusal(f"cannot keep state in {folder}: it is not a folder")
    found = folder.stat()
    if found.st_mode & 0o077 == 0:
        return
    is_ours = (folder / DATABASE_FILE).exists() or not any(folder.iterdir())
    if is_ours and found.st_uid == os.geteuid():
        folder.chmod(0o700)
    elif found.st_mode & 0o022:
        # Whoever may write here could put another database in the place of ours.
        raise Refusal(
            f"cannot keep state in {folder}: other users may write there "
            f"(mode {stat.S_IMODE(found.st_mode):04o})",
            remedy=f"run `chmod 700 {folder}` if it is meant for Metier, or name another folder",
        )


def _check_file(path: Path) -> None:
    """Refuse what SQLite would take for a new, empty database; close the file to others."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
        raise damaged_file(f"cannot open {path}")
    if found.st_mode & 0o077:
        path.chmod(0o600)


def _create(path: Path, schema: Schema, clock: Clock) -> None:
    """Make a database beside its place, then move it there: it is complete, or it is not there."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        raise Refusal(
            f"cannot open {path}: it is missing, but its log {log.name} is there",
            code="damaged-store",
            remedy="put the database file back; or restore a backup, after moving the log away",
        )
    with _alone(path.parent, "set up", clock):
        if path.exists():
            return
        with _new_file(path) as new, closing(sqlite3.connect(new, isolation_level=None)) as plain:
            engine = sa.create_engine("sqlite://", creator=lambda: plain, poolclass=sa.StaticPool)
            with engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                upgrade(connection, schema)
                connection.commit()


def _migrate(engine: sa.Engine, path: Path, schema: Schema, clock: Clock) -> None:
    """Bring an older database up to date, keeping a copy of how it was."""
    with engine.connect() as connection:
        found = schema_version(connection, str(path))
        refuse_newer(connection, str(path), found, schema)
    if found == schema.version:
        return
    with _alone(path.parent, "upgrade", clock):
        _copy(path, path.with_name(f"{path.name}.schema-{found}"))
        with engine.execution_options(metier_begin="BEGIN IMMEDIATE").begin() as connection:
            upgrade(connection, schema)


def _copy(path: Path, copy: Path) -> None:
    """Copy a database, what its log holds included."""
    with (
        _new_file(copy) as new,
        closing(_connect(path)) as source,
        closing(sqlite3.connect(new)) as target,
    ):
        source.backup(target)


@contextmanager
def _alone(folder: Path, doing: str, clock: Clock) -> Iterator[None]:
    """Keep controllers and other such work out of a folder meanwhile."""
    lock = FolderLock(folder / LOCK_FILE)
    lock.acquire(this_process(f"a process that began to {doing} it", clock), doing)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Yield an empty file that only we may read; it gets its name once it is finished, if it ever is."""
    new = path.with_name(f"{path.name}.new")
    parts = (new, new.with_name(f"{new.name}-journal"))
    try:
        for leftover in parts:
            leftover.unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        yield new
        new.replace(path)
        _synchronise(path.parent)
    finally:
        for leftover in parts:
            leftover.unlink(missing_ok=True)


def _synchronise(folder: Path) -> None:
    """Make the names in a folder survive a power failure."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",  # never makes a file that is missing
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,  # transactions begin where `_begin` says, not where the module guesses
        check_same_thread=False,  # the pool gives a connection to one thread at a time
    )


def _engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        "sqlite://", creator=lambda: _prepared(path), poolclass=sa.QueuePool, hide_parameters=True
    )
    sa.event.listen(engine, "begin", _begin)
    return engine


def _prepared(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma).close()
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal":
            raise Refusal(
                f"cannot open {path}: its file system has no shared memory for SQLite's log",
                remedy="put the state folder on a local, writable file system",
            )
    except BaseException:  # whatever went wrong, it is closed
        connection.close()
        raise
    return connection


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("metier_begin", "BEGIN"))
