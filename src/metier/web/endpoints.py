"""One endpoint for each operation, with the signature that FastAPI checks and describes."""

import asyncio
import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, Header, Query
from fastapi import Path as PathParameter
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from metier.domain.errors import NeedsAcceptance
from metier.domain.job import FINAL
from metier.operations.paths import ROOT, Location, NewFile, plural, row_name
from metier.operations.plan_row import forecast_row
from metier.operations.registry import Caller, Controller, Form, Operation, Outcome, Row
from metier.web.changes import Changes
from metier.web.errors import Forbidden
from metier.web.identity import Identity
from metier.web.reading import (
    Answer,
    Page,
    Reader,
    encoded,
    expected_generation,
    respond,
)
from metier.web.schemas import (
    ChangeQuery,
    NoQuery,
    PageQuery,
    arguments_from,
    body_model,
    query_model,
    refuse_what_is_no_text,
    with_choices,
)
from metier.web.uploads import UPLOADED, Uploads

# A wait for a job's end is begun again so often, whether or not something changed.
_LOOK_AGAIN_S = 60


@dataclass(frozen=True, slots=True)
class Desk:
    """What all endpoints share."""

    controller: Controller
    reader: Reader
    changes: Changes
    clock: Callable[[], datetime]
    uploads: Uploads | None = None
    watches: set["asyncio.Task[None]"] = field(default_factory=set)

    def with_file(self, arguments: Any, identity: Identity, *, previews: bool = False) -> Any:
        """Return arguments whose `file`, if they have one, is a path that the caller may name.

        Raises:
            Forbidden: It is a path on the controller's machine, and the caller is not there.
            NoSuchThing: It names no upload.
        """
        file = getattr(arguments, "file", None)
        if not isinstance(file, str):
            return arguments
        if _is_new_file(arguments):
            return self._with_new_file(arguments, identity, previews=previews)
        if self.uploads is not None and file.startswith(UPLOADED):
            return dataclasses.replace(arguments, file=str(self.uploads.path_of(file)))
        if identity.local:
            return arguments
        raise Forbidden(
            f"cannot read {file!r} on the controller for a caller from another machine",
            remedy=f"send it with PUT {ROOT}/uploads/NAME and give `file` the answer's `{UPLOADED}…`",
        )

    def _with_new_file(self, arguments: Any, identity: Identity, *, previews: bool) -> Any:
        """Return arguments with a file to be written; without one, it is kept for the caller to fetch."""
        if arguments.file and not identity.local:
            raise Forbidden(
                f"cannot write {arguments.file!r} on the controller for a caller from another machine",
                remedy=f"leave `file` out, and fetch it from {ROOT}/downloads/JOB when the job is done",
            )
        if arguments.file or self.uploads is None:
            return arguments
        name = str(arguments.name).replace("@", "-") + f".{arguments.form}"
        path = self.uploads.folder / name if previews else self.uploads.new_file(name)
        return dataclasses.replace(arguments, file=str(path))

    def watch(self, job: int, path: str) -> None:
        """See to it that a file that was sent ahead goes when the job that needed it has ended."""
        if self.uploads is not None and self.uploads.was_sent(Path(path)):
            task = asyncio.create_task(self._discard_after(job, Path(path)))
            self.watches.add(task)
            task.add_done_callback(self.watches.discard)

    async def _discard_after(self, job: int, path: Path) -> None:
        assert self.uploads is not None
        while not self.changes.stopping:
            fleet = (await run_in_threadpool(self.controller.view)).fleet
            # Jobs that are not seen yet are, in the next round.
            if job in fleet.jobs and fleet.jobs[job].state in FINAL:
                await run_in_threadpool(self.uploads.discard, path)
                return
            await self.changes.wait(fleet.generation, _LOOK_AGAIN_S)


class Endpoint:
    """Answers the requests for one operation; `__signature__` says what it takes."""

    def __init__(self, desk: Desk, operation: Operation, where: Location) -> None:
        self._desk, self._operation, self._where = desk, operation, where
        named = where.named
        rest = [part for part in operation.arguments if named is None or part.name != named.name]
        in_query = [] if where.has_body else rest
        self._own_limit = any(part.name == "limit" for part in rest)
        self.query = query_model(operation, in_query, self._base_query())
        self.body = body_model(operation, rest) if where.has_body and rest else None
        self._body_is_optional = not any(part.required for part in rest)
        self.__signature__ = self._signature()

    async def __call__(
        self,
        request: Request,
        query: BaseModel,
        name: Any = None,
        body: BaseModel | None = None,
        if_match: str | None = None,
    ) -> Response:
        """Answer one request whose parts were checked."""
        if body is not None:
            refuse_what_is_no_text(await request.body())
        named = {} if self._where.named is None else {self._where.named.name: name}
        models = (self.body() if body is None and self.body is not None else body, query)
        arguments = arguments_from(self._operation, *models, **named)
        if not self._operation.is_change:
            return await self._read(request, arguments, query)
        assert isinstance(query, ChangeQuery)
        if query.settled:
            return await self._settled(request, arguments)
        identity: Identity = request.state.identity
        arguments = await run_in_threadpool(self._desk.with_file, arguments, identity, previews=query.plan)
        caller = Caller(
            identity.name, self._desk.clock(), query.accept_warnings, expected_generation(if_match)
        )
        if query.plan:
            return await run_in_threadpool(self._preview, arguments, caller)
        outcome = await run_in_threadpool(self._desk.controller.change, self._operation, arguments, caller)
        file = getattr(arguments, "file", None)
        if outcome.job is not None and isinstance(file, str):
            self._desk.watch(outcome.job, file)
        return self._answer(outcome)

    async def _read(self, request: Request, arguments: Any, query: BaseModel) -> Response:
        desk, operation = self._desk, self._operation

        def produce() -> Answer:
            if isinstance(query, PageQuery):
                return desk.reader.page(operation, arguments, Page(query.limit, query.cursor))
            return desk.reader.answer(operation, arguments)

        return await respond(request, desk.controller, desk.changes, produce)

    async def _settled(self, request: Request, arguments: Any) -> Response:
        desk, settled = self._desk, self._operation.settled

        def produce() -> Answer:
            sentences = [] if settled is None else settled(desk.controller.view(), arguments)
            return Answer.of({"waiting_for": list(sentences)})

        return await respond(request, desk.controller, desk.changes, produce)

    def _answer(self, outcome: Outcome) -> Response:
        created = self._operation.form is Form.CREATE
        status = 202 if outcome.job is not None else 201 if created else 200
        headers = {}
        if created and outcome.row is not None:
            name = row_name(outcome.row).replace("/", "%2F")
            headers["location"] = f"{ROOT}/{plural(self._operation.noun)}/{name}"
        return Response(encoded(outcome_row(outcome)), status, headers, "application/json")

    def _preview(self, arguments: Any, caller: Caller) -> Response:
        controller = self._desk.controller
        warnings: tuple[str, ...] = ()
        try:
            outcome, forecast = controller.preview(self._operation, arguments, caller)
        except NeedsAcceptance as needed:
            # A preview changes nothing, so it may look past what a change would stop at.
            warnings = needed.warnings
            accepting = Caller(caller.name, caller.now, accept_warnings=True, expects=caller.expects)
            outcome, forecast = controller.preview(self._operation, arguments, accepting)
        said = {"message": outcome.message, "warnings": [*warnings, *outcome.warnings]}
        return Response(encoded({**said, **forecast_row(forecast)}), media_type="application/json")

    def _base_query(self) -> type[BaseModel]:
        if self._operation.is_change:
            return ChangeQuery
        return PageQuery if self._operation.form is Form.LIST and not self._own_limit else NoQuery

    def _signature(self) -> inspect.Signature:
        named = self._where.named
        parts: dict[str, Any] = {"request": Request, "query": Annotated[self.query, Query()]}
        defaults: dict[str, Any] = {}
        if named is not None:
            parts["name"] = Annotated[with_choices(named), PathParameter(description=named.help)]
        if self.body is not None and self._body_is_optional:
            parts["body"] = Annotated[self.body | None, Body()]
            defaults["body"] = None
        elif self.body is not None:
            parts["body"] = Annotated[self.body, Body()]
        if self._operation.is_change and named is not None:
            help_text = "Refuse with 412 unless this is still its ETag."
            parts["if_match"] = Annotated[str | None, Header(description=help_text)]
            defaults["if_match"] = None
        return inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    annotation=annotation,
                    default=defaults.get(name, inspect.Parameter.empty),
                )
                for name, annotation in parts.items()
            ]
        )


def outcome_row(outcome: Outcome) -> Row:
    """Return what a change answers."""
    return {
        "message": outcome.message,
        "warnings": list(outcome.warnings),
        "job": outcome.job,
        "object": outcome.row,
    }


def _is_new_file(arguments: Any) -> bool:
    """Say whether the argument `file` names a file to be written."""
    return any(part.name == "file" and part.type is NewFile for part in dataclasses.fields(arguments))
