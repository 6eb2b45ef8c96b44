"""A small site for scenarios: three hosts, three guest tiers, exported once all of it works."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from metier.app import rehearsal
from metier.domain.ids import TierId
from metier.operations.export import document_lines
from metier.sim.measured import measured_datacentre
from metier.sim.pace import pace_of
from metier.sim.rehearsal import Rehearsal
from metier.sim.sample import sample_site
from metier.sim.scenario import read
from metier.sim.simulation import Simulation
from metier.sim.timeline import Report
from metier.store.api import Entry
from metier.store.codec import form_of
from metier.store.site_file import dump_site

MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SITE = Path(__file__).parents[3] / "docs" / "scenarios" / "web-shop.json"
_ENTRY = form_of(Entry)


class Exported(NamedTuple):
    """A running simulation, and the text of its site as it was when everything worked."""

    simulation: Simulation
    text: str


def a_running_site(hosts: int = 3) -> Exported:
    """Return a site of which everything works, and its export of that moment."""
    fleet = sample_site(MORNING, hosts)
    simulation = Simulation(fleet, MORNING, pace=pace_of(fleet), build=measured_datacentre)
    simulation.rest()
    return Exported(simulation, export_of(simulation))


def export_of(simulation: Simulation) -> str:
    """Return what `metier export-site` would write now."""
    document = dump_site(simulation.fleet, simulation.now, [], simulation.records.last_id)
    return "\n".join(document_lines(document)) + "\n"


def journal_of(simulation: Simulation, after: int) -> str:
    """Return what `metier event list -o json` would print of the entries after one."""
    rows = [_ENTRY.dumps(entry) for entry in simulation.records.entries if entry.id > after]
    return f"[{','.join(rows)}]"


def site_text() -> str:
    """Return the exported site that the documentation's scenarios are about; it was made here."""
    return SITE.read_text(encoding="utf-8")


@cache
def the_rehearsal() -> Rehearsal:
    """Return what lets scenarios happen to that site."""
    return rehearsal(site_text(), "site.json")


def play(*lines: str, folder: Path = Path()) -> Report:
    """Let a scenario of these lines happen to the site, from 10:00 on."""
    text = "\n".join(["start 2026-03-02 10:00", *lines])
    return the_rehearsal().simulate(read(text, "story.txt"), folder)


def place_of(tier: str, slot: int = 1) -> str:
    """Return which node fills a slot of the site's tier, such as `host-1/VM2`; the planner chose it."""
    return str(the_rehearsal().site().fleet.members(TierId(tier))[slot])


def host_of(tier: str, slot: int = 1) -> str:
    """Return which host runs the guest in a slot."""
    return place_of(tier, slot).partition("/")[0]
