"""Answers to readers: pages of rows, each with an ETag by which a reader can wait for the next one."""

import asyncio
import base64
import binascii
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from metier.domain.errors import WrongUsage
from metier.operations.paths import row_name
from metier.operations.registry import Controller, Operation, Row, View
from metier.web.changes import Changes

# A caller who waits for a change is not answered more often than this, however busy the site is.
_QUIET_S = 0.2
_LONGEST_WAIT_S = 60
# Rows of 100,000 nodes take some 300 MB, so only lists that are still being paged through are kept.
_KEPT_LISTS = 2

_WAIT = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,4})(?:$|[,;\s])")
_ETAG_GENERATION = re.compile(r'"g([0-9]{1,18})(?:-[0-9a-f]+)?"')


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON body, and what its headers need."""

    body: bytes
    etag: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, headers: Mapping[str, str] | None = None) -> "Answer":
        """Encode `value`; a row's generation becomes the first part of the ETag."""
        body = encoded(value)
        digest = blake2b(body, digest_size=8).hexdigest()
        generation = value.get("generation") if isinstance(value, dict) else None
        etag = f'"{digest}"' if generation is None else f'"g{generation}-{digest}"'
        return cls(body, etag, headers or {})


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    limit: int
    cursor: str = ""


class Reader:
    """Runs reading operations on the last finished round.

    It keeps the last long lists of the present round, so that their next page costs no
    second walk over the Fleet.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._lock = threading.Lock()
        self._view: View | None = None
        self._kept: OrderedDict[tuple[str, str], Sequence[Row]] = OrderedDict()

    def answer(self, operation: Operation, arguments: Any) -> Answer:
        """Return the whole of what an operation reads."""
        assert operation.read is not None
        return Answer.of(operation.read(self._controller.view(), arguments))

    def page(self, operation: Operation, arguments: Any, page: Page) -> Answer:
        """Return one page of a list; its headers say where the next one begins."""
        rows = self._rows(operation, arguments, page.limit)
        start = _start(rows, page.cursor) if page.cursor else 0
        end = start + page.limit
        if start == 0 and end >= len(rows):
            return Answer.of(rows)
        headers = {} if end >= len(rows) else {"x-next-cursor": _cursor(rows[end - 1], end)}
        return Answer.of(rows[start:end], headers)

    def _rows(self, operation: Operation, arguments: Any, limit: int) -> Sequence[Row]:
        assert operation.read is not None
        view, key = self._controller.view(), (operation.key, repr(arguments))
        with self._lock:
            if view is not self._view:
                self._view, self._kept = view, OrderedDict()
            if key in self._kept:
                return self._kept[key]
        rows: Sequence[Row] = operation.read(view, arguments)
        if len(rows) > limit:
            with self._lock:
                self._keep(view, key, rows)
        return rows

    def _keep(self, view: View, key: tuple[str, str], rows: Sequence[Row]) -> None:
        if view is self._view:
            self._kept[key] = rows
        while len(self._kept) > _KEPT_LISTS:
            self._kept.popitem(last=False)


async def respond(
    request: Request, controller: Controller, changes: Changes, produce: Callable[[], Answer]
) -> Response:
    """Answer with what `produce` gives.

    A request with `If-None-Match` and `Prefer: wait=SECONDS` is held until the answer has
    another ETag, at most so long; then it gets 304.
    """
    known = request.headers.get("if-none-match", "")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wanted_wait_s(request)
    while True:
        generation = (await run_in_threadpool(controller.view)).fleet.generation
        answer = await run_in_threadpool(produce)
        if answer.etag not in known:
            return json_response(request, answer)
        left = deadline - loop.time()
        if left <= 0 or changes.stopping:
            return Response(status_code=304, headers={"etag": answer.etag})
        await changes.wait(generation, left)
        await asyncio.sleep(min(_QUIET_S, left))


def wanted_wait_s(request: Request) -> float:
    """Return how long the caller wants to be held, in seconds; 0 to 60."""
    match = _WAIT.search(request.headers.get("prefer", ""))
    return min(float(match[1]), _LONGEST_WAIT_S) if match else 0.0


def expected_generation(if_match: str | None) -> int | None:
    """Return the generation in an `If-Match` header, None if any will do; raises WrongUsage."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _ETAG_GENERATION.fullmatch(if_match.strip())
    if match is None:
        raise WrongUsage(
            f"If-Match {if_match!r} names no generation", remedy="send the ETag of the thing as it was shown"
        )
    return int(match[1])


def json_response(request: Request, answer: Answer) -> Response:
    """Wrap an encoded answer."""
    headers = {"etag": answer.etag, "cache-control": "no-cache", **answer.headers}
    if cursor := headers.get("x-next-cursor"):
        headers["link"] = f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'
    return Response(answer.body, media_type="application/json", headers=headers)


def encoded(value: Any) -> bytes:
    """Return `value` as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _cursor(last: Row, end: int) -> str:
    return base64.urlsafe_b64encode(encoded([row_name(last), end])).decode().rstrip("=")


def _start(rows: Sequence[Row], cursor: str) -> int:
    """Return where the page after `cursor` begins.

    That is behind the last row of the page before; if it has gone meanwhile, its old place.
    """
    name, end = _parsed(cursor)
    if 0 < end <= len(rows) and row_name(rows[end - 1]) == name:
        return end
    for index, row in enumerate(rows):
        if row_name(row) == name:
            return index + 1
    return min(end, len(rows))


def _parsed(cursor: str) -> tuple[str, int]:
    refusal = WrongUsage(f"cursor {cursor!r} is not one of ours", remedy="begin the list again without one")
    try:
        parsed = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise refusal from error
    match parsed:
        case [str(name), int(end)] if end > 0:
            return name, end
    raise refusal
