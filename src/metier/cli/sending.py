"""Sending a file ahead in parts, and going on after a broken connection (the core of tus 1.0.0)."""

import base64
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from metier.cli.client import Client
from metier.cli.failure import Failure
from metier.cli.output import size
from metier.cli.waiting import Progress, Speed
from metier.operations.paths import ROOT

PAUSES_S = (1, 2, 5, 10, 20)
"""Before each try after a failed one; a part that arrives begins them again."""

STANDARD_INPUT = "-"

_PART_BYTES = 8 << 20
_TUS = {"Tus-Resumable": "1.0.0"}
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 60
_MAY_PASS = ("unreachable", "wrong-offset")
_NOTHING_MORE: Mapping[str, str] = {}


def wait_s(seconds: float) -> None:
    """Let real seconds pass."""
    threading.Event().wait(seconds)


def send(
    client: Client, name: str, progress: Progress | None = None, wait: Callable[[float], None] = wait_s
) -> str:
    """Send a file, or standard input, ahead and return what names it from then on.

    Raises:
        Failure: It cannot be read, the controller refused it, or the connection broke off again and again.
    """
    is_input = name == STANDARD_INPUT
    if is_input and sys.stdin.isatty():
        raise Failure(
            "standard input is a terminal, and no file", remedy="pipe it: `… | metier image import --file -`"
        )
    with nullcontext(sys.stdin.buffer) if is_input else _opened(name) as source:
        length = None if is_input else os.fstat(source.fileno()).st_size
        shown = "standard input" if is_input else Path(name).name
        return _Sending(client, source, shown, length, progress or Progress(shown=False), wait).run()


def _opened(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        remedy = "pack the folder first: tar -zcvf …" if isinstance(error, IsADirectoryError) else ""
        raise Failure(f"cannot read {name}: {error.strerror}", remedy=remedy) from error


class _Sending:
    """One file on its way; no more of it than a part is in memory."""

    def __init__(
        self,
        client: Client,
        source: BinaryIO,
        shown: str,
        length: int | None,
        progress: Progress,
        wait: Callable[[float], None],
    ) -> None:
        self._client, self._source, self._shown, self._length = client, source, shown, length
        self._progress, self._wait = progress, wait
        self._speed = Speed(progress.seconds, 0)
        self._path = ""

    def run(self) -> str:
        """Send all of it."""
        upload = self._begin()
        sent = 0
        while part := self._source.read(_PART_BYTES):
            self._tell(sent)
            self._deliver(sent, part)
            sent += len(part)
            if self._length is not None and sent > self._length:
                raise Failure(f"{self._shown} grew while it was sent", remedy="send it when it is whole")
        if self._length is None:
            self._deliver(sent, b"", {"Upload-Length": str(sent)})
        elif sent < self._length:
            raise Failure(f"{self._shown} became shorter while it was sent", remedy="send it again")
        self._progress.end()
        return upload

    def _begin(self) -> str:
        file = _UNFIT.sub("-", self._shown).strip("-._")[-_LONGEST_NAME:].strip("-._") or "upload"
        named = base64.b64encode(file.encode()).decode()
        length = (
            {"Upload-Defer-Length": "1"} if self._length is None else {"Upload-Length": str(self._length)}
        )
        headers = {**_TUS, **length, "Upload-Metadata": f"filename {named}"}
        answer = self._client.exchange("POST", f"{ROOT}/uploads", headers)
        upload = str(answer.value["file"])
        self._path = f"{ROOT}/uploads/{upload.partition(':')[2]}"
        return upload

    def _deliver(self, at: int, part: bytes, more: Mapping[str, str] = _NOTHING_MORE) -> None:
        """Send a part; after a broken connection only what of it did not arrive."""
        done = 0
        pauses = iter(PAUSES_S)
        while True:
            try:
                self._patch(at + done, part[done:], more)
            except Failure as failure:
                pause = next(pauses, None)
                if failure.code not in _MAY_PASS or pause is None:
                    raise
                self._progress.say(f"sending {self._shown}: {failure.message}; trying again in {pause} s")
                self._wait(pause)
                done = self._arrived(at, part, done)
            else:
                return

    def _patch(self, at: int, part: bytes, more: Mapping[str, str]) -> None:
        headers = {
            **_TUS,
            **more,
            "Upload-Offset": str(at),
            "Content-Type": "application/offset+octet-stream",
        }
        self._client.exchange("PATCH", self._path, headers, part)

    def _arrived(self, at: int, part: bytes, done: int) -> int:
        """Ask how much of a part is there; what was known, if nobody answers."""
        try:
            answer = self._client.exchange("HEAD", self._path, _TUS)
        except Failure as failure:
            if failure.code not in _MAY_PASS:
                raise
            return done
        offset = answer.headers.get("upload-offset") or ""
        if not offset.isdecimal() or not at <= int(offset) <= at + len(part):
            raise Failure(f"the upload of {self._shown} was lost", remedy="send it again")
        return int(offset) - at

    def _tell(self, sent: int) -> None:
        self._speed.look(self._progress.seconds, sent)
        words = [f"sending {self._shown}: {size(sent)}"]
        if self._length:
            words = [f"sending {self._shown}: {100 * sent // self._length} % of {size(self._length)}"]
        if self._speed.bytes_per_s >= 1:
            words.append(f"{size(self._speed.bytes_per_s)}/s")
            if self._length:
                words.append(f"{(self._length - sent) / self._speed.bytes_per_s:.0f} s left")
        self._progress.say(", ".join(words))
