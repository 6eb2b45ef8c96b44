"""Advances update procedures in a round: gives the commands that they ask for, and tells how they stand.

A procedure's commands go through the operations that operators use, in its own name: with all
their checks, and with an entry in the journal each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from metier.control.journal_data import action_data, arguments_data
from metier.domain.actions import Action
from metier.domain.errors import MetierError, chain
from metier.domain.fleet import Draft, Fleet
from metier.domain.plan import Finding, Plan, Waiting
from metier.domain.procedure import EXPECTED_ALERTS, Procedure, live
from metier.operations.registry import Caller, operation
from metier.planner.effects import begin
from metier.planner.updating.forward import next_step
from metier.planner.updating.step import Order, Step
from metier.store.api import Entry

log = structlog.get_logger()

MOST_STEPS = 12
"""Steps of one procedure in one round: more than ever follow at once; a fault must not hold the loop."""

STUCK = "image-update-stuck"
PROCEDURE = "procedure"
"""The kind of journal entry that tells one step."""


def advance_procedures(draft: Draft, now: datetime) -> list[Entry]:
    """Do what the update procedures ask for now; returns what the journal is to say."""
    entries: list[Entry] = []
    for procedure in live(draft.procedures.values()):
        try:
            entries += _advance(draft, procedure.id, now)
        except Exception:  # a bug in one procedure must not stop the loop
            log.exception("update procedure not advanced", procedure=procedure.id)
    return entries


def standing(fleet: Fleet) -> tuple[Finding, ...]:
    """Return a finding for every procedure that only a person can bring on."""
    return tuple(
        Finding(STUCK, str(one.image), f"{one.caller}: {one.problem}")
        for one in live(fleet.procedures.values())
        if one.problem
    )


def without_expected(fleet: Fleet, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Leave out the alerts that a guest which is shut down on purpose would raise."""
    quiet = {name for one in live(fleet.procedures.values()) for name in (one.tier, one.node, one.host_tier)}
    return tuple(one for one in findings if one.code not in EXPECTED_ALERTS or one.subject not in quiet)


def told(fleet: Fleet, plan: Plan) -> Plan:
    """Return a plan that also says of the tiers and nodes of procedures what they wait for."""
    waiting = [
        Waiting(subject, f"{one.caller} of {one.image}: {one.told}", "operator")
        for one in live(fleet.procedures.values())
        for subject in subjects(fleet, one)
    ]
    return replace(plan, waiting=(*plan.waiting, *waiting)) if waiting else plan


def subjects(fleet: Fleet, procedure: Procedure) -> Iterator[str]:
    """Yield the tiers and nodes of a procedure that are there."""
    yield from (name for name in procedure.made if name in fleet.tiers)
    nodes = dict.fromkeys((procedure.node, *procedure.disengaged))
    yield from (name for name in nodes if name is not None and name in fleet.nodes)


def _advance(draft: Draft, number: int, now: datetime) -> list[Entry]:
    entries: list[Entry] = []
    for _ in range(MOST_STEPS):
        procedure = draft.procedures[number]
        step = next_step(draft, procedure)
        try:
            done = _do(draft, procedure, step, now)
        except MetierError as error:
            step = replace(step, deeds=(), fields={}, problem=chain(error), remedy=_way_out(error))
            done = []
        entries += [*done, *_note(draft, number, step, now)]
        if not step.is_done_at_once:
            break
    return entries


def _do(draft: Draft, procedure: Procedure, step: Step, now: datetime) -> list[Entry]:
    """Do all deeds of a step, or none of them; raises MetierError."""
    attempt = Draft(draft.freeze())
    attempt.generation = draft.generation
    entries, fields = [], dict(step.fields)
    for deed in step.deeds:
        if isinstance(deed, Action):
            begin(attempt, deed, now)
            entries.append(_action_entry(deed, now))
        else:
            entries.append(_give(attempt, procedure, deed, fields, now))
    if step.is_last:
        fields["ended"] = now
    if fields:
        attempt.put_procedure(replace(attempt.procedures[procedure.id], **fields))
    for kind, by_key in attempt.changes.items():
        for key, value in by_key.items():
            draft.put(kind, key, value)
    return entries


def _give(draft: Draft, procedure: Procedure, order: Order, fields: dict[str, Any], now: datetime) -> Entry:
    """Give a command in the procedure's name; what comes of it goes into `fields` too."""
    what = operation(order.noun, order.verb)
    assert what.change is not None
    arguments = what.arguments_type(**order.arguments)
    caller = Caller(procedure.caller, now, accept_warnings=order.accept_warnings)
    try:
        answer = what.change(draft, arguments, caller)
    except MetierError as error:
        if not order.may_fail:
            raise
        message = f"{what.key} refused: {chain(error)}"
        fields["remarks"] = (*procedure.remarks, f"{message}; {error.remedy}" if error.remedy else message)
        return _entry(order, what.key, message, arguments, (), procedure, now)
    if order.note_job:
        fields["job"] = answer.job
    return _entry(order, what.key, answer.message, arguments, answer.warnings, procedure, now)


def _entry(
    order: Order,
    key: str,
    message: str,
    arguments: Any,
    warnings: Sequence[str],
    procedure: Procedure,
    now: datetime,
) -> Entry:
    data: Mapping[str, Any] = {
        "operation": key,
        "arguments": arguments_data(arguments),
        "warnings": list(warnings),
    }
    subject = str(order.arguments.get("name") or order.arguments.get("id") or order.noun)
    return Entry(now, "operation", subject, message, by=procedure.caller, data=data)


def _action_entry(action: Action, now: datetime) -> Entry:
    words = f"{type(action).__name__}: {action.why}"
    return Entry(now, "action", action.node, words, by=action.rule, data=action_data(action))


def _way_out(error: MetierError) -> str:
    warnings = getattr(error, "warnings", ())
    told = "; ".join(warnings)
    return f"{told}: {error.remedy}" if told else error.remedy


def _note(draft: Draft, number: int, step: Step, now: datetime) -> list[Entry]:
    """Record how a procedure stands, and tell the journal of every new stage and problem."""
    was = draft.procedures[number]
    since = was.since if was.stage is step.stage and was.since is not None else now
    after = replace(
        was, stage=step.stage, since=since, told=step.told, problem=step.problem, remedy=step.remedy
    )
    if after == was:
        return []
    draft.put_procedure(after)
    is_news = step.deeds or (was.stage, was.problem) != (after.stage, after.problem)
    words = step.problem or step.told
    return [Entry(now, PROCEDURE, str(was.image), words, by=was.caller)] if is_news else []
