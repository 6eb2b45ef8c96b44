"""What `metier.toml` says of the image matrix, and what it must not say."""

from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.matrix.settings import MatrixSettings, read_settings


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == MatrixSettings((), 10, 20)


def test_what_it_says_is_taken(tmp_path: Path) -> None:
    (tmp_path / "metier.toml").write_text(
        '[matrix]\nfolders = ["/srv/images-2", "/srv/images-3"]\nlow_space_percent = 5\nlow_space_gib = 100\n'
    )
    folders = (Path("/srv/images-2"), Path("/srv/images-3"))
    assert read_settings(tmp_path) == MatrixSettings(folders, 5, 100)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[matrix]\nfolder = 3\n", "matrix.folder is unknown; there are: matrix.folders"),
        ("[images]\n", "images is unknown; there are: matrix"),
        ("matrix = 3\n", "matrix must be a table"),
        ('[matrix]\nfolders = "/srv"\n', "must be a list of absolute paths"),
        ('[matrix]\nfolders = ["srv"]\n', "must be a list of absolute paths"),
        ('[matrix]\nfolders = ["/srv", "/srv"]\n', "name each folder once"),
        ("[matrix]\nlow_space_percent = 101\n", "a whole number from 0 to 100"),
        ("[matrix]\nlow_space_percent = true\n", "a whole number from 0 to 100"),
        ("[matrix\n", "cannot read"),
    ],
)
def test_what_has_no_meaning_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "metier.toml").write_text(text)
    with pytest.raises(Refusal, match=why.replace("[", r"\[")):
        read_settings(tmp_path)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metier.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Refusal, match="cannot read"):
        read_settings(tmp_path)
