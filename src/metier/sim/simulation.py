"""A site, its data centre and its controller together, in virtual time."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from types import NoneType
from typing import Any

from metier.control.round import Round
from metier.domain.errors import Bug
from metier.domain.fleet import Draft, Fleet
from metier.domain.job import FINAL
from metier.domain.lifecycle import Lifecycle
from metier.domain.tier import TierKind
from metier.operations.registry import Caller, Form, Operation, Outcome, operation
from metier.sim.clock import Agenda, VirtualClock
from metier.sim.controller import Pace, SimController, Watch, step
from metier.sim.datacentre import DataCentre
from metier.sim.forecast import forecast
from metier.sim.mail import Post, SimInbox
from metier.sim.matrix import SimMatrix
from metier.sim.site import datacentre_of
from metier.store.memory import MemoryStore, Records, SaveFault

QUIET_S = 30.0
"""Rest is so long without work and decisions, beyond the longest boot: longer than any pause of the loop."""


class Simulation:
    """Everything there is, and the time it has.

    Attributes:
        records: What the controllers stored.
        controller: The one that holds the store.
        others: Controllers that were replaced and do not know it yet.
        skew: How wrong the clock of the controllers' machine is; they read it when they start.
        mail: How what was seen and done comes to them.
        watchers: Called after each turn and after everything else that happens.
        round_watchers: Called after each turn of any controller that was stored, with the Fleet before it.
    """

    def __init__(
        self,
        fleet: Fleet,
        now: datetime,
        *,
        pace: Pace | None = None,
        seed: int = 0,
        records: Records | None = None,
        matrix: SimMatrix | None = None,
        build: Callable[[Fleet, Agenda], DataCentre] = datacentre_of,
    ) -> None:
        self.clock = VirtualClock(now)
        self.agenda = Agenda(self.clock)
        self.pace = pace or Pace()
        self.skew = timedelta()
        self.watchers: list[Callable[[], None]] = []
        self.round_watchers: list[Watch] = []
        self.mail = Post(random.Random(seed))
        self.records = records or Records(fleet)
        self.datacentre = build(fleet, self.agenda)
        self.matrix = matrix or SimMatrix(published=fleet.images)
        self.others: list[SimController] = []
        self.controller = self._new_controller(MemoryStore(self.records))

    @property
    def now(self) -> datetime:
        """The simulation's moment."""
        return self.clock.now()

    @property
    def fleet(self) -> Fleet:
        """What the controller knows and decided."""
        return self.controller.fleet

    def run(self, until: datetime) -> None:
        """Let time pass to a moment."""
        while step(self.agenda, [*self.others, self.controller], until):
            for watch in self.watchers:
                watch()

    def pass_s(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.run(self.now + timedelta(seconds=seconds))

    def rest(self, longest_s: float = 3600.0, *, is_patient: bool = False) -> float:
        """Let time pass until nothing was decided or under way for a while; returns the seconds it took.

        A patient one also waits until no node is on its way, tried again later, ordered or fenced:
        for what should be well, and not for what has to wait for a person.

        Raises:
            Bug: It does not come to rest.
        """
        began = last_busy = self.now
        quiet_s = QUIET_S + self.datacentre.longest_boot_s()
        while (self.now - began).total_seconds() < longest_s:
            rounds = self.controller.engine.rounds
            self.pass_s(1.0)
            engine = self.controller.engine
            is_busy = bool(self.controller.busy()) or (engine.rounds > rounds and engine.last.plan.actions)
            is_busy = is_busy or (is_patient and is_under_way(self.fleet, self.now))
            last_busy = self.now if is_busy else last_busy
            if (self.now - last_busy).total_seconds() >= quiet_s:
                return (last_busy - began).total_seconds()
        raise Bug(f"no rest after {longest_s:.0f} s; the last plan: {self.controller.engine.last.plan}")

    # --- what operators do --------------------------------------------------------

    def order(self, noun: str, verb: str, **arguments: Any) -> Outcome:
        """Give an order as an operator who accepts what follows; raises MetierError."""
        what = operation(noun, verb)
        caller = Caller("operator", self.now, accept_warnings=True)
        return self.controller.change(what, what.arguments_type(**arguments), caller)

    def edit(self, change: Callable[[Draft], object]) -> None:
        """Change what is recorded in a way for which operators have no verb."""

        def edited(draft: Draft, _arguments: None, _caller: Caller) -> Outcome:
            change(draft)
            return Outcome("edited")

        edit = Operation("", "edit", Form.VERB, (), NoneType, "Change anything.", (), change=edited)
        self.controller.change(edit, None, Caller("operator", self.now))

    # --- what befalls controllers ---------------------------------------------------

    def kill(self) -> None:
        """Let the controller die without a word; nothing happens if it is dead."""
        if self.controller.is_alive:
            self.controller.kill()
        self.records.holder = ""

    def plant_save(self, *faults: SaveFault) -> None:
        """Let the controller's next saves go wrong in this order, and those after them go well."""
        self.controller.store.faults = list(faults)

    def start(self) -> None:
        """Start a controller on what is stored; the one before must be dead."""
        self.controller = self._new_controller(MemoryStore(self.records))

    def usurp(self) -> None:
        """Start a second controller while the first, which does not know, goes on."""
        self.others = [*[one for one in self.others if one.is_alive], self.controller]
        self.records.holder = ""
        self.controller = self._new_controller(MemoryStore(self.records))

    def fork(self, down_s: float) -> "Simulation":
        """Return how it goes on if the controller dies now and another one starts `down_s` later."""
        return Simulation(
            self.fleet,
            self.now + timedelta(seconds=down_s),
            pace=self.pace,
            records=self.records.copy(),
            matrix=self.matrix.copy(),
            build=lambda _fleet, agenda: self.datacentre.fork(agenda.clock),
        )

    def _new_controller(self, store: MemoryStore) -> SimController:
        inbox = SimInbox(self.agenda, self.mail)
        controller = SimController(
            store,
            self.datacentre,
            self.agenda,
            self.matrix,
            pace=self.pace,
            inbox=inbox,
            skew=self.skew,
            foresee=forecast,
        )
        controller.watchers.append(self._tell)
        return controller

    def _tell(self, before: Fleet, finished: Round) -> None:
        for watch in self.round_watchers:
            watch(before, finished)


_ON_THE_WAY = frozenset(Lifecycle) - {Lifecycle.NEW, Lifecycle.IDLE, Lifecycle.RUNNING, Lifecycle.FAILED}


def is_under_way(fleet: Fleet, now: datetime) -> bool:
    """Say whether any node is between two states, or waits for its turn to be."""
    guests = [tier.name for tier in fleet.tiers.values() if tier.kind is TierKind.GUEST]
    if any(job.state not in FINAL for job in fleet.jobs.values()):
        return True
    return any(fleet.fenced.get(tier) for tier in guests) or any(
        node.lifecycle in _ON_THE_WAY
        or node.request is not None
        or (node.retry is not None and node.retry.not_before > now)
        for node in fleet.nodes.values()
    )
