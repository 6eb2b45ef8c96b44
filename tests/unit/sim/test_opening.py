"""How a simulated site begins, and whose state folder is whose."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from metier import app
from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId
from metier.sim.folder import MARK, is_simulated, refuse_simulated, simulated_folder
from metier.sim.opening import begin_site, last_moment
from metier.sim.sample import sample_site
from metier.store.api import Entry
from metier.store.memory import MemoryStore
from metier.store.site_file import dump_site
from tests.builders import NOW

FOLDER = Path("/nowhere/at/all")


def an_export(folder: Path, fleet: Fleet) -> Path:
    path = folder / "site.json"
    entries = [Entry(NOW, "action", "host-1", "it was so", "R-HOST-1", id=7)]
    path.write_text(json.dumps(dump_site(fleet, NOW, entries, 7)))
    return path


# --- the beginning --------------------------------------------------------------------------------


def test_without_a_file_it_begins_with_the_sample() -> None:
    store = MemoryStore()
    fleet, _ = begin_site(store, FOLDER, None, 4)
    assert [name for name in fleet.nodes if name.startswith("host")] == [f"host-{n}" for n in range(1, 5)]
    assert store.load().nodes == fleet.nodes
    store.hold("whoever comes next")


def test_an_exported_site_begins_when_it_was_exported_with_its_journal(tmp_path: Path) -> None:
    store = MemoryStore()
    exported = sample_site(NOW, 2)
    fleet, moment = begin_site(store, FOLDER, an_export(tmp_path, exported), None)
    assert moment == NOW
    assert fleet.tiers.keys() == exported.tiers.keys()
    assert [entry.message for entry in store.journal()] == ["it was so"]


def test_a_site_that_is_remembered_goes_on_when_it_stopped() -> None:
    store = MemoryStore()
    fleet, _ = begin_site(store, FOLDER, None, 2)
    later = fleet.nodes[NodeId("host-1")].since + timedelta(hours=5)
    store.hold("a controller")
    store.save({}, fleet.generation, [Entry(later, "action", "host-1", "something happened")])
    store.release()
    again, moment = begin_site(store, FOLDER, None, None)
    assert (again.generation, moment) == (fleet.generation, later)


def test_a_second_beginning_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    fleet, _ = begin_site(store, FOLDER, None, None)
    for exported, hosts in ((an_export(tmp_path, fleet), None), (None, 3)):
        with pytest.raises(Refusal, match="it remembers one already"):
            begin_site(store, FOLDER, exported, hosts)


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"\xff\xfe", "UTF-8"), (b"{}", "no exported site")]
)
def test_a_file_that_is_no_exported_site_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    path, store = tmp_path / "site.json", MemoryStore()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongUsage, match=why):
        begin_site(store, FOLDER, path, None)
    assert not store.load().nodes


def test_time_goes_on_from_the_latest_moment_that_is_known() -> None:
    fleet = sample_site(NOW, 2)
    assert last_moment(fleet, ()) == NOW
    assert last_moment(fleet, [Entry(NOW + timedelta(1), "action", "x", "y")]) == NOW + timedelta(1)


# --- the folder -----------------------------------------------------------------------------------


def test_a_folder_of_its_own_is_removed_at_the_end() -> None:
    with simulated_folder(None) as folder:
        assert is_simulated(folder)
        (folder / "metier.db").touch()
    assert not folder.exists()


def test_a_named_folder_stays_and_is_known_again(tmp_path: Path) -> None:
    for _ in range(2):
        with simulated_folder(tmp_path / "state") as folder:
            (folder / "metier.db").touch()
    assert (tmp_path / "state" / MARK).exists()


def test_a_folder_with_anything_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metier.db").touch()
    with pytest.raises(Refusal, match="it is not empty"), simulated_folder(tmp_path):
        pass
    assert not is_simulated(tmp_path)
    with pytest.raises(Refusal, match="cannot keep"), simulated_folder(tmp_path / "metier.db" / "x"):
        pass


def test_a_real_site_is_not_run_on_a_simulated_folder(tmp_path: Path) -> None:
    with simulated_folder(tmp_path / "state") as folder, pytest.raises(Refusal, match="a simulated one"):
        app.serve(folder)
    refuse_simulated(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [MARK]


def test_a_simulated_site_is_never_kept_in_the_real_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METIER_DATABASE", "postgresql://real")
    with simulated_folder(tmp_path / "state") as folder:
        assert app.database(folder) == folder
    assert app.database(tmp_path) == "postgresql://real"
