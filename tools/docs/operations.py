"""The operations, in an order that does not depend on what was imported first."""

from collections.abc import Mapping

from metier.operations import MODULES, load_operations
from metier.operations.registry import OPERATIONS, Operation


def operations() -> Mapping[tuple[str, str], Operation]:
    """Return every operation of the program, by noun and verb: by noun, then as their modules have them."""
    load_operations()
    own = [row for row in OPERATIONS.items() if _module(row[1]).startswith("metier.operations.")]
    return dict(sorted(own, key=lambda row: _place(row[1])))


def _place(operation: Operation) -> tuple[int, int, int]:
    word = operation.noun or operation.verb
    return list(MODULES).index(word), MODULES[word].index(_name(operation)), _line(operation)


def _name(operation: Operation) -> str:
    return _module(operation).rpartition(".")[2]


def _module(operation: Operation) -> str:
    return str((operation.read or operation.change).__module__)


def _line(operation: Operation) -> int:
    code = getattr(operation.read or operation.change, "__code__", None)
    return 0 if code is None else int(code.co_firstlineno)
