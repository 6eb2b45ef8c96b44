"""A state folder: who may read it, and what becomes of it when something happens to its files."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metier.domain.errors import Bug, Refusal, WrongUsage, chain
from metier.domain.fleet import Kind
from metier.store.open import open_store
from metier.store.schema import SCHEMA_VERSION
from tests.builders import a_node
from tests.contract.sql_suite import a_later_schema
from tests.contract.store_suite import an_entry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def save_something(folder: Path) -> None:
    with closing(open_store(folder)) as store:
        store.hold("controller")
        store.save(
            {Kind.NODE: {a_node().name: a_node()}}, 1, [an_entry(str(number)) for number in range(500)]
        )


def outcome_of_reading(folder: Path) -> str:
    """Read everything that `save_something` wrote: `right`, `wrong`, or the code of the refusal."""
    try:
        with closing(open_store(folder)) as store:
            fleet = store.load()
            entries = store.journal(limit=1000)
    except Refusal as error:
        return error.code
    return "right" if list(fleet.nodes) == [a_node().name] and len(entries) == 500 else "wrong"


# --- who may read it -----------------------------------------------------------


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_open_umask")
def test_only_its_owner_may_read_it(folder: Path) -> None:
    with closing(open_store(folder)) as store:
        store.hold("controller")
        store.save({}, 1, [an_entry()])
        names = {path.name for path in folder.iterdir()}
        assert names == {"metier.db", "metier.db-wal", "metier.db-shm", "controller.lock"}
        assert {mode(path) for path in folder.iterdir()} == {0o600}
    assert mode(folder) == 0o700


def test_a_folder_of_ours_that_was_opened_to_others_is_closed_again(folder: Path) -> None:
    open_store(folder).close()
    folder.chmod(0o755)
    (folder / "metier.db").chmod(0o644)
    open_store(folder).close()
    assert (mode(folder), mode(folder / "metier.db")) == (0o700, 0o600)


def test_an_empty_folder_is_taken(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    open_store(folder).close()
    assert mode(folder) == 0o700


def test_a_folder_with_other_things_in_it_keeps_its_mode(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "metier.toml").touch()
    open_store(folder).close()
    assert (mode(folder), mode(folder / "metier.db")) == (0o755, 0o600)


def test_a_folder_that_others_may_write_to_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o1777)
    (folder / "of somebody").touch()
    with pytest.raises(Refusal, match="other users may write") as caught:
        open_store(folder)
    assert "chmod 700" in caught.value.remedy
    assert [path.name for path in folder.iterdir()] == ["of somebody"]


def test_odd_names_are_only_names(tmp_path: Path) -> None:
    folder = tmp_path / "a%20b?mode=memory&x#'\"ä"
    save_something(folder)
    with closing(open_store(folder)) as store:
        assert list(store.load().nodes) == [a_node().name]


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_store("state")) as store:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.hold("controller")
        store.save({}, 1, [])
    assert (tmp_path / "state" / "controller.lock").exists()


def test_a_file_is_no_folder(folder: Path) -> None:
    folder.touch()
    for path in (folder, folder / "below"):
        with pytest.raises(Refusal, match="state"):
            open_store(path)


def test_other_kinds_of_database_are_wrong_usage() -> None:
    for url in ("mysql://x/y", "sqlite:///x", "http://x"):
        with pytest.raises(WrongUsage):
            open_store(url)


# --- what happens to its files ----------------------------------------------------


def test_a_file_that_is_no_database_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "metier.db").write_bytes(b"not a database, " * 1000)
    with pytest.raises(Refusal, match="damaged") as caught:
        open_store(folder)
    assert caught.value.code == "damaged-store"
    assert "metier restore" in caught.value.remedy


def test_an_emptied_file_is_damage_and_no_new_store(folder: Path) -> None:
    save_something(folder)
    (folder / "metier.db").write_bytes(b"")
    with pytest.raises(Refusal, match="damaged"):
        open_store(folder)
    assert (folder / "metier.db").stat().st_size == 0


def test_a_truncated_file_is_refused(folder: Path) -> None:
    save_something(folder)
    size = (folder / "metier.db").stat().st_size
    os.truncate(folder / "metier.db", size // 2)
    assert outcome_of_reading(folder) == "damaged-store"


def test_a_scribbled_page_is_refused(folder: Path) -> None:
    save_something(folder)
    page = 4096
    whole = (folder / "metier.db").read_bytes()
    outcomes = set()
    for number in range(1, len(whole) // page):
        (folder / "metier.db").write_bytes(
            whole[: number * page] + b"\xa5" * page + whole[(number + 1) * page :]
        )
        outcomes.add(outcome_of_reading(folder))
    # Some page holds only an index that reading does without.
    assert outcomes == {"damaged-store", "right"}


def test_a_log_without_its_database_is_no_new_store(folder: Path) -> None:
    with closing(open_store(folder)) as store:
        store.hold("controller")
        store.save({}, 1, [an_entry()])
        (folder / "metier.db").rename(folder / "moved.db")
        with pytest.raises(Refusal, match=r"metier\.db-wal is there"):
            open_store(folder)
        (folder / "moved.db").rename(folder / "metier.db")


def test_a_half_made_database_of_a_killed_process_is_made_anew(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "metier.db.new").write_bytes(b"half")
    (folder / "metier.db.new-journal").write_bytes(b"half")
    save_something(folder)
    assert not (folder / "metier.db.new").exists()


def test_a_record_with_damaged_text_is_named(folder: Path) -> None:
    save_something(folder)
    with closing(sqlite3.connect(folder / "metier.db", isolation_level=None)) as plain:
        plain.execute("UPDATE intent SET body = substr(body, 1, 20)")
        plain.execute("UPDATE journal SET body = '[]' WHERE id = 7")
    with closing(open_store(folder)) as store:
        with pytest.raises(Refusal, match="cannot read node node-1 from the store") as caught:
            store.load()
        assert "this is not JSON" in chain(caught.value)
        assert len(store.journal(limit=6)) == 6
        with pytest.raises(Refusal, match="journal entry 7"):
            store.journal(after=6, limit=1)


@pytest.mark.parametrize("change", ["kind = 'planet'", "key = 'x', kind = 'alert'", "kind = 'pool'"])
def test_a_row_that_fits_no_kind_is_damage(folder: Path, change: str) -> None:
    save_something(folder)
    with closing(sqlite3.connect(folder / "metier.db", isolation_level=None)) as plain:
        plain.execute(f"UPDATE intent SET {change}")
    with closing(open_store(folder)) as store, pytest.raises(Refusal) as caught:
        store.load()
    assert caught.value.code == "damaged-store"


# --- the lock ------------------------------------------------------------------


def test_a_lock_file_that_tells_nothing_still_locks(folder: Path) -> None:
    with closing(open_store(folder)) as store, closing(open_store(folder)) as other:
        store.hold("controller")
        for text in (b"", b"\xff{", b"[1]"):
            (folder / "controller.lock").write_bytes(text)
            with pytest.raises(Refusal, match="another process of Metier"):
                other.hold("other")


def test_a_link_in_place_of_the_lock_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    open_store(folder).close()
    (folder / "controller.lock").unlink()
    (folder / "controller.lock").symlink_to(tmp_path / "victim")
    with closing(open_store(folder)) as store, pytest.raises(Refusal):
        store.hold("controller")
    assert not (tmp_path / "victim").exists()


def test_a_store_holds_once(folder: Path) -> None:
    with closing(open_store(folder)) as store:
        store.hold("controller")
        with pytest.raises(Bug):
            store.hold("again")
        store.save({}, 1, [])


def test_a_store_can_be_held_again_after_release(folder: Path) -> None:
    with closing(open_store(folder)) as store:
        assert store.hold("controller") == 1
        store.release()
        store.release()
        assert store.hold("controller") == 2
        store.save({}, 1, [])


def test_a_foreign_write_lock_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.store.sqlite._BUSY_TIMEOUT_S", 0.0)
    with closing(open_store(folder)) as store:
        store.hold("controller")
        with closing(sqlite3.connect(folder / "metier.db", isolation_level=None)) as plain:
            plain.execute("BEGIN IMMEDIATE")
            with pytest.raises(Refusal, match="another program keeps it locked") as caught:
                store.save({}, 1, [])
            assert caught.value.code == "store-busy"
        store.save({}, 1, [])


# --- the rest ------------------------------------------------------------------


def test_an_upgrade_keeps_a_copy_of_how_it_was(folder: Path, tmp_path: Path) -> None:
    save_something(folder)
    open_store(folder, schema=a_later_schema(tmp_path)).close()
    copy = folder / f"metier.db.schema-{SCHEMA_VERSION}"
    assert mode(copy) == 0o600
    restored = tmp_path / "restored"
    restored.mkdir(mode=0o700)
    copy.rename(restored / "metier.db")
    with closing(open_store(restored)) as store:
        assert list(store.load().nodes) == [a_node().name]
    assert not list(folder.glob("*.new*"))


def test_readers_do_not_wait_for_the_writer(folder: Path) -> None:
    with closing(open_store(folder)) as store:
        store.hold("controller")
        store.save({}, 1, [an_entry("before")])
        seen: list[str] = []
        with store.transaction():
            reader = threading.Thread(target=lambda: seen.extend(e.message for e in store.journal()))
            reader.start()
            reader.join()
        assert seen == ["before"]


def test_a_power_failure_loses_no_save(folder: Path) -> None:
    """2 is FULL: the log is synchronised with the disk in every commit."""
    with closing(open_store(folder)) as store:
        store.hold("controller")
        with store.transaction() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
