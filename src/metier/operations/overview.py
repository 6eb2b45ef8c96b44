"""The whole site at a glance: its status, and the current plan."""

from collections import Counter
from dataclasses import dataclass

from metier.domain.alert import Severity
from metier.domain.fleet import Fleet
from metier.domain.ids import natural
from metier.domain.job import FINAL
from metier.domain.status import status
from metier.operations.parsing import rfc3339
from metier.operations.plan_row import action_row, waiting_row
from metier.operations.registry import Row, View, reads
from metier.operations.tier_row import normal_members


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Takes nothing."""


@reads(
    "",
    "status",
    Nothing,
    columns=("time", "nodes", "physical", "virtual", "statuses", "tiers", "alerts", "jobs", "waiting"),
    examples=("metier status",),
)
def show_status(view: View, _arguments: Nothing) -> Row:
    """Show how the site is: nodes by status, tiers, alerts, jobs, and what is waited for."""
    fleet = view.fleet
    statuses = Counter(status(fleet, node) for node in fleet.nodes.values())
    virtual = sum(node.is_virtual for node in fleet.nodes.values())
    alerts = [alert for alert in fleet.alerts.values() if alert.cleared is None]
    return {
        "time": rfc3339(view.now),
        "generation": fleet.generation,
        "nodes": len(fleet.nodes),
        "physical": len(fleet.nodes) - virtual,
        "virtual": virtual,
        "disengaged": sum(not node.engaged for node in fleet.nodes.values()),
        "statuses": dict(sorted(statuses.items())),
        "tiers": _tiers(fleet),
        "alerts": len(alerts),
        "critical_alerts": sum(alert.severity is Severity.CRITICAL for alert in alerts),
        "jobs": sum(job.state not in FINAL for job in fleet.jobs.values()),
        "waiting": _waiting(view),
    }


def _tiers(fleet: Fleet) -> list[Row]:
    return [
        {
            "name": tier.name,
            "state": tier.state.value,
            "kind": tier.kind.value,
            "minimum": tier.minimum,
            "target": tier.target,
            "allocated": len(fleet.members(tier.name)),
            "normal": normal_members(fleet, tier),
        }
        for tier in sorted(fleet.tiers.values(), key=lambda tier: natural(tier.name))
    ]


def _waiting(view: View) -> list[Row]:
    return [
        waiting_row(waiting)
        for subject in sorted(view.waiting, key=natural)
        for waiting in view.waiting[subject]
    ]


@reads("", "plan", Nothing, columns=("actions", "waiting"), examples=("metier plan", "metier plan -o json"))
def show_plan(view: View, _arguments: Nothing) -> Row:
    """Show what the controller does next and why, and what it waits for."""
    return {"actions": [action_row(action) for action in view.plan.actions], "waiting": _waiting(view)}
