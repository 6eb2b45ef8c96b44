"""Commands that are no operations: they run the controller, or something else on this machine."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import click

from metier.cli.commands import output_option, state_option
from metier.cli.estate import estate
from metier.cli.failure import Failure, wrong_usage
from metier.cli.output import emit, list_text, row_text
from metier.cli.session import session_of, warn
from metier.cli.simulate import simulate
from metier.operations.paths import ROOT

# What is built here is told in sentences, or as JSON for programs.
_LAB_FORMS = ("text", "json")
_SHELLS = ("bash", "zsh", "fish")


@click.command(params=[state_option()])
@click.argument("site", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--listen", metavar="HOST:PORT", help="Serve the API there as well, for callers with a token")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="Certificate chain, PEM")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its private key, PEM")
@click.option("--plain-http", is_flag=True, help="Serve a network without TLS: something in front does it")
@click.option("--simulated", is_flag=True, help="Serve a simulated site; nothing real is touched")
@click.option(
    "--speed",
    type=click.FloatRange(0.1, 1000),
    metavar="N",
    help="Seconds that pass on the simulated site in each real one  [default: 1]",
)
@click.option(
    "--hosts", type=click.IntRange(2, 1000), metavar="N", help="Hosts of the sample site  [default: 6]"
)
@click.pass_context
def serve(ctx: click.Context, /, **given: Any) -> None:
    """Run the controller: its control loop and its API, until SIGTERM or SIGINT.

    The API is on the socket `metier.sock` in the state folder, for whoever may open it,
    and where systemd passed sockets, on these.

    With --simulated it serves a sample site, or one that was exported to FILE, whose
    machines exist in memory only.  Its state folder is a temporary one, removed at the
    end, unless --state names another.
    """
    from metier import app
    from metier.cli.state import state_folder

    if (given["tls_cert"] is None) != (given["tls_key"] is None):
        raise wrong_usage("a certificate and its key go together", "give both --tls-cert and --tls-key")
    parts: Any = app
    where = parts.Listen(given["listen"], given["tls_cert"], given["tls_key"], given["plain_http"])
    session = session_of(ctx)
    if given["simulated"]:
        from metier.cli.trial import serve_trial

        serve_trial(parts, session.state, where, given)
        return
    _refuse_without_simulated(given)
    parts.serve(state_folder(session.state), where)


def _refuse_without_simulated(given: Mapping[str, Any]) -> None:
    for what, word in (("site", "FILE"), ("speed", "--speed"), ("hosts", "--hosts")):
        if given[what] is not None:
            raise wrong_usage(f"{word} is for simulated sites", "add --simulated, or leave it away")


@click.command(params=[output_option(), state_option()])
@click.argument("sentence", nargs=-1, metavar="[SENTENCE]")
@click.option("--list", "lists", is_flag=True, help="List what can happen")
@click.pass_context
def befall(ctx: click.Context, common_output: str, sentence: tuple[str, ...], lists: bool) -> None:
    """Let something happen to the machines of a simulated site.

    For example: metier befall host-3 loses power

    In the list MACHINE stands for a physical node, GUEST for a virtual node
    (host-1/VM2) or its host name (web-2), N for a number.
    """
    from metier.cli.trial import befall as let_befall
    from metier.cli.trial import fault_list

    if bool(sentence) is lists:
        raise wrong_usage("say what is to happen, or --list", "for example: metier befall host-3 dies")
    client = session_of(ctx).client()
    emit(fault_list(client, common_output) if lists else let_befall(client, sentence, common_output))


@click.command(params=[state_option()])
@click.pass_context
def backup(ctx: click.Context) -> None:
    """Write a consistent copy of all state to standard output, as JSON lines.

    The controller may run meanwhile.  Secrets are in it sealed, and the key that opens
    them, `secrets.key` in the state folder, is not: keep a copy of it apart.
    """
    from metier import app
    from metier.cli.state import state_folder

    if sys.stdout.isatty():
        raise wrong_usage("a backup does not belong on a terminal", "redirect it: `metier backup > file`")
    parts: Any = app
    key = parts.backup(state_folder(session_of(ctx).state), sys.stdout.buffer)
    sys.stdout.buffer.flush()
    if key is not None:
        warn([f"its secrets are sealed, and the key is not in it: keep a copy of {key} apart from it"])


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
    "befall": befall,
    "completion": completion,
    "demo": demo,
    "estate": estate,
    "lab": lab,
    "login": login,
    "restore": restore,
    "serve": serve,
    "simulate": simulate,
    "token": token,
}
