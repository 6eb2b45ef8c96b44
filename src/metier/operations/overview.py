"""The whole site at a glance: its status, and the current plan."""

from collections import Counter
from dataclasses import dataclass

from metier.domain.alert import Severity
from metier.domain.errors import WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import natural
from metier.domain.job import FINAL
from metier.domain.status import status
from metier.operations.parsing import rfc3339
from metier.operations.plan_row import forecast_row, waiting_row
from metier.operations.registry import Row, View, option, reads
from metier.operations.tier_row import normal_members


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Takes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowStatus:
    """What of the site is wanted."""

    resilience: bool = option("show instead what would follow if any one host died now", False)
    by: str = option(
        "with --resilience: all hosts that share a value of this label die together", "", example="rack"
    )


@reads(
    "",
    "status",
    ShowStatus,
    columns=("time", "nodes", "physical", "virtual", "statuses", "tiers", "alerts", "jobs", "waiting"),
    examples=("metier status", "metier status --resilience", "metier status --resilience --by rack"),
)
def show_status(view: View, arguments: ShowStatus) -> Row:
    """Show how the site is: nodes by status, tiers, alerts, jobs, and what is waited for.

    With --resilience: which tiers would fall below their minimum if any one host died now,
    whether there is room to restore them, and what is missing. A label is an attribute of the
    form LABEL=VALUE of a host, such as rack=a3.
    """
    return _resilience(view, arguments.by) if _is_about_resilience(arguments) else _site(view)


def _is_about_resilience(arguments: ShowStatus) -> bool:
    if arguments.by and not arguments.resilience:
        raise WrongUsage(
            f"--by {arguments.by!r} says which hosts die together, which only --resilience asks",
            remedy="add --resilience",
        )
    return arguments.resilience


def _resilience(view: View, by: str) -> Row:
    known = _labels(view.fleet)
    if by and by not in known:
        raise WrongUsage(
            f"no host carries the label {by!r}",
            remedy=f"labels there are: {', '.join(known)}"
            if known
            else "give hosts one, such as `metier node edit NAME --attribute rack=a3`",
        )
    answer = view.services.resilience(view.fleet, view.now, by)
    return {"time": rfc3339(view.now), "generation": view.fleet.generation, **answer}


def _labels(fleet: Fleet) -> list[str]:
    """Return the words before the `=` of the attributes of physical nodes."""
    found = set()
    for node in fleet.nodes.values():
        if not node.is_virtual:
            has = node.attributes if node.hardware is None else node.attributes | node.hardware.attributes
            found |= {word.partition("=")[0] for word in has if "=" in word}
    return sorted(found - {""}, key=natural)


def _site(view: View) -> Row:
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
    """Show what the controller does next, when and why, and what it waits for.

    Times are counted from now, and rest on what was measured on the site. What is just being done
    is shown as done first.
    """
    return {**forecast_row(view.services.forecast(view.fleet, view.now)), "waiting": _waiting(view)}
