"""Where an operation is reached: the same derivation as the API's own (`web/paths.py`).

The layers keep the command line away from the API's code; a test holds the two together.
"""

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from metier.operations.registry import Argument, Operation

ROOT = "/api/v1"
_CREATING_VERBS = ("add", "create")
_METHODS = {"list": "GET", "show": "GET", "edit": "PATCH", "delete": "DELETE"}


class Location(NamedTuple):
    """Where one operation is reached; `named` is the argument whose value goes into the path."""

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
    if not (form in ("edit", "delete") or verb in ("list", "show")) or (verb == "show" and named is None):
        path = f"{path}/{verb}"
    return Location(method, path, named, has_body)
