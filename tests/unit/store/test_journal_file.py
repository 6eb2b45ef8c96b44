"""A journal is read from whatever form Metier prints it in; anything else is refused with its line."""

import json
from datetime import timedelta
from typing import Any

import pytest

from metier.control.services import LoopServices
from metier.domain.errors import WrongUsage
from metier.domain.fleet import Fleet
from metier.store import journal_file, json_text
from metier.store.api import Entry
from metier.store.journal_file import read_journal
from metier.store.memory import MemoryStore
from tests.builders import NOW

ENTRIES = tuple(
    Entry(
        NOW + timedelta(seconds=number, microseconds=5),
        "action",
        f"host-{number}",
        "PowerOn: a tier needs it",
        by="R-HOST-1",
        data={"action": "PowerOn", "id": number, "deep": {"a": [1.5, None]}},
        id=number,
    )
    for number in (1, 2, 3)
)


def printed() -> list[dict[str, Any]]:
    """Return the events of `metier event list -o json`."""
    store = MemoryStore()
    store.hold("the test")
    store.save({}, 1, ENTRIES)
    no_tools: Any = None  # the journal asks none
    services = LoopServices(store, no_tools, Fleet)
    return list(services.journal(after=0, limit=9, subject=None, newest=True))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(printed(), indent=2),
        "".join(f"{json.dumps(event)}\n" for event in printed()),
        json.dumps({"journal": printed(), "format": "metier-site", "records": {}}),
    ],
    ids=["list", "follow", "site"],
)
def test_every_form_of_a_journal_gives_its_entries(text: str) -> None:
    assert read_journal(text, "events.json") == ENTRIES


@pytest.mark.parametrize("text", ["", "[]", " \n"])
def test_nothing_is_an_empty_journal(text: str) -> None:
    assert read_journal(text, "events.json") == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"at": "noon"}, "line 2: journal entry: at: 'noon' is no moment of RFC 3339"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "line 2: journal entry: "),
        ({"data": []}, "line 2: journal entry: data: [] is no object"),
        ({"colour": 1}, "line 2: journal entry: this version knows no field 'colour' of a Entry"),
        ({"id": 1}, "line 2: journal entry: id 1 does not follow 1"),
        ({"id": "7"}, "line 2: journal entry: id: '7' is no int"),
    ],
)
def test_what_is_no_entry_is_refused_with_its_line(change: dict[str, Any], words: str) -> None:
    first, second, _ = printed()
    with pytest.raises(WrongUsage) as caught:
        read_journal(f"[{json.dumps(first)},\n{json.dumps({**second, **change})}]", "events.json")
    assert str(caught.value).startswith(f"cannot read events.json as a journal: {words}")
    assert caught.value.remedy == "write it with `metier event list --limit 10000 -o json`"


@pytest.mark.parametrize("text", ["5", '"x"', "[5", "{} x", "[] []", '{"journal": 5', "null"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(WrongUsage):
        read_journal(text, "events.json")


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "MOST_ENTRIES", 2)
    with pytest.raises(WrongUsage, match="it has more than 2 journal entries"):
        read_journal(json.dumps(printed()), "events.json")


def test_a_document_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MOST_VALUES", 5)
    with pytest.raises(WrongUsage, match="it has more than 512 MB or"):
        read_journal("[[],[],[],[]]", "events.json")
