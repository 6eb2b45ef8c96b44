"""Orders of a journal as the commands that an operator would type for them."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from metier.operations.registry import OPERATIONS, Argument

LEFT_OUT = "left_out"
"""Stands in the journal for arguments that were too long to keep."""


class Typed(NamedTuple):
    """A command, and what must be in a file for it.

    Attributes:
        command: Empty where no command can be made of the order.
        document: The content of the file that it names; empty for none.
        why: Why there is no command.
    """

    command: str = ""
    document: str = ""
    why: str = ""


def typed(key: str, arguments: Mapping[str, Any], file: str) -> Typed:
    """Return what is typed for the operation `key`; a document among its arguments belongs into `file`.

    Consequences are accepted: whoever gave the order did accept them.
    """
    noun, _, verb = key.rpartition(" ")
    operation = OPERATIONS.get((noun, verb))
    if operation is None or not operation.is_change:
        return Typed(why=f"this version knows no operation {key!r}")
    if LEFT_OUT in arguments:
        return Typed(why="its arguments were too long for the journal")
    named = {part.name: part for part in operation.arguments}
    if unknown := arguments.keys() - named.keys():
        return Typed(why=f"{key} takes no {', '.join(sorted(unknown))}")
    document = ""
    words = ["metier", *key.split()]
    for name, value in sorted(arguments.items(), key=lambda one: not named[one[0]].positional):
        if isinstance(value, Mapping):
            document = json.dumps(value)
            words += ["--file", file]
        else:
            words += _words(named[name], value)
    return Typed(shlex.join(_one_line([*words, "--accept-warnings"])), document)


def _words(argument: Argument, value: Any) -> Iterator[str]:
    if argument.positional:
        yield str(value)
    elif value is not None:
        # One empty word stands for none at all: that is how a command says it.
        for one in (value or [""]) if isinstance(value, list) else [value]:
            yield f"--{argument.name.replace('_', '-')}={_word(one)}"


def _word(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _one_line(words: list[str]) -> list[str]:
    """Return words as one line can hold them."""
    return ["".join(letter if letter.isprintable() else " " for letter in word) for word in words]
