"""An image matrix without bytes: it believes every archive, takes room for it, and can be killed."""

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from metier.domain.errors import NoSpace, Refusal
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import Disk, Image, Machine
from metier.drivers.formats.api import BlockReader
from metier.matrix.api import (
    CaptureOrder,
    Fetch,
    FolderSpace,
    ImportOrder,
    Report,
    StoredDisk,
    Usage,
)

IMAGE_BYTES = 1 << 30
"""What every archive here holds."""

STAGES = ("unpacking", "writing", "reading back")
CAPTURE_STAGES = ("copying", "writing", "reading back")

_LEAST_MEMORY_MIB = 256


class SimMatrix:
    """Keeps `matrix.api.Matrix` in memory.  Two imports of one version at once are not told apart.

    Attributes:
        published: The versions that readers may use; each was read back before.
        damaged: Published versions whose bytes have gone bad.
        staged: What work has put aside and nobody may use; what is left there was killed.
        free_bytes: Room; an import takes it as it goes, up to `IMAGE_BYTES` for each stage but the last.
        passed: Called at every stage with its name, before anything of it is done.
    """

    def __init__(self, free_bytes: int = 1 << 50, *, published: Iterable[ImageRef] = ()) -> None:
        self.published: set[ImageRef] = set(published)
        self.damaged: set[ImageRef] = set()
        self.staged: dict[ImageRef, int] = {}
        self.free_bytes = free_bytes
        self.passed: Callable[[str], None] = lambda _stage: None

    def copy(self) -> "SimMatrix":
        """Return what a disk would have at this moment."""
        other = SimMatrix(self.free_bytes, published=self.published)
        other.damaged, other.staged = set(self.damaged), dict(self.staged)
        return other

    def import_image(self, order: ImportOrder, report: Report) -> Image:
        """Take an archive in, stage by stage."""

        def do(stage: str) -> None:
            report(stage, 0, IMAGE_BYTES)
            self._take_room(order.ref, 0 if stage == STAGES[-1] else IMAGE_BYTES)
            report(stage, IMAGE_BYTES, IMAGE_BYTES)

        self._publish(order.ref, STAGES, do)
        return imported(order)

    def capture_image(self, order: CaptureOrder, fetch: Fetch, report: Report) -> Image:
        """Take over what `fetch` brings, which is told of a folder that is nowhere."""

        def do(stage: str) -> None:
            if stage == "copying":
                fetch(Path(str(order.ref)), lambda size: self._take_room(order.ref, size))
            report(stage, IMAGE_BYTES, IMAGE_BYTES)

        if order.parent.ref not in self.published:
            raise Refusal(f"cannot capture {order.ref}: image {order.parent.ref} is not in the image matrix")
        self._publish(order.ref, CAPTURE_STAGES, do)
        return captured(order)

    def export_image(self, image: Image, form: str, target: Path, report: Report) -> Sequence[Path]:  # noqa: ARG002 - nothing is written
        """Refuse: there are no bytes that a file could hold."""
        raise Refusal(
            f"cannot export image {image.ref} as {form}: a simulated image matrix holds no bytes",
            remedy="export it where it really is",
        )

    def disks(self, image: Image) -> tuple[StoredDisk, ...]:
        """Return disks without content."""
        return tuple(NoDisk() for _ in image.machine.disks) if image.machine else ()

    def usage(self, known: Collection[ImageRef]) -> Usage:
        """Say what the known versions take."""
        own = {ref: IMAGE_BYTES for ref in known if ref in self.published}
        total = self.free_bytes + len(self.published) * IMAGE_BYTES + sum(self.staged.values())
        return Usage((FolderSpace("images", total, self.free_bytes),), own, dict.fromkeys(own, 0))

    def verify(self, image: Image, report: Report) -> Sequence[str]:
        """Say whether a version is there, and whole."""
        if image.machine is None:
            return []
        if image.ref not in self.published:
            return [f"image {image.ref} is not in the image matrix"]
        report("reading back", IMAGE_BYTES, IMAGE_BYTES)
        return ["disk0.qcow2 differs from what was imported"] if image.ref in self.damaged else []

    def delete(self, ref: ImageRef) -> None:
        """Remove a version."""
        if ref in self.published:
            self.published.remove(ref)
            self.damaged.discard(ref)
            self.free_bytes += IMAGE_BYTES

    def inspect(self, order: ImportOrder, report: Report) -> dict[str, object]:
        """Say of everything that it can be imported."""
        report("checking", IMAGE_BYTES, IMAGE_BYTES)
        return {"package": order.location, "form": "vmdk", "disks": [], "remarks": []}

    def sweep(self, known: Collection[ImageRef], _awaited: Collection[ImageRef] = ()) -> Sequence[str]:
        """Remove what killed work left, and versions that nobody recorded."""
        killed, unknown = sorted(self.staged), sorted(self.published - set(known))
        for ref in killed:
            self._clear(ref)
        for ref in unknown:
            self.delete(ref)
        return [f"staged {ref}" for ref in killed] + [f"unrecorded {ref}" for ref in unknown]

    def _publish(self, ref: ImageRef, stages: Sequence[str], do: Callable[[str], None]) -> None:
        if ref in self.published:
            raise Refusal(
                f"cannot make image {ref}: that version exists already", remedy="take another version"
            )
        self.staged.setdefault(ref, 0)
        try:
            for stage in stages:
                self.passed(stage)
                do(stage)
            self.passed("publishing")
        except Exception:  # whatever else ends it is a kill, and leaves what was staged to `sweep`
            self._clear(ref)
            raise
        self._clear(ref)
        self.free_bytes -= IMAGE_BYTES
        self.published.add(ref)

    def _take_room(self, ref: ImageRef, wanted: int) -> None:
        if wanted > self.free_bytes:
            message = f"cannot make image {ref}: {wanted} bytes are needed and {self.free_bytes} are free"
            raise NoSpace(message, remedy="free some room and try again")
        self.free_bytes -= wanted
        self.staged[ref] += wanted

    def _clear(self, ref: ImageRef) -> None:
        self.free_bytes += self.staged.pop(ref)


@dataclass(frozen=True, slots=True)
class NoDisk:
    """A stored disk without content."""

    size_bytes: int = 0

    def open(self) -> BinaryIO:
        """Return nothing, to be read."""
        return io.BytesIO()

    def reader(self) -> AbstractContextManager[BlockReader]:
        """Return a disk of no size."""
        return nullcontext(_Nothing())


@dataclass(frozen=True, slots=True)
class _Nothing:
    """What is in such a disk."""

    name: str = "no disk"
    capacity_bytes: int = 0

    def blocks(self, _start: int, _stop: int) -> Iterator[tuple[int, bytes]]:
        return iter(())


def imported(order: ImportOrder) -> Image:
    """Return the image that an order describes."""
    disk = Disk("disk-0.qcow2", IMAGE_BYTES, stored_bytes=1 << 20, digest="sha256-64k:" + "0" * 64)
    answers = order.answers
    least = Requirements(memory_mib=answers.minimum_memory_mib or _LEAST_MEMORY_MIB)
    return Image(
        ref=order.ref,
        type=answers.type,
        form="vmdk",
        created=order.created,
        size_bytes=disk.stored_bytes,
        digest=disk.digest,
        requirements=answers.requirements.joined_with(least),
        startup_s=answers.startup_s,
        collectors=answers.collectors,
        machine=Machine((disk,)),
        source=Path(order.location).name,
    )


def captured(order: CaptureOrder) -> Image:
    """Return the image that comes of a capture: its parent's, with what was answered."""
    answers, least = order.answers, Requirements(memory_mib=order.answers.minimum_memory_mib)
    return replace(
        order.parent,
        ref=order.ref,
        type=answers.type,
        created=order.created,
        active=True,
        requirements=answers.requirements.joined_with(least),
        startup_s=answers.startup_s,
        collectors=answers.collectors,
        source=order.source,
        generation=0,
    )
