"""Turns what plans find into alerts that stand until it is gone."""

from dataclasses import replace
from datetime import datetime

from metier.domain.alert import Alert
from metier.domain.fleet import Draft, Fleet
from metier.domain.plan import Finding
from metier.domain.problems import PROBLEMS

KEPT = 1000
"""How many cleared alerts are kept for whoever asks what happened."""


class AlertBook:
    """Which alerts are open, by code and subject."""

    def __init__(self, fleet: Fleet) -> None:
        self._open = {(a.code, a.subject): a.id for a in fleet.alerts.values() if a.cleared is None}
        self._next = max(fleet.alerts, default=0) + 1

    def update(
        self, draft: Draft, findings: tuple[Finding, ...], now: datetime, *, is_complete: bool = True
    ) -> list[tuple[Alert, str]]:
        """Raise, reword and clear alerts so that exactly the findings stand.

        Findings that are not complete clear nothing.  Returns the alerts that were
        raised or cleared, each with that word.
        """
        found = {(finding.code, finding.subject): finding for finding in findings}
        gone = [key for key in self._open if key not in found] if is_complete else []
        happened = [(self._clear(draft, key, now), "cleared") for key in gone]
        for key, finding in found.items():
            if key not in self._open:
                happened.append((self._raise(draft, finding, now), "raised"))
            elif draft.alerts[self._open[key]].message != finding.message:
                draft.put_alert(replace(draft.alerts[self._open[key]], message=finding.message))
        self._trim(draft)
        return happened

    def _raise(self, draft: Draft, finding: Finding, now: datetime) -> Alert:
        severity = PROBLEMS[finding.code].severity
        alert = Alert(self._next, finding.code, severity, finding.subject, finding.message, now)
        self._next += 1
        self._open[finding.code, finding.subject] = alert.id
        draft.put_alert(alert)
        return alert

    def _clear(self, draft: Draft, key: tuple[str, str], now: datetime) -> Alert:
        alert = replace(draft.alerts[self._open.pop(key)], cleared=now)
        draft.put_alert(alert)
        return alert

    def _trim(self, draft: Draft) -> None:
        if len(draft.alerts) <= KEPT:
            return
        for alert_id in sorted(draft.alerts)[: len(draft.alerts) - KEPT]:
            if draft.alerts[alert_id].cleared is not None:
                draft.remove_alert(alert_id)
