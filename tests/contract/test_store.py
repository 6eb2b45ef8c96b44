"""Every store keeps its promises: SQLite, PostgreSQL, and the one in memory."""

from contextlib import closing
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.domain.fleet import Kind
from metier.store.memory import MemoryStore, Records
from tests.builders import a_node
from tests.contract.sql_places import FolderPlace, ServerPlace
from tests.contract.sql_suite import SqlSuite
from tests.contract.store_suite import StoreSuite, held


class MemoryPlace:
    """Records that every store opened here has in common."""

    def __init__(self) -> None:
        self._records = Records()

    def open(self) -> MemoryStore:
        return MemoryStore(self._records)


class TestMemory(StoreSuite):
    """In this process."""

    @pytest.fixture
    def place(self) -> MemoryPlace:
        return MemoryPlace()


class TestSqlite(SqlSuite):
    """On a state folder."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> FolderPlace:
        return FolderPlace(str(tmp_path / "state"))


@pytest.mark.postgres
class TestPostgres(SqlSuite):
    """On a PostgreSQL database."""

    @pytest.fixture
    def place(self, postgres_url: str) -> ServerPlace:
        return ServerPlace(postgres_url)

    def test_losing_the_connection_is_losing_the_hold(self, place: ServerPlace) -> None:
        with closing(place.open()) as store:
            store.hold("first")
            ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            assert place.run(ended) == [(True,)]
            with pytest.raises(Refusal) as caught:
                store.save({Kind.NODE: {a_node().name: a_node()}}, 1, [])
            assert caught.value.code == "hold-lost"
            with held(place, "second") as other:
                assert other.load().nodes == {}
                with pytest.raises(Refusal):
                    store.save({}, 1, [])
                other.save({}, 1, [])

    def test_reading_goes_on_after_the_server_ended_its_sessions(self, place: ServerPlace) -> None:
        with closing(place.open()) as store:
            assert store.load().generation == 0
            place.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert store.load().generation == 0
