"""Command lines in the documentation: found, and parsed as the program itself would parse them."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import click

from metier.cli.manual import PROGRAMS as MANUAL_PROGRAMS
from metier.cli.session import Session
from tools.docs.cli import program

PROGRAMS = ("metier", "ccimport", "cccapture", "ccexport")
_FENCE = re.compile(r"^\s*(```|~~~)\s*(\w*)")
_INLINE = re.compile(r"`((?:metier|ccimport|cccapture|ccexport) [^`]+)`")
_PROMPT = re.compile(r"^\s*(?:[$#] )?")
# What ends a command in a shell.
_ENDS = frozenset(("|", ">", ">>", "<", "&&", "||", ";", "&"))
# A name that stands for whatever the reader has: its place is checked, its value is not.
_STANDS_FOR = re.compile(r"^(?:[A-Z][A-Z0-9_@-]*|…|\[.*)$")


class CommandLine(NamedTuple):
    """A command as it is written; one in a block of code is meant to be typed as it stands."""

    line: int
    text: str
    is_whole: bool


def command_lines(page: str) -> Iterator[CommandLine]:
    """Yield the commands of our programs that a Markdown page shows."""
    is_code = False
    begun: CommandLine | None = None
    for number, line in enumerate(page.splitlines(), 1):
        if _FENCE.match(line):
            is_code, begun = not is_code, None
        elif not is_code:
            yield from (CommandLine(number, match[1], False) for match in _INLINE.finditer(line))
        else:
            text = line if begun is not None else _PROMPT.sub("", line)
            before = begun or CommandLine(number, "", True)
            begun = before._replace(text=before.text + text)
            if begun.text.endswith("\\"):
                begun = begun._replace(text=begun.text[:-1])
                continue
            if _words(begun.text):
                yield begun
            begun = None


def fault_of(command: CommandLine) -> str:
    """Say why a command would not be understood; nothing for a good one."""
    try:
        program, *words = _words(command.text) or [""]
    except ValueError as error:
        return f"it cannot be split into words: {error}"
    if program == "metier":
        return _fault_of_metier(words, whole=command.is_whole)
    return _fault_in(MANUAL_PROGRAMS[program], words, whole=command.is_whole)


def _words(text: str) -> list[str]:
    """Return the words of a command of ours up to where the shell ends it; none for another's."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if word in _ENDS:
            break
        is_setting = not found and re.match(r"^[A-Z_]+=", word)
        if not is_setting and word != "sudo":
            found.append(word)
    if not found or found[0].rpartition("/")[2] not in PROGRAMS:
        return []
    return [found[0].rpartition("/")[2], *found[1:]]


def _fault_of_metier(words: list[str], *, whole: bool) -> str:
    group: click.Command = program()
    rest = list(words)
    context = click.Context(group, info_name="metier")
    while isinstance(group, click.Group):
        while rest and rest[0].startswith("-"):
            option = rest.pop(0)
            if option not in ("--help", "--version", "--state"):
                return f"metier has no option {option}"
            rest = rest[1:] if option == "--state" else rest
        if not rest or _STANDS_FOR.match(rest[0]):
            return ""
        name = rest.pop(0)
        inner = group.get_command(context, name)
        if inner is None:
            return f"{context.command_path} has no {name}"
        group, context = inner, click.Context(inner, info_name=name, parent=context)
    return _fault_in(group, rest, whole=whole)


def _fault_in(command: click.Command, words: list[str], *, whole: bool) -> str:
    """Parse the words of one command; of one that is not whole only its options are looked at."""
    if "--help" in words:
        return ""
    if not whole:
        known = {name for parameter in command.params for name in parameter.opts}
        unknown = [w for w in words if w.startswith("-") and len(w) > 1 and w.partition("=")[0] not in known]
        return f"it has no option {', '.join(unknown)}" if unknown else ""
    try:
        with command.make_context(command.name, list(words), obj=Session()):
            return ""
    except click.ClickException as error:
        return error.format_message()
