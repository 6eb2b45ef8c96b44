"""What Metier asks of a store: the Fleet's records, the journal, and one holder at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from metier.domain.fleet import Changes, Fleet


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal: a decision or an observed change, with its reason trail.

    Attributes:
        id: Set by the store; counts up, no gaps promised.
        kind: `operation`, `action`, `outcome`, `observation`, `alert`, `controller`.
        subject: The node, tier, image or job it is about.
        message: One sentence for a person.
        by: The operator, or the rule number.
        data: What a program or a replay needs, JSON-ready.
    """

    at: datetime
    kind: str
    subject: str
    message: str
    by: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    id: int = 0


class Store(Protocol):
    """Where one site's state is kept.

    A store is opened for reading by anyone and held for writing by one controller.
    """

    def hold(self, holder: str) -> int:
        """Become the one writer; returns this hold's epoch, higher than any before it.

        Raises:
            Refusal: Another controller holds it; the message says which, since when.
        """

    def release(self) -> None:
        """Stop being the writer."""

    def load(self) -> Fleet:
        """Read everything and return it as a Fleet."""

    def save(self, changes: Changes, generation: int, entries: Sequence[Entry]) -> None:
        """Write changed records and journal entries: all of them or, on any error, none.

        Raises:
            Refusal: Nothing was written; with code `hold-lost` this store is not held by us
                any more, and whoever holds it now may already decide otherwise.
            NoSpace: The disk is full; nothing was written.
        """

    def journal(self, *, after: int = 0, limit: int = 100, subject: str | None = None) -> Sequence[Entry]:
        """Return entries with an id above `after`, oldest first, at most `limit`."""

    def journal_tail(self, *, limit: int = 100, subject: str | None = None) -> Sequence[Entry]:
        """Return the newest entries, oldest first, at most `limit`."""

    def trim(self, keep: int) -> int:
        """Drop all but the newest `keep` journal entries; returns how many went."""

    def close(self) -> None:
        """Let go of files and connections, and of the hold."""

    def backup(self) -> Iterator[bytes]:
        """Yield a consistent copy of everything, as JSON lines that `restore` reads."""
