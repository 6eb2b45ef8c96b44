"""Fetching what a job wrote on a controller elsewhere, and going on after a broken connection."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from metier.cli.client import Answer, Client
from metier.cli.failure import Failure
from metier.cli.output import size
from metier.cli.sending import PAUSES_S, wait_s
from metier.cli.waiting import Progress, Speed
from metier.operations.paths import ROOT


def receive(
    client: Client,
    job: Mapping[str, Any],
    target: Path,
    progress: Progress,
    wait: Callable[[float], None] = wait_s,
) -> list[Path]:
    """Fetch all files of an export to `target`, or beside it with numbers, and return them.

    Each is there whole or not at all, and replaces nothing.

    Raises:
        Failure: A file cannot be written or is there already, or the connection broke off again and again.
    """
    count = len((job.get("result") or {}).get("files") or ())
    paths = targets(target, count)
    for number, path in enumerate(paths, 1):
        _refuse_taken(path)
        _Receiving(client, f"{ROOT}/downloads/{job['id']}?number={number}", progress, wait).run(path)
    # It would go by itself within a day.
    with contextlib.suppress(Failure):
        client.exchange("DELETE", f"{ROOT}/downloads/{job['id']}", {})
    return paths


def targets(target: Path, count: int) -> list[Path]:
    """Return the names for so many files."""
    if count == 1:
        return [target]
    return [target.with_name(f"{target.stem}-{number}{target.suffix}") for number in range(1, count + 1)]


class _Receiving:
    """One file on its way."""

    def __init__(self, client: Client, where: str, progress: Progress, wait: Callable[[float], None]) -> None:
        self._client, self._where, self._progress, self._wait = client, where, progress, wait
        self._etag = ""
        self._total = -1

    def run(self, path: Path) -> None:
        """Fetch it."""
        try:
            number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with os.fdopen(number, "wb") as file:
                    self._all(file, path.name)
                    file.flush()
                    os.fsync(file.fileno())
                _refuse_taken(path)
                Path(name).rename(path)
            except BaseException:  # whatever ended it, a user too: nothing half written stays
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise Failure(f"cannot write {path}: {error.strerror}", remedy="name another file") from error

    def _all(self, file: BinaryIO, name: str) -> None:
        failures, best = 0, 0
        while True:
            try:
                self._try(file, name)
            except Failure as failure:
                done = file.tell()
                failures = 1 if done > best else failures + 1
                best = max(done, best)
                if failure.code != "unreachable" or failures > len(PAUSES_S):
                    raise
                self._progress.say(f"fetching {name}: {failure.message}; trying again soon")
                self._wait(PAUSES_S[failures - 1])
            else:
                return

    def _try(self, file: BinaryIO, name: str) -> None:
        done = file.tell()
        headers = {"Range": f"bytes={done}-", "If-Range": self._etag} if done else {}
        speed = Speed(self._progress.seconds, done)
        for piece in self._client.content(self._where, headers):
            if isinstance(piece, Answer):
                done = self._begin(piece, file, done)
                continue
            file.write(piece)
            done += len(piece)
            speed.look(self._progress.seconds, done)
            left = (self._total - done) / speed.bytes_per_s if speed.bytes_per_s >= 1 else 0
            share, fast = 100 * done // max(self._total, 1), size(speed.bytes_per_s)
            self._progress.say(
                f"fetching {name}: {share} % of {size(self._total)}, {fast}/s, {left:.0f} s left"
            )
        if done != self._total:
            raise Failure("the connection broke off", code="unreachable")

    def _begin(self, answer: Answer, file: BinaryIO, done: int) -> int:
        """Look at what is coming; whatever is not the rest is begun from nothing."""
        length = answer.headers.get("content-length") or ""
        if not length.isdecimal():
            raise Failure("the controller does not say how long the file is", code="bad-answer")
        if answer.status != 206 or answer.headers.get("etag") != self._etag:
            if answer.status == 206:
                raise Failure("the file changed while it was fetched", remedy="export it again")
            file.seek(0)
            file.truncate()
            done = 0
        self._etag = answer.headers.get("etag") or ""
        self._total = done + int(length)
        return done


def _refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise Failure(f"cannot write {path}: there is such a file", remedy="name another file")


def written(paths: Sequence[str | Path]) -> str:
    """Return the sentence for what was written."""
    return f"{', '.join(str(path) for path in paths)} written"
