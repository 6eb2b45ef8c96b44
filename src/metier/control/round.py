"""One round of the control loop, as a plain function of the Fleet, what arrived, and now.

Apply what arrived, plan, check, begin.  It touches no driver, store or clock: the
loop and the simulator call it and do the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from metier.control.alerts import AlertBook
from metier.control.drop_job import drops_left, resume_drops
from metier.control.inbox import JobNews, Message, Nudge, Order, Settled, UnderWay
from metier.control.journal_data import (
    action_data,
    arguments_data,
    job_data,
    observation_data,
    outcome_data,
)
from metier.control.matrix_sight import MatrixSight, damage_findings, matrix_findings, still_unknown
from metier.control.observe import Sight, is_doubtful, record
from metier.control.procedures import advance_procedures, standing, told, without_expected
from metier.domain.actions import Action, Work
from metier.domain.errors import Bug, MetierError, Refusal, chain
from metier.domain.fleet import Changes, Draft, Fleet, Kind
from metier.domain.ids import NodeId
from metier.domain.job import FINAL, JobState
from metier.domain.plan import Finding, Plan
from metier.operations.registry import Outcome as Answer
from metier.planner.check import check
from metier.planner.effects import Done, prolong_start, recover, settle
from metier.planner.incremental import Planner
from metier.store.api import Entry

log = structlog.get_logger()

REJECTED_PAUSE = timedelta(seconds=10)
"""After a rejected plan everything is planned anew, at this pace: the world may have moved on."""


@dataclass(slots=True)
class Round:
    """What one round came to.

    Attributes:
        fleet: The Fleet after it, with everything decided already begun.
        changes: What is to be stored before any of `begun` is carried out.
        entries: What the journal is to say.
        begun: Work to be carried out, with the id under which its outcome comes back.
        replies: Orders and their answers, to be sent once everything is stored.
        nudged: Hosts to be looked at at once.
        wake: When to plan again though nothing arrives.
        is_rejected: Nothing was planned, so what the plan does not say may still stand.
    """

    fleet: Fleet
    plan: Plan
    changes: Changes
    entries: list[Entry] = field(default_factory=list)
    begun: list[tuple[int, Work]] = field(default_factory=list)
    replies: list[tuple[Order, Answer | MetierError]] = field(default_factory=list)
    nudged: list[NodeId] = field(default_factory=list)
    wake: datetime | None = None
    is_rejected: bool = False


@dataclass(slots=True)
class Memory:
    """What a controller remembers between rounds and can lose at any time.

    Attributes:
        is_fresh: Nothing was planned from the Fleet at hand yet: plan all of it.
        failed_jobs: What stands of jobs, which no plan is about.
        drops: Jobs that left copies of deleted images on hosts.
        sight: What was last measured of the image matrix; None while nobody measures it.
        room: What stands of that.
    """

    planner: Planner
    alerts: AlertBook
    is_fresh: bool = True
    failed_jobs: tuple[Finding, ...] = ()
    drops: tuple[int, ...] = ()
    sight: MatrixSight | None = None
    room: tuple[Finding, ...] = ()


def run_round(fleet: Fleet, messages: Sequence[Message], memory: Memory, now: datetime) -> Round:
    """Take what arrived, decide what follows, and return all of it; changes nothing but `memory`."""
    result = Round(fleet, Plan(), {})
    draft = fleet.edit()
    for message in messages:
        if isinstance(message, MatrixSight):
            memory.sight, memory.room = message, matrix_findings(message, draft)
        _take_safely(draft, message, result, now)
    result.entries += advance_procedures(draft, now)
    if memory.is_fresh or Kind.JOB in draft.changes:
        memory.failed_jobs = _failed_jobs(draft) + damage_findings(draft)
        memory.drops = drops_left(draft)
    resume_drops(draft, memory.drops, now)
    _plan(draft.freeze(), dict(draft.changes), memory, result, now)
    _raise_alerts(result, memory, now)
    return result


def _take_safely(draft: Draft, message: Message, result: Round, now: datetime) -> None:
    """Take a message; one that breaks something is dropped, so that it cannot stop the loop for good."""
    try:
        _take(draft, message, result, now)
    except Exception as error:  # whatever one message broke, the others must be taken
        log.exception("message dropped", message=type(message).__name__)
        if isinstance(message, Order):
            fault = Refusal(f"internal error: {chain(error)}", code="internal", remedy="report this as a bug")
            result.replies.append((message, fault))
        if isinstance(message, Settled) and isinstance(message.action, Work):
            _let_go(draft, message, now)


def _let_go(draft: Draft, message: Settled, now: datetime) -> None:
    """Free a node from work whose outcome could not be recorded; what is wanted is planned again."""
    node = draft.nodes.get(message.action.node)
    if node is not None and node.pending is not None and node.pending.id == message.action_id:
        recover(draft, node, now)


def _take(draft: Draft, message: Message, result: Round, now: datetime) -> None:
    match message:
        case Order():
            _obey(draft, message, result, now)
        case Settled():
            _settle(draft, message, result, now)
        case Sight():
            _look(draft, message, result, now)
        case UnderWay():
            prolong_start(draft, message.action, now)
        case JobNews():
            _note_job(draft, message, result, now)
        case MatrixSight():
            pass  # it is of the memory, not of the Fleet
        case Nudge():
            result.nudged.append(message.host)


def _look(draft: Draft, sight: Sight, result: Round, now: datetime) -> None:
    name = sight.question.node
    was = draft.seen(name)
    words = record(draft, sight)
    if words:
        data = observation_data(was, draft.seen(name))
        result.entries.append(Entry(now, "observation", name, words, data=data))
    if is_doubtful(was, draft.seen(name)):
        result.nudged.append(name)


def _obey(draft: Draft, order: Order, result: Round, now: datetime) -> None:
    """Carry out an operator's change on a draft of its own, so that a refusal leaves nothing behind."""
    change = order.operation.change
    assert change is not None
    attempt = Draft(draft.freeze())
    attempt.generation = draft.generation
    try:
        answer = change(attempt, order.arguments, order.caller)
    except MetierError as error:
        result.replies.append((order, error))
        return
    arguments = arguments_data(order.arguments)
    for kind, by_key in attempt.changes.items():
        for key, value in by_key.items():
            draft.put(kind, key, value)
    result.replies.append((order, answer))
    data = {
        "operation": order.operation.key,
        "arguments": arguments,
        "warnings": list(answer.warnings),
    }
    subject = str(getattr(order.arguments, "name", "") or order.operation.noun or order.operation.verb)
    result.entries.append(Entry(now, "operation", subject, answer.message, by=order.caller.name, data=data))


def _settle(draft: Draft, message: Settled, result: Round, now: datetime) -> None:
    node = draft.nodes.get(message.action.node)
    if node is None or node.pending is None or node.pending.id != message.action_id:
        return
    settle(draft, message.action, message.outcome, now)
    name = type(message.action).__name__
    match message.outcome:
        case Done(remarks=remarks):
            words = f"{name} done" + (f": {'; '.join(remarks)}" if remarks else "")
        case failed:
            words = f"{name} failed: {failed.reason}"
    data = outcome_data(message.action_id, message.action, message.outcome)
    result.entries.append(
        Entry(now, "outcome", message.action.node, words, by=message.action.rule, data=data)
    )
    result.nudged.append(node.host or node.name)


def _note_job(draft: Draft, news: JobNews, result: Round, now: datetime) -> None:
    known = draft.jobs.get(news.job.id)
    if known is None or known.state in FINAL:
        return  # nothing that is told late takes back how it ended
    draft.put_job(replace(news.job, cancel_requested=known.cancel_requested))
    if news.image is not None:
        draft.put_image(news.image)
    if known.state is not news.job.state:
        words = f"{news.job.kind} {news.job.state}" + (f": {news.job.error}" if news.job.error else "")
        entry = Entry(now, "job", news.job.subject, words, by=news.job.by, data=job_data(news))
        result.entries.append(entry)


def _plan(fleet: Fleet, changes: Changes, memory: Memory, result: Round, now: datetime) -> None:
    try:
        planned = memory.planner.plan(fleet, now, None if memory.is_fresh else changes)
        faults = check(fleet, planned.work.actions, planned.work.fleet)
    except Exception as error:  # a planner with a bug must not take what arrived down with it
        log.exception("planning failed")
        _reject(fleet, changes, memory, result, now, (f"internal error while planning: {chain(error)}",))
        return
    if faults:
        _reject(fleet, changes, memory, result, now, faults)
        return
    memory.is_fresh = False
    result.changes = _joined(changes, planned.work.fleet.changes)
    result.fleet = planned.work.fleet.freeze()
    result.plan = told(result.fleet, planned.plan)
    result.wake = memory.planner.wake
    result.begun = _begun(result.fleet, planned.work.actions)
    result.entries += _entries(planned.work.actions, result.begun, now)


def _reject(
    fleet: Fleet, changes: Changes, memory: Memory, result: Round, now: datetime, faults: Sequence[str]
) -> None:
    """Keep what arrived, do nothing of what was planned, and plan everything anew after a pause."""
    log.error("plan rejected", faults=faults)
    memory.is_fresh = result.is_rejected = True
    result.fleet, result.changes = fleet, changes
    result.plan = Plan(findings=(Finding("plan-rejected", "site", "; ".join(faults)),))
    result.wake = now + REJECTED_PAUSE


def _begun(fleet: Fleet, actions: Sequence[Action]) -> list[tuple[int, Work]]:
    begun = []
    for action in actions:
        if isinstance(action, Work):
            pending = fleet.nodes[action.node].pending
            if pending is None:
                raise Bug(f"{type(action).__name__} on {action.node} was begun and is not pending")
            begun.append((pending.id, action))
    return begun


def _entries(actions: Sequence[Action], begun: Sequence[tuple[int, Work]], now: datetime) -> list[Entry]:
    numbers = {id(work): number for number, work in begun}
    return [
        Entry(
            now,
            "action",
            action.node,
            f"{type(action).__name__}: {action.why}",
            by=action.rule,
            data=action_data(action, numbers.get(id(action))),
        )
        for action in actions
    ]


_ONLY_LOOKS = frozenset({"image-inspect", "image-diff"})
"""Jobs that change nothing: whoever began one hears that it failed, and nobody else needs to."""


def _failed_jobs(fleet: Fleet) -> tuple[Finding, ...]:
    """Return a finding for every subject whose last job failed; procedures tell of theirs themselves."""
    own = {procedure.caller for procedure in fleet.procedures.values()}
    last = {job.subject: job for _, job in sorted(fleet.jobs.items())}
    return tuple(
        Finding("job-failed", subject, f"job {job.id}, {job.kind}: {job.error}")
        for subject, job in last.items()
        if job.state is JobState.FAILED and job.by not in own and job.kind not in _ONLY_LOOKS
    )


def _raise_alerts(result: Round, memory: Memory, now: datetime) -> None:
    draft = result.fleet.edit()
    findings = result.plan.findings + memory.failed_jobs + standing(draft)
    findings += memory.room + still_unknown(memory.sight, draft, now)
    findings = without_expected(draft, findings)
    for alert, word in memory.alerts.update(draft, findings, now, is_complete=not result.is_rejected):
        message = f"{alert.code} {word}: {alert.message}"
        result.entries.append(Entry(now, "alert", alert.subject, message, by=alert.code))
    if draft.changes:
        result.changes = _joined(result.changes, draft.changes)
        result.fleet = draft.freeze()


def _joined(first: Changes, second: Changes) -> Changes:
    joined: Changes = {kind: dict(by_key) for kind, by_key in first.items()}
    for kind, by_key in second.items():
        joined.setdefault(kind, {}).update(by_key)
    return joined


def touched_nodes(fleet: Fleet, changes: Changes) -> set[NodeId]:
    """Return the nodes that changes concern: themselves, by their tier or its image, or as a VM's host."""
    touched: set[NodeId] = {*changes.get(Kind.NODE, {}), *changes.get(Kind.OBSERVED, {})}
    images = changes.get(Kind.IMAGE, {})
    tiers = {
        *changes.get(Kind.TIER, {}),
        *(t.name for t in fleet.tiers.values() if not images.keys().isdisjoint(t.versions)),
    }
    for tier in tiers:
        touched |= set(fleet.members(tier).values())
    for name in list(touched):
        node = fleet.nodes.get(name)
        if node is not None and node.host is not None:
            touched.add(node.host)
    return touched
