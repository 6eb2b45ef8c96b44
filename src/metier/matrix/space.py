"""Room on the disk of the image matrix: measured before it is used."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from metier.domain.errors import NoSpace
from metier.drivers.formats.api import in_words

# Kept free for everybody else who writes there, and for what file systems use themselves.
_MARGIN_BYTES = 16 << 20


def free_bytes(folder: Path) -> int:
    """Return how much an ordinary program may still write to the file system of `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def total_bytes(folder: Path) -> int:
    """Return how large the file system of `folder` is."""
    status = os.statvfs(folder)
    return status.f_blocks * status.f_frsize


class Ledger:
    """What work under way was promised of each file system and has not written yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._promised: dict[tuple[Path, object], int] = {}

    def promised(self, root: Path) -> int:
        """Return what is promised of the file system of `root`."""
        with self._lock:
            return sum(size for (where, _), size in self._promised.items() if where == root)

    def promise(self, root: Path, whose: object, size: int) -> None:
        """Note what somebody is still to write; 0 for nothing more."""
        with self._lock:
            if size > 0:
                self._promised[root, whose] = size
            else:
                self._promised.pop((root, whose), None)


@dataclass(frozen=True, slots=True)
class Space:
    """The file system that holds a folder of the image matrix.

    Attributes:
        ledger: Shared by all work in the same folders, so that no byte is promised twice.
    """

    root: Path
    free: Callable[[Path], int] = free_bytes
    ledger: Ledger = field(default_factory=Ledger)

    def free_bytes(self) -> int:
        """Return what may still be promised."""
        return max(self.free(self.root) - _MARGIN_BYTES - self.ledger.promised(self.root), 0)

    def require(self, needed: int, what: str) -> None:
        """Make sure that `needed` bytes can be written.

        `what` names the stage and follows `cannot`: `unpack web.tgz`.

        Raises:
            NoSpace: They cannot; the message has the numbers.
        """
        free = self.free_bytes()
        if needed > free:
            promised = self.ledger.promised(self.root)
            others = f", and {in_words(promised)} more is promised to other work" if promised else ""
            there = f"{in_words(free)} is free in {self.root}{others}"
            raise NoSpace(
                f"cannot {what}: it takes {in_words(needed)}, and {there}",
                remedy=f"free {in_words(needed - free)} there, for example by deleting unused image versions",
            )

    @contextmanager
    def reserved(self, needed: int, what: str) -> Iterator[Callable[[int], None]]:
        """Keep `needed` bytes from other work meanwhile; call what is given with what is still to come.

        Raises:
            NoSpace: As `require`.
        """
        self.require(needed, what)
        whose = object()
        self.ledger.promise(self.root, whose, needed)
        try:
            yield lambda left: self.ledger.promise(self.root, whose, left)
        finally:
            self.ledger.promise(self.root, whose, 0)
