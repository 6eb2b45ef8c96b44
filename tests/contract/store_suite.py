"""What any `Store` promises: one suite for every store there is.

A store's test module names a subclass of `StoreSuite` and gives it a fixture `place`.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import pytest

from metier.domain.errors import Bug, Refusal
from metier.domain.fleet import Changes, Fleet, Kind
from metier.store.api import Entry, Store
from tests.builders import NOW, a_fleet, a_host, a_node, a_slot, a_tier, a_virtual_node, an_image
from tests.contract.fleets import a_fleet_of_everything, everything_in, the_same

MANY_NODES = 10_000


class StorePlace(Protocol):
    """Somewhere a site's state can be kept."""

    def open(self) -> Store:
        """Open the store there, with a handle of its own; a new one if there is none yet."""


def an_entry(
    message: str = "allocated to tier web, slot 1", subject: str = "host-1/VM1", **fields: object
) -> Entry:
    """Return a journal entry."""
    return Entry(at=NOW, kind="action", subject=subject, message=message, by="R-ALLOC-3", data=dict(fields))


@contextmanager
def held(place: StorePlace, holder: str = "controller") -> Iterator[Store]:
    """Open the store and hold it."""
    with closing(place.open()) as store:
        store.hold(holder)
        yield store


def changed(fleet: Fleet) -> Changes:
    """Return two changes and a removal in `fleet`, which has nodes host-1 and node-1."""
    draft = fleet.edit()
    draft.put_node(replace(draft.nodes[a_host().name], problem="its fan died"))
    draft.put_tier(a_tier("late", target=3))
    draft.remove_node(a_node().name)
    return draft.changes


class StoreSuite:
    """The promises of `metier.store.api.Store`."""

    def test_a_new_store_is_an_empty_fleet(self, place: StorePlace) -> None:
        with closing(place.open()) as store:
            assert the_same(store.load(), Fleet())
            assert list(store.journal()) == []

    def test_a_fleet_survives_a_restart(self, place: StorePlace) -> None:
        fleet = a_fleet_of_everything()
        with held(place) as store:
            store.save(everything_in(fleet), 7, [])
        with closing(place.open()) as store:
            loaded = store.load()
        assert loaded.generation == 7
        assert the_same(loaded, fleet)

    def test_changes_and_removals_add_up(self, place: StorePlace) -> None:
        with held(place) as store:
            fleet = a_fleet(a_host(), a_node(), a_tier())
            store.save(everything_in(fleet), 1, [])
            draft = store.load().edit()
            for kind, by_key in changed(fleet).items():
                for key, record in by_key.items():
                    draft.put(kind, key, record)
            store.save(draft.changes, draft.generation, [])
            after = draft.freeze()
            assert after.generation == 2
            assert the_same(store.load(), after)
        with closing(place.open()) as store:
            assert store.load().generation == 2
            assert the_same(store.load(), after)

    def test_removing_what_was_never_there_is_no_error(self, place: StorePlace) -> None:
        with held(place) as store:
            store.save({Kind.NODE: {a_node().name: None}}, 1, [])
            assert store.load().nodes == {}

    def test_a_removed_slot_is_told_from_its_neighbours(self, place: StorePlace) -> None:
        one, ten = a_slot(number=1, node="n1"), a_slot(number=10, node="n10")
        with held(place) as store:
            store.save({Kind.SLOT: {one.id: one, ten.id: ten}}, 1, [])
            store.save({Kind.SLOT: {one.id: None}}, 2, [])
            assert store.load().slots == {ten.id: ten}

    # --- all or nothing ------------------------------------------------------------

    def test_what_cannot_be_stored_leaves_nothing_behind(self, place: StorePlace) -> None:
        with held(place) as store:
            store.save({Kind.TIER: {a_tier().name: a_tier()}}, 1, [an_entry("first")])
            with pytest.raises(Bug):
                store.save({Kind.NODE: {a_node().name: a_node()}}, 2, [an_entry(), an_entry(bad=object())])
            fleet = store.load()
            assert (fleet.generation, list(fleet.tiers), list(fleet.nodes)) == (1, ["web"], [])
            assert [entry.message for entry in store.journal()] == ["first"]

    def test_saving_goes_on_after_a_failed_save(self, place: StorePlace) -> None:
        with held(place) as store:
            with pytest.raises(Bug):
                store.save({}, 1, [an_entry(bad=object())])
            store.save({}, 1, [an_entry("then")])
            assert [entry.message for entry in store.journal()] == ["then"]

    def test_a_generation_never_goes_back(self, place: StorePlace) -> None:
        with held(place) as store:
            store.save({}, 5, [])
            store.save({}, 5, [an_entry("an entry alone reaches no new generation")])
            with pytest.raises(Bug):
                store.save({Kind.NODE: {a_node().name: a_node()}}, 4, [])
            assert store.load().generation == 5
            assert store.load().nodes == {}

    # --- one holder ----------------------------------------------------------------

    def test_only_one_may_hold_it(self, place: StorePlace) -> None:
        with held(place, "first"), closing(place.open()) as other:
            with pytest.raises(Refusal, match=r"first") as caught:
                other.hold("second")
            assert caught.value.code == "held-elsewhere"
            assert caught.value.remedy

    def test_reading_needs_no_hold(self, place: StorePlace) -> None:
        with held(place) as store, closing(place.open()) as reader:
            store.save({Kind.NODE: {a_node().name: a_node()}}, 1, [an_entry("seen")])
            assert list(reader.load().nodes) == [a_node().name]
            assert [entry.message for entry in reader.journal_tail()] == ["seen"]

    def test_writing_needs_the_hold(self, place: StorePlace) -> None:
        with closing(place.open()) as store:
            with pytest.raises(Refusal) as caught:
                store.save({Kind.NODE: {a_node().name: a_node()}}, 1, [])
            assert caught.value.code == "hold-lost"
            assert store.load().nodes == {}

    def test_a_released_hold_is_free_and_writes_no_more(self, place: StorePlace) -> None:
        with held(place) as store:
            store.release()
            with held(place, "next"):
                pass
            with pytest.raises(Refusal):
                store.save({}, 1, [])

    def test_closing_lets_go(self, place: StorePlace) -> None:
        for _ in range(3):
            with held(place):
                pass

    def test_each_hold_has_a_higher_epoch(self, place: StorePlace) -> None:
        epochs = []
        for _ in range(3):
            with closing(place.open()) as store:
                epochs.append(store.hold("controller"))
        assert epochs == sorted(set(epochs))
        assert epochs[0] > 0

    def test_a_refused_hold_costs_the_holder_nothing(self, place: StorePlace) -> None:
        with held(place) as store:
            with closing(place.open()) as other, pytest.raises(Refusal):
                other.hold("second")
            store.save({}, 1, [])

    # --- the journal ---------------------------------------------------------------

    def test_entries_keep_their_order_and_count_up(self, place: StorePlace) -> None:
        with held(place) as store:
            store.save({}, 1, [an_entry(str(number)) for number in range(5)])
            store.save({}, 1, [an_entry(str(number)) for number in range(5, 8)])
        with closing(place.open()) as store:
            entries = store.journal()
        assert [entry.message for entry in entries] == [str(number) for number in range(8)]
        ids = [entry.id for entry in entries]
        assert ids == sorted(set(ids))
        assert ids[0] > 0

    def test_an_entry_is_read_as_it_was_written(self, place: StorePlace) -> None:
        data: Mapping[str, object] = {"plan": [1, 2.5, None, True], "of": {"tier": "web", "naïve": "…"}}
        entry = Entry(NOW + timedelta(microseconds=1), "outcome", "host-1/VM1", "started", "R-HOST-1", data)
        with held(place) as store:
            store.save({}, 1, [entry])
            (read,) = store.journal()
        assert replace(read, id=0) == entry

    def test_hostile_words_pass_through(self, place: StorePlace) -> None:
        words = "'; DROP TABLE journal; --\0\n\x1b[31m \udc80 𝄞 %s :x {}"
        with held(place) as store:
            store.save({}, 1, [an_entry(words, subject=words, said=words), an_entry()])
            (read,) = store.journal(subject=words)
        assert (read.message, read.subject, read.data["said"]) == (words, words, words)

    def test_the_journal_is_paged_by_id(self, place: StorePlace) -> None:
        with held(place) as store:
            store.save({}, 1, [an_entry(str(number)) for number in range(7)])
            seen: list[str] = []
            after = 0
            while page := store.journal(after=after, limit=3):
                seen += [entry.message for entry in page]
                after = page[-1].id
        assert seen == [str(number) for number in range(7)]

    def test_the_tail_is_the_newest_oldest_first(self, place: StorePlace) -> None:
        with held(place) as store:
            store.save({}, 1, [an_entry(str(number)) for number in range(7)])
            assert [entry.message for entry in store.journal_tail(limit=2)] == ["5", "6"]
            assert len(store.journal_tail()) == 7

    def test_the_journal_is_filtered_by_subject(self, place: StorePlace) -> None:
        with held(place) as store:
            store.save({}, 1, [an_entry(str(number), subject=f"n{number % 2}") for number in range(6)])
            assert [entry.message for entry in store.journal(subject="n1")] == ["1", "3", "5"]
            assert [entry.message for entry in store.journal_tail(subject="n0", limit=2)] == ["2", "4"]
            assert list(store.journal(subject="n")) == []

    def test_trimming_keeps_the_newest_entries(self, place: StorePlace) -> None:
        with closing(place.open()) as store:
            store.hold("controller")
            store.save({}, 1, [an_entry(str(number)) for number in range(10)])
            assert store.trim(keep=20) == 0
            assert store.trim(keep=3) == 7
            kept = store.journal()
            assert [entry.message for entry in kept] == ["7", "8", "9"]
            assert store.journal(after=kept[0].id) == kept[1:]
            assert store.journal(after=0) == kept
            last = store.journal_tail(limit=1)[0].id
            assert store.trim(keep=0) == 3
            assert store.trim(keep=0) == 0
            store.save({}, 1, [an_entry("later")])
            assert store.journal()[0].id > last

    def test_trimming_needs_the_hold(self, place: StorePlace) -> None:
        with closing(place.open()) as store, pytest.raises(Refusal) as caught:
            store.trim(0)
        assert caught.value.code == "hold-lost"

    @pytest.mark.parametrize("limit", [0, -1])
    def test_no_entries_are_asked_for(self, place: StorePlace, limit: int) -> None:
        with held(place) as store:
            store.save({}, 1, [an_entry()])
            assert list(store.journal(limit=limit)) == []
            assert list(store.journal_tail(limit=limit)) == []

    @pytest.mark.parametrize("number", [-1, 2**31, 2**63, 10**30])
    def test_any_number_may_be_asked_for(self, place: StorePlace, number: int) -> None:
        with held(place) as store:
            store.save({}, 1, [an_entry()])
            assert len(store.journal(after=number)) == (1 if number < 0 else 0)
            assert len(store.journal_tail(limit=number)) == (0 if number < 0 else 1)

    # --- size ----------------------------------------------------------------------

    def test_ten_thousand_nodes_make_the_round_trip(self, place: StorePlace) -> None:
        guests = [a_virtual_node(f"host-{n // 8}", n % 8 + 1) for n in range(MANY_NODES)]
        fleet = a_fleet(an_image(), a_tier(), *guests)
        with held(place) as store:
            store.save(everything_in(fleet), 1, [])
        with closing(place.open()) as store:
            assert the_same(store.load(), fleet)
