"""What a database's errors mean to whoever meets them."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from metier.domain.errors import MetierError, NoSpace, Refusal

_DISK_FULL_SQLSTATE = "53100"
_DAMAGED = frozenset(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
_FULL = frozenset(("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"))
_NOT_ALLOWED = frozenset(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"))


class HoldLost(Refusal):
    """This process is not, or no longer, the one writer."""

    code = "hold-lost"


@contextmanager
def translated(doing: str, place: str) -> Iterator[None]:
    """Turn errors of the database and of files into those an operator can act on.

    Args:
        doing: What is tried, as in `cannot …`: `save to`, `read`.
        place: The store's name, for messages.

    Raises:
        NoSpace: A disk is full.
        Refusal: Anything else that is wrong with the database.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _explained(error, f"cannot {doing} {place}") from error.orig
    except sa.exc.TimeoutError as error:
        raise Refusal(
            f"cannot {doing} {place}: too many others read it at once",
            code="store-busy",
            remedy="try again",
        ) from error
    except sqlite3.Error as error:
        raise _explained_sqlite(error, f"cannot {doing} {place}") from error
    except OSError as error:
        raise _explained_os(error, f"cannot {doing} {place}") from error


def connection_lost(error: BaseException) -> bool:
    """Tell whether the session with the database server is gone, and with it every lock it had."""
    return isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated


def _explained(error: sa.exc.DBAPIError, message: str) -> MetierError:
    if isinstance(error.orig, sqlite3.Error):
        return _explained_sqlite(error.orig, message)
    state = getattr(error.orig, "sqlstate", None)
    if state == _DISK_FULL_SQLSTATE:
        return _no_space(message, "the database server's disk")
    if error.connection_invalidated or (state is None and isinstance(error, sa.exc.OperationalError)):
        return Refusal(
            f"{message}: there is no connection to its server",
            code="store-unreachable",
            remedy="see that the PostgreSQL server runs and accepts connections from here",
        )
    return Refusal(f"{message}: the database refused", code="store-failed")


def _explained_sqlite(error: sqlite3.Error, message: str) -> MetierError:
    name = str(getattr(error, "sqlite_errorname", ""))
    primary = "_".join(name.split("_")[:2])
    if name in _FULL:
        return _no_space(message, "its disk")
    if primary in _DAMAGED:
        return damaged_file(message)
    if primary in _NOT_ALLOWED:
        return Refusal(
            f"{message}: the file may not be opened or written",
            code="store-failed",
            remedy="give the state folder to the user that Metier runs as, on a writable file system",
        )
    if primary == "SQLITE_BUSY":
        return Refusal(
            f"{message}: another program keeps it locked",
            code="store-busy",
            remedy="end the program that has the database file open",
        )
    return Refusal(f"{message}: the database refused", code="store-failed")


def _explained_os(error: OSError, message: str) -> MetierError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(message, "its disk")
    return Refusal(f"{message}: the system refused", code="store-failed")


def _no_space(message: str, where: str) -> NoSpace:
    return NoSpace(f"{message}: {where} is full; nothing was written", remedy="make room there")


def damaged_file(message: str) -> Refusal:
    """Return the error for a database file that is none, or is damaged."""
    return Refusal(
        f"{message}: the database file is damaged",
        code="damaged-store",
        remedy="move it away and restore a backup with `metier restore`",
    )
