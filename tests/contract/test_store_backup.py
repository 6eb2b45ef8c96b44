"""A backup restores everything, from either database into either, or nothing."""

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from metier.domain.errors import Refusal, chain
from metier.domain.fleet import Kind
from metier.store.backup import restore
from metier.store.open import open_store
from tests.builders import a_node
from tests.contract.fleets import a_fleet_of_everything, everything_in, the_same
from tests.contract.store_suite import an_entry


@pytest.fixture(params=["folder", pytest.param("server", marks=pytest.mark.postgres)])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "source") if request.param == "folder" else request.getfixturevalue("postgres_url")


@pytest.fixture
def empty(tmp_path: Path) -> str:
    return str(tmp_path / "empty")


def fill(where: str) -> None:
    """Save a Fleet and a journal whose first entries are gone."""
    with closing(open_store(where)) as store:
        store.hold("an earlier hold")
        store.release()
        store.hold("controller")
        store.save(everything_in(a_fleet_of_everything()), 9, [an_entry(str(number)) for number in range(30)])
        store.save({}, 10, [an_entry("hostile \0 \udc80", subject="\0")])
        store.trim(keep=21)


def backup_of(where: str) -> list[bytes]:
    with closing(open_store(where)) as store:
        return list(store.backup())


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    fill(str(tmp_path / "origin"))
    return backup_of(str(tmp_path / "origin"))


def is_empty(where: str) -> bool:
    with closing(open_store(where)) as store:
        fleet = store.load()
        return (fleet.generation, len(fleet.nodes), len(store.journal())) == (0, 0, 0)


def sealed(lines: list[bytes]) -> list[bytes]:
    """Give changed lines an end that fits them."""
    text = b"".join(lines[:-1])
    end = {"end": len(lines) - 2, "sha256": hashlib.sha256(text).hexdigest()}
    return [*lines[:-1], json.dumps(end).encode() + b"\n"]


def changed(line: bytes, **values: Any) -> bytes:
    return json.dumps(json.loads(line) | values).encode() + b"\n"


def test_everything_comes_back(source: str, empty: str) -> None:
    fill(source)
    lines = backup_of(source)
    assert restore(empty, lines) == len(lines) - 2
    with closing(open_store(source)) as old, closing(open_store(empty)) as new:
        assert new.site_id() == old.site_id()
        assert new.load().generation == 10
        assert the_same(new.load(), a_fleet_of_everything())
        assert new.journal() == old.journal()
        assert new.journal(subject="\0") == old.journal(subject="\0")
        assert new.hold("controller") > old.hold("controller") - 1
        last = old.journal_tail(limit=1)[0].id
        new.save({}, 11, [an_entry("later")])
        assert new.journal_tail(limit=1)[0].id > last


@pytest.mark.postgres
def test_a_folder_moves_to_a_server(lines: list[bytes], postgres_url: str) -> None:
    restore(postgres_url, lines)
    assert backup_of(postgres_url)[1:-1] == lines[1:-1]
    with closing(open_store(postgres_url)) as store:
        store.hold("controller")
        before = store.journal_tail(limit=1)[0].id
        store.save({}, 11, [an_entry("later")])
        assert store.journal_tail(limit=1)[0].id == before + 1


def test_an_empty_store_comes_back(tmp_path: Path, empty: str) -> None:
    lines = backup_of(str(tmp_path / "source"))
    assert len(lines) == 2
    assert restore(empty, lines) == 0
    assert is_empty(empty)


def test_an_epoch_of_the_backup_is_never_given_again(lines: list[bytes], empty: str) -> None:
    assert json.loads(lines[0])["epoch"] == 2
    restore(empty, lines)
    with closing(open_store(empty)) as store:
        assert store.hold("controller") == 3


def test_the_header_names_the_versions(lines: list[bytes]) -> None:
    header = json.loads(lines[0])
    assert header["metier-backup"] == 1
    assert header["schema"] == 1
    assert header["version"]
    assert header["generation"] == 10


def test_a_backup_is_of_one_moment(source: str, empty: str) -> None:
    fill(source)
    with closing(open_store(source)) as store:
        store.hold("controller")
        running = store.backup()
        begun = [next(running)]
        store.save({Kind.NODE: {a_node().name: a_node()}}, 11, [an_entry("meanwhile")])
        restore(empty, [*begun, *running])
    with closing(open_store(empty)) as restored:
        assert restored.load().generation == 10
        assert restored.journal_tail(limit=1)[0].message != "meanwhile"


def test_a_store_that_is_not_empty_is_left_alone(lines: list[bytes], source: str) -> None:
    with closing(open_store(source)) as store:
        store.hold("controller")
        store.save({Kind.NODE: {a_node().name: a_node()}}, 1, [])
    with pytest.raises(Refusal) as caught:
        restore(source, lines)
    assert caught.value.code == "store-not-empty"
    with closing(open_store(source)) as store:
        assert list(store.load().nodes) == [a_node().name]


def test_a_store_that_is_held_is_left_alone(lines: list[bytes], empty: str) -> None:
    with closing(open_store(empty)) as store:
        store.hold("controller")
        with pytest.raises(Refusal, match="controller"):
            restore(empty, lines)
        store.save({}, 1, [])


def test_a_backup_that_is_cut_short_restores_nothing(lines: list[bytes], empty: str) -> None:
    for kept in (0, 1, 2, len(lines) - 1):
        with pytest.raises(Refusal, match="cut short"):
            restore(empty, lines[:kept])
        with pytest.raises(Refusal, match="cut short"):
            restore(empty, [*lines[:kept], lines[kept][:-1]])
    assert is_empty(empty)


def test_a_backup_that_lost_a_line_restores_nothing(lines: list[bytes], empty: str) -> None:
    for lost in (1, len(lines) // 2, len(lines) - 2):
        with pytest.raises(Refusal, match="not those that it was made of"):
            restore(empty, lines[:lost] + lines[lost + 1 :])
    assert is_empty(empty)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda lines: [b"PK\x03\x04\n"], "line 1 cannot be read"),
        (lambda lines: [b"[1]\n"], "line 1 is no object"),
        (lambda lines: [b"{}\n"], "no backup of Metier"),
        (lambda lines: [b"[" * 100_000 + b"\n"], "line 1 cannot be read"),
        (lambda lines: [lines[0], b"\xff\n"], "line 2 cannot be read"),
        (lambda lines: [*lines, lines[1]], "goes on after its end"),
        (lambda lines: [lines[0], changed(lines[1], kind="planet")], "line 2 cannot be read"),
        (lambda lines: [lines[0], changed(lines[1], body={"colour": "red"})], "line 2 cannot be read"),
        (lambda lines: [lines[0], changed(lines[1], key=7)], "line 2 cannot be read"),
        (lambda lines: [lines[0], changed(lines[1], colour="red")], "line 2 cannot be read"),
        (lambda lines: [changed(lines[0], generation="x")], "line 1 cannot be read"),
        (lambda lines: [changed(lines[0], **{"metier-backup": 2})], "format 2"),
        (lambda lines: [changed(lines[0], schema=7, version="9.9")], "schema version 7, made by Metier 9.9"),
        (lambda lines: sealed([lines[0], lines[1], lines[1], lines[-1]]), "the database refused"),
        (lambda lines: sealed([changed(lines[0], generation=10**30), lines[-1]]), "line 1 cannot be read"),
        (lambda lines: sealed([changed(lines[0], epoch=-1), lines[-1]]), "line 1 cannot be read"),
        (lambda lines: [lines[0], changed(lines[1], generation=2**63)], "line 2 cannot be read"),
        (lambda lines: [lines[0], b'{"entry":-1,"body":{}}\n'], "line 2 cannot be read"),
        (lambda lines: sealed([lines[0], b'{"entry":1,"body":[]}\n', lines[-1]]), "journal entry 1"),
        (lambda lines: sealed([lines[0], b'{"entry":1,"body":{"at":5}}\n', lines[-1]]), "journal entry 1"),
    ],
)
def test_a_damaged_backup_restores_nothing(
    lines: list[bytes], empty: str, spoil: Callable[[list[bytes]], list[bytes]], why: str
) -> None:
    with pytest.raises(Refusal) as caught:
        restore(empty, spoil(lines))
    assert why in chain(caught.value)
    assert is_empty(empty)


@pytest.mark.postgres
def test_a_server_that_refuses_a_line_keeps_none(lines: list[bytes], postgres_url: str) -> None:
    with pytest.raises(Refusal, match="the database refused"):
        restore(postgres_url, sealed([*lines[:-1], lines[1], lines[-1]]))
    assert is_empty(postgres_url)
