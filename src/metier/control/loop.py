"""The control thread: turns the engine, woken by time or by a message; everybody else asks from outside."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from metier.control.crew import Crew, MakePool
from metier.control.engine import Engine, answer_orders, ended, turn_away, view_of
from metier.control.inbox import Inbox, Nudge, Order
from metier.control.jobs import Jobs
from metier.control.matrix_sight import LowSpace
from metier.control.matrix_watch import MatrixWatch
from metier.control.services import Dump, Foresee, LoopServices
from metier.control.tools import Tools
from metier.control.transfers import Transfers
from metier.control.workers import Workers
from metier.control.world import RunningClock
from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.domain.forecast import Forecast
from metier.domain.ids import NodeId
from metier.domain.plan import Plan
from metier.operations.registry import Caller, Operation, View
from metier.operations.registry import Outcome as Answer
from metier.store.api import Store

CHANGE_TIMEOUT_S = 60.0
"""How long an operator's change may wait for the control thread before it is called lost."""


class Loop:
    """One controller's control loop.  Its thread owns the Fleet; everybody else reads its last view."""

    def __init__(
        self,
        store: Store,
        tools: Tools,
        clock: RunningClock,
        *,
        holder: str,
        lost: Callable[[], None] = lambda: None,
        make_pool: MakePool = Workers,
        foresee: Foresee | None = None,
        dump: Dump | None = None,
        low: LowSpace | None = None,
    ) -> None:
        """Become the store's writer, drop what an earlier run had in flight, and get ready to run.

        `lost` is called, once and from the control thread, when another controller took the
        store over: this one then does nothing more and should end.

        Raises:
            Refusal: Another controller holds the store.
        """
        self._store, self._tools, self._clock = store, tools, clock
        self._inbox = Inbox(clock.real_s)
        transfers = Transfers(clock)
        self._crew = Crew(self._inbox, tools, clock, make_pool, transfers.track)
        self._jobs = Jobs(self._inbox, tools, clock)
        self._engine = Engine(store, tools, clock, self._crew, self._jobs, holder=holder)
        self._watch = MatrixWatch(tools.matrix, self.fleet, self._inbox, clock, low or LowSpace())
        self._services = LoopServices(
            store,
            tools,
            self.fleet,
            dump,
            foresee=foresee,
            measured=self._watch.last,
            transfers=transfers.under_way,
        )
        self._view = view_of(self._engine.fleet, Plan(), clock.now(), self._services)
        self._changed = threading.Condition()
        self._lost = lost
        self._stopping = False
        self._round_s = 0.0
        self._thread = threading.Thread(target=self._run, name="metier-control", daemon=True)

    # --- the Controller protocol: called from any thread ---

    def start(self) -> None:
        """Begin the rounds."""
        self._tools.drivers.notify(self._nudge)
        self._thread.start()
        self._watch.start()

    def stop(self) -> None:
        """End after the round at hand; work in flight is left to the next run, which looks first."""
        self._stopping = True
        self._watch.close()
        self._inbox.close()
        self._thread.join()
        now = self._clock.now()
        turn_away(self._inbox.take(now, now))
        with self._changed:
            self._changed.notify_all()
        self._jobs.close()
        self._crew.close()
        self._tools.drivers.close()
        self._store.close()

    def is_ready(self) -> bool:
        """Say whether a round was finished, and the loop still runs."""
        return self._engine.rounds > 0 and self._thread.is_alive()

    def figures(self) -> Mapping[str, float]:
        """Return what the loop measured of itself."""
        rounds, in_flight = self._engine.rounds, self._crew.in_flight()
        return {"rounds": rounds, "round_seconds": self._round_s, "in_flight": in_flight}

    def fleet(self) -> Fleet:
        """Return the last finished snapshot."""
        return self._engine.fleet

    def view(self) -> View:
        """Return the last finished round."""
        return self._view

    def change(self, operation: Operation, arguments: Any, caller: Caller) -> Answer:
        """Carry out a change and return once it is stored; raises MetierError, and then nothing changed."""
        self._engine.rehearse(operation, arguments, caller)
        order = Order(operation, arguments, caller, Future())
        if not self._inbox.put(order):
            raise ended()
        try:
            return order.reply.result(CHANGE_TIMEOUT_S)
        except TimeoutError as error:
            remedy = "look at the controller's log; see whether the change was made before you repeat it"
            raise Refusal(
                "the control loop did not answer in time", code="no-answer", remedy=remedy
            ) from error

    def preview(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Answer, Forecast]:
        """Return what a change would answer, and all that would follow from it; changes nothing."""
        draft, answer = self._engine.rehearse(operation, arguments, caller)
        return answer, self._services.foresee(draft.freeze(), self._clock.now())

    def wait_for_change(self, generation: int, timeout_s: float) -> int:
        """Return the Fleet's generation once it differs from `generation`, or at the deadline."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._engine.fleet.generation != generation or self._stopping, timeout_s
            )
        return self._engine.fleet.generation

    def _nudge(self, host: NodeId) -> None:
        self._inbox.put(Nudge(host))

    # --- the control thread ---

    def _run(self) -> None:
        while True:
            now = self._clock.now()
            messages = self._inbox.take(now, self._engine.next_turn(now))
            if self._stopping:
                turn_away(messages)
                return
            now = self._clock.now()
            finished = self._engine.turn(messages, now)
            self._round_s = self._clock.real_s((self._clock.now() - now).total_seconds())
            if finished is not None:
                self._view = view_of(finished.fleet, finished.plan, self._clock.now(), self._services)
                with self._changed:
                    self._changed.notify_all()
                answer_orders(finished)
                self._watch.look_after(finished.changes)
            elif self._engine.is_lost:
                self._stopping = True
                self._inbox.close()
                self._lost()
