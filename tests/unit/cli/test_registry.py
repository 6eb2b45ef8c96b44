"""What the command line says for itself agrees with the operations that there are."""

import click
import pytest

from metier.cli.commands import command_of
from metier.cli.nouns import HAND_MADE, SECTIONS
from metier.cli.root import Root, registered
from metier.operations import MODULES, load_operations
from metier.operations.registry import OPERATIONS, Operation
from metier.web.app import Parts, build_app
from tests.unit.web.serving import a_site

load_operations()
ALL = [*OPERATIONS.values()]
SHARED = {"common_output", "common_plan", "common_wait", "common_timeout", "common_accept_warnings"}

every_operation = pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.key)


def test_the_help_names_every_noun_and_no_other() -> None:
    shown = {name for names in SECTIONS.values() for name in names}
    assert shown - HAND_MADE - {"version"} == {operation.noun or operation.verb for operation in ALL}
    assert shown >= HAND_MADE


@pytest.mark.parametrize("word", sorted(MODULES))
def test_a_noun_is_whole_though_the_others_are_not_loaded(word: str) -> None:
    load = Root(registered).get_command(click.Context(click.Group()), word)
    assert load is not None
    if isinstance(load, click.Group):
        verbs = [operation.verb for operation in ALL if operation.noun == word]
        assert sorted(load.list_commands(click.Context(load))) == sorted(verbs)


@every_operation
def test_every_command_has_help_and_the_shared_options(operation: Operation) -> None:
    command = command_of(operation)
    help_text = command.get_help(click.Context(command, info_name=operation.verb))
    assert operation.help.split("\n")[0].split()[0] in help_text
    names = {parameter.name for parameter in command.params}
    assert "common_output" in names
    if operation.is_change:
        assert names >= SHARED
    options = [name for parameter in command.params for name in parameter.opts]
    assert len(options) == len(set(options))


@every_operation
def test_every_example_can_be_parsed(operation: Operation) -> None:
    import shlex

    for example in operation.examples:
        program, *words = shlex.split(example)
        assert program == "metier"
        words = words[len(operation.key.split()) :]
        command = command_of(operation)
        # Examples are one line each; what they name need not exist.
        command.make_context(operation.verb, words, obj=None, resilient_parsing=False)


def test_the_whole_registry_becomes_an_api() -> None:
    app = build_app(a_site(), lambda _: None, Parts(OPERATIONS))
    found = {method["operationId"] for path in app.openapi()["paths"].values() for method in path.values()}
    assert {operation.key.replace(" ", "_").replace("-", "_") for operation in ALL} <= found
