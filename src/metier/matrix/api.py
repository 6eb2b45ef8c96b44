"""What the rest of Metier asks of the image matrix."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import CollectorSpec, Image, ImageType

Report = Callable[[str, int, int | None], None]
"""Called with the step in words, bytes done in it, and bytes in all or None."""


class Cancelled(Exception):
    """Raised by a `Report` to stop the work; everything begun is removed."""


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """What the manual's capture script asks, answered.

    Attributes:
        archive: `.tgz`/`.tar`/folder with one `.vmx` and its `.vmdk` files.
        minimum_memory_mib: 0 takes the `.vmx`'s memsize as the minimum.
    """

    ref: ImageRef
    archive: Path
    type: ImageType
    created: datetime
    minimum_memory_mib: int = 0
    requirements: Requirements = field(default_factory=Requirements)
    startup_s: int = 300
    collectors: tuple[CollectorSpec, ...] = ()


class Matrix(Protocol):
    """A folder of published image versions."""

    def import_image(self, order: ImportOrder, report: Report) -> Image:
        """Take an archive in and publish it in one step, after its bytes were read back and compared.

        Returns the Image to be recorded; until it is, `sweep` would remove it.  On any
        error, and on a kill at any point followed by `sweep`, nothing is left behind.

        Raises:
            Refusal: The archive is not what it must be; the message says what and where.
            NoSpace: A stage needs more room than there is; the message has the numbers.
        """

    def folder(self, ref: ImageRef) -> Path:
        """Return the folder of a published version."""

    def verify(self, image: Image, report: Report) -> Sequence[str]:
        """Re-read a version and return a sentence for everything that is wrong with it."""

    def delete(self, ref: ImageRef) -> None:
        """Remove a version's bytes; nothing happens if there are none."""

    def sweep(self, known: Collection[ImageRef]) -> Sequence[str]:
        """Remove whatever no known version needs (leftovers of killed work); returns what was removed.

        Call it before any work is begun.
        """
