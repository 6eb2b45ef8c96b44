"""`ccimport`, `cccapture` and `ccexport`: the manual's names, with the manual's options."""

from collections.abc import Mapping
from typing import Any

import click

from metier.cli.commands import HELP_WIDTH, state_option
from metier.cli.failure import wrong_usage
from metier.cli.interview import TYPES, about_import, ask, yes_or_no
from metier.cli.session import Session, session_of, tell

_A_LONG_TIME_S = 7 * 86_400.0
_DECLINED = 1

_FORMS = ("ova", "qcow2", "vmdk", "vhd", "vhdx", "raw")

_SETTINGS: Mapping[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH}


def _answers(command: Any) -> Any:
    """Give a command an option for each answer about a node's needs."""
    options = (
        click.option(
            "-m", "--minimum-memory", "minimum_memory_mib", type=int, help="Memory it needs, in MiB"
        ),
        click.option("-a", "--attribute", multiple=True, help="Attribute that a node must have; repeatable"),
        click.option("-d", "--disk", type=int, help="Local disk that a node must have, in GiB"),
        click.option("-u", "--startup", "startup_seconds", type=int, help="Service startup time, in seconds"),
        click.option("-c", "--collector", multiple=True, help="ping, tcp:PORT or http:PORT/PATH; repeatable"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command("ccimport", params=[state_option()], context_settings=dict(_SETTINGS))
@click.option(
    "-r", "vmware_only", is_flag=True, help="The archive holds a VMware VM: its .vmx and .vmdk files"
)
@click.option("-i", "name", metavar="NAME", help="Name of the image")
@click.option("-n", "version", metavar="VERSION", help="Its version: a number or a word  [default: the next]")
@click.option("-f", "file", metavar="ARCHIVE", help="The archive: tar -zcvf filename.tgz *.vm*")
@click.option("--url", metavar="URL", help="Instead of -f: fetch it by http or https")
@click.option("-s", "asks", is_flag=True, help="Ask the capture questions; without it their defaults stand")
@click.option("-v", "verbose", is_flag=True, help="Show the progress")
@click.option("-t", "--type", type=click.Choice(TYPES), help="Image type  [default: other]")
@_answers
@click.pass_context
def import_command(ctx: click.Context, /, *, asks: bool, verbose: bool, **given: Any) -> None:
    """Import a VM or a disk as a guest image; the same as `metier image import`.

    With -r it must be a VMware VM.  For example:
    ccimport -r -i w2k -n raw -f /tmp/filename.tgz -s -v
    """
    said = _said(given)
    if "name" not in said:
        raise wrong_usage("the image's name is missing", "add -i: ccimport -r -i NAME -f ARCHIVE")
    if ("file" in said) == ("url" in said):
        problem = "-f and --url exclude each other" if "file" in said else "the archive is missing"
        raise wrong_usage(problem, "add one of them: ccimport -r -i NAME -f ARCHIVE")
    session = session_of(ctx)
    session.verbose = verbose
    _carry_out(session, "import", {**said, **(about_import(said) if asks else {})})


# -h is the image host here, as it is asked for after the name.
@click.command(
    "cccapture", params=[state_option()], context_settings={**_SETTINGS, "help_option_names": ["--help"]}
)
@click.option("-t", "--type", type=click.Choice(TYPES), help="Image type  [default: as the version it runs]")
@click.option("-i", "name", metavar="NAME", help="Name of the image")
@click.option("-n", "version", metavar="VERSION", help="Its version: a number or a word  [default: the next]")
@click.option("-h", "--host", metavar="ADDRESS", help="Image host: IP address of the host node, or its name")
@click.option("-g", "--vm", type=int, metavar="NUMBER", help="VM to capture: 2 for slot VM2 of that host")
@click.option("--node", metavar="NODE", help="Instead of -h and -g: the virtual node, host-1/VM2")
@_answers
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Ask nothing: what is not given keeps its default")
@click.option("--accept-warnings", is_flag=True, help="Capture it though its power was cut")
@click.pass_context
def capture_command(ctx: click.Context, /, *, is_sure: bool, accept_warnings: bool, **given: Any) -> None:
    """Capture a new image version from a VM whose guest OS was shut down.

    Asks for what is not given as an option, one question after another; the same as
    `metier image capture`.  Disengage the node and shut its guest OS down from its console first.
    For example: cccapture -t windows -i w2k -n 2 -h 10.0.0.5 -g 2
    """
    from metier.cli.capturing import Interview, Known

    session = session_of(ctx)
    interview = Interview(Known(session.client()), _said(given), asks=not is_sure)
    interview.run()
    if not is_sure:
        tell(interview.summary())
        if not ask("Capture?", yes_or_no, "yes"):
            tell("nothing was captured")
            raise click.exceptions.Exit(_DECLINED)
    _carry_out(session, "capture", interview.answers, accept_warnings=accept_warnings)


@click.command("ccexport", params=[state_option()], context_settings=dict(_SETTINGS))
@click.option("-i", "image", metavar="NAME", required=True, help="Name of the image")
@click.option("-n", "version", metavar="VERSION", required=True, help="Its version")
@click.option("-f", "file", metavar="FILE", required=True, help="The file to write, which must not exist")
@click.option("-F", "--form", type=click.Choice(_FORMS), help="How to write it  [default: ova]")
@click.option("-v", "verbose", is_flag=True, help="Show the progress")
@click.pass_context
def export_command(ctx: click.Context, /, *, image: str, version: str, verbose: bool, **given: Any) -> None:
    """Export an image version to a file; the same as `metier image export`.

    For example: ccexport -i w2k -n raw -f /tmp/w2k.ova
    """
    session = session_of(ctx)
    session.verbose = verbose
    _carry_out(session, "export", {**_said(given), "name": f"{image}@{version}"})


CCIMPORT = import_command
CCCAPTURE = capture_command
CCEXPORT = export_command

PROGRAMS: Mapping[str, click.Command] = {"ccimport": CCIMPORT, "cccapture": CCCAPTURE, "ccexport": CCEXPORT}
"""The manual's commands, by name."""


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {
        name: value
        for name, value in given.items()
        if value is not None and value is not False and value not in ((), "")
    }


def _carry_out(
    session: Session, verb: str, arguments: Mapping[str, Any], *, accept_warnings: bool = False
) -> None:
    """Carry out a verb on images, and return once its job is done."""
    from metier.cli import running
    from metier.cli.root import registered

    values = {
        **arguments,
        "common_output": "table",
        "common_plan": False,
        "common_wait": True,
        "common_timeout": _A_LONG_TIME_S,
        "common_accept_warnings": accept_warnings,
    }
    running.change(registered("image")["image", verb], session, values)
