"""Calls operations by the words of their commands, as the API and the command line do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from metier.domain.fleet import Fleet
from metier.domain.forecast import Forecast
from metier.domain.ids import NodeId
from metier.domain.personality import Carried
from metier.domain.plan import Plan, Waiting
from metier.domain.transfer import Transfer
from metier.operations import load_operations
from metier.operations.registry import OPERATIONS, Caller, Operation, Outcome, Row, View, operation
from tests.builders import NOW

load_operations()

ALICE = Caller("alice", NOW)


def _module(found: Operation) -> str:
    function = found.read or found.change
    assert function is not None
    return function.__module__


# Other tests put operations of their own into the registry.
OWN = {key: found for key, found in OPERATIONS.items() if _module(found).startswith("metier.operations.")}
"""Every operation of the program, by noun and verb."""


@dataclass
class FakeServices:
    """A journal in memory, consoles that have an address, and an answer to what a death would cost."""

    events: list[Row] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    foreseen: Forecast = field(default_factory=Forecast)
    copies: Sequence[Transfer] = ()

    def journal(self, *, after: int, limit: int, subject: str | None, newest: bool) -> Sequence[Row]:
        self.asked.append({"after": after, "limit": limit, "subject": subject, "newest": newest})
        chosen = [row for row in self.events if subject in (None, row["subject"]) and row["id"] > after]
        return chosen[-limit:] if newest else chosen[:limit]

    def console(self, node: str) -> str:
        return f"vnc://{node}"

    def resilience(self, fleet: Fleet, now: datetime, by: str) -> Row:
        return {"answer": f"{len(fleet.nodes)} nodes at {now:%H:%M} by {by or 'host'}"}

    def forecast(self, fleet: Fleet, now: datetime) -> Forecast:
        return self.foreseen

    def texts(self, every: Sequence[Carried]) -> Sequence[Mapping[str, str]]:
        return [{**carried.personality.texts, "meta": carried.hostname} for carried in every]

    def transfers(self) -> Mapping[NodeId, Transfer]:
        return {one.node: one for one in self.copies}

    def drivers(self) -> Sequence[Row]:
        setting = {"name": "url", "is_required": True, "is_secret": False, "about": "Where.", "default": None}
        row = {"is_ready": True, "problem": None, "capabilities": ["watching"], "settings": [setting]}
        return [{"name": "libvirt", "family": "hypervisor", **row}, {"name": "odd", "family": "power", **row}]

    def certificate(self, url: str) -> Row:
        return {"url": url, "thumbprint": "AA:BB", "is_vouched_for": False}

    def export_site(self, fleet: Fleet, now: datetime, *, journal: int) -> Row:
        return {"exported": f"{now:%H:%M}", "records": len(fleet.nodes), "journal": journal}


def a_view(
    fleet: Fleet,
    *,
    waiting: Mapping[str, Sequence[str]] | None = None,
    plan: Plan | None = None,
    services: FakeServices | None = None,
) -> View:
    """Return what readers see of `fleet`; `waiting` gives sentences by subject."""
    sentences = {
        subject: tuple(Waiting(subject, why, "R-ALLOC-5") for why in whys)
        for subject, whys in (waiting or {}).items()
    }
    return View(fleet, plan or Plan(), sentences, NOW, services or FakeServices())


def ask(fleet: Fleet, noun: str, verb: str, /, *, view: View | None = None, **arguments: Any) -> Any:
    """Return what a reading operation answers."""
    found = operation(noun, verb)
    assert found.read is not None
    return found.read(view or a_view(fleet), found.arguments_type(**arguments))


def change(
    fleet: Fleet, noun: str, verb: str, /, *, caller: Caller = ALICE, **arguments: Any
) -> tuple[Fleet, Outcome]:
    """Carry out a changing operation; returns the fleet as it is afterwards, and the answer."""
    found = operation(noun, verb)
    assert found.change is not None
    draft = fleet.edit()
    outcome = found.change(draft, found.arguments_type(**arguments), caller)
    return draft.freeze(), outcome


def still(fleet: Fleet, noun: str, verb: str, /, *, view: View | None = None, **arguments: Any) -> list[str]:
    """Return what `--wait` would still wait for."""
    found = operation(noun, verb)
    assert found.settled is not None
    return list(found.settled(view or a_view(fleet), found.arguments_type(**arguments)))
