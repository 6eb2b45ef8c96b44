"""The command line: every command with its options and examples."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import click

from metier.cli.manual import CCCAPTURE, CCEXPORT, CCIMPORT
from metier.cli.nouns import SECTIONS
from metier.cli.root import Root
from tools.docs import markdown as md
from tools.docs.operations import operations

_INTRODUCTION = """
`metier NOUN VERB [NAME…] [options]`.  Every command has `--help`.  A switch takes `on` or `off`, and
stands for `on` without either.
"""

_SHARED = (
    ("`-o`, `--output`", "every command that prints rows", "`table`, `wide`, `json`, `yaml` or `name`"),
    ("`--state FOLDER`", "every command", "the controller's state folder; also `METIER_STATE`"),
    ("`--watch`", "lists", "print it again whenever it changes"),
    ("`--plan`", "changes", "print what would follow; change nothing"),
    ("`--wait`", "changes", "wait until the effect is seen, with a line that says what is waited for"),
    ("`--timeout SECONDS`", "changes", "how long `--wait` waits; 600 if it is not given"),
    ("`--accept-warnings`", "changes", "go on whatever the consequences are"),
)

_STATUSES = (
    ("0", "done"),
    ("1", "refused or failed"),
    ("2", "wrong usage"),
    ("3", "no such thing"),
    ("4", "needs acceptance: the warnings are printed; repeat with `--accept-warnings`"),
    ("5", "the controller cannot be reached"),
    ("6", "timed out waiting; what was begun goes on"),
    ("130", "interrupted"),
)


def cli_page() -> str:
    """Return the page."""
    shared = md.table(["option", "of", "does"], _SHARED)
    blocks = [_INTRODUCTION, "## Options that many commands take", shared]
    blocks += ["## Exit status", md.table(["status", "means"], _STATUSES)]
    for section, nouns in SECTIONS.items():
        blocks.append(f"## {section}")
        for noun, line in nouns.items():
            blocks += _about_word(noun, line)
    blocks.append("## The manual's own commands")
    blocks += _about_command("ccimport", CCIMPORT, ())
    blocks += _about_command("cccapture", CCCAPTURE, ())
    blocks += _about_command("ccexport", CCEXPORT, ())
    return md.page("Command line", *blocks)


def _about_word(word: str, line: str) -> list[str]:
    root = program()
    context = click.Context(root, info_name="metier")
    command = root.get_command(context, word)
    if command is None:
        raise LookupError(f"the help of metier names {word}, and there is no such command")
    if not isinstance(command, click.Group):
        return _about_command(f"metier {word}", command, _examples("", word))
    blocks = [f"### {word}", md.sentence(line)]
    for verb in command.list_commands(context):
        inner = command.get_command(context, verb)
        assert inner is not None
        blocks += _about_command(f"metier {word} {verb}", inner, _examples(word, verb), level=4)
    return blocks


def program() -> click.Group:
    """Return `metier` as its users have it."""
    return Root(lambda *_: operations())


def _examples(noun: str, verb: str) -> Iterable[str]:
    operation = operations().get((noun, verb))
    return () if operation is None else operation.examples


def _about_command(name: str, command: click.Command, examples: Iterable[str], level: int = 3) -> list[str]:
    usage = " ".join([name, *_placed(command), *(["[options]"] if _named(command) else [])])
    blocks = [f"{'#' * level} {name.removeprefix('metier ')}", md.code(usage), _help(command)]
    rows = [[md.code(_flags(option)), _text(option)] for option in _named(command)]
    if rows:
        blocks.append(md.table(["option", "meaning"], rows))
    lines = list(examples)
    return [*blocks, md.block(lines, "sh")] if lines else blocks


def _help(command: click.Command) -> str:
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _placed(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            yield str(parameter.metavar or (parameter.name or "").upper())


def _named(command: click.Command) -> list[click.Option]:
    """Return the options of a command that are its own."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return [option for option in options if not (option.name or "").startswith("common_")]


def _flags(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.metavar or _kind(option.type)}"
    return ", ".join(sorted(option.opts, key=len)) + value


def _kind(kind: click.ParamType[Any]) -> str:
    if isinstance(kind, click.Choice):
        return "|".join(str(choice) for choice in kind.choices)
    return kind.name.upper() if kind.name != "on|off" else "on|off"


def _text(option: click.Option) -> str:
    sentences = [md.sentence(option.help or "")]
    if option.required:
        sentences.append("*Required.*")
    if option.multiple and "epeatable" not in sentences[0]:
        sentences.append("Repeatable.")
    return " ".join(sentences)
