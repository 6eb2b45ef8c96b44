"""A disk on its way here: gone on with where an earlier call broke off, as long as it is the same disk."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from metier.drivers.formats.api import BLOCK_BYTES, ZERO_BLOCK
from metier.drivers.hypervisor.local_file import unwritable_is_told

SYNC_BYTES = 64 << 20
"""So much at most is fetched once more after a power failure."""


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a copy besides its bytes.

    Attributes:
        source: What it is a copy of, in words that any change of that changes.
        synced: So many bytes from its beginning are surely on the disk.
    """

    source: str
    synced: int = 0


class DiskCopy:
    """The sparse file that a disk is copied into; a context manager, which makes sure of what was written.

    A small file beside it, `NAME.state`, tells how far it is.  One that was begun for
    another source, or for another state of it, begins anew.

    Attributes:
        done: Bytes that are there.
    """

    def __init__(self, into: Path, source: str, size: int) -> None:
        self._path, self._source = into, source
        self._state_path = into.with_name(f"{into.name}.state")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with unwritable_is_told(into):
            self._file = os.open(into, flags, 0o600)
            self.done = self._synced = self._taken_up(size)
            os.ftruncate(self._file, self.done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with unwritable_is_told(self._path):
                self.sync()
        finally:
            os.close(self._file)

    def write(self, piece: bytes) -> None:
        """Add what comes next; whole blocks of zeros become holes.

        Raises:
            NoSpace: The disk is full.
            Refused: It cannot be written to, for another reason.
        """
        with unwritable_is_told(self._path):
            for start, stop in _filled(piece, self.done):
                _write_all(self._file, memoryview(piece)[start:stop], self.done + start)
            self.done += len(piece)
            if self.done - self._synced >= SYNC_BYTES:
                self.sync()

    def sync(self) -> None:
        """Make sure of what is there, and note how much that is."""
        os.ftruncate(self._file, self.done)
        os.fsync(self._file)
        draft = self._state_path.with_name(f"{self._state_path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(State(self._source, self.done)), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._state_path)
        self._synced = self.done

    def _taken_up(self, size: int) -> int:
        """Return how much an earlier call left of the same disk."""
        state = _read(self._state_path)
        if state is None or state.source != self._source or state.synced > size:
            return 0
        # A file system that lost the file's end in a crash has lost what was not synced, or the disk is bad.
        return state.synced if state.synced <= os.fstat(self._file).st_size else 0


def _read(path: Path) -> State | None:
    with suppress(OSError, ValueError, TypeError):
        state = State(**json.loads(path.read_text(encoding="utf-8")))
        return state if state.synced >= 0 else None
    return None


def _filled(piece: bytes, at: int) -> list[tuple[int, int]]:
    """Return the stretches of a piece that are more than zeros, in blocks of the disk that it is from."""
    found: list[tuple[int, int]] = []
    start = 0
    while start < len(piece):
        stop = min(len(piece), start + BLOCK_BYTES - (at + start) % BLOCK_BYTES)
        if piece[start:stop] != ZERO_BLOCK[: stop - start]:
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], stop)
            else:
                found.append((start, stop))
        start = stop
    return found


def _write_all(descriptor: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written
