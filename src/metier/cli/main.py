"""The programs `metier`, `ccimport`, `cccapture` and `ccexport`: from a command line to an exit status."""

import sys
from collections.abc import Sequence

import click

from metier.cli.failure import FAILED, INTERRUPTED, WRONG_USAGE, Failure, in_json, in_words
from metier.cli.root import Root, registered
from metier.cli.session import Session, tell


def main() -> None:
    """Run `metier`."""
    sys.exit(run(Root(registered), "metier", sys.argv[1:]))


def ccimport() -> None:
    """Run `ccimport`, the manual's name for `metier image import`."""
    from metier.cli.manual import CCIMPORT

    sys.exit(run(CCIMPORT, "ccimport", sys.argv[1:]))


def cccapture() -> None:
    """Run `cccapture`, the manual's name for `metier image capture`."""
    from metier.cli.manual import CCCAPTURE

    sys.exit(run(CCCAPTURE, "cccapture", sys.argv[1:]))


def ccexport() -> None:
    """Run `ccexport`, the name that goes with them for `metier image export`."""
    from metier.cli.manual import CCEXPORT

    sys.exit(run(CCEXPORT, "ccexport", sys.argv[1:]))


def run(command: click.Command, name: str, arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status; errors are printed in their form."""
    try:
        ended = command.main(list(arguments), prog_name=name, standalone_mode=False, obj=Session())
        return ended if isinstance(ended, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        tell("interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        return _report(_usage_failure(error), arguments)
    except Failure as failure:
        return _report(failure, arguments)
    except Exception as error:  # errors of the controller's own parts, when they ran in this process
        known = _failure_of(error)
        if known is None:
            raise
        return _report(known, arguments)


def _report(failure: Failure, arguments: Sequence[str]) -> int:
    tell(in_json(failure) if _wants_json(arguments) else in_words(failure))
    return failure.exit_status


def _usage_failure(error: click.ClickException) -> Failure:
    message = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    remedy = f"see `{context.command_path} --help`" if isinstance(context, click.Context) else ""
    is_usage = isinstance(error, click.UsageError)
    code, status = ("wrong-usage", WRONG_USAGE) if is_usage else ("failed", FAILED)
    return Failure(message, code=code, remedy=remedy, exit_status=status)


def _failure_of(error: Exception) -> Failure | None:
    """Return what an error of the controller's own parts says, when it ran in this process.

    Such errors are known by what they carry: their class is in a layer that commands do
    not load.
    """
    status = getattr(error, "exit_status", None)
    if not isinstance(status, int):
        return None
    links, cause = [str(error)], error.__cause__
    while cause is not None:
        links.append(str(cause) or type(cause).__name__)
        cause = cause.__cause__
    return Failure(
        ": ".join(links),
        code=getattr(error, "code", "failed"),
        remedy=getattr(error, "remedy", ""),
        warnings=getattr(error, "warnings", ()),
        exit_status=status,
    )


def _wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for JSON, even one that could not be parsed."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=False)
    return any(
        word in ("-ojson", "-o=json", "--output=json") or (word in ("-o", "--output") and following == "json")
        for word, following in pairs
    )
