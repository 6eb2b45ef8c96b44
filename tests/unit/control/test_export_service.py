"""The site as the controller exports it: the fleet of one round, and the journal until that round."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from metier.control import services as module
from metier.control.services import LoopServices
from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.operations.export import document_lines
from metier.store.api import Entry
from metier.store.memory import MemoryStore
from metier.store.site_file import dump_site, read_site
from tests.builders import NOW, a_fleet, a_host, a_host_image, a_host_tier

FLEET = a_fleet(a_host(), a_host_tier(), a_host_image())
NO_TOOLS: Any = None  # exporting asks none


def entries(*seconds: float) -> list[Entry]:
    return [Entry(NOW + timedelta(seconds=each), "action", "host-1", "PowerOn: why") for each in seconds]


def told(fleet: Fleet, now: datetime, journal: Sequence[Entry], journal_id: int) -> dict[str, Any]:
    return {"ids": [entry.id for entry in journal], "journal_id": journal_id}


def services(*seconds: float, dump: Any = told) -> LoopServices:
    store = MemoryStore()
    store.hold("the test")
    store.save({}, 1, entries(*seconds))
    return LoopServices(store, NO_TOOLS, lambda: FLEET, dump)


def test_the_document_is_one_that_is_read_back() -> None:
    document = services(-1, 0, dump=dump_site).export_site(FLEET, NOW, journal=1)
    site = read_site("\n".join(document_lines(document)), "site.json")
    assert site.fleet.nodes.keys() == FLEET.nodes.keys()
    assert (site.journal_id, [entry.id for entry in site.entries]) == (2, [2])


@pytest.mark.parametrize(
    ("seconds", "journal", "ids", "last"),
    [
        ((), 5, [], 0),
        ((-2, -1, 0), 2, [2, 3], 3),
        ((-2, -1, 0), 0, [], 3),
        ((-2, -1, 0), 9, [1, 2, 3], 3),
        ((-2, 0, 1, 2), 2, [1, 2], 2),
        ((1, 2), 2, [], 0),
        # The clock was put back an hour between the first and the second.
        ((3600, -1, 5), 9, [1, 2], 2),
    ],
)
def test_entries_of_rounds_that_the_fleet_has_not_in_it_are_left_out(
    seconds: tuple[float, ...], journal: int, ids: list[int], last: int
) -> None:
    assert services(*seconds).export_site(FLEET, NOW, journal=journal) == {"ids": ids, "journal_id": last}


def test_they_are_left_out_however_many_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEWER_ENTRIES", 2)
    found = services(*range(-3, 50)).export_site(FLEET, NOW, journal=2)
    assert found == {"ids": [3, 4], "journal_id": 4}


def test_a_controller_without_anything_that_writes_it_says_so() -> None:
    with pytest.raises(Refusal, match="cannot export its site"):
        services(dump=None).export_site(FLEET, NOW, journal=1)
