"""The planner: what to do next, and why.  Start reading here."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from metier.domain.actions import Action
from metier.domain.fleet import Fleet
from metier.domain.plan import Finding, Plan, Waiting
from metier.planner.steps.advance import advance
from metier.planner.steps.allocate import allocate_nodes, report_shortages
from metier.planner.steps.deactivate import deactivate_tiers, empty_stopping_hosts, obey_stop_requests
from metier.planner.steps.drive import drive_nodes
from metier.planner.steps.engagements import end_disengagements
from metier.planner.steps.failures import handle_failures, report_maintenance, report_storms
from metier.planner.steps.fences import lift_fences, report_fences
from metier.planner.steps.harvest import harvest_nodes
from metier.planner.steps.host_software import report_hosts
from metier.planner.steps.hosts import admit_nodes, follow_hosts
from metier.planner.steps.pools import switch_off_idle
from metier.planner.steps.report import report_tiers
from metier.planner.steps.roll_out import roll_out
from metier.planner.steps.shrink import shrink_tiers
from metier.planner.work import EVERYTHING, Said, Scope, Subject, Work

STEPS = (
    end_disengagements,
    advance,
    follow_hosts,
    admit_nodes,
    handle_failures,
    deactivate_tiers,
    obey_stop_requests,
    empty_stopping_hosts,
    shrink_tiers,
    lift_fences,
    allocate_nodes,
    harvest_nodes,
    roll_out,
    drive_nodes,
    switch_off_idle,
    report_fences,
    report_shortages,
    report_storms,
    report_maintenance,
    report_hosts,
    report_tiers,
)
"""Read top to bottom.  First what was observed, then what is wrong, then what is no longer
wanted, then what is missing; only then is work begun; the reports say what remains."""


def plan(fleet: Fleet, now: datetime) -> Plan:
    """Decide the next actions that move `fleet` towards its intent, and say why."""
    return plan_of(decide(fleet, now))


def decide(fleet: Fleet, now: datetime, scope: Scope = EVERYTHING, epoch: int = 0) -> Work:
    """Plan what is in `scope` and return the finished work: plan, and the fleet with it begun.

    `epoch` says which run of the controller the begun work belongs to.
    """
    work = Work(fleet, now, scope, epoch)
    for step in STEPS:
        step(work)
    return work


def plan_of(work: Work) -> Plan:
    """Return what a finished piece of planning decided and said."""
    return compose(work.actions, work.said)


def compose(actions: Iterable[Action], said: Mapping[Subject, Said]) -> Plan:
    """Put actions and what was said into a Plan; what was said twice appears once."""
    waiting: dict[Waiting, None] = {}
    findings: dict[Finding, None] = {}
    wake = []
    for subject, words in said.items():
        waiting.update(dict.fromkeys(words.waiting))
        findings.update(dict.fromkeys(words.findings))
        if words.wake is not None:
            wake.append((words.wake, subject.name))
    return Plan(tuple(actions), tuple(waiting), tuple(findings), tuple(sorted(wake)))
