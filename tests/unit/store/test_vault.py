"""What is sealed is opened by the same key alone, and the key is its owner's alone."""

import multiprocessing
import os
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.domain.secret import as_sealed, is_sealed
from metier.store.vault import KEY_FILE, FileVault


@pytest.mark.parametrize("secret", ["sesame", "", "Ö…\n", "\udcff", "x" * 4096])
def test_what_is_sealed_is_opened_again_also_by_a_later_run(tmp_path: Path, secret: str) -> None:
    sealed = FileVault(tmp_path).seal(secret)
    assert is_sealed(sealed)
    assert not secret or secret not in sealed
    assert FileVault(tmp_path).open(sealed) == secret


def test_nothing_is_made_before_something_is_sealed(tmp_path: Path) -> None:
    vault = FileVault(tmp_path)
    assert vault.open("plain") == "plain"
    assert not list(tmp_path.iterdir())
    vault.seal("sesame")
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]
    assert vault.path.stat().st_mode & 0o7777 == 0o600


def test_a_seal_is_not_sealed_again_and_says_nothing_of_what_it_holds(tmp_path: Path) -> None:
    vault = FileVault(tmp_path)
    sealed = vault.seal("sesame")
    assert vault.seal(sealed) == sealed
    assert vault.seal("sesame") != sealed


@pytest.mark.parametrize("sealed", [as_sealed(""), as_sealed("gAAA"), as_sealed("Ö\udcff")])
def test_what_another_key_sealed_is_refused(tmp_path: Path, sealed: str) -> None:
    vault = FileVault(tmp_path)
    vault.seal("sesame")
    (tmp_path / "other").mkdir()
    for text in (sealed, FileVault(tmp_path / "other").seal("sesame")):
        with pytest.raises(Refusal, match="was not sealed with the key") as caught:
            vault.open(text)
        assert caught.value.remedy == "give it again"


def test_without_its_key_a_secret_stays_closed(tmp_path: Path) -> None:
    sealed = FileVault(tmp_path).seal("sesame")
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(Refusal, match="there is no key") as caught:
        FileVault(tmp_path).open(sealed)
    assert "give every secret again" in caught.value.remedy
    assert not (tmp_path / KEY_FILE).exists(), "a new key in its place would hide that one is missing"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    FileVault(tmp_path).seal("sesame")
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(Refusal, match="others may read or change it") as caught:
        FileVault(tmp_path).seal("sesame")
    assert "chmod 600" in caught.value.remedy


@pytest.mark.parametrize("text", [b"", b"short", b"A" * 44, b"A" * 43 + b"=" * 9, b"A" * 5000, b"\xff" * 44])
def test_what_is_no_key_is_refused(tmp_path: Path, text: bytes) -> None:
    key = tmp_path / KEY_FILE
    key.write_bytes(text)
    key.chmod(0o600)
    with pytest.raises(Refusal, match="it holds no key"):
        FileVault(tmp_path).seal("sesame")
    assert key.read_bytes() == text


def test_a_link_a_pipe_or_a_folder_is_no_key(tmp_path: Path) -> None:
    key = tmp_path / KEY_FILE
    for make in (lambda: key.symlink_to("/dev/null"), lambda: os.mkfifo(key, 0o600), key.mkdir):
        make()
        with pytest.raises(Refusal, match="cannot use"):
            FileVault(tmp_path).seal("sesame")
        key.rmdir() if key.is_dir() else key.unlink()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="cannot make the key") as caught:
        FileVault(tmp_path / "nowhere").seal("sesame")
    assert caught.value.remedy


def _seal(state: Path, start: object, said: "multiprocessing.Queue[str]") -> None:
    start.wait()  # type: ignore[attr-defined]  # an event of a context, which has no type of its own
    said.put(FileVault(state).seal("sesame"))


def test_processes_that_begin_at_once_use_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, said = context.Event(), context.Queue()
    runs = [context.Process(target=_seal, args=(tmp_path, start, said)) for _ in range(6)]
    for run in runs:
        run.start()
    start.set()
    sealed = [said.get(timeout=60) for _ in runs]
    for run in runs:
        run.join()
    vault = FileVault(tmp_path)
    assert {vault.open(one) for one in sealed} == {"sesame"}
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]
