"""`metier estate`: what leaving VMware would take; needs no controller, and changes nothing anywhere."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from metier.cli.commands import output_option, state_option
from metier.cli.failure import NO_SUCH_THING, Failure, wrong_usage
from metier.cli.output import Row, emit, list_text, row_text
from metier.cli.session import Session, session_of, tell
from metier.operations.paths import ROOT

_PASSWORD = "METIER_VSPHERE_PASSWORD"
_VERDICTS = ("ready", "needs-work", "not-possible")


def _source(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where the estate is listed."""
    options = (
        click.option(
            "--file",
            "-f",
            metavar="FILE",
            help="RVTools workbook (.xlsx), folder of its CSV files, or a CSV list",
        ),
        click.option("--url", metavar="URL", help="Ask an ESX host or vCenter: https://esx-1/sdk"),
        click.option("--user", metavar="NAME", help="Who asks there; one who may only read is enough"),
        click.option("--ca-file", metavar="FILE", help="Certificate authority that it is known by, PEM"),
        click.option(
            "--thumbprint", metavar="HEX", help="SHA-256 of its certificate, where no authority signed it"
        ),
        click.option("--no-controller", is_flag=True, help="Do not ask a controller where the VMs would fit"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def estate() -> None:
    """List the VMs of a VMware estate with what taking each in would need.

    Nothing is changed, neither there nor here.  The password for --url is asked for, or
    taken from METIER_VSPHERE_PASSWORD.
    """


@estate.command("list", params=[output_option(), state_option()])
@_source
@click.option("--verdict", type=click.Choice(_VERDICTS), help="Only those")
@click.option("--wave", type=click.IntRange(1, 3), metavar="NUMBER", help="Only those of this wave")
@click.pass_context
def estate_list(
    ctx: click.Context, /, common_output: str, verdict: str | None, wave: int | None, **where: Any
) -> None:
    """List all VMs: verdict, wave, size, and the first thing to do.

    `ready` needs no change beforehand, only to be shut down when its turn comes; `needs
    work` says what to do; `not possible` says why.  With -o wide or json it tells all:
    disks, network cards, room, and the import command.
    """
    from metier.estate.rows import COLUMNS

    survey = _survey(session_of(ctx), where)
    rows = [row for row in survey.rows() if _is_meant(row, verdict, wave)]
    emit(list_text(rows, COLUMNS, common_output, sys.stdout))
    if common_output in ("table", "wide"):
        tell(survey.in_one_line())


@estate.command("show", params=[output_option(), state_option()])
@_source
@click.argument("name")
@click.pass_context
def estate_show(ctx: click.Context, /, common_output: str, name: str, **where: Any) -> None:
    """Show all about one VM: what it is, what to do before, at and after the move."""
    survey = _survey(session_of(ctx), where)
    rows = survey.rows_of(name)
    if not rows:
        raise Failure(
            f"there is no VM {name!r} in {survey.estate.source}",
            code="no-such-thing",
            remedy="see `metier estate list`",
            exit_status=NO_SUCH_THING,
        )
    emit("\n\n".join(row_text(row, common_output, sys.stdout) for row in rows))


@estate.command("summary", params=[output_option(), state_option()])
@_source
@click.pass_context
def estate_summary(ctx: click.Context, /, common_output: str, **where: Any) -> None:
    """Show the estate in sum: verdicts, sizes, a proposal of waves, the commonest work, the largest VMs."""
    survey = _survey(session_of(ctx), {**where, "no_controller": True})
    emit(row_text(survey.summary(), common_output, sys.stdout))


def _survey(session: Session, where: Mapping[str, Any]) -> Any:
    """Return the `estate.survey` of what is named; raises Failure."""
    from metier.estate.survey import Survey

    return Survey.of(_inventory(where), None if where["no_controller"] else _nodes(session))


def _inventory(where: Mapping[str, Any]) -> Any:
    """Return the inventory that is named; raises Failure."""
    file, url = where["file"], where["url"]
    if bool(file) == bool(url):
        raise wrong_usage(
            "say where the estate is listed: --file or --url, and not both", "see `metier estate --help`"
        )
    if file:
        from metier.estate.reading import ExportedInventory

        return ExportedInventory(Path(file).expanduser())
    from metier.estate.vsphere import Endpoint, VsphereInventory

    user = where["user"] or ""
    if not user:
        raise wrong_usage("say who asks at --url with --user", "an account that may only read is enough")
    return VsphereInventory(
        Endpoint.parsed(url, user, _password(user), where["ca_file"] or "", where["thumbprint"] or "")
    )


def _password(user: str) -> str:
    given = os.environ.get(_PASSWORD)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise wrong_usage(f"nobody is there to be asked for the password of {user}", f"set {_PASSWORD}")
    password: str = click.prompt(f"password of {user}", hide_input=True, err=True)
    return password


def _nodes(session: Session) -> list[dict[str, Any]] | None:
    """Return the nodes of the controller; None where there is none that answers."""
    try:
        return session.client().rows(f"{ROOT}/nodes", {})
    except Failure:
        return None  # an inventory is made long before there is a controller


def _is_meant(row: Row, verdict: str | None, wave: int | None) -> bool:
    if verdict is not None and row["verdict"].replace(" ", "-") != verdict:
        return False
    return wave is None or row["wave"] == wave
