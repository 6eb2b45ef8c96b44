"""One run of a command: whom it speaks to, how it prints, and what it may ask."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from metier.cli.failure import NEEDS_ACCEPTANCE, Failure
from metier.cli.output import printable

if TYPE_CHECKING:
    from metier.cli.client import Client, Reply, Request


@dataclass(slots=True)
class Session:
    """What all commands of a run share.

    Attributes:
        state: The state folder as named on the command line.
        verbose: Whether a wait shows its progress.
    """

    state: str | None = None
    verbose: bool = True

    def client(self) -> "Client":
        """Return a client of the controller that is meant."""
        from metier.cli.client import Client
        from metier.cli.state import controller

        return Client(controller(self.state))


def session_of(context: click.Context) -> Session:
    """Return the session of a command."""
    session = context.find_root().obj
    assert isinstance(session, Session)
    return session


def accepted(client: "Client", request: "Request") -> "Reply":
    """Send a change; if it has consequences and somebody is there, ask whether to go on.

    Raises:
        Failure: It was refused, or the consequences were not accepted.
    """
    try:
        return client.ask(request)
    except Failure as failure:
        if failure.exit_status != NEEDS_ACCEPTANCE or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        tell(f"{printable(failure.message)}:", *(f"  - {printable(one)}" for one in failure.warnings))
        if not click.confirm("continue?", err=True):
            raise
        from dataclasses import replace

        return client.ask(replace(request, query={**(request.query or {}), "accept_warnings": True}))


def tell(*lines: str) -> None:
    """Write lines to standard error."""
    for line in lines:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def warn(warnings: Sequence[str]) -> None:
    """Write warnings to standard error."""
    tell(*(f"warning: {printable(warning)}" for warning in warnings))
