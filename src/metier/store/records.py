"""The Fleet's records as rows: their keys as text, their bodies as JSON."""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from metier.domain.errors import Refusal
from metier.domain.fleet import RECORD_TYPES, SITE, Changes, Kind
from metier.domain.ids import ImageRef, SlotId, TierId
from metier.domain.timing import timing_id
from metier.store.api import Entry
from metier.store.codec import form_of
from metier.store.form import Unreadable, parse_json

OBSERVATIONS = frozenset({Kind.OBSERVED, Kind.TIMING})
"""What was seen and measured; every other kind is what operators and the loop decided."""


def _slot_id(text: str) -> SlotId:
    tier, _, number = text.rpartition("/")
    return SlotId(TierId(tier), int(number))


def _image_ref(text: str) -> ImageRef:
    name, _, version = text.rpartition("@")
    return ImageRef(name, version)


def _site(text: str) -> str:
    if text != SITE:
        raise ValueError(text)
    return SITE


_KEYS: dict[Kind, Callable[[str], Any]] = {
    Kind.NODE: str,
    Kind.TIER: str,
    Kind.SLOT: _slot_id,
    Kind.TROUBLE: str,
    Kind.IMAGE: _image_ref,
    Kind.POOL: _site,
    Kind.ALERT: int,
    Kind.JOB: int,
    Kind.PROCEDURE: int,
    Kind.OBSERVED: str,
    Kind.TIMING: timing_id,
}

_FORMS = {kind: form_of(record_type) for kind, record_type in RECORD_TYPES.items()}
_ENTRY = form_of(Entry)


def key_text(key: object) -> str:
    """Return the key of a record as it is stored: `web/3` for a slot, `web@1` for an image."""
    return str(key)


def key_of(kind: Kind, text: str) -> Any:
    """Read back what `key_text` wrote; raises Unreadable."""
    try:
        return _KEYS[kind](text)
    except ValueError as error:
        raise Unreadable(f"{text!r} is no key of a {kind}") from error


def body_text(kind: Kind, record: Any) -> str:
    """Return a record as JSON text; raises Bug when it holds what JSON cannot say."""
    return _FORMS[kind].dumps(record)


def record_of(kind: Kind, text: str) -> Any:
    """Read back what `body_text` wrote; raises Unreadable."""
    return _FORMS[kind].loads(text)


def entry_text(entry: Entry) -> str:
    """Return a journal entry as JSON text, without its id; raises Bug like `body_text`."""
    return _ENTRY.dumps(replace(entry, id=0) if entry.id else entry)


def entry_of(number: int, text: str) -> Entry:
    """Read back what `entry_text` wrote, as entry `number`.

    Raises:
        Refusal: The text is damaged.
    """
    try:
        raw = parse_json(text)
        if type(raw) is dict:
            raw["id"] = number
        return _ENTRY.decode(raw)
    except Unreadable as error:
        raise damaged(f"journal entry {number}") from error


def column_text(text: str) -> str:
    """Return `text` as every database takes it in a column of its own, for finding it again.

    NUL and halves of surrogate pairs, which a driver's words may hold, become visible escapes.
    """
    return text.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def fleet_records(rows: Iterable[tuple[str, str, str]]) -> Changes:
    """Read rows of kind, key and body.

    Raises:
        Refusal: A row is damaged, or has fields of a newer version.
    """
    records: Changes = {}
    kinds = {kind.value: (kind, records.setdefault(kind, {})) for kind in Kind}
    for word, text, body in rows:
        try:
            kind, by_key = kinds[word]
            by_key[key_of(kind, text)] = record_of(kind, body)
        except KeyError as error:
            raise damaged(f"a record of the unknown kind {word!r}") from error
        except Unreadable as error:
            raise damaged(f"{word} {text}") from error
    return records


def damaged(what: str) -> Refusal:
    """Return the error for one stored thing that cannot be read."""
    return Refusal(
        f"cannot read {what} from the store",
        code="damaged-store",
        remedy="a newer Metier may have written it: run that version; otherwise restore a backup",
    )


@contextmanager
def without_collecting() -> Iterator[None]:
    """Pause the cyclic garbage collector.

    It would walk the growing heap of new records again and again, and there are no
    cycles among them; without it, reading takes half as long.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
