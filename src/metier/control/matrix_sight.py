"""What was last measured of the image matrix, and what of it an operator should know."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef, natural
from metier.domain.image_health import verifications
from metier.domain.image_use import used_versions
from metier.domain.plan import Finding
from metier.drivers.formats.api import in_words
from metier.matrix.api import FolderSpace, Usage
from metier.operations.registry import Row

OVERDUE = timedelta(minutes=5)
"""A measurement takes milliseconds: one that is not there after this long hangs."""

_CODES = frozenset({"matrix-low-space", "matrix-folder-missing", "matrix-unknown-space"})

_NAMED = 3
"""So many versions are named whose deletion would help."""


@dataclass(frozen=True, slots=True)
class LowSpace:
    """When a folder counts as low on space: below both, so that large disks do not cry early.

    Attributes:
        percent: Of the file system, 0 to 100.
        size_bytes: And in bytes.
    """

    percent: int = 10
    size_bytes: int = 20 << 30

    def limit_bytes(self, folder: FolderSpace) -> int:
        """Return what must be free in a folder, in bytes."""
        return min(folder.total_bytes * self.percent // 100, self.size_bytes)


@dataclass(frozen=True, slots=True)
class MatrixSight:
    """What was measured of the image matrix.

    Attributes:
        at: When it was asked.
        usage: What was found; None where it is not known yet, or `error` says why not.
    """

    at: datetime
    usage: Usage | None = None
    error: str = ""
    low: LowSpace = LowSpace()


def matrix_findings(sight: MatrixSight, fleet: Fleet) -> tuple[Finding, ...]:
    """Return what an operator should know of a measurement."""
    if sight.usage is None:
        if not sight.error:
            return ()
        return (Finding("matrix-unknown-space", "images", f"it cannot be measured: {sight.error}"),)
    return tuple(_of_folders(sight.usage, sight.low, fleet))


def still_unknown(sight: MatrixSight | None, fleet: Fleet, now: datetime) -> tuple[Finding, ...]:
    """Return what stands until more is measured: what was so before the first time, or that it is late."""
    if sight is None or (sight.usage is None and not sight.error):
        before = [alert for alert in fleet.alerts.values() if alert.code in _CODES and alert.cleared is None]
        if before or sight is None:
            return tuple(Finding(alert.code, alert.subject, alert.message) for alert in before)
    if now - sight.at <= OVERDUE:
        return ()
    minutes = int((now - sight.at).total_seconds() // 60)
    message = f"its file systems do not answer; they were last asked {minutes} minutes ago"
    return (Finding("matrix-unknown-space", "images", message),)


def damage_findings(fleet: Fleet) -> tuple[Finding, ...]:
    """Return a finding for each version whose bytes were found to have gone bad."""
    return tuple(
        Finding("image-damaged", str(ref), f"{found.damage} (found by job {found.job})")
        for ref, found in sorted(verifications(fleet).items())
        if found.damage
    )


def _of_folders(usage: Usage, low: LowSpace, fleet: Fleet) -> Iterator[Finding]:
    for folder in usage.folders:
        if not folder.total_bytes:
            message = "it is not mounted: the image versions there cannot be used, and are not lost"
            yield Finding("matrix-folder-missing", folder.path, message)
        elif folder.free_bytes < low.limit_bytes(folder):
            message = (
                f"{in_words(folder.free_bytes)} of {in_words(folder.total_bytes)} are free,"
                f" and {in_words(low.limit_bytes(folder))} should be{_helpful(usage, fleet)}"
            )
            yield Finding("matrix-low-space", folder.path, message)


def _helpful(usage: Usage, fleet: Fleet) -> str:
    """Name the unused versions whose deletion gives most."""
    if not usage.own_bytes:
        return ""
    used = used_versions(fleet)
    unused = [(size, ref) for ref, size in usage.own_bytes.items() if ref in fleet.images and ref not in used]
    unused.sort(key=lambda pair: (-pair[0], natural(str(pair[1]))))
    if not unused:
        return "; every image version is in use"
    named = ", ".join(f"{ref} ({in_words(size)})" for size, ref in unused[:_NAMED])
    return f"; unused, with what deleting each would free: {named}"


def freed_note(usage: Usage, gone: Sequence[ImageRef]) -> str:
    """Say how many bytes become free with versions, as they lie now."""
    own = sum(usage.own_bytes.get(ref, 0) for ref in gone)
    shared = sum(usage.shared_bytes.get(ref, 0) for ref in gone)
    note = f"{in_words(own)} become free in the image matrix ({own} bytes)"
    if shared:
        note += f"; {in_words(shared)} are shared with other versions, and become free with the last of them"
    return note


def matrix_row(sight: MatrixSight) -> Row:
    """Return a measurement as readers get it: sizes by folder and by version, in bytes."""
    usage = sight.usage or Usage((), {}, {})
    return {
        "measured": sight.at if sight.usage is not None else None,
        "error": sight.error,
        "folders": [_folder_row(folder, sight.low) for folder in usage.folders],
        "own_bytes": {str(ref): size for ref, size in usage.own_bytes.items()},
        "shared_bytes": {str(ref): size for ref, size in usage.shared_bytes.items()},
    }


def _folder_row(folder: FolderSpace, low: LowSpace) -> Row:
    state = "ok"
    if not folder.total_bytes:
        state = "not mounted"
    elif folder.free_bytes < low.limit_bytes(folder):
        state = "low"
    return {
        "folder": folder.path,
        "state": state,
        "total_bytes": folder.total_bytes,
        "free_bytes": folder.free_bytes,
    }
