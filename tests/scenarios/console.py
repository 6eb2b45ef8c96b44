"""An operator's console without a network: the programs of `metier.cli` over the real API, in one process."""

import asyncio
import io
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import click
from fastapi import FastAPI

from metier.cli.client import Client, Reply, Request
from metier.cli.failure import timed_out
from metier.cli.main import run
from metier.cli.manual import CCIMPORT
from metier.cli.root import Root, registered
from metier.cli.session import Session
from metier.cli.state import Local
from metier.domain.plan import Plan
from metier.operations import load_operations
from metier.operations.registry import OPERATIONS, Caller, Operation, Outcome, View
from metier.web.app import Parts, build_app
from tests.scenarios.controller import VirtualController

PATIENCE_S = 3600
"""No story has commands that wait longer than an hour of its time, all together."""


class Said(NamedTuple):
    """What a command printed, in the order in which it did, and its exit status."""

    status: int
    text: str


class Console:
    """Types commands to one controller."""

    def __init__(self, controller: VirtualController) -> None:
        relay, app = _the_api()
        relay.controller = controller
        self._session = StorySession(VirtualClient(app, controller))

    def type(self, line: str, answers: str = "") -> Said:
        """Run a command line; `answers` is what is typed when it asks."""
        program, *words = shlex.split(line)
        command = {"metier": Root(registered), "ccimport": CCIMPORT}[program]
        paper = io.StringIO()
        with redirect_stdout(paper), redirect_stderr(paper), _typing(answers):
            status = run(_WithSession(command, self._session), program, words)
        return Said(status, paper.getvalue())


class Relay:
    """Passes on to the controller of the story that is told: building an API takes longer than a story."""

    controller: VirtualController

    def now(self) -> datetime:
        """Return the story's moment."""
        return self.controller.clock.now()

    def view(self) -> View:
        """Return the last finished round."""
        return self.controller.view()

    def change(self, operation: Operation, arguments: Any, caller: Caller) -> Outcome:
        """Carry out a change."""
        return self.controller.change(operation, arguments, caller)

    def preview(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Outcome, Plan]:
        """Return what a change would answer."""
        return self.controller.preview(operation, arguments, caller)

    def wait_for_change(self, generation: int, timeout_s: float) -> int:
        """Return at once."""
        return self.controller.wait_for_change(generation, timeout_s)


@cache
def _the_api() -> tuple[Relay, FastAPI]:
    load_operations()
    relay = Relay()
    return relay, build_app(relay, lambda _: None, Parts(OPERATIONS, clock=relay.now))


class StorySession(Session):
    """A session that speaks to the controller of a story."""

    def __init__(self, client: "VirtualClient") -> None:
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


class VirtualClient(Client):
    """Speaks to an API in this process; while it is held, the story's time passes."""

    def __init__(self, app: FastAPI, controller: VirtualController) -> None:
        super().__init__(Local(Path()))
        self._app, self._virtual = app, controller
        self._waited_s = 0

    def ask(self, request: Request) -> Reply:
        """Send a request; one that waits for a change is repeated every second of the story."""
        for _ in range(request.wait_s):
            reply = super().ask(replace(request, wait_s=0))
            if reply.value is not None:
                return reply
            self._virtual.tick()
            self._waited_s += 1
            if self._waited_s > PATIENCE_S:
                raise timed_out(PATIENCE_S, ["what a command of this story asked for"])
        return super().ask(replace(request, wait_s=0))

    def _connect(self, timeout_s: float) -> Any:
        return AsgiConnection(self._app)


@dataclass(slots=True)
class AsgiConnection:
    """One request and its answer, without a socket."""

    app: FastAPI
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    _body: bytes = b""

    def request(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Let the API answer."""
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
            "state": {"peer": "ann"},  # as the real server does for callers of its unix socket
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

        await self.app(scope, receive, send)
