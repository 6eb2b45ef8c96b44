"""The migrations make what the code expects, and only when there is something to make."""

import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from metier.domain.errors import Refusal
from metier.store.open import open_store
from metier.store.records import _KEYS, key_of, key_text
from metier.store.schema import OURS, SCHEMA_VERSION
from metier.store.sql import SqlStore
from metier.store.tables import METADATA
from tests.contract.fleets import TABLES, a_fleet_of_everything


def differences(store: SqlStore) -> list[object]:
    with store._database.reader.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
    return [each for each in found if "alembic_version" not in str(each)]


def test_the_migrations_make_the_tables_in_a_folder(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "state")) as store:
        assert differences(store) == []


@pytest.mark.postgres
def test_the_migrations_make_the_tables_on_a_server(postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        assert differences(store) == []


def test_the_newest_revision_is_the_schema_version() -> None:
    config = Config()
    config.set_main_option("script_location", str(OURS.scripts))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [f"{SCHEMA_VERSION:04}"]
    assert len(list(scripts.walk_revisions())) == SCHEMA_VERSION


def test_opening_a_store_of_our_version_does_without_alembic(tmp_path: Path) -> None:
    """Importing it takes longer than all the rest of opening."""
    open_store(tmp_path / "state").close()
    program = (
        "import sys\n"
        "from metier.store.open import open_store\n"
        "open_store(sys.argv[1]).close()\n"
        "assert 'alembic' not in sys.modules\n"
        "assert 'psycopg' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "state")], check=True)


def test_of_several_that_set_up_a_folder_at_once_one_does(tmp_path: Path) -> None:
    sites: set[str] = set()
    refused: list[str] = []

    def set_up() -> None:
        try:
            with closing(open_store(tmp_path / "state")) as store:
                sites.add(store.site_id())
        except Refusal as error:
            refused.append(error.code)

    threads = [threading.Thread(target=set_up) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sites) == 1
    assert set(refused) <= {"held-elsewhere"}


@pytest.mark.postgres
def test_of_several_that_set_up_a_server_at_once_one_does(postgres_url: str) -> None:
    sites: list[str] = []

    def set_up() -> None:
        with closing(open_store(postgres_url)) as store:
            sites.append(store.site_id())

    threads = [threading.Thread(target=set_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sites) == 4
    assert len(set(sites)) == 1


def test_every_kind_of_record_has_keys_that_come_back() -> None:
    fleet = a_fleet_of_everything()
    for kind, table in TABLES.items():
        for key in getattr(fleet, table):
            assert key_of(kind, key_text(key)) == key
            assert type(key_of(kind, key_text(key))) is type(key)
    assert set(_KEYS) == {*TABLES, "pool"}


def test_a_database_that_vanished_is_not_made_anew(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "state")) as store:
        store._database.reader.dispose()
        (tmp_path / "state" / "metier.db").rename(tmp_path / "gone.db")
        with pytest.raises(Refusal, match="may not be opened"):
            store.load()
        assert not (tmp_path / "state" / "metier.db").exists()
