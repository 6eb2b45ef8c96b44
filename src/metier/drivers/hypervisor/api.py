"""What Metier asks of a VM manager: the protocol that every hypervisor driver keeps.

One object stands for one host node, however it is reached: a daemon on the host
itself or a manager of many hosts (the settings then name the host within it).
Disks live in a *store*, whatever the host calls it (a folder, a pool, a
datastore).  A host that cannot make copy-on-write children makes full copies
and does not announce `Capability.LINKED_INSTANCES`.

Every call is plain, blocking and idempotent: the same call again finds the work
done and returns.  No call retries or sleeps longer than its deadline.  Every
call raises only `Refused`, `Unavailable` or `OutcomeUnknown`.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol, runtime_checkable

from metier.domain.hardware import Hardware
from metier.domain.host_details import NO_DETAILS, HostDetails
from metier.domain.image import Machine, OfferedVm
from metier.domain.observation import Stray, VmFacts
from metier.drivers.formats.api import BlockReader

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, from the calling thread."""


class Capability(StrEnum):
    """What a driver's hosts can do beyond the core; the contract suite skips by these."""

    LINKED_INSTANCES = "linked-instances"
    GUEST_SHUTDOWN = "guest-shutdown"
    WATCH = "watch"
    GUEST_ADDRESS = "guest-address"
    CONSOLE = "console"
    UEFI = "uefi"
    CAPTURE = "capture"
    STAGED_VMS = "staged-vms"
    FOREIGN_VMS = "foreign-vms"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host says about itself.

    Attributes:
        hardware: The whole host: memory in MiB, CPUs, free room of its store in GiB.
        product: Name and version of its VM manager.
        accelerated: Guests run with hardware help; shown by a guest that really started with it.
        details: What else it tells of itself, for people.
    """

    hardware: Hardware
    product: str
    accelerated: bool
    details: HostDetails = NO_DETAILS


@dataclass(frozen=True, slots=True)
class VmReport:
    """All VMs of a host in one answer.

    Attributes:
        vms: Those that Metier owns, and no others.
        foreign_running: How many others are running.
        strays: VMs with Metier's mark for another node of this site, which somebody moved here;
            those that run count among the others too.
        patch_level: Of the VM manager, as in `HostDetails`; empty where the host does not say.
    """

    vms: tuple[VmFacts, ...]
    foreign_running: int
    strays: tuple[Stray, ...] = ()
    patch_level: str = ""


class DiskContent(Protocol):
    """One disk of a published image version: as a plain qcow2 file without parent, or block by block."""

    @property
    def size_bytes(self) -> int:
        """Return the length of that file."""

    def open(self) -> BinaryIO:
        """Open it from its beginning; read through once, and closed, by the caller.

        Raises:
            OSError: It cannot be read.
            Refusal: It is damaged; reading may raise both too.
        """

    def reader(self) -> AbstractContextManager[BlockReader]:
        """Open it to be read by blocks, those of zeros left out; errors as for `open`."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A published image version, as the driver may read it.

    Attributes:
        key: Unique and fit for a file name: `web@3` is `web-3`-like and stable.
        disks: One for each of `machine.disks`.
    """

    key: str
    machine: Machine
    disks: tuple[DiskContent, ...]


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """What is to run on one VM.

    Attributes:
        instance: Id of the instance: its disks are children of `image`'s, made if they
            are missing and kept if they exist.
        hostname: For the host's own records, such as leases.
        seed: An ISO 9660 image with the slot's personality, shown to the guest as a CD-ROM.
        metadata: Facts written next to Metier's mark on the VM, for people who look there.
    """

    instance: str
    image: ImageSource
    hostname: str
    seed: bytes
    metadata: Mapping[str, str]


@runtime_checkable
class Hypervisor(Protocol):
    """One host's VM manager."""

    CAPABILITIES: ClassVar[frozenset[Capability]]

    def facts(self, *, timeout_s: float) -> HostFacts:
        """Ask the host what it is and has."""

    def report(self, *, timeout_s: float) -> VmReport:
        """List the VMs that Metier owns on this host, with what each is doing.

        A VM is owned when it carries Metier's mark for this site and node, set by
        `define_vm`; name and number alone prove nothing.
        """

    def define_vm(self, offer: OfferedVm, *, timeout_s: float) -> None:
        """Make sure that owned VM `offer.number` exists; an existing one keeps its configuration.

        Raises:
            Refused: A VM that Metier does not own holds the name, or the host cannot offer this.
        """

    def remove_vm(self, number: int, *, timeout_s: float) -> None:
        """Remove owned VM `number` with its instance; nothing happens if there is none.

        Raises:
            Refused: It is running.
        """

    def prepare(
        self, number: int, guest: GuestSpec, progress: Progress, *, timeout_s: float
    ) -> tuple[str, ...]:
        """Put image, instance and personality in place on VM `number`, which is off.

        The image's bytes reach the host's store once, whole or not at all, and are
        then shared by all instances.  Returns remarks: what of the image's machine
        this host cannot honour, one sentence each.

        Raises:
            Refused: The VM is running, is not owned, or the host lacks room.
        """

    def start(self, number: int, *, timeout_s: float) -> None:
        """Start VM `number` and return once the host reports it running; a running one is left alone.

        The guest may still be booting: readiness is observed, never assumed here.
        """

    def shutdown(self, number: int, *, timeout_s: float) -> None:
        """Ask the guest OS of VM `number` to shut down, without waiting for it; off already is fine."""

    def stop(self, number: int, *, timeout_s: float) -> None:
        """Cut the power of VM `number` and return once the host reports it off; off already is fine."""

    def retire(self, number: int, discard: str | None, *, timeout_s: float) -> None:
        """Take instance and personality off VM `number`, which is off.

        `discard` names an instance whose disks are deleted; None keeps them.
        """

    def drop_image(self, key: str, *, timeout_s: float) -> None:
        """Delete an image's bytes from the host's store, unless an instance still stands on them."""

    def close(self) -> None:
        """Let go of the connection; later calls raise Unavailable."""


@runtime_checkable
class Watching(Protocol):
    """Announced by `Capability.WATCH`."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` soon after any VM of the host changed its power; from another thread.

        It carries no data: the caller asks `report`.  Also called when the connection is lost, and
        it may be when watching has begun.
        """


@runtime_checkable
class Consoles(Protocol):
    """Announced by `Capability.CONSOLE`."""

    def console(self, number: int, *, timeout_s: float) -> str:
        """Return a URL or command by which a person reaches the VM's console."""


class Ended(StrEnum):
    """How a VM that is off came to be off, as far as its host can tell."""

    BY_GUEST = "by its guest"
    CUT = "its power was cut"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TakenDisks:
    """The disks of a VM, copied.

    Attributes:
        instance: Id of the instance that they are.
        parent: Key of the image that they are children of; empty where they are none.
        files: One per disk, in the guest's order: qcow2 children of the image's disks, or whole disks in
            any form that `drivers/formats` reads, as `parent` says.  What they name as their parent
            themselves is not to be believed.
    """

    instance: str
    files: tuple[Path, ...]
    parent: str


MakeRoom = Callable[[int], None]
"""Called with a number of bytes before they are written; raises NoSpace."""


@runtime_checkable
class Capturing(Protocol):
    """Announced by `Capability.CAPTURE`."""

    def ended(self, number: int, *, timeout_s: float) -> Ended:
        """Say how VM `number` came to be off.

        Raises:
            Refused: It is running, or there is none of Metier's.
        """

    def take_disks(
        self, number: int, into: Path, make_room: MakeRoom, progress: Progress, *, timeout_s: float
    ) -> TakenDisks:
        """Copy what the disks of VM `number`, which is off, hold into the empty folder `into`.

        Nothing on the host changes; holes stay holes.  What was written when it raises stays for the
        caller to remove.

        Raises:
            Refused: The VM is running or was started meanwhile, has no instance on it, or is not owned.
        """


@runtime_checkable
class Adopting(Protocol):
    """Announced by `Capability.STAGED_VMS`: VMs that a person staged on the host become Metier's.

    The driver's settings name them.  Once taken over they are owned, and reported with
    `is_staged` as long as the settings hand them over; `remove_vm` gives one back as it was found,
    with its own disks, and deletes nothing but what Metier put there.
    """

    def adopt_vms(self, offered: Collection[int], *, timeout_s: float) -> tuple[str, ...]:
        """Take over what the settings hand over and is not yet taken over.

        Each gets the lowest number that no owned VM has and that is not in `offered`.
        Returns remarks: which cannot be taken over, and why, one sentence each.
        """


@dataclass(frozen=True, slots=True)
class FoundDisk:
    """One disk of somebody else's VM.

    Attributes:
        name: What the host calls it.
        capacity_bytes: Size that the guest sees.
    """

    name: str
    capacity_bytes: int


@dataclass(frozen=True, slots=True)
class ForeignVm:
    """A VM that Metier did not make, as it can be copied.

    Attributes:
        vmx: Its configuration, as text of the `.vmx` form that `drivers/formats/machine` reads; it
            names the disks `disk0.vmdk`, `disk1.vmdk`, ….
        obstacles: Why it cannot be copied as it is, one sentence each, with the way out: it runs,
            has snapshots, has a disk that is not in a file.
    """

    name: str
    vmx: str
    disks: tuple[FoundDisk, ...]
    obstacles: tuple[str, ...] = ()


@runtime_checkable
class Sourcing(Protocol):
    """Announced by `Capability.FOREIGN_VMS`: lets VMs of others be copied; never changes anything."""

    def foreign_vm(self, name: str, *, timeout_s: float) -> ForeignVm:
        """Describe a VM, by its name or its path in the inventory.

        Raises:
            Refused: There is none, or there are several; the message lists their paths.
        """

    def fetch_disk(self, name: str, number: int, into: Path, progress: Progress, *, timeout_s: float) -> None:
        """Copy disk `number` (from 0), byte for byte as the guest sees it, into a sparse file `into`.

        What `into` already holds from an earlier call that broke off is gone on from.

        Raises:
            Refused: The VM runs, or changed since it was described.
        """
