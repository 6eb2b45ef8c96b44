"""A file that is being fetched: its bytes so far, their digest, and what is needed to go on with it later."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

STATE = ".state.json"

# So much at most is fetched once more after a power failure.
SYNC_BYTES = 64 << 20
_READ_BYTES = 4 << 20
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a download besides its bytes.

    Attributes:
        url: Digest of the URL, which itself may be secret.
        validator: By which the other side knows what was begun with; empty if it gave none.
        synced: So many bytes are surely on the disk.
        total: Size of the whole; None while unknown.
    """

    url: str
    validator: str = ""
    synced: int = 0
    total: int | None = None
    is_whole: bool = False


class Download:
    """One download in a folder of its own; taken up where an earlier one of the same URL was left.

    Attributes:
        done: Bytes that are there.
    """

    def __init__(self, url: str, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / file_name(url)
        self._blank = State(hashlib.sha256(url.encode()).hexdigest())
        self._folder = folder
        self.state = self._blank
        self.done = 0
        self._digest = hashlib.sha256()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o600)
        state = _read_state(folder / STATE)
        if state is not None and self._can_go_on(state):
            self.state = state

    @property
    def kept(self) -> int:
        """How many bytes an earlier run left for this one."""
        return self.state.synced

    def take_up(self, reach: Callable[[int], None]) -> None:
        """Read what an earlier run left, for its digest; `reach` is called with bytes read."""
        os.ftruncate(self._file, self.kept)
        while self.done < self.kept:
            chunk = os.pread(self._file, _READ_BYTES, self.done)
            self._digest.update(chunk)
            self.done += len(chunk)
            reach(self.done)

    def begin(self, validator: str, total: int | None) -> None:
        """Begin from nothing, with what the other side has now."""
        os.ftruncate(self._file, 0)
        self._digest = hashlib.sha256()
        self.done = 0
        self._keep(replace(self._blank, validator=validator, total=total))

    def write(self, chunk: bytes) -> None:
        """Add what comes next."""
        view = memoryview(chunk)
        at = self.done
        while view:
            written = os.pwrite(self._file, view, at)
            view, at = view[written:], at + written
        self._digest.update(chunk)
        self.done = at
        if self.done - self.state.synced >= SYNC_BYTES:
            self.sync()

    def sync(self, *, is_whole: bool = False) -> None:
        """Make sure of what is there."""
        os.fsync(self._file)
        total = self.done if is_whole else self.state.total
        self._keep(replace(self.state, synced=self.done, total=total, is_whole=is_whole))

    def digest(self) -> str:
        """Return the SHA-256 of what is there, in hex."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _can_go_on(self, state: State) -> bool:
        if state.url != self._blank.url or not (state.validator or state.is_whole):
            return False
        return state.synced <= os.fstat(self._file).st_size

    def _keep(self, state: State) -> None:
        draft = self._folder / f"{STATE}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / STATE)
        self.state = state


def file_name(url: str) -> str:
    """Return what a file from a URL is called here: its name there, as far as it fits a file."""
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    return _UNFIT.sub("-", last).lstrip(".-")[-_LONGEST_NAME:].lstrip(".-") or "download"


def _read_state(path: Path) -> State | None:
    """Return what was kept, or None if there is nothing of use: then all is begun again."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        state = State(**json.loads(path.read_text(encoding="utf-8")))
        return state if state.synced >= 0 else None
    return None
