"""Scenarios and journals that happen to an exported site: all that `metier simulate` does."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from structlog.testing import capture_logs

from metier.domain.errors import WrongUsage
from metier.sim.compare import Comparison, compare
from metier.sim.director import Console, Director, check
from metier.sim.measured import measured_datacentre
from metier.sim.moved import moved
from metier.sim.pace import pace_of
from metier.sim.relay import Relay
from metier.sim.replay import Replay, replay_of
from metier.sim.scenario import BadScenario, Scenario, Step, Trouble
from metier.sim.shown import is_shown
from metier.sim.simulation import Simulation
from metier.sim.timeline import Report
from metier.store.api import Entry
from metier.store.site_file import SiteFile, read_site


class Means(NamedTuple):
    """What a rehearsal needs that lies above simulations, or beside them.

    Attributes:
        open_console: Returns where commands are typed; files that they name are in the folder.
        read_journal: Reads the text of a journal of that name; raises WrongUsage.
    """

    open_console: Callable[[Relay, Path], Console]
    read_journal: Callable[[str, str], Sequence[Entry]]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replay of a journal came to."""

    replay: Replay
    report: Report
    comparison: Comparison


class Rehearsal:
    """One exported site, to which things may happen any number of times, each time from the start."""

    def __init__(self, site: str, name: str, means: Means) -> None:
        """Begin with an exported site's text; `name` is what the operator calls it."""
        self._text, self._name, self._means = site, name, means
        self._read: SiteFile | None = None

    def site(self) -> SiteFile:
        """Return the site as it was exported.

        Raises:
            WrongUsage: It is no exported site that this version can read.
        """
        if self._read is None:
            self._read = read_site(self._text, self._name)
        return self._read

    def simulate(
        self,
        scenario: Scenario,
        folder: Path,
        troubles: Sequence[Trouble] = (),
        is_due: Callable[[Simulation, Step], bool] = lambda _simulation, _step: True,
    ) -> Report:
        """Let a scenario happen to the site; nothing real is touched.

        Args:
            scenario: What is to happen.
            folder: Where files are that its commands name.
            troubles: What is known to be wrong with it already; it is told with the rest.
            is_due: Asked before each fault whether it is to happen at all.

        Raises:
            BadScenario: Something is wrong with it or the site, and nothing of it happened.
        """
        try:
            site = self.site()
        except WrongUsage as error:
            told = scenario.trouble(scenario.site_line, str(error), error.remedy)
            raise BadScenario([*troubles, told]) from error
        relay = Relay()
        console = self._means.open_console(relay, folder)
        times, found = check(scenario, site.exported, site.fleet, console)
        if troubles or found:
            raise BadScenario([*troubles, *found])
        fleet = moved(site.fleet, times.start - site.exported)
        with _silence():
            pace = pace_of(fleet)
            relay.simulation = Simulation(
                fleet, times.start, pace=pace, seed=scenario.seed, build=measured_datacentre
            )
            return Director(relay.simulation, console, scenario, is_due).run(times)

    def read(self, journal: str, name: str) -> Replay:
        """Make a scenario of what a journal recorded after the site was exported.

        Raises:
            WrongUsage: It has nothing that is newer than the site, or one of them cannot be read.
        """
        return replay_of(self._newer(journal, name), self.site().fleet, name)

    def replay(self, journal: str, name: str, folder: Path) -> Replayed:
        """Let what a journal recorded happen again, and compare what was decided.

        Args:
            journal: Its text.
            name: What the operator calls it, for messages.
            folder: Where the documents may be written that the orders came with.

        Raises:
            WrongUsage: As with `read`.
            BadScenario: One of its orders cannot be given to this version.
        """
        newer = self._newer(journal, name)
        found = replay_of(newer, self.site().fleet, name)
        for file, text in found.documents.items():
            (folder / file).write_text(text, encoding="utf-8")
        report = self.simulate(
            found.scenario, folder, is_due=lambda simulation, step: not is_shown(simulation, step.text)
        )
        return Replayed(found, report, compare(newer, report.facts, newer[-1].at))

    def _newer(self, journal: str, name: str) -> Sequence[Entry]:
        last = self.site().journal_id
        newer = [entry for entry in self._means.read_journal(journal, name) if entry.id > last]
        if not newer:
            raise WrongUsage(
                f"{name} has nothing newer than the site, which has all until entry {last}",
                remedy="export the site first, and later write the journal: `metier event list -o json`",
            )
        return newer


def _silence() -> AbstractContextManager[object]:
    """Keep the controller's log off standard output: the timeline tells what happened."""
    return capture_logs()
