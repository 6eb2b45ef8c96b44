"""Sums over files that are read where they lie: taken in a thread, while their disks are written."""

import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Protocol

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Part, Window

_PIECE_BYTES = 1 << 20

# How often a waiting caller hears of progress, and may cancel.
_LOOK_S = 0.1

_ALGORITHMS = ("sha256", "sha512", "sha1", "crc32")


class _Engine(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc32:
    """CRC-32 with the manners of hashlib."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def _engine(algorithm: str) -> _Engine:
    return _Crc32() if algorithm == "crc32" else hashlib.new(algorithm, usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class _Sum:
    """A sum to be taken over a part; `wanted` is empty where nobody says what it must be."""

    part: Part
    algorithm: str
    wanted: str
    name: str
    engine: _Engine = field(compare=False)

    @property
    def begin(self) -> int:
        return self.part.offset

    @property
    def end(self) -> int:
        return self.part.offset + self.part.size

    def feed(self, data: memoryview, at: int) -> None:
        """Take what of `data`, which lies at `at` of the file, belongs to the part."""
        begin, end = max(self.begin - at, 0), self.end - at
        if begin < min(end, len(data)):
            self.engine.update(data[begin:end])

    def check(self) -> None:
        found = self.engine.hexdigest()
        if self.wanted and found != self.wanted:
            kind = self.algorithm.upper().replace("SHA", "SHA-").replace("CRC", "CRC-")
            raise Refusal(
                f"cannot take {self.name}: its {kind} is {found}, and must be {self.wanted}",
                code="content-differs",
                remedy="copy or export it again",
            )


class Proof:
    """Takes the digest of an archive, and checks sums over parts of files; each file is read once.

    The work goes on in a thread from `start` on; `close` ends it.
    """

    def __init__(self, whole: Part | None = None, digest: str = "") -> None:
        self._sums: list[_Sum] = []
        self._digest = digest
        self._whole = self._added(whole, "sha256", "", whole.path.name) if whole else None
        self._thread = threading.Thread(target=self._run, name="proof", daemon=True)
        self._stopped = threading.Event()
        self._done_bytes = self._total_bytes = 0
        self._error: BaseException | None = None

    def expect(self, part: Part, algorithm: str, wanted: str, name: str) -> None:
        """Have a sum checked, `wanted` in hex, before `start`; `sha256`, `sha512`, `sha1`, `crc32`."""
        self._added(part, algorithm, wanted.lower(), name)

    def start(self) -> None:
        """Begin to read."""
        spans = [_span(sums) for sums in self._by_file().values()]
        self._total_bytes = sum(end - begin for begin, end in spans)
        self._thread.start()

    def check(self) -> None:
        """Raise what `result` would raise, if that is known by now."""
        if self._error is not None:
            raise self._error

    def result(self, report: Callable[[int, int], None]) -> str:
        """Wait for the end, and return the archive's SHA-256 in hex; empty where there is no one file.

        `report` gets bytes read and bytes in all several times a second; what it raises is raised.

        Raises:
            Refusal: A sum is not what it must be, or a file changed while it was read.
            OSError: A file cannot be read.
        """
        while self._thread.is_alive():
            self._thread.join(_LOOK_S)
            report(self._done_bytes, self._total_bytes)
        self.check()
        return self._whole.engine.hexdigest() if self._whole else self._digest

    def close(self) -> None:
        """End the thread; once more does nothing."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _added(self, part: Part, algorithm: str, wanted: str, name: str) -> _Sum:
        assert algorithm in _ALGORITHMS
        self._sums.append(_Sum(part, algorithm, wanted, name, _engine(algorithm)))
        return self._sums[-1]

    def _by_file(self) -> dict[Path, list[_Sum]]:
        found: dict[Path, list[_Sum]] = {}
        for each in sorted(self._sums, key=attrgetter("begin")):
            found.setdefault(each.part.path, []).append(each)
        return found

    def _run(self) -> None:
        try:
            for path, sums in self._by_file().items():
                self._read(path, sums)
        except BaseException as error:  # whatever it is, who waits must get it
            self._error = error

    def _read(self, path: Path, sums: list[_Sum]) -> None:
        begin, end = _span(sums)
        window = Part(path, 0, end).open()
        try:
            before = _state(window)
            self._feed(window, begin, end, sums)
            if _state(window) != before:
                raise Refusal(
                    f"cannot take {path.name}: it changed while it was read",
                    remedy="wait until it is written completely, then import it again",
                )
        finally:
            window.close()

    def _feed(self, window: Window, at: int, end: int, sums: list[_Sum]) -> None:
        """Give each sum its bytes; they come in order of their beginnings."""
        waiting, active = sums[::-1], list[_Sum]()
        while not self._stopped.is_set():
            data = memoryview(window.read(min(_PIECE_BYTES, end - at), at))
            while waiting and waiting[-1].begin < at + max(len(data), 1):
                active.append(waiting.pop())
            for each in active:
                each.feed(data, at)
            at += len(data)
            self._done_bytes += len(data)
            for each in active:
                if each.end <= at or not data:
                    each.check()
            active = [each for each in active if each.end > at]
            if not data or at >= end:
                break
        if not self._stopped.is_set():
            for each in waiting:  # empty ones at the very end
                each.check()


def _span(sums: Iterable[_Sum]) -> tuple[int, int]:
    return min(each.begin for each in sums), max(each.end for each in sums)


def _state(window: Window) -> tuple[int, int]:
    status = os.fstat(window.descriptor)
    return status.st_size, status.st_mtime_ns
