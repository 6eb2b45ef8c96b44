"""What the SQL store promises beyond the protocol, on either database."""

import os
import shutil
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metier import __version__
from metier.domain.errors import NoSpace, Refusal, chain
from metier.domain.fleet import Kind
from metier.store.open import open_store
from metier.store.schema import OURS, SCHEMA_VERSION, Schema
from tests.builders import a_node, a_tier
from tests.contract.fleets import a_fleet_of_everything, everything_in, the_same
from tests.contract.sql_places import SqlPlace, another_controller
from tests.contract.store_suite import StoreSuite, an_entry, held

NEXT_REVISION = '''
"""A later schema version."""
from alembic import op

revision, down_revision = "0002", "0001"

def upgrade():
    op.execute("UPDATE site SET version = 'later'")
    {more}
'''


def a_later_schema(folder: Path, more: str = "") -> Schema:
    """Return a schema of version 2, whose migration also does `more`."""
    scripts = folder / "later"
    shutil.copytree(OURS.scripts, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "v0002_later.py").write_text(NEXT_REVISION.format(more=more))
    return Schema(2, scripts)


class SqlSuite(StoreSuite):
    """The promises of `SqlStore`; `place` also knows how to hurt the store."""

    # --- all or nothing ------------------------------------------------------------

    def test_an_error_in_the_middle_leaves_nothing_behind(self, place: SqlPlace) -> None:
        with held(place) as store:
            store.save({Kind.TIER: {a_tier().name: a_tier()}}, 1, [])
            place.refuse_entries()
            with pytest.raises(Refusal) as caught:
                store.save(everything_in(a_fleet_of_everything()), 2, [an_entry()])
            assert "no entries" in chain(caught.value)
            fleet = store.load()
            assert (fleet.generation, list(fleet.tiers), list(fleet.nodes)) == (1, ["web"], [])
            store.save({Kind.NODE: {a_node().name: a_node()}}, 2, [])
            assert list(store.load().nodes) == [a_node().name]

    def test_a_full_disk_leaves_nothing_behind(self, place: SqlPlace) -> None:
        with closing(place.open()) as store:
            store.hold("controller")
            place.fill_disk(store)
            entries = [an_entry("x" * 1000) for _ in range(1000)]
            with pytest.raises(NoSpace) as caught:
                store.save(everything_in(a_fleet_of_everything()), 1, entries)
            assert caught.value.remedy
            place.make_room(store)
            assert (store.load().generation, store.load().nodes) == (0, {})
            store.save({}, 1, entries)
            assert len(store.journal_tail(limit=2000)) == 1000

    def test_killing_loses_nothing_that_was_saved(self, place: SqlPlace) -> None:
        with another_controller(place, saves=100_000) as process:
            assert process.stdout is not None
            saved = [process.stdout.readline().split()[1] for _ in range(25)]
            process.kill()
            process.wait()
            saved += [line.split()[1] for line in process.stdout if line.endswith("\n")]
        with held(place) as store:
            fleet = store.load()
            messages = [entry.message for entry in store.journal(limit=100_000)]
        assert fleet.generation >= int(saved[-1])
        assert fleet.nodes[a_node().name].problem == str(fleet.generation)
        assert messages == [str(generation) for generation in range(1, fleet.generation + 1)]

    # --- one holder ----------------------------------------------------------------

    def test_the_refusal_names_the_other_process(self, place: SqlPlace) -> None:
        with another_controller(place, saves=0) as process, closing(place.open()) as store:
            with pytest.raises(Refusal) as caught:
                store.hold("controller")
            assert f"the killed one (process {process.pid} on " in str(caught.value)
            assert f"since {datetime.now(UTC).year}" in str(caught.value)

    def test_killing_the_holder_frees_the_hold(self, place: SqlPlace) -> None:
        with another_controller(place, saves=1) as process, closing(place.open()) as store:
            with pytest.raises(Refusal):
                store.hold("controller")
            process.kill()
            process.wait()
            assert store.hold("controller") == 2
            store.save({}, 2, [])

    def test_an_overtaken_holder_writes_nothing(self, place: SqlPlace) -> None:
        with closing(place.open()) as first, closing(place.open()) as second:
            first.hold("first")
            first.save({}, 1, [])
            place.free_the_hold(first)
            second.hold("second")
            with pytest.raises(Refusal, match="second") as caught:
                first.save({Kind.NODE: {a_node().name: a_node()}}, 2, [an_entry()])
            assert caught.value.code == "hold-lost"
            assert second.load().nodes == {}
            assert list(second.journal()) == []
            with pytest.raises(Refusal):
                first.trim(0)
            second.save({}, 2, [])
            first.release()
            with closing(place.open()) as third, pytest.raises(Refusal, match="second"):
                third.hold("third")

    def test_a_save_under_way_comes_before_the_hold_that_overtakes_it(self, place: SqlPlace) -> None:
        epochs: list[int] = []
        with closing(place.open()) as first, closing(place.open()) as second:
            first.hold("first")
            place.free_the_hold(first)
            overtaking = threading.Thread(target=lambda: epochs.append(second.hold("second")))
            with first.transaction(1):
                overtaking.start()
            overtaking.join()
            assert epochs == [2]
            assert second.load().generation == 1
            with pytest.raises(Refusal):
                first.save({}, 2, [])

    def test_one_controller_of_many_that_start_at_once_holds(self, place: SqlPlace) -> None:
        stores = [place.open() for _ in range(4)]
        held_by: list[int] = []

        def compete(number: int) -> None:
            try:
                stores[number].hold(f"controller {number}")
            except Refusal:
                return
            held_by.append(number)

        threads = [threading.Thread(target=compete, args=(number,)) for number in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for store in stores:
            store.close()
        assert len(held_by) == 1

    # --- the journal ---------------------------------------------------------------

    def test_a_long_journal_is_trimmed_in_portions(
        self, place: SqlPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("metier.store.sql._TRIM_BATCH", 4)
        with closing(place.open()) as store:
            store.hold("controller")
            store.save({}, 1, [an_entry(str(number)) for number in range(21)])
            assert store.trim(keep=5) == 16
            assert [entry.message for entry in store.journal()] == ["16", "17", "18", "19", "20"]

    # --- versions ------------------------------------------------------------------

    def test_a_store_from_a_newer_version_is_refused(self, place: SqlPlace) -> None:
        place.open().close()
        place.run("UPDATE alembic_version SET version_num = '0007'")
        place.run("UPDATE site SET version = '9.9'")
        with pytest.raises(Refusal) as caught:
            place.open()
        assert caught.value.code == "newer-store"
        for part in ("schema version 7", "Metier 9.9", f"Metier {__version__}", f"up to {SCHEMA_VERSION}"):
            assert part in str(caught.value)
        assert caught.value.remedy

    def test_a_newer_store_is_refused_whatever_became_of_its_tables(self, place: SqlPlace) -> None:
        place.open().close()
        place.run("UPDATE alembic_version SET version_num = '0007'")
        place.run("ALTER TABLE site RENAME COLUMN version TO wrote")
        with pytest.raises(Refusal, match="a newer Metier"):
            place.open()

    def test_a_field_from_a_newer_version_is_refused_not_dropped(self, place: SqlPlace) -> None:
        with held(place) as store:
            store.save({Kind.NODE: {a_node().name: a_node()}}, 1, [])
        place.run('UPDATE intent SET body = replace(body, \'"kind":\', \'"colour":"red","kind":\')')
        with closing(place.open()) as store, pytest.raises(Refusal, match="node-1") as caught:
            store.load()
        assert "colour" in chain(caught.value)

    def test_another_programs_database_is_left_alone(self, place: SqlPlace) -> None:
        place.open().close()
        place.run("UPDATE alembic_version SET version_num = 'ae1027a6acf'")
        with pytest.raises(Refusal, match="no store of Metier"):
            place.open()
        place.run("DROP TABLE alembic_version")
        with pytest.raises(Refusal, match="no store of Metier"):
            place.open()

    def test_an_older_store_is_upgraded(self, place: SqlPlace, tmp_path: Path) -> None:
        fleet = a_fleet_of_everything()
        with held(place) as store:
            store.save(everything_in(fleet), 7, [an_entry("before")])
        with closing(place.open(a_later_schema(tmp_path))) as store:
            assert the_same(store.load(), fleet)
            assert store.journal()[0].message == "before"
        assert place.run("SELECT version FROM site") == [("later",)]
        with pytest.raises(Refusal, match="schema version 2"):
            place.open()

    def test_an_upgrade_that_fails_changes_nothing(self, place: SqlPlace, tmp_path: Path) -> None:
        place.open().close()
        with pytest.raises(Refusal):
            place.open(a_later_schema(tmp_path, more="op.execute('UPDATE nowhere SET x = 1')"))
        assert place.run("SELECT version FROM site") == [(__version__,)]
        place.open().close()

    def test_no_upgrade_under_a_running_controller(self, place: SqlPlace, tmp_path: Path) -> None:
        with held(place, "the old one") as store:
            with pytest.raises(Refusal, match="the old one") as caught:
                place.open(a_later_schema(tmp_path))
            assert caught.value.code == "held-elsewhere"
            store.save({}, 1, [])

    def test_a_missing_field_takes_its_default(self, place: SqlPlace) -> None:
        settings = replace(a_tier(), priority=1)
        with held(place) as store:
            store.save({Kind.TIER: {settings.name: settings}}, 1, [])
        place.run("UPDATE intent SET body = replace(body, '\"priority\":1,', '')")
        with closing(place.open()) as store:
            assert store.load().tiers == {settings.name: a_tier()}

    # --- the site ------------------------------------------------------------------

    def test_the_site_keeps_its_identity(self, place: SqlPlace, tmp_path: Path) -> None:
        with closing(place.open()) as store, closing(place.open()) as again:
            site = store.site_id()
            assert again.site_id() == site
        with closing(open_store(tmp_path / "elsewhere")) as other:
            assert other.site_id() != site

    def test_the_holder_is_named_with_this_process(self, place: SqlPlace) -> None:
        with held(place, "me"), closing(place.open()) as store, pytest.raises(Refusal) as caught:
            store.hold("controller")
        assert f"me (process {os.getpid()} on " in str(caught.value)
