"""What readers of the API may ask beyond the snapshot."""

from collections.abc import Callable, Sequence

from metier.control.tools import Tools
from metier.domain.errors import NoSuchThing, Refusal
from metier.domain.fleet import Fleet
from metier.domain.ids import node_id
from metier.drivers.hypervisor.api import Consoles
from metier.operations.registry import Row
from metier.store.api import Entry, Store

CONSOLE_TIMEOUT_S = 10.0


class LoopServices:
    """The journal and the consoles of one running controller."""

    def __init__(self, store: Store, tools: Tools, fleet: Callable[[], Fleet]) -> None:
        self._store, self._tools, self._fleet = store, tools, fleet

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
