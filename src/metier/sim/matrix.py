"""An image matrix without bytes: it believes every archive, takes room for it, and can be killed."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from metier.domain.errors import NoSpace, Refusal
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import Disk, Image, ImageType, Machine
from metier.matrix.api import ImportOrder, Report

IMAGE_BYTES = 1 << 30
"""What every archive here holds."""

STAGES = ("unpacking", "converting", "reading back")

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
        if order.ref in self.published:
            raise Refusal(
                f"cannot import image {order.ref}: that version exists already", remedy="take another version"
            )
        self.staged.setdefault(order.ref, 0)
        try:
            for stage in STAGES:
                self.passed(stage)
                report(stage, 0, IMAGE_BYTES)
                self._take_room(order.ref, 0 if stage == STAGES[-1] else IMAGE_BYTES)
                report(stage, IMAGE_BYTES, IMAGE_BYTES)
            self.passed("publishing")
        except Exception:  # whatever else ends it is a kill, and leaves what was staged to `sweep`
            self._clear(order.ref)
            raise
        self._clear(order.ref)
        self.free_bytes -= IMAGE_BYTES
        self.published.add(order.ref)
        return imported(order)

    def folder(self, ref: ImageRef) -> Path:
        """Return where nothing is."""
        return Path(str(ref))

    def verify(self, image: Image, report: Report) -> Sequence[str]:
        """Say whether a version is there, and whole."""
        if image.machine is None:
            return []
        if image.ref not in self.published:
            return [f"image {image.ref} is not in the image matrix"]
        report("reading back", IMAGE_BYTES, IMAGE_BYTES)
        return ["disk-0.qcow2 differs from what was imported"] if image.ref in self.damaged else []

    def delete(self, ref: ImageRef) -> None:
        """Remove a version."""
        if ref in self.published:
            self.published.remove(ref)
            self.damaged.discard(ref)
            self.free_bytes += IMAGE_BYTES

    def sweep(self, known: Collection[ImageRef]) -> Sequence[str]:
        """Remove what killed work left, and versions that nobody recorded."""
        killed, unknown = sorted(self.staged), sorted(self.published - set(known))
        for ref in killed:
            self._clear(ref)
        for ref in unknown:
            self.delete(ref)
        return [f"staged {ref}" for ref in killed] + [f"unrecorded {ref}" for ref in unknown]

    def _take_room(self, ref: ImageRef, wanted: int) -> None:
        if wanted > self.free_bytes:
            message = f"cannot import {ref}: {wanted} bytes are needed and {self.free_bytes} are free"
            raise NoSpace(message, remedy="free some room and import it again")
        self.free_bytes -= wanted
        self.staged[ref] += wanted

    def _clear(self, ref: ImageRef) -> None:
        self.free_bytes += self.staged.pop(ref)


def imported(order: ImportOrder) -> Image:
    """Return the image that an order describes."""
    disk = Disk("disk-0.qcow2", IMAGE_BYTES, stored_bytes=1 << 20, digest="sha256-64k:" + "0" * 64)
    least = Requirements(memory_mib=order.minimum_memory_mib or _LEAST_MEMORY_MIB)
    return Image(
        ref=order.ref,
        type=ImageType(order.type),
        form="vmdk",
        created=order.created,
        size_bytes=disk.stored_bytes,
        digest=disk.digest,
        requirements=order.requirements.joined_with(least),
        startup_s=order.startup_s,
        collectors=order.collectors,
        machine=Machine((disk,)),
        source=order.archive.name,
    )
