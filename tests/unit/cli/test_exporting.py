"""`metier export-site`: to standard output, or to a file that is whole or is not there."""

import json
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from metier.cli.exporting import write_whole
from metier.cli.failure import Failure
from metier.domain.fleet import Fleet
from metier.operations import load_operations
from metier.operations.registry import OPERATIONS
from metier.store.site_file import dump_site, read_site
from tests.builders import NOW
from tests.unit.cli.conftest import Metier
from tests.unit.web.fake_controller import FakeController
from tests.unit.web.fake_operations import FAKE_OPERATIONS

load_operations()


@pytest.fixture(autouse=True)
def operation(monkeypatch: pytest.MonkeyPatch) -> None:
    def export_site(self: FakeController, fleet: Fleet, now: datetime, *, journal: int) -> dict[str, Any]:
        return dump_site(fleet, now, [], journal)

    monkeypatch.setitem(FAKE_OPERATIONS, ("", "export-site"), OPERATIONS["", "export-site"])
    monkeypatch.setattr(FakeController, "export_site", export_site, raising=False)


def test_it_goes_to_standard_output_as_a_document_that_is_read_back(
    metier: Metier, controller: FakeController
) -> None:
    result = metier("export-site", "--journal", "5")
    assert (result.status, result.err) == (0, "")
    site = read_site(result.out, "-")
    assert site.fleet.nodes == controller.view().fleet.nodes
    assert (site.exported, site.journal_id) == (NOW, 5)
    assert metier("export-site", "--out", "-").out.splitlines()[0] == "{"


def test_it_goes_to_a_file_for_its_owner_alone(metier: Metier, tmp_path: Path) -> None:
    file = tmp_path / "site.json"
    file.write_text("what was there before")
    result = metier("export-site", "--out", str(file))
    assert (result.status, result.out) == (0, "")
    assert result.err == f"9 records and 0 journal entries written to {file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(read_site(file.read_text(), "site.json").fleet.nodes) == 3
    assert json.loads(file.read_text())["format"] == "metier-site"
    assert sorted(tmp_path.glob(".site.json*")) == []


def test_a_file_that_cannot_be_written_is_refused(metier: Metier, tmp_path: Path) -> None:
    result = metier("export-site", "--out", str(tmp_path / "none" / "site.json"))
    assert result.status == 1
    assert "cannot write" in result.err
    assert "no such file or directory" in result.err.lower()


@pytest.mark.parametrize("number", ["-1", "10001", "many"])
def test_a_journal_of_impossible_length_is_refused(metier: Metier, number: str) -> None:
    result = metier("export-site", "--journal", number)
    assert (result.status, result.out) == (2, "")


def test_what_is_cut_off_leaves_what_was_there(tmp_path: Path) -> None:
    def lines() -> Iterator[str]:
        yield "{"
        raise OSError(28, "No space left on device")

    file = tmp_path / "site.json"
    file.write_text("before")
    with pytest.raises(Failure, match="No space left on device"):
        write_whole(file, lines())
    assert [path.name for path in tmp_path.iterdir()] == ["site.json"]
    assert file.read_text() == "before"
