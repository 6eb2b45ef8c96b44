"""`GET /api/v1/events?follow=true`: the journal as a stream of server-sent events."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from metier.domain.errors import WrongUsage
from metier.operations.registry import Operation, Row
from metier.web.endpoints import Desk, Endpoint
from metier.web.reading import encoded
from metier.web.schemas import PageQuery

# Often enough for a proxy not to take the line for dead.
_HEARTBEAT_S = 15.0
_BATCH = 500
# What a client that lost the line waits before it comes back.
_RETRY_MS = 2000


class FollowQuery(PageQuery):
    """What the list of events takes besides."""

    follow: bool = Field(default=False, description="Stream what comes, as server-sent events.")


_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class EventsEndpoint(Endpoint):
    """The journal's list, which can be followed as well."""

    async def _read(self, request: Request, arguments: Any, query: BaseModel) -> Response:
        if isinstance(query, FollowQuery) and query.follow:
            return _follow(request, self._desk, self._operation, arguments)
        return await super()._read(request, arguments, query)

    def _base_query(self) -> type[BaseModel]:
        return FollowQuery


def _follow(request: Request, desk: Desk, operation: Operation, arguments: Any) -> StreamingResponse:
    """Stream what `operation` lists, and then whatever is added to it.

    A `Last-Event-ID` header, or an argument `after`, goes on behind that event.
    """
    after = _last_seen(request)
    stream = _Stream(desk, operation, arguments, after)
    return StreamingResponse(stream.lines(), media_type="text/event-stream", headers=_HEADERS)


class _Stream:
    def __init__(self, desk: Desk, operation: Operation, arguments: Any, after: int | None) -> None:
        self._desk, self._operation, self._arguments, self._after = desk, operation, arguments, after

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield events, and a comment whenever there was none for a while."""
        yield f"retry: {_RETRY_MS}\n\n".encode()
        while not self._desk.changes.stopping:
            generation = self._desk.controller.view().fleet.generation
            rows = await run_in_threadpool(self._next)
            for row in rows:
                self._after = row["id"]
                yield b"id: %d\ndata: %s\n\n" % (row["id"], encoded(row))
            if not rows and not await self._desk.changes.wait(generation, _HEARTBEAT_S):
                yield b": nothing new\n\n"

    def _next(self) -> Sequence[Row]:
        view = self._desk.controller.view()
        assert self._operation.read is not None
        if self._after is None:
            rows: Sequence[Row] = self._operation.read(view, self._arguments)
            self._after = 0 if not rows else None
            return rows
        if hasattr(self._arguments, "after"):
            later = dataclasses.replace(self._arguments, after=self._after)
            return list(self._operation.read(view, later))
        subject = getattr(self._arguments, "subject", None)
        return view.services.journal(after=self._after, limit=_BATCH, subject=subject or None, newest=False)


def _last_seen(request: Request) -> int | None:
    text = request.headers.get("last-event-id")
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise WrongUsage(f"Last-Event-ID {text!r} is not the id of an event")
    return int(text)
