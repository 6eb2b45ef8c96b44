"""A store in memory: records as the JSON that the real stores keep, so that only what is stored survives."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from metier.domain.errors import Refusal
from metier.domain.fleet import RECORD_TYPES, Changes, Fleet, Kind
from metier.store.api import Entry
from metier.store.codec import form_of


class MemoryStore:
    """Keeps one site's records; a copy is what a disk would have at that moment."""

    def __init__(self) -> None:
        self._texts: dict[tuple[Kind, Any], str] = {}
        self._entries: list[Entry] = []
        self._generation = 0
        self._epoch = 0
        self._holder = ""

    def copy(self) -> "MemoryStore":
        """Return another store with the same content, held by nobody."""
        other = MemoryStore()
        other._texts, other._entries = dict(self._texts), list(self._entries)
        other._generation, other._epoch = self._generation, self._epoch
        return other

    def hold(self, holder: str) -> int:
        """Become the one writer."""
        if self._holder:
            raise Refusal(f"the store is held by {self._holder}")
        self._holder, self._epoch = holder, self._epoch + 1
        return self._epoch

    def release(self) -> None:
        """Stop being the writer."""
        self._holder = ""

    def load(self) -> Fleet:
        """Read everything back from its JSON."""
        records: Changes = {}
        for (kind, key), text in self._texts.items():
            records.setdefault(kind, {})[key] = form_of(RECORD_TYPES[kind]).loads(text)
        return Fleet.of(records, self._generation)

    def save(self, changes: Changes, generation: int, entries: Sequence[Entry]) -> None:
        """Write records and journal."""
        for kind, by_key in changes.items():
            for key, record in by_key.items():
                if record is None:
                    self._texts.pop((kind, key), None)
                else:
                    self._texts[kind, key] = form_of(RECORD_TYPES[kind]).dumps(record)
        self._generation = generation
        first = len(self._entries) + 1
        self._entries += [replace(entry, id=number) for number, entry in enumerate(entries, first)]

    def journal(self, *, after: int = 0, limit: int = 100, subject: str | None = None) -> Sequence[Entry]:
        """Return entries behind `after`, oldest first."""
        return [entry for entry in self._entries[after:] if subject in (None, entry.subject)][:limit]

    def journal_tail(self, *, limit: int = 100, subject: str | None = None) -> Sequence[Entry]:
        """Return the newest entries, oldest first."""
        return [entry for entry in self._entries if subject in (None, entry.subject)][-limit:]

    def trim(self, keep: int) -> int:
        """Remove the oldest entries; returns how many."""
        removed = max(0, len(self._entries) - keep)
        del self._entries[:removed]
        return removed

    def close(self) -> None:
        """Let go of the hold."""
        self.release()

    def backup(self) -> Iterator[bytes]:
        """Nothing here is worth a copy on disk."""
        return iter(())
