"""What the rest of Metier asks of the image matrix."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import CollectorSpec, Image, ImageType
from metier.drivers.formats.api import BlockReader

Report = Callable[[str, int, int | None], None]
"""Called with the step in words, bytes done in it, and bytes in all or None."""


class Cancelled(Exception):
    """Raised by a `Report` to stop the work; everything begun is removed."""


class Stopping(Cancelled):
    """Raised by a `Report` as the controller ends: the work is begun again, and may leave what helps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the manual's capture script asks, answered.

    Attributes:
        minimum_memory_mib: 0 takes what the machine has as the minimum.
    """

    type: ImageType
    minimum_memory_mib: int = 0
    requirements: Requirements = field(default_factory=Requirements)
    startup_s: int = 300
    collectors: tuple[CollectorSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Hints:
    """What a bare disk does not tell of the machine around it; empty takes what its file says, or a default.

    Attributes:
        firmware: `bios` or `uefi`.
        bus: As `Disk.bus`.
        nic_model: As libvirt names it.
    """

    firmware: str = ""
    bus: str = ""
    nic_model: str = ""
    memory_mib: int = 0
    cpus: int = 0


@dataclass(frozen=True, slots=True)
class SeenVm:
    """A VM of somebody else's, as it was found.

    Attributes:
        vmx: Its configuration, as `.vmx` text that names its disks `disk0.vmdk`, `disk1.vmdk`, …; any
            change of the VM changes it.
        capacities: What the guest sees of each disk, in bytes.
        obstacles: Why it cannot be copied, one sentence each.
    """

    vmx: str
    capacities: tuple[int, ...]
    obstacles: tuple[str, ...] = ()


class SourceVm(Protocol):
    """A VM on a host of somebody else's; its calls raise DriverError, Unavailable if another try may help."""

    @property
    def words(self) -> str:
        """Return what messages and the image call it: `VM app of https://esx-1/sdk`."""

    def look(self) -> SeenVm:
        """Look at it; nothing is changed."""

    def fetch(self, number: int, into: Path, told: Callable[[int, int], None]) -> None:
        """Copy a disk, as the guest sees it, into a sparse file, going on from what is there.

        `told` gets bytes there and bytes in all; what it raises comes through.
        """


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """What is to be taken in.

    Attributes:
        location: Absolute path of a file or folder of the controller, or an http(s) URL; of a `vm`, where
            it is, in words.
        sha256: What the file must have, in hex; empty if nobody said.
        vmware_only: By `ccimport -r`: a VMware VM or nothing (R-IMAGE-4).
        vm: Taken from its host, instead of a file.
    """

    ref: ImageRef
    location: str
    created: datetime
    answers: Answers
    hints: Hints = Hints()
    sha256: str = ""
    vmware_only: bool = False
    vm: SourceVm | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The disks of a VM, copied.

    Attributes:
        files: One for each, in the guest's order.
        are_children: They hold only what differs from the parent's, as qcow2; else all that the disks hold.
    """

    files: tuple[Path, ...]
    are_children: bool


Fetch = Callable[[Path, Callable[[int], None]], Fetched]
"""Copies a VM's disks into an empty folder, asking for room before it writes, and says what it brought."""


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """A VM whose disks become a new version.

    Attributes:
        parent: The version that it was made from.
        source: Where it comes from, in words.
    """

    ref: ImageRef
    parent: Image
    created: datetime
    answers: Answers
    source: str


class StoredDisk(Protocol):
    """One disk of a version, as a plain qcow2 file without parent or by blocks, whatever it is stored as."""

    @property
    def size_bytes(self) -> int:
        """Return the length of that file."""

    def open(self) -> BinaryIO:
        """Open it from its beginning, to be read through once."""

    def reader(self) -> AbstractContextManager[BlockReader]:
        """Open what it holds, to be read by blocks; several threads may read at once.

        Raises:
            Refusal: It is damaged; reading may raise it too.
            OSError: It cannot be read; likewise.
        """


@dataclass(frozen=True, slots=True)
class FolderSpace:
    """One folder of the matrix and its file system, in bytes."""

    path: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What the matrix takes.

    Attributes:
        own_bytes: By version, what would become free if it were deleted.
        shared_bytes: By version, what it shares with others.
    """

    folders: tuple[FolderSpace, ...]
    own_bytes: Mapping[ImageRef, int]
    shared_bytes: Mapping[ImageRef, int]


class Matrix(Protocol):
    """Where published image versions are kept."""

    def import_image(self, order: ImportOrder, report: Report) -> Image:
        """Take an image in and publish it in one step, after its bytes were read back and compared.

        Returns the Image to be recorded; until it is, `sweep` would remove it.  On any
        error, and on a kill at any point followed by `sweep`, nothing is left behind.

        Raises:
            Refusal: It is not what it must be; the message says what and where.
            NoSpace: A stage needs more room than there is; the message has the numbers.
        """

    def inspect(self, order: ImportOrder, report: Report) -> dict[str, object]:
        """Say what an import would take in and what room it would take, JSON-ready; publishes nothing.

        Raises:
            Refusal: It would be refused; likewise NoSpace.
        """

    def capture_image(self, order: CaptureOrder, fetch: Fetch, report: Report) -> Image:
        """Make a new version of what `fetch` brings; promises and errors as `import_image`."""

    def export_image(self, image: Image, form: str, target: Path, report: Report) -> Sequence[Path]:
        """Write a version to new files, at `target` or beside it, whole or not at all; return them.

        `form` is a key of `matrix.exporting.FORMS`.

        Raises:
            Refusal: There is such a file, or the form cannot hold the image.
            NoSpace: There is not enough room.
        """

    def disks(self, image: Image) -> tuple[StoredDisk, ...]:
        """Return the disks of a version, for a host to be sent."""

    def verify(self, image: Image, report: Report) -> Sequence[str]:
        """Re-read a version and return a sentence for everything that is wrong with it."""

    def delete(self, ref: ImageRef) -> None:
        """Remove a version's bytes; nothing happens if there are none.  Other versions stay whole."""

    def usage(self, known: Collection[ImageRef]) -> Usage:
        """Measure what the known versions take and what is free."""

    def sweep(self, known: Collection[ImageRef], awaited: Collection[ImageRef] = ()) -> Sequence[str]:
        """Remove whatever no known version needs (leftovers of killed work); returns what was removed.

        What was fetched for the versions that imports still to come are to make stays.  Call it
        before any work is begun.
        """
