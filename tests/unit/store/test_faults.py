"""What a database's errors become for the operator."""

import errno
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from metier.domain.errors import MetierError, NoSpace, Refusal, WrongUsage, chain
from metier.store.faults import translated
from metier.store.open import open_store


def met(error: BaseException) -> MetierError:
    """Return what `translated` makes of an error."""
    with pytest.raises(MetierError) as caught, translated("save to", "the store"):
        raise error
    assert caught.value.__cause__ is not None
    return caught.value


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_file_system_is_no_space(number: int) -> None:
    error = met(OSError(number, "no room"))
    assert isinstance(error, NoSpace)
    assert str(error) == "cannot save to the store: its disk is full; nothing was written"


def test_other_errors_of_files_are_refusals_with_the_systems_words() -> None:
    error = met(PermissionError(errno.EACCES, "Permission denied", "x"))
    assert isinstance(error, Refusal)
    assert "Permission denied" in chain(error)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SQLITE_CORRUPT", "damaged-store"),
        ("SQLITE_CORRUPT_INDEX", "damaged-store"),
        ("SQLITE_NOTADB", "damaged-store"),
        ("SQLITE_FULL", "no-space"),
        ("SQLITE_READONLY_DBMOVED", "store-failed"),
        ("SQLITE_CANTOPEN", "store-failed"),
        ("SQLITE_BUSY_SNAPSHOT", "store-busy"),
        ("SQLITE_IOERR_READ", "store-failed"),
        ("", "store-failed"),
    ],
)
def test_the_name_of_a_sqlite_error_decides(name: str, code: str) -> None:
    plain = sqlite3.OperationalError("its own words")
    plain.sqlite_errorname = name
    assert met(plain).code == code
    wrapped = met(sa.exc.OperationalError("INSERT secret", {"x": "secret"}, plain))
    assert wrapped.code == code
    assert chain(wrapped).endswith("its own words")
    assert "secret" not in chain(wrapped)


def test_too_many_readers_are_told_to_try_again() -> None:
    assert met(sa.exc.TimeoutError("pool")).code == "store-busy"


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        open_store(f"postgresql://me:s3cret@/site?host={tmp_path}")
    assert caught.value.code == "store-unreachable"
    assert "me:***@" in str(caught.value)
    assert "s3cret" not in chain(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("url", ["postgresql://[", "postgres://me:s3cret@host:port/x"])
def test_a_url_that_is_none_is_wrong_usage_without_its_password(url: str) -> None:
    with pytest.raises(WrongUsage) as caught:
        open_store(url)
    assert "s3cret" not in chain(caught.value)
