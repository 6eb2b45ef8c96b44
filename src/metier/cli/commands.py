"""One command for each operation."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from metier.cli.output import FORMS
from metier.cli.parameters import parameter_of, with_switch_words
from metier.cli.session import session_of
from metier.operations.paths import NewFile

if TYPE_CHECKING:
    from metier.operations.registry import Argument, Operation

HELP_WIDTH = 100
"""How wide help may grow on a wide terminal."""

DRIVER_SETTINGS = ("vmm_setting", "power_setting")
"""The arguments that are settings of a driver, as `KEY=VALUE`."""

_REPEATING_FORMS = ("show", "edit", "delete", "verb")
_DEFAULT_TIMEOUT_S = 600.0


class OperationCommand(click.Command):
    """The command of one operation."""

    def __init__(self, operation: "Operation", **settings: Any) -> None:
        super().__init__(**settings)
        self._operation = operation

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse a command line on which switches may stand without a word."""
        return super().parse_args(ctx, with_switch_words(self._operation, args))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own signature
        """Write the examples as they are typed."""
        if self._operation.examples:
            with formatter.section("Examples"):
                for example in self._operation.examples:
                    formatter.write(f"  {example}\n")


def command_of(operation: "Operation") -> click.Command:
    """Return the command that carries out `operation`."""
    named = repeating(operation)
    parameters = [parameter_of(part, repeats=part is named) for part in operation.arguments]
    parameters.sort(key=lambda parameter: isinstance(parameter, click.Option))
    parameters += _file_options(operation)
    taken = {name for parameter in parameters for name in parameter.opts}
    parameters += [option for option in _shared_options(operation) if not taken & set(option.opts)]
    return OperationCommand(
        operation,
        name=operation.verb,
        context_settings={"max_content_width": HELP_WIDTH},
        params=parameters,
        callback=functools.partial(_run, operation),
        help=operation.help,
        short_help=operation.help.strip().partition("\n")[0],
    )


def repeating(operation: "Operation") -> "Argument | None":
    """Return the argument that may be given more than once: the only positional one, of one thing."""
    positional = [part for part in operation.arguments if part.positional]
    if operation.form.value not in _REPEATING_FORMS or len(positional) != 1 or not positional[0].required:
        return None
    return positional[0]


def state_option() -> click.Option:
    """Return the option that names the state folder."""
    return click.Option(
        ["common_state", "--state"],
        metavar="FOLDER",
        help="State folder of the controller  [METIER_STATE]",
        expose_value=False,
        callback=_remember_state,
    )


def output_option(forms: Sequence[str] = FORMS) -> click.Option:
    """Return the option that chooses how to print."""
    return click.Option(
        ["common_output", "-o", "--output"],
        type=click.Choice(forms),
        default=forms[0],
        help=f"How to print  [default: {forms[0]}]",
    )


def _remember_state(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        session_of(ctx).state = value


def _shared_options(operation: "Operation") -> list[click.Option]:
    if operation.key == "export-site":
        return [_out_option(), output_option(("json",)), state_option()]
    options = [output_option()]
    if any(part.name == "file" and part.type is not NewFile for part in operation.arguments):
        options.append(_flag("upload", "Send the file to a controller on this machine too"))
    if operation.is_change:
        options += [_flag("plan", "Print what would follow; change nothing"), *_waiting_options()]
    elif operation.form.value == "list":
        options.append(_flag("watch", "Print it again whenever it changes"))
    if operation.key == "event list":
        options.append(_flag("follow", "Go on with what comes"))
    return [*options, state_option()]


def _file_options(operation: "Operation") -> list[click.Option]:
    """Return the options that take settings of drivers from files."""
    names = [part.name for part in operation.arguments if part.name in DRIVER_SETTINGS]
    return [_file_option(name, "--" + name.replace("_", "-")) for name in names]


def _file_option(name: str, flag: str) -> click.Option:
    text = f"A {flag} whose value is in a file, - for standard input: for secrets, which are never typed"
    return click.Option(
        [f"common_{name}_file", f"{flag}-file"], multiple=True, metavar="KEY=FILE", help=f"{text}; repeatable"
    )


def _out_option() -> click.Option:
    text = "Write it to this file, which only its owner may read  [default: standard output]"
    return click.Option(["common_out", "--out"], metavar="FILE", help=text)


def _waiting_options() -> list[click.Option]:
    timeout = click.Option(
        ["common_timeout", "--timeout"],
        type=click.FLOAT,
        default=_DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help=f"How long --wait waits  [default: {_DEFAULT_TIMEOUT_S:.0f}]",
    )
    wait = _flag("wait", "Wait until the effect is seen")
    return [wait, timeout, _flag("accept-warnings", "Go on whatever the consequences are")]


def _flag(name: str, text: str) -> click.Option:
    return click.Option([f"common_{name.replace('-', '_')}", f"--{name}"], is_flag=True, help=text)


def _run(operation: "Operation", **values: Any) -> None:
    # The client and what it needs are loaded only when there is something to ask.
    from metier.cli import running

    context = click.get_current_context()
    runner: Callable[..., None] = running.change if operation.is_change else running.read
    runner(operation, session_of(context), values)
