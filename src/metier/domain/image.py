"""Image versions: what a node runs, immutable in content once published."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef


class ImageType(StrEnum):
    """What kind of system the image holds."""

    LINUX = "linux"
    WINDOWS = "windows"
    OTHER = "other"
    VMM_HOST = "vmm-host"


@dataclass(frozen=True, slots=True)
class CollectorSpec:
    """A health check: a collector by its entry-point name, and its settings.

    `timeout_s` is in seconds, 0.1 to 60.
    """

    collector: str
    port: int | None = None
    path: str = "/"
    timeout_s: float = 3.0

    def __str__(self) -> str:
        port = f":{self.port}" if self.port is not None else ""
        path = self.path if self.path != "/" or self.collector == "http" else ""
        return f"{self.collector}{port}{path}"


@dataclass(frozen=True, slots=True)
class OfferedVm:
    """One VM that a host tier's image defines on each host: number n becomes `VM<n>`."""

    number: int
    memory_mib: int
    cpus: int = 1
    disk_gib: int = 8
    networks: tuple[str, ...] = ("default",)


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of a guest image, in the order the guest sees them.

    Attributes:
        file: Name of the published file inside the version's folder.
        capacity_bytes: Size that the guest sees.
        stored_bytes: Room it takes in the matrix.
        digest: `sha256-64k:…` of the guest-visible content; see `matrix/content.py`.
        bus: `virtio`, `scsi`, `sata` or `ide`.
        controller: Model of a SCSI controller as libvirt names it; empty for the default.
    """

    file: str
    capacity_bytes: int
    stored_bytes: int
    digest: str
    bus: str = "virtio"
    controller: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """The virtual hardware that a guest image expects.

    Attributes:
        firmware: `bios` or `uefi`.
        nic_models: One per interface, as libvirt names them.
        memory_mib: What its configuration file says; 0 if it says nothing.
        cpus: Likewise.
        remarks: What was found in the configuration and cannot be honoured, one sentence each.
    """

    disks: tuple[Disk, ...]
    firmware: str = "bios"
    nic_models: tuple[str, ...] = ("virtio",)
    memory_mib: int = 0
    cpus: int = 0
    guest_os: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """One version of an image in the image matrix.

    Content (`machine`, `offers`, `digest`, sizes) never changes; settings
    (`requirements`, `startup_s`, `collectors`, `active`) may be edited in place.

    Attributes:
        form: Form of the disks it was given in: `vmdk`, `qcow2`, `raw`; `vmm-host` for host images.
        machine: For guest images.
        offers: For host images: the VMs that each host offers.
        source: Where it came from, in words.
    """

    ref: ImageRef
    type: ImageType
    form: str
    created: datetime
    active: bool = True
    size_bytes: int = 0
    digest: str = ""
    requirements: Requirements = field(default_factory=Requirements)
    startup_s: int = 300
    collectors: tuple[CollectorSpec, ...] = ()
    machine: Machine | None = None
    offers: tuple[OfferedVm, ...] = ()
    source: str = ""
    generation: int = 0

    @property
    def is_host_image(self) -> bool:
        """Whether it runs a VM manager."""
        return self.type is ImageType.VMM_HOST
