"""State folders of simulated sites: told apart from those of real ones by a file in them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metier.domain.errors import Refusal

MARK = "simulated-site"
"""The file that a simulated site's state folder has from its first moment on."""

_WORDS = """\
What is in this folder belongs to a simulated site: none of its machines exists.
`metier serve --simulated --state` goes on with it; a controller of a real site refuses it.
"""


def is_simulated(folder: Path) -> bool:
    """Say whether a folder is marked as a simulated site's."""
    return (folder / MARK).exists()


def refuse_simulated(folder: Path) -> None:
    """Raise Refusal if a folder is a simulated site's: a real site must not begin with what is in it."""
    if is_simulated(folder):
        raise Refusal(
            f"cannot run a real site on {folder}: it is the state folder of a simulated one",
            remedy=f"go on with the simulation, `metier serve --simulated --state {folder}`, "
            "or name another folder",
        )


@contextmanager
def simulated_folder(named: Path | None) -> Iterator[Path]:
    """Yield a state folder for a simulated site: the one that is named, or one that is removed at the end.

    Raises:
        Refusal: The one that is named has something else in it, or cannot be made.
    """
    if named is not None:
        _mark(named)
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="metier-simulated-", ignore_cleanup_errors=True) as made:
        _mark(Path(made))
        yield Path(made)


def _mark(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_simulated(folder):
            return
        if any(folder.iterdir()):
            raise Refusal(
                f"cannot simulate a site in {folder}: it is not empty, and no simulated site's state folder",
                remedy="name a new folder, or leave --state away for one that is removed at the end",
            )
        (folder / MARK).write_text(_WORDS, encoding="utf-8")
    except OSError as error:
        raise Refusal(f"cannot keep a simulated site in {folder}: {error.strerror}") from None
