"""What a person sees of a guided update of an image: each step as it is done, and what is theirs to do."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from metier.cli.client import Client, Request
from metier.cli.failure import Failure, timed_out
from metier.cli.output import emit, printable
from metier.cli.session import Session, tell, warn
from metier.cli.waiting import Progress
from metier.operations.paths import ROOT

KEY = "image update"
"""The operation that is followed."""

Row = Mapping[str, Any]

_ENDS = ("done", "aborted")
_HELD_S = 1
_REACH = (("console", "console"), ("address", "guest address"), ("host_ip", "host address"))
_NO_END_S = 10 * 365 * 86_400.0


def is_followed(values: Mapping[str, Any]) -> bool:
    """Tell whether a command goes on to show what follows: where asked, and for a person at a terminal."""
    if values["common_output"] != "table":
        return bool(values["common_wait"])
    return bool(values["common_wait"]) or (sys.stdout.isatty() and sys.stderr.isatty())


def follow(session: Session, client: Client, number: int, values: Mapping[str, Any]) -> None:
    """Show the steps of an update until it is over.

    Without --wait it lasts as long as the update; with it, no longer than --timeout.

    Raises:
        Failure: It needs a person, was given up by another one, or the time is over.
    """
    limit_s = values["common_timeout"] if values["common_wait"] else _NO_END_S
    progress = Progress(shown=session.verbose)
    tale = _Tale(is_told=values["common_output"] == "table", progress=progress)
    try:
        _follow(client, number, limit_s, tale)
    except KeyboardInterrupt:
        progress.end()
        tell("it goes on without you; the same command shows how far it is, and --abort gives it up")
        raise
    finally:
        progress.end()
    _check_end(tale.last, is_abort=bool(values.get("abort")))


def _follow(client: Client, number: int, limit_s: float, tale: "_Tale") -> None:
    etag = ""
    while True:
        wait_s = _HELD_S if etag else 0
        reply = client.ask(Request("GET", f"{ROOT}/procedures/{number}", etag=etag, wait_s=wait_s))
        if reply.value is not None:
            etag = reply.etag
            tale.go_on(reply.value)
        tale.say()
        if tale.last.get("problem") or tale.last.get("stage") in _ENDS:
            return
        if limit_s - tale.progress.seconds < 1:
            raise timed_out(limit_s, [f"image update {number}: {tale.last.get('told')}"])


class _Tale:
    """What was told of an update so far.

    Attributes:
        last: Its row as last seen.
    """

    def __init__(self, *, is_told: bool, progress: Progress) -> None:
        self.last: Row = {}
        self.progress = progress
        self._is_told = is_told
        self._steps = 0
        self._reach: Sequence[str] = ()

    def go_on(self, row: Row) -> None:
        """Tell what is new."""
        self.last = row
        if not self._is_told:
            return
        steps = row.get("steps") or []
        lines = [f"{_clock(step.get('at'))}  {step.get('did')}" for step in steps[self._steps :]]
        self._steps = max(self._steps, len(steps))
        if lines:
            self.progress.end()
            emit(printable_lines(lines))
        self._hand_over(row)
        if row.get("stage") in _ENDS:
            self._close(row)

    def say(self) -> None:
        """Show what is waited for now."""
        words = f"{self.last.get('stage_number')}, {self.last.get('stage')}: {self.last.get('told')}"
        self.progress.say(words)

    def _hand_over(self, row: Row) -> None:
        """Say, once, how the guest is reached: it is the person's turn."""
        reach = [f"  {name + ':':<14} {row[key]}" for key, name in _REACH if row.get(key)]
        if not row.get("console") or row.get("problem") or reach == self._reach:
            return
        self._reach = reach
        number = row.get("vm_number")
        self.progress.end()
        emit(
            printable_lines(
                (
                    f"It is your turn: change the guest on {row.get('node')}, VM{number} of its host.",
                    *reach,
                    "Then shut it down from inside, not with Metier; its new version is captured by itself.",
                )
            )
        )

    def _close(self, row: Row) -> None:
        warn(row.get("remarks") or ())
        behind = row.get("tiers_behind") or []
        if behind:
            emit(printable(f"tiers that run another version: {', '.join(behind)}; to roll it out:"))
            emit(
                printable_lines(f"  metier tier update {tier} --image {row.get('makes')}" for tier in behind)
            )


def printable_lines(lines: Any) -> str:
    """Return lines without what a terminal would take for orders."""
    return "\n".join(printable(line) for line in lines)


def _clock(at: object) -> str:
    """Return the time of day of a moment, in UTC, as the journal has it."""
    return str(at).partition("T")[2].partition(".")[0].rstrip("Z")


def _check_end(row: Row, *, is_abort: bool) -> None:
    if row.get("problem"):
        raise Failure(str(row["problem"]), code="needs-a-person", remedy=str(row.get("remedy") or ""))
    if row.get("stage") == "aborted" and not is_abort:
        raise Failure(f"image update {row.get('id')} was given up by {row.get('aborted_by')}")
