"""Files of the image matrix that a driver writes what it fetched from a host into."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import BinaryIO

from metier.domain.errors import NoSpace, Refused


@contextmanager
def new_file(file: Path) -> Iterator[BinaryIO]:
    """Make a file that nobody else may read: what a guest wrote can be anything.

    Every `OSError` of the block is taken for one of this file: those of a network are translated within.
    """
    with unwritable_is_told(file), file.open("xb") as content:
        file.chmod(0o600)
        yield content


@contextmanager
def unwritable_is_told(file: Path) -> Iterator[None]:
    """Turn what a file here says into an error that an operator can meet: NoSpace, or Refused."""
    try:
        yield
    except OSError as error:
        message = f"cannot write {file.name} in the image matrix"
        if error.errno in (ENOSPC, EDQUOT):
            raise NoSpace(message, remedy="make room in the image matrix, then try again") from error
        raise Refused(message) from error
