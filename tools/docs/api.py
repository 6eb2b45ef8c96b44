"""The REST API: its description, and a page with one line for each route."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from metier.operations.registry import Controller
from metier.web.app import Parts, build_app
from metier.web.identity import TokenFile
from tools.docs import markdown as md
from tools.docs.operations import operations

Document = dict[str, Any]

_INTRODUCTION = """
The whole description, with schemas and examples, is in [openapi.json](openapi.json); a running
controller serves the same at `/api/v1/openapi.json`.

Over the unix socket `metier.sock` in the state folder no token is needed: whoever may open it is
admin.  Elsewhere every request carries `Authorization: Bearer TOKEN`, made with `metier token create`.
A slash in a node's name is written `%2F`: `/api/v1/nodes/host-1%2FVM3`.
"""

_CONVENTIONS = (
    "`plan=true` on a change answers what it would do and all that would follow, and changes nothing.",
    "`accept_warnings=true` accepts the consequences that a 409 lists.",
    "`settled=true` on a change answers what is waited for before its effect is seen; it changes nothing.",
    "`If-Match` with the ETag of a show refuses an edit of what was changed meanwhile, with 412.",
    "`If-None-Match` with `Prefer: wait=SECONDS` holds a read until its answer is another.",
    "`limit` and `cursor` page through lists; `X-Next-Cursor` names the next page.",
    "`GET /api/v1/events?follow=true` is a stream of server-sent events.",
)

_SHARED = frozenset(("plan", "accept_warnings", "settled", "limit", "cursor"))

_ERRORS = (
    ("400", "the request itself makes no sense"),
    ("401", "no token, or not a valid one"),
    ("403", "only the controller's own machine may ask for this"),
    ("404", "there is no such thing"),
    ("409", "it has consequences that must be accepted; they are in `warnings`"),
    ("412", "it was changed by somebody else since it was read"),
    ("422", "it cannot be granted in this state"),
    ("507", "a disk lacks the room that was measured to be needed"),
)


def description() -> Document:
    """Return the OpenAPI document of a controller."""
    with tempfile.TemporaryDirectory() as folder:
        tokens = TokenFile(Path(folder) / "tokens.json")
        parts = Parts(operations(), uploads=Path(folder) / "uploads", tokens=tokens)
        # Describing the routes asks nothing of the controller behind them.
        app = build_app(cast(Controller, None), lambda _request: None, parts)
        document: Document = app.openapi()
    return document


def openapi_file(document: Document) -> str:
    """Return the document as the file has it: a line for each route and each schema."""
    parts = [f"{_compact(key)}: {_opened(value, depth=2)}" for key, value in document.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _opened(value: Any, depth: int) -> str:
    """Return JSON with the keys of its outer objects on lines of their own."""
    if depth == 0 or not isinstance(value, dict) or not value:
        return _compact(value)
    inner = ",\n".join(f"{_compact(key)}: {_opened(below, depth - 1)}" for key, below in value.items())
    return "{\n" + inner + "\n}"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def api_page(document: Document) -> str:
    """Return the page."""
    blocks = [_INTRODUCTION, md.bullets(_CONVENTIONS)]
    errors = md.table(["status", "when"], _ERRORS)
    shape = 'An error is `{"error": {"code": …, "message": …, "remedy": …}}`.'
    blocks += ["## Errors", shape, errors]
    by_tag: dict[str, list[list[str]]] = {tag["name"]: [] for tag in document["tags"]}
    for tag, row in _routes(document):
        by_tag.setdefault(tag, []).append(row)
    for tag, rows in by_tag.items():
        blocks += [f"## {tag}", md.table(["route", "does", "query", "body"], sorted(rows, key=_route_order))]
    return md.page("REST API", *blocks)


def _routes(document: Document) -> Iterator[tuple[str, list[str]]]:
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            route = f"`{method.upper()} {path}`"
            query = [p["name"] for p in about.get("parameters", ()) if p["in"] == "query"]
            listed = ", ".join(md.code(name) for name in query if name not in _SHARED)
            body = ", ".join(md.code(name) for name in _body(document, about))
            yield about["tags"][0], [route, about["summary"], listed, body]


def _body(document: Document, about: Document) -> list[str]:
    """Return the names in a route's JSON body, those that must be given first."""
    content = about.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = _resolved(document, content.get("schema", {}))
    required = schema.get("required", [])
    return [*required, *(name for name in schema.get("properties", {}) if name not in required)]


def _resolved(document: Document, schema: Document) -> Document:
    """Return the schema that a reference, or a choice between one and nothing, means."""
    for choice in (schema, *schema.get("anyOf", ()), *schema.get("allOf", ())):
        if "$ref" in choice:
            found: Document = document["components"]["schemas"][choice["$ref"].rpartition("/")[2]]
            return found
    return schema


def _route_order(row: Sequence[str]) -> tuple[str, str]:
    method, _, path = row[0].strip("`").partition(" ")
    return path, method
