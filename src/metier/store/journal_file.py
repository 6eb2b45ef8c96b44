"""The journal as a file: as `metier event list -o json` prints it, or inside an exported site."""

from collections.abc import Iterator

from metier.domain.errors import WrongUsage
from metier.store.api import Entry
from metier.store.codec import form_of
from metier.store.form import Unreadable
from metier.store.json_text import BAD, Faults, JsonText

ENTRY = form_of(Entry)

MOST_ENTRIES = 1_000_000
"""As many as a controller keeps."""

_REMEDY = "write it with `metier event list --limit 10000 -o json`"


class JournalReader:
    """Takes entries off a document, one after the other.

    Attributes:
        entries: What was read so far.
    """

    def __init__(self, source: JsonText, faults: Faults) -> None:
        self._source, self._faults = source, faults
        self.entries: list[Entry] = []

    def read(self) -> None:
        """Read one entry, or take note why it cannot be one.

        Raises:
            WrongUsage: It is no JSON, or there are too many.
        """
        at = self._source.at
        raw = self._source.value()
        if len(self.entries) >= MOST_ENTRIES:
            raise WrongUsage(
                f"cannot read {self._source.name}: it has more than {MOST_ENTRIES} journal entries",
                code=BAD,
                remedy="give a part of it",
            )
        try:
            entry = ENTRY.decode(raw)
        except (Unreadable, OverflowError) as error:
            self._faults.add(at, f"journal entry: {error}")
            return
        last = self.entries[-1].id if self.entries else 0
        if entry.id <= last:
            self._faults.add(at, f"journal entry: id {entry.id} does not follow {last}")
            return
        self.entries.append(entry)


def read_journal(text: str, name: str) -> tuple[Entry, ...]:
    """Read journal entries, oldest first.

    Args:
        text: An array of events as `metier event list -o json` prints it, one event
            after the other as with `--follow`, or an exported site.
        name: What the operator calls it, for messages.

    Raises:
        WrongUsage: It is none of these, or an entry is no such entry; the message has
            every fault, with its line.
    """
    source = JsonText(text, name)
    faults = Faults(source)
    reader = JournalReader(source, faults)
    for _ in _entries(source):
        reader.read()
    source.end()
    faults.check("a journal", _REMEDY)
    return tuple(reader.entries)


def _entries(source: JsonText) -> Iterator[None]:
    """Stop before every entry of the document."""
    if source.peek() == "[":
        yield from source.items()
    elif _is_site(source):
        for key in source.members():
            if key == "journal" and source.peek() == "[":
                yield from source.items()
            else:
                source.value()
    else:
        while source.peek() == "{":
            yield


def _is_site(source: JsonText) -> bool:
    """Look ahead whether the object that begins here has a journal in it, as an event has not."""
    if source.peek() != "{":
        return False
    start = source.at
    found = source.value()
    source.at = start
    return "journal" in found
