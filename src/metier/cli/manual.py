"""`ccimport` and `cccapture`: the manual's names, with the manual's options."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from metier.cli.commands import HELP_WIDTH, state_option
from metier.cli.failure import Failure, wrong_usage
from metier.cli.session import session_of, tell

_TYPES = ("linux", "windows", "other")
_A_LONG_TIME_S = 7 * 86_400.0


_SETTINGS: Mapping[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH}


@click.command("ccimport", params=[state_option()], context_settings=dict(_SETTINGS))
@click.option("-r", "vmware", is_flag=True, help="The archive holds a VMware VM: its .vmx and .vmdk files")
@click.option("-i", "image", metavar="NAME", help="Name of the image")
@click.option("-n", "version", metavar="VERSION", help="Its version: a number or a word  [default: the next]")
@click.option("-f", "file", metavar="ARCHIVE", help="The archive: tar -zcvf filename.tgz *.vm*")
@click.option("-s", "ask", is_flag=True, help="Ask the capture questions; without it their defaults stand")
@click.option("-v", "verbose", is_flag=True, help="Show the progress")
@click.option("-t", "--type", "kind", type=click.Choice(_TYPES), help="Image type  [default: other]")
@click.pass_context
def import_command(ctx: click.Context, /, **given: Any) -> None:
    """Import a VMware archive as a guest image; the same as `metier image import`.

    For example: ccimport -r -i w2k -n raw -f /tmp/filename.tgz -s -v
    """
    _check(given)
    session = session_of(ctx)
    session.verbose = given["verbose"]
    answers: dict[str, Any] = {"type": given["kind"]} if given["kind"] else {}
    if given["ask"]:
        answers = {**answers, **interview(already=answers)}
    values = {"name": given["image"], "file": given["file"], "version": given["version"], **answers}
    import_image(session, {key: value for key, value in values.items() if value is not None})


@click.command(
    "cccapture",
    context_settings={**_SETTINGS, "ignore_unknown_options": True, "allow_extra_args": True},
)
def capture_command() -> None:
    """Capture an image from a VM that was shut down; not available in this version."""
    raise Failure(
        "cccapture is not available in this version of metier",
        code="not-available",
        remedy="archive the VM's files and import them: ccimport -r -i NAME -f ARCHIVE",
    )


CCIMPORT = import_command
CCCAPTURE = capture_command


def interview(already: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the capture questions one by one, on a terminal or from standard input.

    Raises:
        Failure: Standard input ended before the last answer.
    """
    answers: dict[str, Any] = {}
    for name, question, default, parse in _QUESTIONS:
        if name not in already:
            value = _ask(question, default, parse)
            if value not in ("", ()):
                answers[name] = value
    return answers


def import_image(session: Any, arguments: Mapping[str, Any]) -> None:
    """Import an image and return once it is published."""
    from metier.cli import running
    from metier.cli.root import registered

    operation = registered("image")["image", "import"]
    values = {
        **arguments,
        "common_output": "table",
        "common_plan": False,
        "common_wait": True,
        "common_timeout": _A_LONG_TIME_S,
        "common_accept_warnings": False,
    }
    running.change(operation, session, values)


def _check(given: Mapping[str, Any]) -> None:
    if not given["vmware"]:
        raise wrong_usage(
            "only archives of VMware VMs can be imported in this version",
            "say -r if this is one: ccimport -r -i NAME -f ARCHIVE",
        )
    for key, flag, what in (("image", "-i", "the image's name"), ("file", "-f", "the archive")):
        if not given[key]:
            raise wrong_usage(f"{what} is missing", f"add {flag}: ccimport -r -i NAME -f ARCHIVE")


def _ask(question: str, default: str, parse: Callable[[str], Any]) -> Any:
    while True:
        shown = f"{question} [{default}]: " if default else f"{question}: "
        sys.stderr.write(shown)
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            tell("")
            raise Failure(
                f"standard input ended before the answer to: {question}",
                code="no-answer",
                remedy="answer every question with a line, or leave out -s to take the defaults",
            )
        if not sys.stdin.isatty():
            tell(line.strip())
        try:
            return parse(line.strip() or default)
        except ValueError as error:
            if not sys.stdin.isatty():
                # Nobody is there to try again, and the next line answers another question.
                raise wrong_usage(f"{question}: {error}") from error
            tell(f"  {error}")


def _type(text: str) -> str:
    if text.lower() not in _TYPES:
        raise ValueError(f"{text!r} is none of {', '.join(_TYPES)}")
    return text.lower()


def _number(text: str) -> int | str:
    if not text:
        return ""
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


_QUESTIONS: tuple[tuple[str, str, str, Callable[[str], Any]], ...] = (
    ("type", f"image type ({', '.join(_TYPES)})", "other", _type),
    ("minimum_memory_mib", "minimum memory in MiB, empty for what the VM has", "", _number),
    ("attribute", "attributes that a node must have, empty for none", "", _words),
    ("startup_seconds", "service startup time in seconds", "300", _number),
    ("collector", "collectors (ping, tcp:PORT, http:PORT/PATH), empty for none", "", _words),
)
