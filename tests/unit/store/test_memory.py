"""What only the store in memory has: saves that fail on request, holds that are taken away, copies."""

import pytest

from metier.domain.errors import NoSpace, Refusal
from metier.domain.fleet import Fleet, Kind
from metier.store.memory import MemoryStore, Records, SaveFault
from tests.builders import a_fleet, a_host, a_node, a_tier
from tests.contract.fleets import a_fleet_of_everything, the_same
from tests.contract.store_suite import an_entry

NODE = {Kind.NODE: {a_node().name: a_node()}}


@pytest.fixture
def records() -> Records:
    return Records(a_fleet(a_host(), a_tier()))


@pytest.fixture
def store(records: Records) -> MemoryStore:
    store = MemoryStore(records)
    store.hold("first")
    return store


def names(records: Records) -> set[str]:
    return set(MemoryStore(records).load().nodes)


def test_records_are_what_a_fleet_has() -> None:
    fleet = a_fleet_of_everything()
    loaded = MemoryStore(Records(fleet)).load()
    assert the_same(loaded, fleet)
    assert loaded.generation == fleet.generation


def test_a_full_disk_stores_nothing_and_the_next_save_goes_well(store: MemoryStore) -> None:
    store.faults.append(SaveFault.FULL)
    with pytest.raises(NoSpace) as caught:
        store.save(NODE, 1, [an_entry()])
    assert caught.value.remedy
    assert names(store.records) == {"host-1"}
    assert list(store.journal()) == []
    store.save(NODE, 1, [an_entry()])
    assert names(store.records) == {"host-1", "node-1"}


def test_a_lost_answer_stores_all_of_it_and_costs_the_hold(store: MemoryStore, records: Records) -> None:
    store.faults.append(SaveFault.LOST_ANSWER)
    with pytest.raises(Refusal) as caught:
        store.save(NODE, 1, [an_entry()])
    assert caught.value.code == "hold-lost"
    assert names(records) == {"host-1", "node-1"}
    assert len(store.journal()) == 1
    with pytest.raises(Refusal):
        store.save({}, 2, [])
    assert MemoryStore(records).hold("next") == 2


def test_an_overtaken_holder_writes_nothing_and_lets_nobody_go(store: MemoryStore, records: Records) -> None:
    records.holder = ""  # as if its session had ended
    second = MemoryStore(records)
    second.hold("second")
    with pytest.raises(Refusal, match="hold 1 was overtaken") as caught:
        store.save(NODE, 1, [])
    assert caught.value.code == "hold-lost"
    store.close()
    assert records.holder == "second"
    second.save(NODE, 1, [])
    assert names(records) == {"host-1", "node-1"}


def test_a_copy_is_held_by_nobody_and_goes_its_own_way(store: MemoryStore, records: Records) -> None:
    store.save({}, 1, [an_entry("before")])
    copy = MemoryStore(records.copy())
    assert copy.hold("another") == 2
    copy.save(NODE, 2, [an_entry("there")])
    store.save({Kind.NODE: {a_host().name: None}}, 2, [an_entry("here")])
    assert (names(copy.records), names(records)) == ({"host-1", "node-1"}, set())
    assert [entry.message for entry in copy.journal()] == ["before", "there"]
    assert [(entry.id, entry.message) for entry in store.journal()] == [(1, "before"), (2, "here")]


def test_an_empty_store_is_an_empty_fleet() -> None:
    assert the_same(MemoryStore().load(), Fleet())
