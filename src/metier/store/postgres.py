"""A PostgreSQL database, shared by several controllers of which one holds it."""

import sqlalchemy as sa

from metier.domain.errors import Refusal, WrongUsage
from metier.store.database import Database
from metier.store.faults import translated
from metier.store.holder import HOLDING, Holder, held_elsewhere, who
from metier.store.schema import Schema, refuse_newer, schema_version, upgrade
from metier.store.tables import SITE

# Advisory locks are told apart by two numbers within a database: "METI", and which.
_LOCKS = 0x4D455449
_HOLD, _SETUP = 1, 2

_LOCK_NOT_AVAILABLE = "55P03"

# A killed controller's session ends a moment after it; who comes next waits that long.
_PATIENCE = sa.text("SET LOCAL lock_timeout = '1s'")

# By default a server notices after two hours that a holder's machine is gone; so it takes 30 s.
_WATCH_CLIENT = (
    sa.text("SET tcp_keepalives_idle = 15"),
    sa.text("SET tcp_keepalives_interval = 5"),
    sa.text("SET tcp_keepalives_count = 3"),
)

_CONNECT_TIMEOUT_S = 10


class AdvisoryGuard:
    """Holds a database by a session's advisory lock: the server frees it when the session ends."""

    def __init__(self, name: str) -> None:
        self._name = name

    def acquire(self, connection: sa.Connection, _holder: Holder, /) -> None:
        try:
            with connection.begin():
                connection.execute(_PATIENCE)
                connection.execute(sa.select(sa.func.pg_advisory_lock(_LOCKS, _HOLD)))
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            with connection.begin():
                by = who(connection.execute(sa.select(SITE.c.holder)).scalar() or "")
            raise held_elsewhere(HOLDING, self._name, by) from None
        with connection.begin():
            for statement in _WATCH_CLIENT:
                connection.execute(statement)

    def release(self, connection: sa.Connection, /) -> None:
        if connection.invalidated:
            return  # the lock went with the session; another session could not free it
        with connection.begin():
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCKS, _HOLD)))


def open_url(url: str, schema: Schema) -> Database:
    """Open a PostgreSQL database, made or migrated first if need be.

    Raises:
        WrongUsage: This is no URL of one.
        Refusal: The database cannot be used; the message says why.
    """
    parsed = _parse(url)
    name = parsed.render_as_string(hide_password=True)
    engine = _engine(parsed)
    try:
        with translated("open", name):
            _prepare(engine, name, schema)
    except BaseException:  # whatever went wrong, the pool is emptied
        engine.dispose()
        raise
    reader = engine.execution_options(isolation_level="REPEATABLE READ")
    return Database(name, reader, engine, AdvisoryGuard(name))


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise _no_url() from None  # its message would show the password
    if not parsed.database:
        raise _no_url()
    return parsed.set(drivername="postgresql")


def _no_url() -> WrongUsage:
    return WrongUsage("this is no URL of a database", remedy="say postgresql://USER:PASSWORD@HOST/DATABASE")


def _engine(parsed: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            connect_args={"connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "metier"},
            hide_parameters=True,
            pool_pre_ping=True,  # after a restart of the server, readers get fresh connections
        )
    except ImportError as error:
        raise Refusal(
            "cannot use PostgreSQL: its driver is not installed",
            remedy="run `pip install 'metier[postgres]'`",
        ) from error


def _prepare(engine: sa.Engine, name: str, schema: Schema) -> None:
    """Make or migrate the schema; of several controllers that start at once, one does."""
    with engine.begin() as connection:
        found = schema_version(connection, name)
        refuse_newer(connection, name, found, schema)
    if found == schema.version:
        return
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCKS, _SETUP)))
        found = schema_version(connection, name)
        if found == schema.version:
            return
        if not connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_LOCKS, _HOLD))).scalar():
            by = who(connection.execute(sa.select(SITE.c.holder)).scalar() or "")
            raise held_elsewhere("upgrade", name, by)
        upgrade(connection, schema)
