"""Runs a scenario on a simulation, and collects all that happens.

Everything that can be judged beforehand is: a scenario with a fault in it is not begun.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from metier.domain.errors import Bug, MetierError, chain
from metier.domain.fleet import Fleet
from metier.operations.registry import Operation
from metier.sim.faults import befall
from metier.sim.laws import Laws
from metier.sim.scenario import Scenario, Step, Trouble
from metier.sim.schedule import Schedule, schedule
from metier.sim.serving import Serving
from metier.sim.simulation import Simulation
from metier.sim.timeline import Fact, FactKind, Report
from metier.sim.vocabulary import Vocabulary
from metier.store.api import Entry

LONGEST_QUIET_S = 24 * 3600.0
"""A site that is not quiet a day after the last line will not be."""

_KINDS = {kind.value: kind for kind in FactKind if kind not in (FactKind.START, FactKind.END)}


class Said(Protocol):
    """What a command printed, and its exit status."""

    @property
    def status(self) -> int:
        """Zero if it did what it should."""

    @property
    def text(self) -> str:
        """All of it."""


class Understood(Protocol):
    """What a command line would do."""

    @property
    def operation(self) -> Operation | None:
        """Its operation; None if the line is not understood."""

    @property
    def values(self) -> Mapping[str, Any]:
        """What its parameters were given."""

    @property
    def fault(self) -> str:
        """Why it is not understood; empty for a good line."""


class Console(Protocol):
    """Where commands are typed."""

    def understand(self, line: str) -> Understood:
        """Parse a command line and do nothing."""

    def type(self, line: str) -> Said:
        """Carry a command line out."""


def check(
    scenario: Scenario, exported: datetime, fleet: Fleet, console: Console
) -> tuple[Schedule, list[Trouble]]:
    """Return when everything happens, and all that is wrong with a scenario for a site."""
    times, troubles = schedule(scenario, exported)
    vocabulary = Vocabulary(scenario, fleet)
    for step in scenario.steps:
        if not step.command:
            vocabulary.judge_fault(step)
            continue
        understood = console.understand(step.command)
        if understood.operation is None or understood.fault:
            vocabulary.judge_command(step, understood.fault)
        else:
            vocabulary.judge_order(step, understood.operation, understood.values)
    return times, troubles + vocabulary.troubles


class Director:
    """Runs one scenario on one simulation.

    Attributes:
        simulation: What it runs on.
        facts: What happened so far, in its order.
    """

    def __init__(
        self,
        simulation: Simulation,
        console: Console,
        scenario: Scenario,
        is_due: Callable[[Simulation, Step], bool],
    ) -> None:
        """Watch from now on; `is_due` is asked before each fault whether it is to happen at all."""
        self.simulation, self._console, self._scenario = simulation, console, scenario
        self._seen = simulation.records.last_id
        self._is_due = is_due
        self.facts: list[Fact] = []
        self._laws = Laws(simulation)
        self._serving = Serving(simulation)
        simulation.watchers.append(self._look)

    def run(self, times: Schedule) -> Report:
        """Let everything happen at its moment, and what follows until the end."""
        self._note(FactKind.START, "the site", _size(self.simulation))
        for step, moment in zip(self._scenario.steps, times.moments, strict=True):
            self.simulation.run(moment)
            self._happen(step)
        self.simulation.run(times.end)
        if self._scenario.until_quiet:
            self._rest()
        self._look()
        self._note(FactKind.END, "the simulation", "it ends")
        return self._report(times)

    def _happen(self, step: Step) -> None:
        self._look()
        if step.command:
            self._order(step)
        elif self._is_due(self.simulation, step):
            self._befall(step)
        else:
            self._note(FactKind.OTHER, step.text, "it is so already")
        self._look()

    def _order(self, step: Step) -> None:
        said = self._console.type(step.command)
        lines = "\n".join(line.rstrip() for line in said.text.splitlines())
        self.facts.append(self._fact(FactKind.ORDER, step.command, lines, step.line, said.status))

    def _befall(self, step: Step) -> None:
        try:
            befall(self.simulation, step.text)
        except MetierError as error:
            remedy = f"; {error.remedy}" if error.remedy else ""
            words = f"line {step.line}: {chain(error)}{remedy}"
            self.facts.append(self._fact(FactKind.FAILED, step.text, words, step.line))
        else:
            self.facts.append(self._fact(FactKind.FAULT, step.text, "", step.line))

    def _rest(self) -> None:
        try:
            self.simulation.rest(LONGEST_QUIET_S)
        except Bug:
            hours = LONGEST_QUIET_S / 3600
            self._note(FactKind.FAILED, "until quiet", f"it was not quiet {hours:.0f} h after the last line")

    # --- what is collected ------------------------------------------------------

    def _look(self) -> None:
        """Take note of what happened; called after everything that does."""
        self._serving.look()
        self._collect()

    def _collect(self) -> None:
        records = self.simulation.records
        if records.last_id == self._seen:
            return
        for entry in self.simulation.controller.store.journal(after=self._seen, limit=1 << 30):
            if entry.kind != "operation":  # it was typed, and stands there with its answer
                self.facts.append(self._told(entry))
        self._seen = records.last_id

    def _told(self, entry: Entry) -> Fact:
        what = str(entry.data.get("action", ""))
        message = entry.message.removeprefix(f"{what}: ") if what else entry.message
        kind = _KINDS.get(entry.kind, FactKind.OTHER)
        return Fact(self.simulation.now, kind, entry.subject, message, entry.by, what)

    def _note(self, kind: FactKind, subject: str, message: str) -> None:
        self.facts.append(self._fact(kind, subject, message))

    def _fact(self, kind: FactKind, subject: str, message: str, line: int = 0, status: int = 0) -> Fact:
        return Fact(self.simulation.now, kind, subject, message, line=line, status=status)

    def _report(self, times: Schedule) -> Report:
        plan = self.simulation.controller.engine.last.plan
        return Report(
            name=self._scenario.name,
            title=self._scenario.title,
            seed=self._scenario.seed,
            start=times.start,
            end=self.simulation.now,
            facts=tuple(self.facts),
            tiers=self._serving.stories(),
            waiting=plan.waiting,
            problems=plan.findings,
            breaches=tuple(self._laws.breaches),
        )


def _size(simulation: Simulation) -> str:
    fleet = simulation.fleet
    nodes = [node.is_virtual for node in fleet.nodes.values()]
    counts = (
        (nodes.count(False), "physical node"),
        (nodes.count(True), "virtual node"),
        (len(fleet.tiers), "tier"),
    )
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
