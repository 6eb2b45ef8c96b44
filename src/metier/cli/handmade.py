"""Commands that are no operations: they run the controller, or something else on this machine."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import click

from metier.cli.commands import output_option, state_option
from metier.cli.failure import Failure, wrong_usage
from metier.cli.output import emit, list_text, row_text
from metier.cli.session import session_of
from metier.operations.paths import ROOT

# What is built here is told in sentences, or as JSON for programs.
_LAB_FORMS = ("text", "json")
_SHELLS = ("bash", "zsh", "fish")


@click.command(params=[state_option()])
@click.option("--listen", metavar="HOST:PORT", help="Serve the API there as well, for callers with a token")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="Certificate chain, PEM")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its private key, PEM")
@click.option("--plain-http", is_flag=True, help="Serve a network without TLS: something in front does it")
@click.pass_context
def serve(
    ctx: click.Context, listen: str | None, tls_cert: Path | None, tls_key: Path | None, plain_http: bool
) -> None:
    """Run the controller: its control loop and its API, until SIGTERM or SIGINT.

    The API is on the socket `metier.sock` in the state folder, for whoever may open it,
    and where systemd passed sockets, on these.
    """
    from metier import app
    from metier.cli.state import state_folder

    if (tls_cert is None) != (tls_key is None):
        raise wrong_usage("a certificate and its key go together", "give both --tls-cert and --tls-key")
    parts: Any = app
    where = parts.Listen(listen, tls_cert, tls_key, plain_http)
    parts.serve(state_folder(session_of(ctx).state), where)


@click.command(params=[state_option()])
@click.pass_context
def backup(ctx: click.Context) -> None:
    """Write a consistent copy of all state to standard output, as JSON lines.

    The controller may run meanwhile.
    """
    from metier import app
    from metier.cli.state import state_folder

    if sys.stdout.isatty():
        raise wrong_usage("a backup does not belong on a terminal", "redirect it: `metier backup > file`")
    parts: Any = app
    parts.backup(state_folder(session_of(ctx).state), sys.stdout.buffer)
    sys.stdout.buffer.flush()


@click.command(params=[state_option()])
@click.argument("file", metavar="FILE")
@click.pass_context
def restore(ctx: click.Context, file: str) -> None:
    """Fill an empty state folder from a backup; `-` is standard input.

    No controller may run on it.
    """
    from metier import app
    from metier.cli.state import state_folder

    state = state_folder(session_of(ctx).state)
    parts: Any = app
    with _opened(file) as source:
        parts.restore(state, source)
    emit(f"state folder {state} restored from {file}")


def _opened(file: str) -> AbstractContextManager[BinaryIO]:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}") from error


@click.command()
@click.argument("url")
def login(url: str) -> None:
    """Keep the URL and token of a controller on another machine.

    The token is asked for, or read from standard input.
    """
    from metier.cli.client import Client, Request
    from metier.cli.state import keep_login, remote

    if sys.stdin.isatty():
        token: str = click.prompt("token", hide_input=True, err=True)
    else:
        token = sys.stdin.readline().strip()
    if not token:
        raise wrong_usage("a token is needed", "make one there: `metier token create NAME`")
    Client(remote(url, token)).ask(Request("GET", f"{ROOT}/status"))
    emit(f"logged in to {url}; kept in {keep_login(url, token)}")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete metier's commands.

    For example: source <(metier completion bash)
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    emit(found(ctx.find_root().command, {}, "metier", "_METIER_COMPLETE").source())


@click.command(params=[output_option(_LAB_FORMS)])
@click.option("--keep", is_flag=True, help="Leave it running")
def demo(common_output: str, keep: bool) -> None:
    """Show Metier's main job with real virtual machines on this machine."""
    from metier.lab.demo import run_demo

    raise click.exceptions.Exit(run_demo(keep=keep, output=common_output))


@click.group()
def lab() -> None:
    """Run a small data centre on this machine: hosts, networks and a controller."""


_LAB_FOLDER = click.argument("folder", required=False, type=click.Path(path_type=Path))


@lab.command("up", params=[output_option(_LAB_FORMS)])
@_LAB_FOLDER
@click.option("--hosts", default=2, show_default=True, type=click.IntRange(1, 16), help="How many hosts")
def lab_up(common_output: str, folder: Path | None, hosts: int) -> None:
    """Start it in FOLDER, and say how to use it."""
    from metier.lab import running

    raise click.exceptions.Exit(running.lab_up(folder, common_output, hosts))


@lab.command("down", params=[output_option(_LAB_FORMS)])
@_LAB_FOLDER
def lab_down(common_output: str, folder: Path | None) -> None:
    """Stop it and remove all of it."""
    from metier.lab import running

    raise click.exceptions.Exit(running.lab_down(folder, common_output))


@lab.command("status", params=[output_option(_LAB_FORMS)])
@_LAB_FOLDER
def lab_status(common_output: str, folder: Path | None) -> None:
    """Say what runs of it."""
    from metier.lab import running

    raise click.exceptions.Exit(running.lab_status(folder, common_output))


@click.group()
def token() -> None:
    """Tokens for callers from other machines; made on the controller's own."""


@token.command("list", params=[output_option(), state_option()])
@click.pass_context
def token_list(ctx: click.Context, common_output: str) -> None:
    """List tokens; they themselves are not shown again."""
    rows = session_of(ctx).client().rows(f"{ROOT}/tokens", {})
    emit(list_text(rows, ("name", "created"), common_output, sys.stdout))


@token.command("create", params=[output_option(), state_option()])
@click.argument("name", metavar="NAME")
@click.pass_context
def token_create(ctx: click.Context, common_output: str, name: str) -> None:
    """Make a token and print it, this once."""
    from metier.cli.client import Request

    made = (
        session_of(ctx).client().ask(Request("POST", f"{ROOT}/tokens", body={"name": name})).value["object"]
    )
    emit(made["token"] if common_output in ("table", "wide") else row_text(made, common_output, sys.stdout))


@token.command("delete", params=[output_option(), state_option()])
@click.argument("name", metavar="NAME")
@click.pass_context
def token_delete(ctx: click.Context, common_output: str, name: str) -> None:
    """Forget a token: whoever uses it is refused from now on."""
    from metier.cli.client import Request
    from metier.operations.paths import Location

    where = Location("DELETE", "/tokens/{name}", None, has_body=False)
    done = session_of(ctx).client().ask(Request("DELETE", where.filled(name))).value
    emit(done["message"] if common_output in ("table", "wide") else row_text(done, common_output, sys.stdout))


COMMANDS: Mapping[str, click.Command] = {
    "backup": backup,
    "completion": completion,
    "demo": demo,
    "lab": lab,
    "login": login,
    "restore": restore,
    "serve": serve,
    "token": token,
}
