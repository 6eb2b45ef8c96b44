"""`--wait`: until the effect of a change is seen, with a line that says what is waited for."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from metier.cli.client import Client, Request
from metier.cli.failure import Failure, timed_out
from metier.cli.output import printable, size, terminal_width
from metier.operations.paths import ROOT

_FINAL = frozenset(("done", "failed", "cancelled"))
# The controller answers at once when something changes; these only bound one request.
_HELD_ON_TERMINAL_S = 1
_HELD_S = 10


_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_NUMBERS_EVERY_S = 5.0


class Progress:
    """A line on standard error: rewritten on a terminal, a new one for each change elsewhere.

    There, what differs from the last line by its numbers alone is told every few seconds.
    """

    def __init__(self, *, shown: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown = shown
        self._clock = clock
        self._began = clock()
        self._said = ""
        self._said_at = 0.0
        self.is_terminal = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """How long this has gone on."""
        return self._clock() - self._began

    def say(self, text: str) -> None:
        """Show what is waited for now."""
        text = printable(text)
        if not self._shown:
            return
        if self.is_terminal:
            line = f"[{self.seconds:4.0f} s] {text}"
            sys.stderr.write("\r\x1b[K" + line[: (terminal_width(sys.stderr) or 80) - 1])
        elif text == self._said or (_shape(text) == _shape(self._said) and self._is_recent()):
            return
        else:
            self._said_at = self.seconds
            sys.stderr.write(f"[{self._said_at:.0f} s] {text}\n")
        self._said = text
        sys.stderr.flush()

    def _is_recent(self) -> bool:
        return self.seconds - self._said_at < _NUMBERS_EVERY_S

    def end(self) -> None:
        """Leave the terminal's line empty."""
        if self._shown and self.is_terminal and self._said:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _shape(text: str) -> str:
    """Return a text without its numbers."""
    return _NUMBER.sub("", text)


@dataclass(slots=True)
class Speed:
    """How fast bytes go by, smoothed over the last few looks."""

    at: float
    done_bytes: float
    bytes_per_s: float = 0.0

    def look(self, at: float, done_bytes: float) -> None:
        """Take a new count in; one that is lower begins again."""
        seconds = at - self.at
        if done_bytes < self.done_bytes:
            self.at, self.done_bytes, self.bytes_per_s = at, done_bytes, 0.0
        elif seconds > 0:
            now = (done_bytes - self.done_bytes) / seconds
            self.bytes_per_s = now if self.bytes_per_s == 0 else 0.7 * self.bytes_per_s + 0.3 * now
            self.at, self.done_bytes = at, done_bytes


class Wait:
    """Waits for what was begun, all of it within one time."""

    def __init__(self, client: Client, timeout_s: float, progress: Progress) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._progress = progress

    def for_jobs(self, jobs: Iterable[int]) -> list[Mapping[str, Any]]:
        """Return the jobs once every one is done.

        Raises:
            Failure: One failed or was cancelled, or the time is over.
        """
        finished: list[Mapping[str, Any]] = []
        for job in jobs:
            speed: Speed | None = None
            for row in self._states(Request("GET", f"{ROOT}/jobs/{job}"), _is_over):
                done = row.get("done_bytes") or 0
                speed = speed or Speed(self._progress.seconds, done)
                speed.look(self._progress.seconds, done)
                _check_job(row)
                if _is_over(row):
                    finished.append(row)
                else:
                    self._progress.say(job_line(row, speed))
        return finished

    def until_settled(self, changes: Iterable[Request]) -> None:
        """Return once no change waits for anything any more.

        Raises:
            Failure: The time is over.
        """
        for change in changes:
            query = {**(change.query or {}), "settled": True}
            for answer in self._states(replace(change, query=query), _is_settled):
                if answer["waiting_for"]:
                    self._progress.say("; ".join(answer["waiting_for"]))

    def _states(self, request: Request, is_over: Callable[[Any], bool]) -> Iterable[Any]:
        """Yield what a request answers whenever that changes, or a second has passed on a terminal."""
        etag, value = "", None
        while True:
            left = self._timeout_s - self._progress.seconds
            held = _HELD_ON_TERMINAL_S if self._progress.is_terminal else _HELD_S
            wait_s = max(0, min(held, int(left))) if etag else 0
            reply = self._client.ask(replace(request, etag=etag, wait_s=wait_s))
            if reply.value is not None:
                etag, value = reply.etag, reply.value
            yield value
            if is_over(value):
                return
            if self._timeout_s - self._progress.seconds < 1:
                raise timed_out(self._timeout_s, _still_missing(value))


def job_line(row: Mapping[str, Any], speed: Speed) -> str:
    """Return how far a job is: step, percent, bytes, speed, time left."""
    parts = [f"{row.get('kind')} {row.get('subject')}: {row.get('step') or row.get('state')}"]
    done, total = row.get("done_bytes") or 0, row.get("total_bytes")
    if total:
        parts.append(f"{100 * done // total} % of {size(total)}")
    elif done:
        parts.append(size(done))
    if speed.bytes_per_s >= 1:
        parts.append(f"{size(speed.bytes_per_s)}/s")
        if total and done < total:
            parts.append(f"{(total - done) / speed.bytes_per_s:.0f} s left")
    return ", ".join(parts)


def _is_over(row: Any) -> bool:
    return row.get("state") in _FINAL


def _is_settled(answer: Any) -> bool:
    return not answer["waiting_for"]


def _still_missing(value: Any) -> list[str]:
    if "waiting_for" in value:
        return [str(sentence) for sentence in value["waiting_for"]]
    return [f"job {value.get('id')}: {value.get('step') or value.get('state')}"]


def _check_job(row: Mapping[str, Any]) -> None:
    if row.get("state") in ("failed", "cancelled"):
        why = row.get("error") or row.get("state")
        raise Failure(
            f"job {row.get('id')}, {row.get('kind')} of {row.get('subject')}, {row.get('state')}: {why}",
            code="job-failed",
            remedy=str(row.get("remedy") or ""),
        )
