"""`metier`: its nouns and verbs, loaded only when one of them is asked for."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from metier.cli.nouns import HAND_MADE, SECTIONS
from metier.cli.session import Session

if TYPE_CHECKING:
    from metier.operations.registry import Operation

    OperationTable = Mapping[tuple[str, str], Operation]
    Load = Callable[[str], OperationTable]

_EPILOG = """\
Examples:
  metier status
  metier node add host-1 --vmm libvirt --url qemu+ssh://root@10.0.0.5/system
  metier tier edit web --target 5 --wait
  metier tier explain web
  metier node shutdown host-1 --plan

`metier NOUN --help` and `metier NOUN VERB --help` tell more.
Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no such thing, 4 needs acceptance,
5 controller unreachable, 6 timed out waiting.
"""


def registered(noun: str) -> "OperationTable":
    """Return at least the operations on `noun`, or the one that is called so."""
    from metier.operations import load_operations
    from metier.operations.registry import OPERATIONS

    load_operations(noun)
    return OPERATIONS


class Root(click.Group):
    """The program: nouns, and commands without one."""

    def __init__(self, load: "Load") -> None:
        super().__init__(
            name="metier",
            help="Automate a data centre: tiers of physical and virtual nodes, kept at their targets.",
            no_args_is_help=False,
            invoke_without_command=True,
            callback=_help_without_command,
            params=[_state_option(), _version_option()],
        )
        self._load = load

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return what there is, in the order of the help."""
        return [name for names in SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a noun's group, or the command without one."""
        if cmd_name == "version":
            return click.Command(
                "version", callback=_print_version, help=SECTIONS["The controller"]["version"]
            )
        if cmd_name in HAND_MADE:
            module = import_module("metier.cli.handmade")
            command: click.Command = module.COMMANDS[cmd_name]
            return command
        if cmd_name not in self.list_commands(ctx):
            return None
        operations = self._load(cmd_name)
        if ("", cmd_name) in operations:
            from metier.cli.commands import command_of

            return command_of(operations["", cmd_name])
        verbs = {verb: operation for (noun, verb), operation in operations.items() if noun == cmd_name}
        return Noun(cmd_name, verbs) if verbs else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own signature
        """Write the commands by section."""
        for section, lines in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(lines.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own signature
        """Write examples and exit statuses as they are."""
        formatter.write(f"\n{_EPILOG}")


class Noun(click.Group):
    """One noun and its verbs."""

    def __init__(self, noun: str, verbs: "Mapping[str, Operation]") -> None:
        lines = [line for section in SECTIONS.values() for name, line in section.items() if name == noun]
        super().__init__(name=noun, help=lines[0], no_args_is_help=True)
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return the verbs in the order in which they were registered."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's own signature
        """Return the command of one verb."""
        from metier.cli.commands import command_of

        operation = self._verbs.get(cmd_name)
        return None if operation is None else command_of(operation)


def _help_without_command(**_: Any) -> None:
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _print_version() -> None:
    from metier import __version__

    click.echo(f"metier {__version__}")


def _state_option() -> click.Option:
    def remember(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        ctx.obj = ctx.obj or Session()
        if value is not None:
            ctx.obj.state = value

    return click.Option(
        ["--state"],
        metavar="FOLDER",
        help="State folder of the controller; also after any command  [METIER_STATE]",
        expose_value=False,
        is_eager=True,
        callback=remember,
    )


def _version_option() -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            _print_version()
            ctx.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Print the version",
    )
