"""A console without a network: the programs of `metier.cli` over an API in the same process.

Simulations type their commands here, so that they are parsed, carried out and printed by
the very code that an operator's are.
"""

import asyncio
import io
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

import click

from metier.cli.client import Client, Reply, Request
from metier.cli.failure import timed_out
from metier.cli.main import run
from metier.cli.manual import PROGRAMS
from metier.cli.root import Root, registered
from metier.cli.session import Session
from metier.cli.state import Local

if TYPE_CHECKING:
    from metier.operations.registry import Operation

    Asgi = Callable[[Any, Any, Any], Awaitable[None]]

PATIENCE_S = 3600
"""The commands of one console wait no longer than so many of its seconds, all together."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a console is connected to.

    Attributes:
        app: The API, as an ASGI application.
        pass_s: Lets so many seconds pass, for commands that wait.
        is_up: Whether a controller listens.
        caller: Who types.
        folder: Where files are that commands name; None for the current one.
    """

    app: "Asgi"
    pass_s: Callable[[float], None]
    is_up: Callable[[], bool] = lambda: True
    caller: str = "operator"
    folder: Path | None = None


class Said(NamedTuple):
    """What a command printed, in the order in which it did, and its exit status."""

    status: int
    text: str


class Understood(NamedTuple):
    """What a command line would do.

    Attributes:
        operation: None for a command that is no operation, or a line that is not understood.
        values: What its parameters were given.
        fault: Why it is not understood; empty for a good line.
    """

    operation: "Operation | None" = None
    values: Mapping[str, Any] = {}
    fault: str = ""


class Console:
    """Types commands to a controller."""

    def __init__(self, line: Line) -> None:
        self._session = _OwnSession(AsgiClient(line))
        self._folder = line.folder or Path()

    def type(self, line: str, answers: str = "") -> Said:
        """Run a command line; `answers` is what is typed when it asks."""
        program, *words = shlex.split(line)
        paper = io.StringIO()
        with chdir(self._folder), redirect_stdout(paper), redirect_stderr(paper), _typing(answers):
            status = run(_WithSession(_program(program), self._session), program, words)
        return Said(status, paper.getvalue())

    def understand(self, line: str) -> Understood:
        """Parse a command line that is to be typed at a moment of its own, and do nothing.

        What goes on past that moment, asks for another controller, or leaves something
        behind on this machine is a fault, as whatever the program itself refuses is.
        """
        try:
            program, *words = shlex.split(line)
            command = _program(program)
        except ValueError as error:
            return Understood(fault=f"it cannot be split into words: {str(error).lower()}")
        session = Session()
        try:
            with redirect_stdout(io.StringIO()):
                understood = _parsed(command, program, words, session)
        except click.exceptions.Exit:
            return Understood(fault="it only prints a text about itself")
        except click.ClickException as error:
            message = error.format_message().rstrip(".")
            return Understood(fault=f"{message[:1].lower()}{message[1:]}")
        unfit = [why for name, why in _UNFIT.items() if understood.values.get(name)]
        if session.state is not None:
            unfit.append("--state names another controller")
        return understood._replace(fault=unfit[0]) if unfit else understood


_UNFIT = {
    "common_wait": "--wait lets time pass; give the next line the time that it needs",
    "common_watch": "--watch never ends",
    "common_follow": "--follow never ends",
    "common_out": "--out writes a file",
}


def _program(name: str) -> click.Command:
    return PROGRAMS.get(name) or Root(registered)


def _parsed(command: click.Command, name: str, words: list[str], session: Session) -> Understood:
    """Parse words down to the innermost command; raises click's errors."""
    context = click.Context(command, info_name=name, obj=session)
    rest = _parse(command, context, list(words))
    path: list[str] = []
    while isinstance(command, click.Group):
        word, found, rest = command.resolve_command(context, rest)
        assert found is not None
        path.append(str(word))
        command, context = found, click.Context(found, info_name=word, parent=context)
        rest = _parse(command, context, rest)
    noun, verb = path if len(path) == 2 else ("", "".join(path))
    operation = registered(path[0]).get((noun, verb)) if path else None
    if operation is None:
        return Understood(fault="it is no operation of a controller")
    return Understood(operation, context.params)


def _parse(command: click.Command, context: click.Context, words: list[str]) -> list[str]:
    """Take a command's own parameters off words; of a group's words, those of its commands are left."""
    if not isinstance(command, click.Group):
        return command.parse_args(context, words)
    rest = click.Command.parse_args(command, context, words) if words else []
    if not rest:
        raise click.UsageError(f"{context.command_path} needs a command behind it", context)
    return rest


class _OwnSession(Session):
    """A session that speaks to one controller and no other."""

    def __init__(self, client: "AsgiClient") -> None:
        super().__init__(verbose=False)
        self._client = client

    def client(self) -> Client:
        """Return the only client there is."""
        return self._client


class _WithSession(click.Command):
    """A program that is started with a session of our own."""

    def __init__(self, command: click.Command, session: Session) -> None:
        super().__init__(command.name)
        self._command, self._session = command, session

    def main(self, *args: Any, **settings: Any) -> Any:
        return self._command.main(*args, **{**settings, "obj": self._session})


@contextmanager
def _typing(answers: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO(answers)
    try:
        yield
    finally:
        sys.stdin = before


class AsgiClient(Client):
    """Speaks to an API in this process; while it is held, its controller's time passes."""

    def __init__(self, line: Line) -> None:
        super().__init__(Local(Path()))
        self._line = line
        self._waited_s = 0

    def ask(self, request: Request) -> Reply:
        """Send a request; one that waits for a change is repeated every second of the controller's time."""
        for _ in range(request.wait_s):
            reply = super().ask(replace(request, wait_s=0))
            if reply.value is not None:
                return reply
            self._line.pass_s(1)
            self._waited_s += 1
            if self._waited_s > PATIENCE_S:
                raise timed_out(PATIENCE_S, ["what a command asked for"])
        return super().ask(replace(request, wait_s=0))

    def _connect(self, timeout_s: float) -> Any:  # noqa: ARG002 - nothing can be late here
        return AsgiConnection(self._line)


@dataclass(slots=True)
class AsgiConnection:
    """One request and its answer, without a socket."""

    line: Line
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    _body: bytes = b""

    def request(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Let the API answer; raises OSError if nobody listens."""
        if not self.line.is_up():
            raise ConnectionRefusedError("no controller runs")
        parts = urlsplit(target)
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": None,
            "server": ("metier", None),
            "state": {"peer": self.line.caller},  # as the server does for callers of its unix socket
        }
        asyncio.run(self._answer(scope, body or b""))

    def getresponse(self) -> "AsgiConnection":
        """Return the answer."""
        return self

    def read(self) -> bytes:
        """Return its body."""
        return self._body

    def close(self) -> None:
        """Have nothing to close."""

    async def _answer(self, scope: dict[str, Any], body: bytes) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                self._body += message.get("body", b"")

        await self.line.app(scope, receive, send)
