"""Which files differ between two versions of a disk: listed by a fenced program, compared in a file.

`file_walk.py` reads what is hostile; here is what starts it, bounds what it says, and
compares two of its lists without having either in memory.
"""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metier.domain.errors import NoSpace
from metier.matrix.file_walk import READER
from metier.matrix.progress import Progress
from metier.matrix.storing import StoredFiles

SHOWN = 200
"""So many changes are shown unless all are asked for."""

MOST_SHOWN = 20_000
"""And so many in any case: they are kept with the job."""

# A path of 8 KiB, escaped, and as long a link's target.
_LONGEST_LINE = 1 << 18
_MOST_LINES = 6_000_000

Row = Mapping[str, object]
Pair = tuple[StoredFiles, StoredFiles]


@dataclass(frozen=True, slots=True)
class FileFilter:
    """Which files are asked about.

    Attributes:
        is_wanted: Whether any are.
        below: Only what is in this folder or is this path; empty for all.
    """

    is_wanted: bool = True
    below: str = ""
    show_all: bool = False


@dataclass(slots=True)
class FileFindings:
    """What became of the files.

    Attributes:
        volumes: One row for each volume: what it is, and why it could not be read.
        shown: The first of the changes, sorted by disk, volume and path.
        count: How many there are.
        touched: How many more were written anew with the same size, time, mode and owner.
    """

    volumes: Sequence[Row] = ()
    shown: Sequence[Row] = ()
    count: int = 0
    touched: int = 0


def changed_files(
    pairs: Sequence[Pair], wanted: FileFilter, progress: Progress, folder: Path
) -> FileFindings:
    """List the files of each pair of disks and return what differs; `folder` takes a large file."""
    if find_spec(READER) is None:
        why = f"this controller has no reader for file systems: install {READER}, or metier[files]"
        return FileFindings(volumes=[{"disk": number, "why": why} for number in range(len(pairs))])
    with _told_in_full(), closing(sqlite3.connect(folder / "files.sqlite")) as kept:
        kept.executescript(_TABLES)
        rows: list[Row] = []
        for number, pair in enumerate(pairs):
            for side, files in enumerate(pair):
                progress.begin(f"listing the files of disk {number}, {('before', 'after')[side]}")
                _keep(kept, side, number, files, progress)
            rows += _volume_rows(kept, number)
        kept.execute("CREATE INDEX by_inode ON file (side, disk, volume, inode)")
        progress.begin("comparing files")
        return _compared(kept, wanted, rows)


@contextmanager
def _told_in_full() -> Iterator[None]:
    """Turn what the file with the lists says into an error of the domain."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise NoSpace(
            "cannot compare files: the lists of files do not fit into the image matrix",
            remedy="free some room there, or compare without files: --files off",
        ) from error


_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE volume (side INT, disk INT, number INT, name TEXT, form TEXT, size INT, why TEXT);
CREATE TABLE file (side INT, disk INT, volume TEXT, path TEXT, type TEXT, size INT, mtime TEXT, ctime TEXT,
    mode INT, uid INT, gid INT, inode INT, link TEXT,
    PRIMARY KEY (side, disk, volume, path)) WITHOUT ROWID;
"""


_INSERT_FILE = "INSERT OR REPLACE INTO file VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"

# What the program says of a volume and of a file, word by word.
_SAID: Mapping[str, tuple[type, ...]] = {
    "volume": (int, str, str, int, str),
    "file": (int, str, str, int, str, str, int, int, int, int, str),
    "trouble": (int, str),
    "end": (),
}


def _keep(kept: sqlite3.Connection, side: int, disk: int, files: StoredFiles, progress: Progress) -> None:
    """Put the list of a disk's files into the tables, and what hindered it."""
    names: dict[int, str] = {}
    count, why = (
        0,
        "the program that lists files ended early: its time or memory was over, or the disk is damaged",
    )
    with kept, closing(_lines(files)) as lines:
        for word, *fields in lines:
            if word == "volume":
                names[fields[0]] = fields[1]
                kept.execute("INSERT INTO volume VALUES (?,?,?,?,?,?,?)", (side, disk, *fields))
            elif word == "file":
                kept.execute(_INSERT_FILE, (side, disk, names.get(fields[0], ""), *fields[1:]))
                count += 1
                if count % 1000 == 0:
                    progress.begin(f"listing files: {count} of disk {disk}")
            elif word == "trouble":
                kept.execute(
                    "UPDATE volume SET why = ? WHERE side = ? AND disk = ? AND number = ?",
                    (fields[1], side, disk, fields[0]),
                )
            elif word == "end":
                why = ""
        if why:
            kept.execute("INSERT INTO volume VALUES (?,?,?,?,?,?,?)", (side, disk, -1, "", "", 0, why))


def _lines(files: StoredFiles) -> Generator[Any, None, None]:
    """Yield what the program says of a stored disk; it is over when this is closed."""
    with ExitStack() as opened:
        given = {"disk": _descriptor(files.disk, opened)}
        if files.base_disk.exists():
            given["base"] = _descriptor(files.base_disk, opened)
        program = subprocess.Popen(
            [sys.executable, "-P", "-m", "metier.matrix.file_walk", json.dumps(given)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=tuple(given.values()),
            env={name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LANG")},
        )
        try:
            assert program.stdout is not None
            for _ in range(_MOST_LINES):
                line = program.stdout.readline(_LONGEST_LINE)
                if not line.endswith(b"\n"):
                    return
                with suppress(ValueError, RecursionError):
                    said = json.loads(line)
                    if _is_sound(said):
                        yield said
        finally:
            program.kill()
            program.wait()
            if program.stdout is not None:
                program.stdout.close()


def _is_sound(said: Any) -> bool:
    """Say whether a line is one that the program writes: what it read may have taken it over."""
    if not isinstance(said, list) or not said or said[0] not in _SAID:
        return False
    words = _SAID[said[0]]
    numbers = [word for word in said[1:] if isinstance(word, int)]
    return (
        len(words) == len(said) - 1
        and all(type(word) is kind for word, kind in zip(said[1:], words, strict=True))
        and all(abs(number) < 1 << 63 for number in numbers)
    )


def _descriptor(path: Path, opened: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    opened.callback(os.close, descriptor)
    return descriptor


def _volume_rows(kept: sqlite3.Connection, disk: int) -> list[Row]:
    """Return a row for each volume of a disk, of either version."""
    told: dict[str, dict[str, object]] = {}
    query = "SELECT side, name, form, size, why FROM volume WHERE disk = ? ORDER BY number, side"
    for side, name, form, size, why in kept.execute(query, (disk,)):
        row = told.setdefault(
            name, {"disk": disk, "volume": name, "form": form, "size_bytes": size, "why": ""}
        )
        if why and why not in str(row["why"]):
            separator = "; " if row["why"] else ""
            row["why"] = f"{row['why']}{separator}{('before', 'after')[side]}: {why}"
    return [_without_side(row) for row in told.values()]


def _without_side(row: dict[str, object]) -> Row:
    """Leave out which version it is where the same is said of both."""
    why = str(row["why"])
    if why.startswith("before: "):
        first = why.removeprefix("before: ")
        if "after: " not in why:
            return {**row, "why": first}
    return row


def _compared(kept: sqlite3.Connection, wanted: FileFilter, volumes: Sequence[Row]) -> FileFindings:
    """Go through both lists side by side."""
    found = FileFindings(volumes=volumes)
    shown: list[Row] = []
    most = MOST_SHOWN if wanted.show_all else SHOWN
    untold = _untold(kept)
    for disk, volume, path, was, now in _side_by_side(kept, wanted.below):
        if (disk, volume) in untold:
            continue
        change, what = _change(kept, disk, volume, was, now)
        if change == "touched":
            found.touched += 1
        if not change or change == "touched":
            continue
        found.count += 1
        if len(shown) < most:
            shown.append({"disk": disk, "volume": volume, "path": path, "change": change, "what": what})
    found.shown = shown
    return found


def _untold(kept: sqlite3.Connection) -> set[tuple[int, str]]:
    """Return the volumes of which a list is not whole: what is missing there says nothing."""
    whole = (
        "SELECT disk, name FROM volume WHERE why = ''"
        " AND disk NOT IN (SELECT disk FROM volume WHERE number < 0)"
    )
    sides: dict[tuple[int, str], int] = {}
    for key in kept.execute(whole):
        sides[key] = sides.get(key, 0) + 1
    all_volumes = kept.execute("SELECT DISTINCT disk, volume FROM file").fetchall()
    return {key for key in all_volumes if sides.get(key, 0) < 2}


_SELECT_FILES = """SELECT disk, volume, path, type, size, mtime, ctime, mode, uid, gid, inode, link
    FROM file WHERE side = ?"""


def _side_by_side(kept: sqlite3.Connection, below: str) -> Iterator[tuple[Any, ...]]:
    """Yield disk, volume, path and the fields of both versions, None where there is no such path."""
    before, after = (_ordered(kept, side, below) for side in (0, 1))
    was, now = next(before, None), next(after, None)
    while was is not None or now is not None:
        if now is None or (was is not None and was[:3] < now[:3]):
            assert was is not None
            yield *was[:3], was[3:], None
            was = next(before, None)
        elif was is None or now[:3] < was[:3]:
            yield *now[:3], None, now[3:]
            now = next(after, None)
        else:
            yield *was[:3], was[3:], now[3:]
            was, now = next(before, None), next(after, None)


def _ordered(kept: sqlite3.Connection, side: int, below: str) -> Iterator[tuple[Any, ...]]:
    query = _SELECT_FILES
    values: list[object] = [side]
    folder = below.rstrip("/")
    if folder:
        query += " AND (path = ? OR (path > ? AND path < ?))"
        values += [folder, f"{folder}/", f"{folder}0"]  # `0` is the sign after `/`
    return kept.cursor().execute(f"{query} ORDER BY disk, volume, path", values)


def _change(kept: sqlite3.Connection, disk: int, volume: str, was: Any, now: Any) -> tuple[str, str]:
    """Say in a word how one path changed, and in words what of it."""
    if was is None:
        moved = _same_inode(kept, 0, disk, volume, now)
        return ("moved", f"from {moved}") if moved else ("added", _described(now))
    if now is None:
        # It is told at the place where it is now.
        return ("", "") if _same_inode(kept, 1, disk, volume, was) else ("removed", _described(was))
    what = _differences(was, now)
    if what:
        return "changed", ", ".join(what)
    is_touched = was[0] != "folder" and (was[3] != now[3] or was[7] != now[7])
    return ("touched" if is_touched else ""), ""


def _same_inode(kept: sqlite3.Connection, side: int, disk: int, volume: str, fields: Any) -> str:
    """Return the path that a file has in the other version and no longer, or not yet, in this one.

    It is the same file if its inode, size and time are.
    """
    kind, size, mtime, _, _, _, _, inode, _ = fields
    if kind != "file":
        return ""
    query = (
        "SELECT path FROM file AS other WHERE side = ? AND disk = ? AND volume = ? AND inode = ?"
        " AND type = ? AND size = ? AND mtime = ? AND NOT EXISTS (SELECT 1 FROM file WHERE side = ?"
        " AND disk = other.disk AND volume = other.volume AND path = other.path) LIMIT 2"
    )
    found = kept.execute(query, (side, disk, volume, inode, kind, size, mtime, 1 - side)).fetchall()
    return found[0][0] if len(found) == 1 else ""


def _described(fields: Any) -> str:
    kind, size, *_, link = fields
    if kind == "link":
        return f"link to {link}"
    return f"{size} bytes" if kind == "file" else str(kind)


def _differences(was: Any, now: Any) -> list[str]:
    if was[0] != now[0]:
        return [f"type {was[0]} → {now[0]}"]
    is_folder = was[0] == "folder"  # what is in it is told by itself
    found = []
    if was[1] != now[1] and not is_folder:
        found.append(f"size {was[1]} → {now[1]}")
    if was[2] != now[2] and not is_folder:
        found.append("time")
    if was[4] != now[4]:
        found.append(f"mode {was[4]:04o} → {now[4]:04o}")
    if was[5:7] != now[5:7]:
        found.append(f"owner {was[5]}:{was[6]} → {now[5]}:{now[6]}")
    if was[8] != now[8]:
        found.append(f"link {was[8]} → {now[8]}")
    return found
