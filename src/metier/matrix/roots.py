"""The folders that an image matrix is kept in, each on a file system of its own, which may be away.

Every folder beyond the first gets a file with a word nobody else has, and the first remembers it.
Where the file is missing afterwards, the file system is not mounted, or it is another one:
what lies there is left alone, and what is recorded to lie there is not lost.
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from metier.domain.errors import NoSuchThing, Refusal
from metier.domain.ids import ImageRef
from metier.matrix.folders import MANIFEST, Folders, sync

MARK = "metier-matrix.id"
KNOWN = "folders.json"


@dataclass(frozen=True, slots=True)
class Roots:
    """The first folder, which is always there, and the others in the order they were given."""

    first: Folders
    others: tuple[Folders, ...] = ()

    @classmethod
    def of(cls, first: Path, others: Sequence[Path]) -> "Roots":
        """Return the folders at these places."""
        return cls(Folders(first), tuple(Folders(path) for path in others))

    def every(self) -> tuple[Folders, ...]:
        """Return all folders, there or not."""
        return (self.first, *self.others)

    def present(self) -> Iterator[Folders]:
        """Yield the folders that can be used now; one that is used for the first time is marked.

        Raises:
            OSError: A folder cannot be read or written.
        """
        self.first.root.mkdir(parents=True, exist_ok=True)
        yield self.first
        known = self._known() if self.others else {}
        for folders in self.others:
            if self._is_there(folders.root, known):
                yield folders

    def missing(self) -> list[Path]:
        """Return the folders that are not mounted."""
        there = {folders.root for folders in self.present()}
        return [folders.root for folders in self.others if folders.root not in there]

    def holding(self, ref: ImageRef) -> Folders | None:
        """Return the folders that a version is published in."""
        return next((one for one in self.present() if (one.version(ref) / MANIFEST).is_file()), None)

    def published(self, ref: ImageRef) -> Path:
        """Return the folder of a published version.

        Raises:
            NoSuchThing: It is not there.
            Refusal: It may be in a folder that is not mounted.
        """
        found = self.holding(ref)
        if found is not None:
            return found.published(ref)
        self.refuse_missing(f"cannot find image {ref}")
        raise NoSuchThing(f"image {ref} is not in the image matrix")

    def refuse_missing(self, what: str) -> None:
        """Refuse `what`, which begins with `cannot`, while a folder is not mounted."""
        missing = self.missing()
        if missing:
            names = ", ".join(str(path) for path in missing)
            raise Refusal(
                f"{what}: {names} of the image matrix is not mounted",
                code="matrix-folder-missing",
                remedy="mount it, then try again",
            )

    def newest_sibling(self, name: str) -> Folders | None:
        """Return the folders with the version of an image that was published last."""
        dated = [(path.stat().st_mtime_ns, one) for one in self.present() for path in one.versions_of(name)]
        return max(dated, key=lambda pair: pair[0])[1] if dated else None

    def _is_there(self, root: Path, known: dict[str, str]) -> bool:
        word = self._word(root)
        if str(root) in known:
            return word == known[str(root)]
        if not root.is_dir():
            return False
        if not word:
            word = secrets.token_hex(16)
            _write(root / MARK, word + "\n")
        known[str(root)] = word
        _write(self.first.root / KNOWN, json.dumps(known, indent=2) + "\n")
        return True

    def _word(self, root: Path) -> str:
        missing = suppress(FileNotFoundError, NotADirectoryError, UnicodeDecodeError)
        with missing, (root / MARK).open(encoding="ascii") as file:
            return file.read(64).strip()
        return ""

    def _known(self) -> dict[str, str]:
        """Return the words of the folders that were used before."""
        path = self.first.root / KNOWN
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise Refusal(
                f"cannot read {path}: it is damaged",
                remedy="mount all folders of the image matrix, then remove that file: it is written anew",
            ) from error
        return {str(root): str(word) for root, word in content.items()} if isinstance(content, dict) else {}


def _write(path: Path, text: str) -> None:
    """Write a small file in one step."""
    made = path.with_name(f"{path.name}.new")
    made.write_text(text, encoding="utf-8")
    sync(made)
    made.rename(path)
    sync(path.parent)
