"""What readers of the API may ask beyond the snapshot."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from metier.control.matrix_sight import MatrixSight, freed_note, matrix_row
from metier.control.personal_changes import rewritten
from metier.control.resilience_row import resilience_row
from metier.control.tools import Tools
from metier.domain.errors import MetierError, NoSuchThing, Refusal, chain
from metier.domain.fleet import Fleet
from metier.domain.forecast import Forecast
from metier.domain.ids import NodeId, node_id
from metier.domain.personality import Carried
from metier.domain.transfer import Transfer
from metier.drivers.hypervisor.api import Consoles
from metier.operations.registry import Row
from metier.planner.resilience import assess, failure_domains
from metier.store.api import Entry, Store

CONSOLE_TIMEOUT_S = 10.0

NEWER_ENTRIES = 1000
"""So many entries are written now and then while a reader still holds the round before them."""

Dump = Callable[[Fleet, datetime, Sequence[Entry], int], Row]
"""Writes the document of a site: the fleet, when it was so, journal entries, the last entry's id."""

Foresee = Callable[[Fleet, datetime], Forecast]
"""Says all that follows from a fleet at a moment; from any thread, and touches nothing."""

GOOD_FOR = timedelta(seconds=60)
"""So long an answer about one fleet stands: time changes it only where a harvest's cooldown ends."""


class _Assessed(NamedTuple):
    """What was last found to follow if hosts died."""

    fleet: Fleet
    now: datetime
    by: str
    row: Row

    def answers(self, fleet: Fleet, now: datetime, by: str) -> bool:
        """Say whether this is the answer to that question too."""
        return self.fleet is fleet and self.by == by and abs(now - self.now) < GOOD_FOR


FORESEEN_FOR = timedelta(seconds=1)
"""So long a forecast of what is under way stands: its times are told in seconds from now."""


class _Foreseen(NamedTuple):
    """What was last found to follow by itself."""

    generation: int
    now: datetime
    forecast: Forecast

    def answers(self, fleet: Fleet, now: datetime) -> bool:
        """Say whether this tells it of that fleet too; where nothing is to be done, time changes nothing."""
        is_recent = abs(now - self.now) < (FORESEEN_FOR if self.forecast.actions else GOOD_FOR)
        return self.generation == fleet.generation and is_recent


class LoopServices:
    """The journal, the consoles and the long answers of one running controller."""

    def __init__(
        self,
        store: Store,
        tools: Tools,
        fleet: Callable[[], Fleet],
        dump: Dump | None = None,
        foresee: Foresee | None = None,
        measured: Callable[[], MatrixSight] | None = None,
        transfers: Callable[[], Mapping[NodeId, Transfer]] = dict,
    ) -> None:
        self._store, self._tools, self._fleet, self._dump = store, tools, fleet, dump
        self._foresee = foresee
        self._measured, self._transfers = measured, transfers
        self._one_at_a_time = threading.Lock()
        self._assessed: _Assessed | None = None
        self._foreseen: _Foreseen | None = None

    def journal(self, *, after: int, limit: int, subject: str | None, newest: bool) -> Sequence[Row]:
        """Return journal entries as event rows, oldest first."""
        if newest:
            entries = self._store.journal_tail(limit=limit, subject=subject)
        else:
            entries = self._store.journal(after=after, limit=limit, subject=subject)
        return [_row(entry) for entry in entries]

    def console(self, node: str) -> str:
        """Return how a person reaches a node's console; raises MetierError."""
        fleet = self._fleet()
        found = fleet.node(node_id(node))
        host = fleet.host_of(found)
        if host is None or found.vm_number is None:
            raise Refusal(f"{node} has no console that Metier knows", remedy="use its BMC's console")
        hypervisor = self._tools.drivers.hypervisor(host)
        if not isinstance(hypervisor, Consoles):
            raise NoSuchThing(f"the VM manager of {host.name} offers no console")
        return hypervisor.console(found.vm_number, timeout_s=CONSOLE_TIMEOUT_S)

    def drivers(self) -> Sequence[Row]:
        """Return every installed driver."""
        return self._tools.guide.drivers()

    def certificate(self, url: str) -> Row:
        """Return what is seen of a server's certificate from here; raises MetierError."""
        return self._tools.guide.certificate(url)

    def transfers(self) -> Mapping[NodeId, Transfer]:
        """Return which images are being copied to hosts now, by the node that waits for each."""
        return self._transfers()

    def matrix(self) -> Row:
        """Return what was last measured of the image matrix; without anybody who measures it, nothing."""
        return {} if self._measured is None else matrix_row(self._measured())

    def resilience(self, fleet: Fleet, now: datetime, by: str) -> Row:
        """Return what would follow if any host, or all with one value of label `by`, died at `now`.

        It takes seconds for 10,000 nodes, so that only one is worked out at a time, and the
        last one is kept for a while for whoever asks the same of the same fleet.
        """
        with self._one_at_a_time:
            last = self._assessed
            if last is None or not last.answers(fleet, now, by):
                row = resilience_row(assess(fleet, now, failure_domains(fleet, by)), by)
                last = self._assessed = _Assessed(fleet, now, by, row)
            return last.row

    def forecast(self, fleet: Fleet, now: datetime) -> Forecast:
        """Return all that follows by itself from the controller's own `fleet` at `now`.

        Raises:
            Refusal: This controller was put together without anything that looks ahead.
        """
        last = self._foreseen
        if last is None or not last.answers(fleet, now):
            last = self._foreseen = _Foreseen(fleet.generation, now, self.foresee(fleet, now))
        return last.forecast

    def foresee(self, fleet: Fleet, now: datetime) -> Forecast:
        """Return all that follows from any fleet at `now`; one question at a time.

        Raises:
            Refusal: This controller was put together without anything that looks ahead.
        """
        if self._foresee is None:
            raise Refusal(
                "this controller cannot look ahead", remedy="see `metier node list` for what is under way"
            )
        with self._one_at_a_time:
            forecast = self._foresee(fleet, now)
        return self._with_room(self._with_personalities(forecast, fleet), fleet)

    def texts(self, every: Sequence[Carried]) -> Sequence[Mapping[str, str]]:
        """Return what guests are told, rendered: for each the texts by name; raises MetierError."""
        return self._tools.texts(every)

    def _with_room(self, forecast: Forecast, fleet: Fleet) -> Forecast:
        """Say what becomes free where image versions are gone in `fleet`."""
        usage = self._measured().usage if self._measured is not None else None
        gone = [ref for ref in self._fleet().images if ref not in fleet.images]
        if usage is None or not any(ref in usage.own_bytes for ref in gone):
            return forecast
        return replace(forecast, notes=(*forecast.notes, freed_note(usage, gone)))

    def _with_personalities(self, forecast: Forecast, fleet: Fleet) -> Forecast:
        try:
            return replace(forecast, rewritten=rewritten(self._fleet(), fleet, self._tools.texts))
        except MetierError as error:
            note = f"how what guests are told would differ is not known: {chain(error)}"
            return replace(forecast, notes=(*forecast.notes, note))

    def export_site(self, fleet: Fleet, now: datetime, *, journal: int) -> Row:
        """Return the document of `fleet` as it was at `now`, with so many of the last journal entries.

        Raises:
            Refusal: This controller was put together without anything that writes it.
        """
        if self._dump is None:
            raise Refusal(
                "this controller cannot export its site", remedy="use `metier backup` for a copy of all state"
            )
        entries = self._entries_until(now, max(journal, 1))
        last = entries[-1].id if entries else 0
        return self._dump(fleet, now, entries[-journal:] if journal else (), last)

    def _entries_until(self, moment: datetime, wanted: int) -> Sequence[Entry]:
        """Return at least so many of the entries until `moment`, as far as there are so many.

        Rounds after the one that a reader holds may have written theirs already.
        """
        limit = wanted + NEWER_ENTRIES
        while True:
            entries = self._store.journal_tail(limit=limit)
            count = len(entries)
            while count and entries[count - 1].at > moment:
                count -= 1
            if count >= wanted or len(entries) < limit:
                return entries[:count]
            limit *= 4


def _row(entry: Entry) -> Row:
    return {
        "id": entry.id,
        "at": entry.at.isoformat().replace("+00:00", "Z"),
        "kind": entry.kind,
        "subject": entry.subject,
        "message": entry.message,
        "by": entry.by,
        "data": dict(entry.data),
    }
