"""From an operation's arguments to what the command line takes, and back to JSON."""

import sys
import types
from collections.abc import Mapping, Sequence
from datetime import date
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union, get_args, get_origin

import click

from metier.cli.failure import Failure, wrong_usage

if TYPE_CHECKING:
    from metier.operations.registry import Argument, Operation

_SHORT = {"file": "-f"}
# Ten settings for each of 100,000 nodes, and as much again.
_DOCUMENT_PARTS = 2_000_000
_TEXT_BYTES = 1 << 20
"""The longest text of a file that is sent as an argument."""
_ON = frozenset(("on", "true", "yes"))
_OFF = frozenset(("off", "false", "no"))


class Shape(NamedTuple):
    """What a value looks like: its innermost type, and whether there may be many."""

    base: Any
    many: bool


class Switch(click.ParamType[bool]):
    """`on` or `off`, and other words for the same."""

    name = "on|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        """Return whether `value` is on."""
        word = str(value).lower()
        if word in _ON or word in _OFF:
            return word in _ON
        raise click.BadParameter(f"{value!r} is neither on nor off", ctx, param)


def shape_of(hint: Any) -> Shape:
    """Return the shape of an argument's type: without None, and inside a tuple."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return shape_of(next(part for part in inner if part is not types.NoneType))
    if origin is tuple:
        return Shape(shape_of(inner[0]).base, many=True)
    return Shape(origin or getattr(hint, "__supertype__", hint), many=False)


def is_document(argument: "Argument") -> bool:
    """Tell whether an argument is the content of a YAML file."""
    return isinstance(shape_of(argument.type).base, type) and issubclass(
        shape_of(argument.type).base, Mapping
    )


def parameter_of(argument: "Argument", *, repeats: bool = False) -> click.Parameter:
    """Return the click parameter for an argument; a positional one may repeat."""
    if argument.positional:
        return click.Argument(
            [argument.name],
            type=_type_of(argument),
            required=argument.required,
            nargs=-1 if repeats else 1,
            metavar=f"{argument.name.upper()}…" if repeats else argument.name.upper(),
        )
    flag = "--" + argument.name.replace("_", "-")
    names = [argument.name, flag, *([_SHORT[argument.name]] if argument.name in _SHORT else [])]
    if is_document(argument):
        names = [argument.name, "--file", "-f"]
    return click.Option(
        names,
        type=_type_of(argument),
        required=argument.required,
        multiple=shape_of(argument.type).many,
        help=_help_of(argument),
        metavar=_metavar_of(argument),
    )


def with_switch_words(operation: "Operation", words: Sequence[str]) -> list[str]:
    """Return a command line on which a switch without a word is on: `--prune` is `--prune=on`."""
    switches = {
        "--" + part.name.replace("_", "-")
        for part in operation.arguments
        if shape_of(part.type).base is bool and not part.positional
    }
    done: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*done, word, *rest]
        if word in switches:
            is_given = bool(rest) and rest[0].lower() in _ON | _OFF
            word = f"{word}={rest.pop(0) if is_given else 'on'}"
        done.append(word)
    return done


def given(operation: "Operation", values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given, as JSON values; the controller fills in the others."""
    found: dict[str, Any] = {}
    for part in operation.arguments:
        value = values.get(part.name)
        if value is None or (value == () and not part.positional):
            continue
        if is_document(part):
            value = document(str(value))
        elif part.holds.value != "value":
            value = _from_files(part.holds.value, value)
        found[part.name] = list(value) if isinstance(value, tuple) else value
    return found


def _from_files(holds: str, value: Any) -> Any:
    """Return an argument, or each of several, with the content of files where their names stood."""
    read = file_text if holds == "file-text" else named_file_text
    return tuple(map(read, value)) if isinstance(value, tuple) else read(str(value))


def file_text(name: str) -> str:
    """Return the text of a file; `-` is standard input, and no name is no text."""
    if not name:
        return ""
    try:
        raw = sys.stdin.buffer.read(_TEXT_BYTES + 1) if name == "-" else _first_bytes(Path(name))
    except OSError as error:
        raise Failure(f"cannot read {name}: {error.strerror}") from error
    if len(raw) > _TEXT_BYTES:
        raise wrong_usage(f"cannot send {name}: it has more than {_TEXT_BYTES} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise wrong_usage(f"cannot send {name}: it is no text in UTF-8") from error


def named_file_text(given_as: str) -> str:
    """Return `KEY[,WORD]=TEXT` for `KEY=FILE[,WORD]`; a file whose whole name has a comma is meant itself."""
    key, equals, name = given_as.partition("=")
    if not equals:
        raise wrong_usage(f"{given_as!r} is not NAME=FILE")
    before, comma, word = name.rpartition(",")
    if comma and not Path(name).exists():
        return f"{key},{word}={file_text(before)}"
    return f"{key}={file_text(name)}"


def _first_bytes(path: Path) -> bytes:
    with path.expanduser().open("rb") as file:
        return file.read(_TEXT_BYTES + 1)


def document(name: str) -> Any:
    """Return the content of a YAML file; `-` is standard input."""
    import yaml

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
        content = yaml.safe_load(text)
        plain = _plain(content, [_DOCUMENT_PARTS])
    except OSError as error:
        raise Failure(f"cannot read {name}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise wrong_usage(f"cannot read {name} as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(plain, dict):
        raise wrong_usage(f"{name} holds no mapping of names to settings", "see `metier apply --help`")
    return plain


def _plain(value: Any, parts_left: list[int]) -> Any:
    """Return what YAML gave as JSON has it.

    Raises:
        ValueError: It holds something that JSON has not, or unfolds into too much: an
            alias takes a few letters, and may stand for all that came before.
    """
    parts_left[0] -= 1
    if parts_left[0] < 0:
        raise ValueError(f"it has more than {_DOCUMENT_PARTS} parts")
    if isinstance(value, dict):
        return {_key(key): _plain(inner, parts_left) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, parts_left) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{type(value).__name__} {value!r} is no setting")


def _key(key: Any) -> str:
    if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
        return str(key)
    raise ValueError(f"{key!r} is no name; put it in quotes if it is meant to be one")


def _type_of(argument: "Argument") -> click.ParamType[Any]:
    base = shape_of(argument.type).base
    if argument.choices:
        return click.Choice(argument.choices)
    if is_document(argument):
        return click.Path()
    if isinstance(base, type) and issubclass(base, Enum):
        return click.Choice([str(member.value) for member in base])
    if base is bool:
        return Switch()
    if base is int:
        return click.INT
    return click.FLOAT if base is float else click.STRING


def _help_of(argument: "Argument") -> str:
    text = argument.help[:1].upper() + argument.help[1:]
    if argument.example and not argument.choices and argument.example not in text:
        text += f"; such as {argument.example}"
    default = argument.default
    if isinstance(default, bool):
        text += f"  [default: {'on' if default else 'off'}]"
    elif default not in (None, "", ()):
        text += f"  [default: {default}]"
    return text


def _metavar_of(argument: "Argument") -> str | None:
    if is_document(argument) or argument.holds.value == "file-text":
        return "FILE"
    if argument.holds.value == "named-file-text":
        return "NAME=FILE"
    if argument.choices or shape_of(argument.type).base is bool:
        return None
    return "NUMBER" if shape_of(argument.type).base in (int, float) else "TEXT"
