"""What the OpenAPI document says about each operation, beyond its arguments."""

from collections.abc import Iterable, Mapping
from typing import Any

from metier.operations.registry import Form, Operation, Row
from metier.web.errors import responses
from metier.web.examples import CHANGE, PLAN, PREVIEW, ROWS, SETTLED, schema_of

SUMMARY = "A data-centre automation controller: tiers of physical and virtual nodes, kept at their targets."
SECURITY: Mapping[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "From `metier token create`; not needed over the unix socket in the state folder.",
    }
}
SITE = "site"
"""The tag of operations without a noun."""

_READ_ERRORS = (400, 401, 404)
_CHANGE_ERRORS = (400, 401, 403, 404, 409, 412, 422, 507)
_LONG_POLL = (
    "\n\nWith `If-None-Match` and `Prefer: wait=SECONDS` the answer is held until it has another ETag, "
    "then 304."
)


def describe(operation: Operation) -> dict[str, Any]:
    """Return the keyword arguments that describe the operation's route."""
    summary, _, rest = operation.help.strip().partition("\n")
    return {
        "operation_id": operation.key.replace(" ", "_").replace("-", "_"),
        "tags": [operation.noun or SITE],
        "summary": summary.strip(),
        "description": _description(operation, " ".join(rest.split())),
        "responses": _change_responses(operation) if operation.is_change else _read_responses(operation),
    }


def tags(operations: Iterable[Operation]) -> list[dict[str, Any]]:
    """Return the tags in the order in which the nouns were declared."""
    return [{"name": noun} for noun in dict.fromkeys(operation.noun or SITE for operation in operations)]


def _description(operation: Operation, rest: str) -> str:
    lines = "".join(f"\n    {example}" for example in operation.examples)
    shell = f"\n\nOn the command line:\n{lines}" if lines else ""
    return (rest + shell + ("" if operation.is_change else _LONG_POLL)).strip()


def _read_responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    row = _example_row(operation)
    value: Any = [row] if operation.form is Form.LIST else row
    described = _content("What was asked for, as of the last finished round.", value)
    described["headers"] = {"ETag": _header("Changes whenever the answer does.")}
    if operation.form is Form.LIST:
        described["headers"]["X-Next-Cursor"] = _header("`cursor` of the next page; missing on the last one.")
        described["headers"]["Link"] = _header("The next page, as `rel=next`.")
    return {
        200: described,
        304: {"description": "It is still what `If-None-Match` names."},
        **responses(*_READ_ERRORS),
    }


def _change_responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    row = ROWS.get(operation.noun)
    done = {**CHANGE, "message": f"{operation.key}: done", "object": row}
    described = _content(
        "What the change did; with `plan` or `settled`, what it would do or waits for.", done
    )
    media = described["content"]["application/json"]
    media["schema"] = {"oneOf": [schema_of(example) for example in (done, PREVIEW, SETTLED)]}
    media["examples"] = {
        "change": {"value": media.pop("example")},
        "plan": {"value": PREVIEW},
        "settled": {"value": SETTLED},
    }
    known: dict[int | str, dict[str, Any]] = {200: described}
    if operation.form is Form.CREATE:
        known[201] = {"description": "It was made; `Location` names it.", "content": described["content"]}
    known[202] = {"description": "A job was begun: `job` is its id.", "content": described["content"]}
    return {**known, **responses(*_CHANGE_ERRORS)}


def _example_row(operation: Operation) -> Row:
    if operation.key == "plan":
        return PLAN
    return ROWS.get(operation.noun, {}) if operation.verb in ("list", "show") else {}


def _content(text: str, value: Any) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": schema_of(value)}
    if value and value != [{}]:
        media["example"] = value
    return {"description": text, "content": {"application/json": media}}


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}
