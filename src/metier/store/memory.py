"""A store in memory: for simulations, and for tests of everything above a store."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import islice
from typing import Any

from metier.domain.errors import Bug, NoSpace, Refusal
from metier.domain.fleet import Changes, Fleet, Kind
from metier.store.api import Entry
from metier.store.holder import HOLDING, held_elsewhere
from metier.store.records import body_text, entry_text, record_of, without_collecting

_PLACE = "the store in memory"


class SaveFault(StrEnum):
    """What can go wrong with one save."""

    FULL = "full"
    """The disk is full: nothing is written."""
    LOST_ANSWER = "lost-answer"
    """It is written, and the connection, and with it the hold, is lost before the answer comes."""


class Records:
    """What is kept: records as the JSON that the other stores keep, so that only what is stored survives.

    Attributes:
        last_id: The id of the newest journal entry there ever was.
        epoch: The newest hold's; `holder` is its name, empty while nobody holds it.
    """

    def __init__(self, fleet: Fleet | None = None) -> None:
        self.texts: dict[tuple[Kind, Any], str] = {}
        self.entries: list[Entry] = []
        self.last_id = 0
        self.generation = 0
        self.epoch = 0
        self.holder = ""
        self.lock = threading.Lock()
        if fleet is not None:
            self.put(fleet.records(), fleet.generation)

    def put(self, changes: Changes, generation: int, entries: Sequence[Entry] = ()) -> None:
        """Write records, as JSON, and journal entries; None removes a record.

        Raises:
            Bug: Something in it cannot be said in JSON, or `generation` goes back; nothing was written.
        """
        texts = {
            (kind, key): None if record is None else body_text(kind, record)
            for kind, by_key in changes.items()
            for key, record in by_key.items()
        }
        for entry in entries:
            entry_text(entry)  # what the other stores could not keep is refused here too
        with self.lock:
            if generation < self.generation:
                raise Bug(f"generation {generation} cannot follow {self.generation} in {_PLACE}")
            self.generation = generation
            for place, text in texts.items():
                if text is None:
                    self.texts.pop(place, None)
                else:
                    self.texts[place] = text
            self.entries += [replace(entry, id=self.last_id + n) for n, entry in enumerate(entries, 1)]
            self.last_id += len(entries)

    def copy(self) -> "Records":
        """Return what a disk would have at this moment, held by nobody."""
        other = Records()
        with self.lock:
            other.texts, other.entries = dict(self.texts), list(self.entries)
            other.last_id, other.generation, other.epoch = self.last_id, self.generation, self.epoch
        return other


class MemoryStore:
    """One opened store; several may be opened on the same records, as on one database.

    Reading is safe from any thread.

    Attributes:
        faults: What the next saves meet, first to last.
    """

    def __init__(self, records: Records | None = None) -> None:
        self.records = records or Records()
        self.faults: list[SaveFault] = []
        self._epoch: int | None = None

    # --- the hold ----------------------------------------------------------------

    def hold(self, holder: str) -> int:
        if self._epoch is not None:
            raise Bug(f"this store holds {_PLACE} already")
        if self.records.holder:
            raise held_elsewhere(HOLDING, _PLACE, self.records.holder)
        self.records.holder = holder
        self.records.epoch += 1
        self._epoch = self.records.epoch
        return self._epoch

    def release(self) -> None:
        if self._epoch == self.records.epoch:
            self.records.holder = ""
        self._epoch = None

    def _require_hold(self) -> None:
        epoch = self._epoch
        if epoch == self.records.epoch:
            return
        self._epoch = None
        why = "this process does not hold it" if epoch is None else f"hold {epoch} was overtaken"
        raise Refusal(
            f"cannot save to {_PLACE}: {why}; nothing was written",
            code="hold-lost",
            remedy="leave the site to the controller that holds it, or stop that and start this one again",
        )

    # --- the Fleet ---------------------------------------------------------------

    def load(self) -> Fleet:
        with self.records.lock:
            texts, generation = dict(self.records.texts), self.records.generation
        records: Changes = {}
        with without_collecting():
            for (kind, key), text in texts.items():
                records.setdefault(kind, {})[key] = record_of(kind, text)
            return Fleet.of(records, generation)

    def save(self, changes: Changes, generation: int, entries: Sequence[Entry]) -> None:
        self._require_hold()
        fault = self.faults.pop(0) if self.faults else None
        if fault is SaveFault.FULL:
            message = f"cannot save to {_PLACE}: its disk is full; nothing was written"
            raise NoSpace(message, remedy="make room there")
        self.records.put(changes, generation, entries)
        if fault is SaveFault.LOST_ANSWER:
            self.release()
            raise Refusal(
                f"cannot save to {_PLACE}: the connection that was our hold is lost",
                code="hold-lost",
                remedy="hold it again and load: what was being saved is there either whole or not at all",
            )

    # --- the journal -------------------------------------------------------------

    def journal(self, *, after: int = 0, limit: int = 100, subject: str | None = None) -> Sequence[Entry]:
        with self.records.lock:
            entries = self.records.entries
            # Ids have no gaps, so that what lies before `after` need not be looked at.
            begin = max(0, after - entries[0].id + 1) if entries else 0
            numbers = range(min(begin, len(entries)), len(entries))
            return _first((entries[number] for number in numbers), limit, subject)

    def journal_tail(self, *, limit: int = 100, subject: str | None = None) -> Sequence[Entry]:
        with self.records.lock:
            return _first(reversed(self.records.entries), limit, subject)[::-1]

    def trim(self, keep: int) -> int:
        """Remove the oldest journal entries so that the newest `keep` remain; returns how many went.

        Raises:
            Refusal: This store is not held by us.
        """
        self._require_hold()
        with self.records.lock:
            removed = max(0, len(self.records.entries) - max(0, keep))
            del self.records.entries[:removed]
        return removed

    # --- the rest ----------------------------------------------------------------

    def close(self) -> None:
        self.release()

    def backup(self) -> Iterator[bytes]:
        """Yield nothing: what is in memory is not worth a copy on disk."""
        return iter(())


def _first(entries: Iterable[Entry], limit: int, subject: str | None) -> list[Entry]:
    found = (entry for entry in entries if subject in (None, entry.subject))
    return list(islice(found, min(max(0, limit), _MOST)))


_MOST = 2**63 - 1
"""The largest number that `islice` takes."""
