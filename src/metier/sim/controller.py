"""A controller in virtual time: the production engine, crew and jobs over a simulated data centre."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from metier.control.crew import Crew, Pool
from metier.control.engine import Engine, answer_orders, view_of
from metier.control.inbox import Inbox, Nudge, Order
from metier.control.jobs import Jobs
from metier.control.observe import Probe, Question, Sight, aged, is_news
from metier.control.round import Round, touched_nodes
from metier.control.services import Foresee, LoopServices
from metier.control.tools import Tools
from metier.control.workers import Answer, Task
from metier.domain.fleet import Fleet, Kind
from metier.domain.forecast import Forecast
from metier.domain.ids import NodeId
from metier.matrix.api import Matrix
from metier.operations.registry import Caller, Operation, Outcome, View
from metier.sim.clock import Agenda, SkewedClock
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import SimDrivers, accept
from metier.sim.hypervisor import seed_for
from metier.sim.parking import CarPark, Parked
from metier.sim.workers import VirtualWorkers
from metier.store.memory import MemoryStore
from metier.store.site_file import dump_site

USUAL_S: Mapping[str, float] = {
    Probe.POWER: 0.05,
    Probe.VMS: 0.05,
    Probe.CHECKS: 0.05,
    "InventoryNode": 1.0,
    "PowerOn": 1.0,
    "PowerOff": 1.0,
    "StageVms": 1.0,
    "RemoveVms": 1.0,
    "PrepareGuest": 0.5,
    "StartGuest": 0.5,
    "ShutdownGuest": 0.1,
    "StopGuest": 0.5,
    "RetireGuest": 0.5,
    "DiagnoseNode": 2.0,
}
"""Seconds that each kind of call takes, where nobody measured: what libvirt on a local network needs."""

Watch = Callable[[Fleet, Round], None]
"""Told of a turn: the Fleet before it, and the round."""

JOB_S = 20.0
"""Seconds that a job takes."""


@dataclass(slots=True)
class Pace:
    """How long things take.

    Attributes:
        call_s: Seconds of a driver call, by the action's or probe's word.
        is_parking: Looks that tell nothing new are left out until something may have changed.
    """

    call_s: dict[str, float] = field(default_factory=lambda: dict(USUAL_S))
    job_s: float = JOB_S
    is_parking: bool = True

    def takes_s(self, task: Task, datacentre: DataCentre) -> float:
        """Return how many seconds a call takes, with what slows its machine down."""
        place = task.endpoint.node if isinstance(task.endpoint, Question) else task.endpoint
        machine = datacentre.machines.get(NodeId(str(place)))
        if machine is None:
            return self.call_s[task.what]
        is_switching = task.what in (Probe.POWER, "PowerOn", "PowerOff")
        return self.call_s[task.what] + (machine.bmc.delay_s if is_switching else machine.delay_s)


class SimController:
    """Keeps `operations.registry.Controller`; time passes only when it is told so.

    Attributes:
        is_alive: It was neither killed nor replaced by another one.
        watchers: Called after every turn that was stored, with the Fleet before it and its round.
    """

    def __init__(
        self,
        store: MemoryStore,
        datacentre: DataCentre,
        agenda: Agenda,
        matrix: Matrix,
        *,
        pace: Pace | None = None,
        inbox: Inbox | None = None,
        skew: timedelta = timedelta(),
        holder: str = "the simulation",
        foresee: Foresee | None = None,
    ) -> None:
        self.store, self.datacentre, self.agenda = store, datacentre, agenda
        self.clock = SkewedClock(agenda.clock, skew)
        self.pace = pace or Pace()
        self.tools = Tools(SimDrivers(datacentre), matrix, seed_for, accept)
        self._inbox = inbox or Inbox()
        self._pools: list[VirtualWorkers] = []
        self._crew = Crew(self._inbox, self.tools, self.clock, self._make_pool)
        self._jobs = Jobs(
            self._inbox,
            self.tools,
            self.clock,
            lambda job: agenda.after(self.pace.job_s, lambda: self._run_job(job)),
        )
        self._park = CarPark(agenda.clock.now, self._ask, self._refresh)
        self._elapsed: dict[Question, timedelta] = {}
        self._usual: set[Question] = set()
        self.engine = Engine(store, self.tools, self.clock, self._crew, self._jobs, holder=holder)
        self._services = LoopServices(
            store, self.tools, lambda: self.engine.fleet, dump_site, foresee=foresee
        )
        self.is_alive = True
        self._is_at_job = False
        self.watchers: list[Watch] = []
        self.tools.drivers.notify(self._nudge)
        datacentre.listeners.append(self._wake)
        for machine in datacentre.machines.values():
            for moment in machine.to_come(agenda.clock.now()):
                self._wake(machine.name, moment)

    # --- the Controller protocol ------------------------------------------------

    @property
    def fleet(self) -> Fleet:
        """What it knows and decided."""
        return self.engine.fleet

    def view(self) -> View:
        """Return the last finished round."""
        return view_of(self.engine.fleet, self.engine.last.plan, self.clock.now(), self._services)

    def change(self, operation: Operation, arguments: Any, caller: Caller) -> Outcome:
        """Carry out a change in a round of its own."""
        self.engine.rehearse(operation, arguments, caller)
        order = Order(operation, arguments, caller, Future())
        self._inbox.put(order)
        self.turn()
        return order.reply.result(0)

    def preview(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Outcome, Forecast]:
        """Return what a change would answer, and what would follow."""
        draft, answer = self.engine.rehearse(operation, arguments, caller)
        return answer, self._services.foresee(draft.freeze(), self.clock.now())

    def wait_for_change(self, _generation: int, _timeout_s: float) -> int:
        """Return at once: whoever waits lets time pass himself."""
        return self.engine.fleet.generation

    # --- time -------------------------------------------------------------------

    def next_turn(self) -> datetime:
        """Return when it turns at the latest, in true time."""
        now = self.clock.now()
        return (now if self._inbox.is_waiting() else self.engine.next_turn(now)) - self.clock.skew

    def turn(self) -> Round | None:
        """Turn the engine once, with what arrived."""
        now, before = self.clock.now(), self.fleet
        finished = self.engine.turn(self._inbox.take(now, now), now)
        self.is_alive = self.is_alive and not self.engine.is_lost
        if finished is not None:
            answer_orders(finished)
            self._wake_touched(finished)
            for watch in self.watchers:
                watch(before, finished)
        return finished

    def kill(self) -> None:
        """Die without a word: what was begun and not yet done is never done."""
        self.is_alive = False
        self._inbox.close()
        for pool in self._pools:
            pool.close()
        self.datacentre.listeners.remove(self._wake)

    def is_importing(self) -> bool:
        """Say whether a job is at work this very moment."""
        return self._is_at_job

    def at_work(self) -> list[Task]:
        """Return the work whose driver calls are under way."""
        return self._pools[0].at_work()

    def watch_calls(self, passed: Callable[[Task, bool], None]) -> None:
        """Call `passed` just before each piece of work is done, and again just after."""
        self._pools[0].passed = passed

    def busy(self) -> int:
        """Return how much work is begun and not finished."""
        return self._pools[0].in_flight()

    # --- calls in virtual time --------------------------------------------------

    def _make_pool(self, answer: Answer, *, threads: int, per_endpoint: int) -> Pool:
        is_eyes = bool(self._pools)
        deliver = (lambda key, sight: self._seen(answer, key, sight)) if is_eyes else answer
        pool = VirtualWorkers(deliver, self.agenda, self._takes, threads=threads, per_endpoint=per_endpoint)
        if is_eyes:
            pool.submitted = self._submitted
        self._pools.append(pool)
        return pool

    def _takes(self, task: Task) -> float:
        takes_s = self.pace.takes_s(task, self.datacentre)
        if isinstance(task.key, Question) and task.key in self._elapsed:
            takes_s -= self._elapsed[task.key].total_seconds()
        return takes_s

    def _run_job(self, job: Any) -> None:
        if self.is_alive:
            self._is_at_job = True
            job.run()
            self._is_at_job = False

    def _nudge(self, host: NodeId) -> None:
        if self.is_alive:
            self._inbox.put(Nudge(host))

    # --- looks that need not be put --------------------------------------------

    def _seen(self, answer: Answer, key: Any, sight: Sight) -> None:
        """Pass a look on, or park it: it told nothing new, and nobody waits for it."""
        question = sight.question
        self._elapsed.pop(question, None)
        pause_s = self.engine.pause_of(question)
        is_calm = self.pace.is_parking and pause_s is not None and self._is_calm(sight)
        if pause_s is None or not is_calm or not self.engine.let_rest(question):
            answer(key, sight)
            return
        call_s = self.pace.call_s[question.probe]
        asked = self._true(sight.at) - timedelta(seconds=call_s)
        node = self.fleet.nodes[question.node]
        self._park.park(Parked(question, asked, call_s, pause_s), node.host or node.name)

    def _is_calm(self, sight: Sight) -> bool:
        fleet = self.fleet
        node = fleet.nodes.get(sight.question.node)
        if node is None or sight.error or is_news(fleet, sight):
            return False
        machine = self.datacentre.machines.get(node.host or node.name)
        is_fenced = node.name in fleet.fenced_by or (node.host or node.name) in fleet.fenced_by
        return machine is not None and machine.is_steady() and not is_fenced

    def _submitted(self, task: Task) -> None:
        """Let a look that would be under way by now come back when it would."""
        question = task.key
        assert isinstance(question, Question)
        is_usual = question in self._usual
        self._usual.discard(question)
        under_way = self._park.leave(question)
        if under_way:
            self._elapsed[question] = under_way
        if under_way and not is_usual:
            # Somebody wants a look that is asked now: the one under way does not do.
            self.engine.look_at(question, self.clock.now())

    def _wake(self, machine: NodeId, at: datetime) -> None:
        if at > self.agenda.clock.now():
            self.agenda.at(at, partial(self._park.wake_machine, machine))
        else:
            self._park.wake_machine(machine)
            for pool in self._pools:
                pool.reconsider(lambda task: _place_of(task) == machine)

    def _wake_touched(self, finished: Round) -> None:
        for name in sorted(touched_nodes(self.fleet, finished.changes)):
            for probe in Probe:
                question = Question(probe, name)
                if self.engine.pause_of(question) is None:
                    self._park.leave(question)
                else:
                    self._park.wake(question)
        if any(slot is not None and slot.fences for slot in finished.changes.get(Kind.SLOT, {}).values()):
            self._park.wake_machines()

    def _ask(self, question: Question, true_at: datetime) -> None:
        """Put a parked look when it would be; one that would be under way is put now, and takes less."""
        now = self.agenda.clock.now()
        if true_at < now:
            self._usual.add(question)
        self.engine.look_at(question, max(true_at, now) + self.clock.skew)

    def _refresh(self, looks: list[tuple[Question, datetime]]) -> None:
        """Give what was seen the age that it would have, had every look been put."""
        draft = self.fleet.edit()
        for question, true_at in looks:
            if question.node in draft.nodes:
                seen, at = draft.seen(question.node), true_at + self.clock.skew
                draft.put_observed(question.node, aged(seen, question.probe, at), quiet=True)
        self.engine.fleet = draft.freeze()

    def _true(self, moment: datetime) -> datetime:
        return moment - self.clock.skew


def _place_of(task: Task) -> NodeId:
    """Return the node that a call talks to."""
    return task.endpoint.node if isinstance(task.endpoint, Question) else NodeId(str(task.endpoint))


def step(agenda: Agenda, controllers: Sequence[SimController], until: datetime) -> bool:
    """Let the next thing happen that falls due by a moment; False if there is none, and it is that moment."""
    alive = [controller for controller in controllers if controller.is_alive]
    turns = [(controller.next_turn(), number) for number, controller in enumerate(alive)]
    turn, number = min(turns, default=(until, -1))
    due = agenda.next()
    if due is not None and due <= min(turn, until):
        agenda.take()()
    elif number >= 0 and turn <= until:
        agenda.clock.move(max(turn, agenda.clock.now()))
        alive[number].turn()
    else:
        agenda.clock.move(until)
        return False
    return True
