"""Who holds a store, and the lock on a state folder that the kernel takes back when its owner dies."""

import fcntl
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from metier.domain.errors import Refusal
from metier.store.codec import form_of
from metier.store.form import Unreadable

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Return the time of day; `since` in a message is all it is used for."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Holder:
    """One process that holds a store, for the message that another one gets."""

    name: str
    host: str
    pid: int
    since: datetime

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC)"


_FORM = form_of(Holder)


HOLDING = "become the controller of"
"""What a message says was tried."""


def this_process(name: str, clock: Clock) -> Holder:
    """Return this process as a holder."""
    return Holder(name, socket.gethostname(), os.getpid(), clock())


def holder_text(holder: Holder) -> str:
    """Return a holder as JSON text."""
    return _FORM.dumps(holder)


def who(text: str) -> str:
    """Name the holder that `holder_text` wrote; vague when there is none, or it is half written."""
    try:
        return str(_FORM.loads(text))
    except Unreadable:
        return "another process of Metier"


def held_elsewhere(doing: str, place: str, by: str) -> Refusal:
    """Return the error for a store that another process holds."""
    return Refusal(
        f"cannot {doing} {place}: {by} holds it",
        code="held-elsewhere",
        remedy="use that one, or stop it first",
    )


class FolderLock:
    """An exclusive lock on a state folder, by `flock`: also two stores of one process exclude each other.

    The lock belongs to the open file, so a process that was killed in any way holds
    it no longer.  Its file stays; removing it while a controller runs lets a second
    one in, which the epoch in the database then tells apart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, holder: Holder, doing: str) -> None:
        """Take the lock, in order to do what `doing` says; raises Refusal naming who has it."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            by = who(os.pread(file, 4096, 0).decode("utf-8", "replace"))
            os.close(file)
            if isinstance(error, BlockingIOError):
                raise held_elsewhere(doing, str(self._path.parent), by) from None
            raise Refusal(f"cannot lock {self._path}: {error.strerror}") from error
        self._file = file
        self._sign(holder_text(holder))

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not ours."""
        if self._file is not None:
            self._sign("")
            os.close(self._file)
            self._file = None

    def _sign(self, text: str) -> None:
        """Write who we are for others to read; a full disk costs them only the name."""
        assert self._file is not None
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, text.encode(), 0)
        except OSError:
            return
