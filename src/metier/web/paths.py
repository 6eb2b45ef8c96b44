"""Where an operation lives under `/api/v1`: its method, its path, and what goes where.

The command line derives the same (`cli/paths.py`); a test holds the two together.
"""

from dataclasses import dataclass

from metier.operations.registry import Argument, Form, Operation

ROOT = "/api/v1"
# A collection's own verb: the one that `POST` on the collection stands for.
_CREATING_VERBS = frozenset({"add", "create"})
_METHODS = {Form.LIST: "GET", Form.SHOW: "GET", Form.EDIT: "PATCH", Form.DELETE: "DELETE"}


@dataclass(frozen=True, slots=True)
class Location:
    """Where one operation is reached.

    Attributes:
        path: Below `ROOT`, with `{name}` where the thing's name goes.
        named: The argument that is in the path; the others are in the query or the body.
        has_body: Whether the others are in the body.
    """

    method: str
    path: str
    named: Argument | None
    has_body: bool


def plural(noun: str) -> str:
    """Return the collection of `noun`: `policy` → `policies`."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def location(operation: Operation) -> Location:
    """Return where `operation` is reached."""
    form, verb = operation.form, operation.verb
    method = _METHODS.get(form, "POST" if operation.is_change else "GET")
    has_body = method in ("POST", "PATCH")
    if not operation.noun:
        return Location(method, f"/{verb}", None, has_body)
    collection = f"/{plural(operation.noun)}"
    if form is Form.CREATE:
        path = collection if verb in _CREATING_VERBS else f"{collection}/{verb}"
        return Location(method, path, None, has_body)
    named = _named(operation)
    path = collection if named is None else f"{collection}/{{name}}"
    plain = form in (Form.EDIT, Form.DELETE) or verb in ("list", "show")
    if not plain or (verb == "show" and named is None):
        path = f"{path}/{verb}"
    return Location(method, path, named, has_body)


def _named(operation: Operation) -> Argument | None:
    return next((part for part in operation.arguments if part.positional), None)
