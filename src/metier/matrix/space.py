"""Room on the disk of the image matrix: measured before it is used."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metier.domain.errors import NoSpace
from metier.drivers.formats.api import in_words

# Kept free for everybody else who writes there, and for what file systems use themselves.
_MARGIN_BYTES = 16 << 20


def free_bytes(folder: Path) -> int:
    """Return how much an ordinary program may still write to the file system of `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


@dataclass(frozen=True, slots=True)
class Space:
    """The file system that holds the image matrix."""

    root: Path
    free: Callable[[Path], int] = free_bytes

    def require(self, needed: int, what: str) -> None:
        """Make sure that `needed` bytes can be written.

        `what` names the stage and follows `cannot`: `unpack web.tgz`.

        Raises:
            NoSpace: They cannot; the message has the numbers.
        """
        free = max(self.free(self.root) - _MARGIN_BYTES, 0)
        if needed > free:
            raise NoSpace(
                f"cannot {what}: it takes {in_words(needed)}, and {in_words(free)} is free in {self.root}",
                remedy=f"free {in_words(needed - free)} there, for example by deleting unused image versions",
            )
