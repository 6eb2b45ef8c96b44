"""What changed between two image versions: settings, machine, blocks, and files where they can be read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from metier.domain.errors import Refusal
from metier.domain.image import Disk, Image, Machine
from metier.drivers.formats.api import BLOCK_BYTES, in_words
from metier.matrix.file_list import FileFilter, FileFindings, changed_files
from metier.matrix.index import RECORD_BYTES
from metier.matrix.progress import Progress
from metier.matrix.storing import StoredFiles

# Records that are taken from an index at a time: two megabytes of each.
_TAKEN = 50_000

Row = Mapping[str, object]


@dataclass(slots=True)
class BlockCount:
    """How many blocks of 64 KiB two disks have alike, and how many not; zeros count as nothing there."""

    same: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0

    @property
    def differing_bytes(self) -> int:
        """What differs, in whole blocks."""
        return (self.changed + self.added + self.removed) * BLOCK_BYTES


def changed_blocks(before: Path, after: Path) -> BlockCount:
    """Compare two indexes of stored disks, a stretch at a time.

    Raises:
        Refusal: One is damaged.
    """
    count = BlockCount()
    old, new = _Records(before), _Records(after)
    while old.held or new.held:
        if old.held == new.held:  # equal stretches, which most are, need no look at each record
            count.same += len(old.held) // RECORD_BYTES
            old.drop_all()
            new.drop_all()
            continue
        until = min(old.last, new.last)
        was, now = old.take(until), new.take(until)
        if not was and not now:  # the last record in hand is not the highest
            raise (old if old.last == until else new).damaged()
        both = was.keys() & now.keys()
        same = sum(was[number] == now[number] for number in both)
        count.same += same
        count.changed += len(both) - same
        count.removed += len(was) - len(both)
        count.added += len(now) - len(both)
    return count


class _Records:
    """The records of an index in order, a stretch at a time."""

    def __init__(self, path: Path) -> None:
        self._path, self._pieces = path, _pieces(path)
        self._before = -1
        self.held = b""
        self._refill()

    @property
    def last(self) -> int:
        """Number of the last block in hand; beyond all numbers at the end of the file."""
        return _number(self.held, len(self.held) - RECORD_BYTES) if self.held else 1 << 64

    def take(self, until: int) -> dict[int, bytes]:
        """Return what is in hand up to block `until`, with it; a later stretch has higher numbers."""
        found: dict[int, bytes] = {}
        place = 0
        while place < len(self.held) and (number := _number(self.held, place)) <= until:
            if number <= self._before:
                raise self.damaged()
            found[number] = self.held[place + 8 : place + RECORD_BYTES]
            self._before = number
            place += RECORD_BYTES
        self.held = self.held[place:]
        self._refill()
        return found

    def damaged(self) -> Refusal:
        """Return what says that its records are not in order."""
        return Refusal(
            f"cannot compare {self._path.name}: it is damaged",
            remedy="see what else is: `metier image verify NAME@VERSION`",
        )

    def drop_all(self) -> None:
        """Pass over what is in hand."""
        self._before = self.last
        self.held = b""
        self._refill()

    def _refill(self) -> None:
        if not self.held:
            self.held = next(self._pieces, b"")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_TAKEN * RECORD_BYTES):
            if len(piece) % RECORD_BYTES:
                raise Refusal(
                    f"cannot compare {path.name}: it is cut short",
                    remedy="see what else is: `metier image verify NAME@VERSION`",
                )
            yield piece


def _number(records: bytes, place: int) -> int:
    return int.from_bytes(records[place : place + 8], "big")


@dataclass(frozen=True, slots=True)
class Stored:
    """A version and the files of its disks."""

    image: Image
    disks: Sequence[StoredFiles]


def difference(
    before: Stored, after: Stored, wanted: FileFilter, progress: Progress, work: Path
) -> dict[str, object]:
    """Return all that differs, JSON-ready; what a disk's file system cannot tell is said in words.

    Raises:
        Refusal: An index is damaged.
    """
    pairs = list(zip(before.disks, after.disks, strict=False))
    progress.begin("comparing blocks")
    disks = [_disk_row(number, old, new) for number, (old, new) in enumerate(pairs)]
    with TemporaryDirectory(prefix="files-", dir=work) as folder:
        files = changed_files(pairs, wanted, progress, Path(folder)) if wanted.is_wanted else FileFindings()
    return {
        "before": str(before.image.ref),
        "after": str(after.image.ref),
        "settings": settings_changed(before.image, after.image),
        "machine": machine_changed(before.image.machine, after.image.machine),
        "disks": disks,
        "file_systems": list(files.volumes),
        "files": list(files.shown),
        "files_changed": files.count,
        "files_not_shown": files.count - len(files.shown),
        "files_touched": files.touched,
    }


def _disk_row(number: int, before: StoredFiles, after: StoredFiles) -> Row:
    count = changed_blocks(before.index, after.index)
    return {
        "disk": number,
        "same_bytes": count.same * BLOCK_BYTES,
        "changed_bytes": count.changed * BLOCK_BYTES,
        "added_bytes": count.added * BLOCK_BYTES,
        "removed_bytes": count.removed * BLOCK_BYTES,
    }


def settings_changed(before: Image, after: Image) -> list[Row]:
    """Return the settings and sizes that differ, as rows of what, before, after."""
    return _changed(_settings(before), _settings(after))


def machine_changed(before: Machine | None, after: Machine | None) -> list[Row]:
    """Return what of the virtual hardware differs, likewise."""
    return _changed(_machine(before), _machine(after))


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[Row]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        {"what": name, "before": before.get(name, ""), "after": after.get(name, "")}
        for name in names
        if before.get(name, "") != after.get(name, "")
    ]


def _settings(image: Image) -> dict[str, str]:
    needs = image.requirements
    return {
        "type": image.type.value,
        "form": image.form,
        "minimum memory": f"{needs.memory_mib} MiB",
        "CPUs": str(needs.cpus),
        "room for disks": f"{needs.disk_gib} GiB",
        "architecture": needs.architecture or "",
        "attributes": ", ".join(sorted(needs.attributes)),
        "networks": ", ".join(sorted(needs.networks)),
        "startup time": f"{image.startup_s} s",
        "collectors": ", ".join(str(spec) for spec in image.collectors),
        "active": "yes" if image.active else "no",
        "stored size": in_words(image.size_bytes),
        "source": image.source,
    }


def _machine(machine: Machine | None) -> dict[str, str]:
    if machine is None:
        return {}
    return {
        "firmware": machine.firmware,
        "NICs": ", ".join(machine.nic_models),
        "memory": f"{machine.memory_mib} MiB",
        "CPUs": str(machine.cpus),
        "guest OS": machine.guest_os,
        **{f"disk {number}": _disk(disk) for number, disk in enumerate(machine.disks)},
    }


def _disk(disk: Disk) -> str:
    controller = f" at {disk.controller}" if disk.controller else ""
    return f"{in_words(disk.capacity_bytes)}, {disk.bus}{controller}"
