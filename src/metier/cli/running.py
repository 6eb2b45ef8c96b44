"""Carrying out commands: asking the controller, and printing what it answers."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from metier.cli import updating
from metier.cli.afterwards import (
    check_target,
    is_finding,
    is_waited_for,
    new_file,
    take_home,
    tell_doubts,
)
from metier.cli.client import Client, Request
from metier.cli.commands import DRIVER_SETTINGS
from metier.cli.exporting import export
from metier.cli.failure import Failure, in_json, in_words, wrong_usage
from metier.cli.output import emit, list_text, printable, row_text
from metier.cli.parameters import given
from metier.cli.planning import plan_text
from metier.cli.sending import STANDARD_INPUT, send
from metier.cli.session import Session, accepted, session_of, tell, warn
from metier.cli.waiting import Progress, Wait
from metier.operations.paths import location

if TYPE_CHECKING:
    from metier.operations.registry import Operation

# As much as the controller gives in one answer.
_PAGE = 10_000
_WATCH_S = 30
_A_LONG_TIME_S = 7 * 86_400.0

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Call:
    """An operation on one thing, ready to be asked."""

    request: Request


@dataclass(frozen=True, slots=True)
class Change:
    """A call that was carried out, and what it answered."""

    call: Call
    outcome: Mapping[str, Any]


def read(operation: "Operation", session: Session, values: Mapping[str, Any]) -> None:
    """Carry out a command that changes nothing."""
    client, form = session.client(), values["common_output"]
    calls = _calls(operation, client, values)
    if values.get("common_follow"):
        follow(client, calls[0].request, form)
    elif "common_out" in values:
        export(client, calls[0].request, values["common_out"])
    elif operation.form.value == "list":
        _list(operation, client, calls[0].request, values)
    else:
        rows, failures = _each(calls, form, lambda call: client.ask(call.request).value)
        if operation.key == "plan" and form in ("table", "wide"):
            emit(plan_text(rows[0], form))
        else:
            _print_rows(rows, form, several=len(calls) > 1)
        _end(failures)


def change(operation: "Operation", session: Session, values: Mapping[str, Any]) -> None:
    """Carry out a command that changes something."""
    client, form = session.client(), values["common_output"]
    if values.get("vm"):
        from metier.cli.vm_login import with_login

        values = with_login(client, values)
    if any(part.name in DRIVER_SETTINGS for part in operation.arguments):
        from metier.cli.driver_settings import with_settings

        values = with_settings(operation, client, values)
    calls = _calls(operation, client, values)
    if values["common_plan"]:
        plans, failures = _each(calls, form, lambda call: _planned(client, call))
        _print_plans(plans, form, several=len(calls) > 1)
        _end(failures)
        return
    if values["common_accept_warnings"]:
        calls = [Call(_with(call.request, accept_warnings=True)) for call in calls]
    changes, failures = _each(calls, form, lambda call: _carried_out(client, call, form))
    if operation.key == updating.KEY and updating.is_followed(values):
        for done in changes:
            updating.follow(session, client, done.outcome["object"]["id"], values)
    elif values["common_wait"] or is_waited_for(operation, client):
        timeout_s = values["common_timeout"] if values["common_wait"] else _A_LONG_TIME_S
        jobs = _wait(session, client, changes, timeout_s)
        if form == "table":
            emit("\n".join(printable(f"{job['kind']} of {job['subject']} done") for job in jobs))
        told = [sentence for done in changes for sentence in done.outcome.get("warnings") or ()]
        tell_doubts(client, jobs, told)
        if new_file(operation):
            take_home(session, client, jobs, _target(operation, client, values), form)
        if is_finding(operation):
            _print_rows([job.get("result") or {} for job in jobs], form, several=len(jobs) > 1)
            return
    if form != "table":
        outcomes = [change.outcome for change in changes]
        _print_outcomes(outcomes, form, several=len(calls) > 1)
    _end(failures)


def follow(client: Client, request: Request, form: str) -> None:
    """Print events as they come; after a lost line, go on behind the last one."""
    after = ""
    while True:
        began_at = after
        for number, event in client.stream(request.path, {**(request.query or {}), "follow": True}, after):
            after = number
            emit(event_line(event, form))
        if after == began_at:
            raise Failure("the controller ended the stream of events", code="unreachable", exit_status=5)


def event_line(event: Mapping[str, Any], form: str) -> str:
    """Return one event as one line; as YAML, as one document."""
    if form == "json":
        return json.dumps(event, ensure_ascii=False)
    if form == "yaml":
        return f"---\n{row_text(event, form, sys.stdout)}"
    if form == "name":
        return str(event.get("id"))
    parts = [str(event.get(key)) for key in ("at", "subject", "message") if event.get(key) is not None]
    by = f" ({event['by']})" if event.get("by") else ""
    return printable("  ".join(parts) + by)


def _calls(operation: "Operation", client: Client, values: Mapping[str, Any]) -> list[Call]:
    """Return one call for each thing that was named, or the only one."""
    where = location(operation)
    arguments = given(operation, values)
    if any(part.name == "file" for part in operation.arguments) and "file" in arguments:
        file = str(arguments.pop("file"))
        if not new_file(operation):
            arguments["file"] = _file_for(client, file, values)
        elif client.is_local:
            arguments["file"] = _absolute(file)
    target = _target(operation, client, values)
    if target is not None:
        check_target(target)
    names: list[Any] = [None]
    if where.named is not None:
        value = arguments.pop(where.named.name, where.named.default)
        names = list(dict.fromkeys(value)) if isinstance(value, list) else [value]
    body, query = (arguments, {}) if where.has_body else (None, arguments)
    return [Call(Request(where.method, where.filled(name), query, body)) for name in names]


def _file_for(client: Client, name: str, values: Mapping[str, Any]) -> str:
    """Return what names a file to the controller: its path here, or what it was sent ahead as."""
    if client.is_local and name != STANDARD_INPUT and not values.get("common_upload"):
        return _absolute(name)
    progress = Progress(shown=session_of(click.get_current_context()).verbose)
    try:
        return send(client, name if name == STANDARD_INPUT else _absolute(name), progress)
    finally:
        progress.end()


def _target(operation: "Operation", client: Client, values: Mapping[str, Any]) -> Path | None:
    """Return the file of this machine that a controller elsewhere is to fill, if it is so."""
    if client.is_local or not new_file(operation):
        return None
    if not values.get("file"):
        raise wrong_usage("say which file to write", "for example --file web.ova")
    return Path(_absolute(str(values["file"])))


def _absolute(name: str) -> str:
    return os.path.normpath(Path(name).expanduser().absolute())


def _each(
    calls: Sequence[Call], form: str, do: Callable[[Call], _Result]
) -> tuple[list[_Result], list[Failure]]:
    """Do each call; where there are several, one that fails does not stop the others."""
    if len(calls) == 1:
        return [do(calls[0])], []
    done, failures = [], []
    for call in calls:
        try:
            done.append(do(call))
        except Failure as failure:
            tell(in_json(failure) if form == "json" else in_words(failure))
            failures.append(failure)
    return done, failures


def _end(failures: Sequence[Failure]) -> None:
    """End with the status of the first failure, which was printed already."""
    if failures:
        raise click.exceptions.Exit(failures[0].exit_status)


def _planned(client: Client, call: Call) -> Any:
    return client.ask(_with(call.request, plan=True)).value


def _carried_out(client: Client, call: Call, form: str) -> Change:
    outcome = accepted(client, call.request).value
    if form == "table":
        emit(printable(outcome["message"]))
    warn(outcome.get("warnings") or ())
    return Change(call, outcome)


def _with(request: Request, **query: bool) -> Request:
    return replace(request, query={**(request.query or {}), **query})


def _wait(
    session: Session, client: Client, changes: Sequence[Change], timeout_s: float
) -> list[Mapping[str, Any]]:
    """Wait until the effect of all changes is seen; returns the jobs that this took."""
    progress = Progress(shown=session.verbose)
    wait = Wait(client, timeout_s, progress)
    try:
        numbers = [change.outcome["job"] for change in changes if change.outcome.get("job") is not None]
        jobs = wait.for_jobs(numbers)
        wait.until_settled(change.call.request for change in changes)
    except KeyboardInterrupt:
        progress.end()
        tell("stopped waiting; what was asked for goes on")
        raise
    finally:
        progress.end()
    return jobs


def _list(operation: "Operation", client: Client, request: Request, values: Mapping[str, Any]) -> None:
    form = values["common_output"]
    pages_itself = any(part.name == "limit" for part in operation.arguments)
    query = {**(request.query or {}), **({} if pages_itself else {"limit": _PAGE})}
    if not values.get("common_watch"):
        emit(list_text(client.rows(request.path, query), operation.columns, form, sys.stdout))
        return
    etag = ""
    while True:
        reply = client.ask(Request("GET", request.path, query, etag=etag, wait_s=_WATCH_S if etag else 0))
        if reply.value is None:
            continue
        etag = reply.etag
        more = client.rows(request.path, {**query, "cursor": reply.cursor}) if reply.cursor else []
        text = list_text([*reply.value, *more], operation.columns, form, sys.stdout)
        emit(f"\x1b[H\x1b[2J{text}" if sys.stdout.isatty() else f"{text}\n")


def _print_rows(rows: Sequence[Any], form: str, *, several: bool) -> None:
    if several and form in ("json", "yaml"):
        emit(row_text(list(rows), form, sys.stdout))
        return
    gap = "\n" if form == "name" else "\n\n"
    emit(gap.join(row_text(row, form, sys.stdout) for row in rows))


def _print_plans(plans: Sequence[Mapping[str, Any]], form: str, *, several: bool) -> None:
    if form in ("json", "yaml"):
        _print_rows(plans, form, several=several)
        return
    for plan in plans:
        emit(f"would be: {printable(plan['message'])}")
        warn(plan.get("warnings") or ())
        emit(plan_text(plan, form))


def _print_outcomes(outcomes: Sequence[Mapping[str, Any]], form: str, *, several: bool) -> None:
    if form == "name":
        outcomes = [outcome["object"] for outcome in outcomes if outcome.get("object")]
    _print_rows(outcomes, form, several=several)
