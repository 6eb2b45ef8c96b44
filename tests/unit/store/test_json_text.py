"""Files from outside: read as text within bounds, or refused."""

import io

import pytest

from metier.domain.errors import WrongUsage
from metier.store import json_text
from metier.store.json_text import JsonText, read_text


def test_a_file_is_read_as_utf_8_with_or_without_a_mark() -> None:
    assert read_text(io.BytesIO('{"a": "é"}'.encode()), "f") == '{"a": "é"}'
    assert read_text(io.BytesIO(b"\xef\xbb\xbf[]"), "f") == "[]"


def test_what_is_no_text_is_refused_with_its_line() -> None:
    with pytest.raises(WrongUsage, match="cannot read f: line 3 is not UTF-8 text"):
        read_text(io.BytesIO(b"{\n\n\xff}"), "f")


def test_a_file_that_is_too_long_is_refused_without_reading_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_text, "LONGEST", 10)
    file = io.BytesIO(b" " * 100)
    with pytest.raises(WrongUsage, match="cannot read f: it has more than"):
        read_text(file, "f")
    assert file.tell() == 11


def test_a_large_object_with_a_key_twice_takes_no_time() -> None:
    text = "{" + "".join(f'"{n}": 1,' for n in range(100_000)) + '"99999": 1}'
    with pytest.raises(WrongUsage, match="99999 is there twice"):
        JsonText(text, "f").value()
