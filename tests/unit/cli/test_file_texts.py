"""Options that name a file of the caller's, whose text is sent."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from metier.cli.failure import Failure
from metier.cli.parameters import file_text, given, named_file_text
from metier.operations import load_operations
from metier.operations.registry import operation


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("motd").write_bytes("hallo: ä\r\n".encode())


def test_the_text_of_a_file_takes_the_place_of_its_name() -> None:
    load_operations("tier")
    values = {
        "name": ("web",),
        "user_data": "motd",
        "unattend": "",
        "script": ("motd", ""),
        "add_file": ("/etc/motd=motd,0600", "/x="),
        "set": ("a=motd",),
    }
    assert given(operation("tier", "personalize"), values) == {
        "name": ["web"],
        "user_data": "hallo: ä\r\n",
        "unattend": "",
        "script": ["hallo: ä\r\n", ""],
        "add_file": ["/etc/motd,0600=hallo: ä\r\n", "/x="],
        "set": ["a=motd"],
    }


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"typed")))
    assert named_file_text("/x=-") == "/x=typed"


def test_a_comma_may_be_part_of_a_name() -> None:
    Path("a,b").write_text("x")
    assert named_file_text("/x=a,b") == "/x=x"
    assert named_file_text("/x=a,b,0600") == "/x,0600=x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read named: No such file"),
        (b"\xff\xfe", "cannot send named: it is no text in UTF-8"),
        (b"x" * ((1 << 20) + 1), "cannot send named: it has more than 1048576 bytes"),
    ],
    ids=["missing", "binary", "long"],
)
def test_a_file_that_cannot_be_sent_is_named(content: bytes | None, message: str) -> None:
    if content is not None:
        Path("named").write_bytes(content)
    with pytest.raises(Failure, match=message):
        file_text("named")


def test_a_folder_is_no_text() -> None:
    with pytest.raises(Failure, match=r"cannot read \.: Is a directory"):
        file_text(".")


def test_what_names_nothing_is_refused() -> None:
    with pytest.raises(Failure, match="is not NAME=FILE"):
        named_file_text("/etc/motd")
