"""Where an operation is reached under `/api/v1`: what the API serves and the command line asks."""

from typing import TYPE_CHECKING, NamedTuple, NewType
from urllib.parse import quote

if TYPE_CHECKING:  # the command line needs the root of every request, and the registry of few
    from collections.abc import Mapping
    from typing import Any

    from metier.operations.registry import Argument, Operation

ROOT = "/api/v1"
# A collection's own verb: the one that `POST` on the collection stands for.
_CREATING_VERBS = ("add", "create")
_METHODS = {"list": "GET", "show": "GET", "edit": "PATCH", "delete": "DELETE"}

NewFile = NewType("NewFile", str)
"""The type of an argument that names a file to be written; `file` of any other type is one to be read."""


class Location(NamedTuple):
    """Where one operation is reached.

    Attributes:
        path: Below `ROOT`, with `{name}` where the thing's name goes.
        named: The argument that is in the path; the others are in the query or the body.
        has_body: Whether the others are in the body.
    """

    method: str
    path: str
    named: "Argument | None"
    has_body: bool

    def filled(self, name: object) -> str:
        """Return the path for the thing called `name`, from the root on."""
        return ROOT + self.path.replace("{name}", quote(str(name), safe="@", errors="surrogateescape"))


def plural(noun: str) -> str:
    """Return the collection of `noun`: `policy` → `policies`."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def location(operation: "Operation") -> Location:
    """Return where `operation` is reached."""
    form, verb = operation.form.value, operation.verb
    method = _METHODS.get(form, "POST" if operation.is_change else "GET")
    has_body = method in ("POST", "PATCH")
    if not operation.noun:
        return Location(method, f"/{verb}", None, has_body)
    collection = f"/{plural(operation.noun)}"
    if form == "create":
        path = collection if verb in _CREATING_VERBS else f"{collection}/{verb}"
        return Location(method, path, None, has_body)
    named = next((part for part in operation.arguments if part.positional), None)
    path = collection if named is None else f"{collection}/{{name}}"
    plain = form in ("edit", "delete") or verb in ("list", "show")
    if not plain or (verb == "show" and named is None):
        path = f"{path}/{verb}"
    return Location(method, path, named, has_body)


def row_name(row: "Mapping[str, Any]") -> str:
    """Return what a row is called in commands and paths: `web`, `web@3`, `17`."""
    name = row.get("name", row.get("id", ""))
    return f"{name}@{row['version']}" if "name" in row and row.get("version") is not None else str(name)
