"""A controller without a loop: it holds a Fleet, applies operations to it, and plans nothing by itself."""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from metier.domain.actions import FreeNode
from metier.domain.errors import Refusal
from metier.domain.fleet import Draft, Fleet
from metier.domain.forecast import Dip, Displaced, Duration, Forecast, Foreseen, Level, Rewritten
from metier.domain.ids import NodeId, SlotId, TierId
from metier.domain.plan import Plan, Waiting
from metier.domain.timing import Activity
from metier.domain.transfer import Transfer
from metier.operations.registry import Caller, Operation, Outcome, Row, View
from tests.builders import NOW

PLAN = Forecast(
    actions=(Foreseen(FreeNode(node=NodeId("host-1"), why="it is idle", rule="R-RELEASE-2"), 35.0),),
    waiting=(Waiting("hosts", "node host-1 still hosts active guests VM1", "R-SHRINK-2"),),
    dips=(Dip(TierId("web"), Level.MINIMUM, 2, 5.0, 40.0, 1),),
    displaced=(Displaced(NodeId("host-1/VM1"), SlotId(TierId("web"), 1), NodeId("host-2/VM1"), 5.0, 40.0),),
    durations=(
        Duration(Activity.GUEST_BOOT, "web@3", 31.0, 12, is_own=True),
        Duration(Activity.POWER_ON, "host-9", 180.0, 0, is_own=False),
    ),
    seconds=35.0,
    notes=("job 7, image-import of web@4, is not foreseen: how long it takes is not known",),
    rewritten=(Rewritten(SlotId(TierId("web"), 1), "--- a\n+++ b"),),
)


class FakeController:
    """What the API needs of a controller, over one Fleet in memory."""

    def __init__(self, fleet: Fleet, waiting: Mapping[str, Sequence[str]] | None = None) -> None:
        self._changed = threading.Condition()
        self._events: list[Row] = []
        self._waiting = dict(waiting or {})
        self._view = self._viewed(fleet)
        self.callers: list[Caller] = []

    def view(self) -> View:
        """Return the Fleet as it is."""
        return self._view

    def change(self, operation: Operation, arguments: Any, caller: Caller) -> Outcome:
        """Apply an operation and record that in the journal."""
        self.callers.append(caller)
        with self._changed:
            draft = self._view.fleet.edit()
            assert operation.change is not None
            outcome = operation.change(draft, arguments, caller)
            self.record(outcome.message)
            self._replace(draft.freeze())
        return outcome

    def preview(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Outcome, Forecast]:
        """Apply an operation to a Draft that is thrown away."""
        assert operation.change is not None
        return operation.change(self._view.fleet.edit(), arguments, caller), PLAN

    def wait_for_change(self, generation: int, timeout_s: float) -> int:
        """Wait for another Fleet."""
        with self._changed:
            self._changed.wait_for(lambda: self._view.fleet.generation != generation, timeout_s)
            return self._view.fleet.generation

    def edit(self, change: Callable[[Draft], object]) -> None:
        """Change the Fleet as the loop would, behind the API's back."""
        with self._changed:
            draft = self._view.fleet.edit()
            change(draft)
            self._replace(draft.freeze())

    def wait_on(self, subject: str, *sentences: str) -> None:
        """Say what a subject waits for from now on."""
        with self._changed:
            self._waiting[subject] = sentences
            self._replace(self._view.fleet)

    def record(self, message: str, subject: str = "web") -> None:
        """Add an event to the journal."""
        event = {"id": len(self._events) + 1, "subject": subject, "message": message, "kind": "operation"}
        self._events.append(event)

    def announce(self) -> None:
        """Begin a new round in which nothing changed but the journal."""
        with self._changed:
            self._replace(self._view.fleet)

    def journal(self, *, after: int, limit: int, subject: str | None, newest: bool) -> Sequence[Row]:
        """Return events, oldest first."""
        found = [
            event for event in self._events if event["id"] > after and subject in (None, event["subject"])
        ]
        return found[-limit:] if newest else found[:limit]

    def console(self, node: str) -> str:
        """Refuse: there are no consoles here."""
        raise Refusal(f"node {node} has no console")

    def transfers(self) -> Mapping[NodeId, Transfer]:
        """Copy nothing."""
        return {}

    def forecast(self, fleet: Fleet, now: datetime) -> Forecast:
        """Foresee the same whatever there is."""
        return PLAN

    def resilience(self, fleet: Fleet, now: datetime, by: str) -> Row:
        """Answer without working anything out."""
        return {"by": by, "answer": f"{len(fleet.nodes)} nodes at {now:%H:%M}"}

    def _replace(self, fleet: Fleet) -> None:
        if fleet.generation == self._view.fleet.generation:
            draft = fleet.edit()
            draft.put_pool(draft.pool)
            fleet = draft.freeze()
        self._view = self._viewed(fleet)
        self._changed.notify_all()

    def _viewed(self, fleet: Fleet) -> View:
        waiting = {
            subject: tuple(Waiting(subject, sentence, "R-TEST-1") for sentence in sentences)
            for subject, sentences in self._waiting.items()
        }
        return View(fleet, Plan(), waiting, NOW, self)
