"""Alerts: what an operator should know about."""

from dataclasses import dataclass, replace

from metier.domain.alert import Alert, Severity
from metier.domain.errors import NoSuchThing
from metier.domain.fleet import Draft, Fleet
from metier.domain.problems import PROBLEMS
from metier.operations.parsing import rfc3339
from metier.operations.records import check_expected
from metier.operations.registry import Caller, Form, Outcome, Row, View, changes, option, positional, reads

COLUMNS = ("id", "severity", "code", "subject", "message", "since", "acknowledged")
_ORDER = {severity: place for place, severity in enumerate(Severity)}


def alert_row(alert: Alert) -> Row:
    """Return the row of an alert."""
    problem = PROBLEMS.get(alert.code)
    return {
        "id": alert.id,
        "code": alert.code,
        "severity": alert.severity.value,
        "subject": alert.subject,
        "message": alert.message,
        "remedy": None if problem is None else problem.remedy.replace("NAME", alert.subject),
        "since": rfc3339(alert.since),
        "acknowledged": alert.acknowledged,
        "title": None if problem is None else problem.title,
        "meaning": None if problem is None else problem.meaning,
        "cleared": rfc3339(alert.cleared),
        "generation": alert.generation,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAlerts:
    """Filters of the list of alerts; each one narrows it."""

    severity: str | None = option(
        "only alerts of this severity", None, choices=[severity.value for severity in Severity]
    )
    code: str | None = option("only alerts of this problem", None, example="tier-short")
    subject: str | None = option("only alerts about this node, tier, image or job", None, example="web")
    acknowledged: bool | None = option("only those that somebody (on) or nobody (off) has acknowledged", None)
    all: bool = option("also those that no longer stand", False)


@reads("alert", "list", ListAlerts, form=Form.LIST, columns=COLUMNS, examples=("metier alert list",))
def list_alerts(view: View, arguments: ListAlerts) -> list[Row]:
    """List the alerts that stand, the most severe and oldest first."""
    chosen = [
        alert
        for alert in view.fleet.alerts.values()
        if (arguments.all or alert.cleared is None)
        and arguments.severity in (None, alert.severity)
        and arguments.code in (None, alert.code)
        and arguments.subject in (None, alert.subject)
        and arguments.acknowledged in (None, bool(alert.acknowledged))
    ]
    chosen.sort(key=lambda alert: (_ORDER[alert.severity], alert.since, alert.id))
    return [alert_row(alert) for alert in chosen]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichAlert:
    """Which alert."""

    id: int = positional("the number of the alert", example="7")


@reads("alert", "show", WhichAlert, columns=COLUMNS, examples=("metier alert show 7",))
def show_alert(view: View, arguments: WhichAlert) -> Row:
    """Show an alert with what it means and what to do."""
    return alert_row(_find(view.fleet, arguments.id))


@changes("alert", "ack", WhichAlert, examples=("metier alert ack 7",))
def acknowledge(draft: Draft, arguments: WhichAlert, caller: Caller) -> Outcome:
    """Note that you have seen an alert; it stands until its cause is gone."""
    alert = _find(draft, arguments.id)
    check_expected(caller, alert, f"alert {alert.id}")
    if alert.acknowledged:
        return Outcome(f"alert {alert.id} is acknowledged by {alert.acknowledged} already", alert_row(alert))
    draft.put_alert(replace(alert, acknowledged=caller.name))
    return Outcome(f"alert {alert.id} acknowledged", alert_row(draft.alerts[alert.id]))


def _find(fleet: Fleet, number: int) -> Alert:
    found = fleet.alerts.get(number)
    if found is None:
        raise NoSuchThing(f"there is no alert {number}", remedy="see `metier alert list`")
    return found
