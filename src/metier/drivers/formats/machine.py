"""A machine that a package describes, whoever described it, in libvirt's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

# What a person reads; a file made to annoy could earn thousands.
_MOST_REMARKS = 40

MOST_MEMORY_MIB = 64 * 1024 * 1024
"""vSphere's largest VM, with room: what is above is a slip of the pen."""

MOST_CPUS = 4096


class DiskFound(NamedTuple):
    """One hard disk.

    Attributes:
        slot: As the description names it: `scsi0:0`.
        file: Bare name of its file; empty for a disk that begins empty.
        bus: As libvirt names it.
        controller: Model of the SCSI controller as libvirt names it; empty on other buses.
        capacity_bytes: What the description says of its size; 0 if nothing.
        is_gzip: Its file is packed with gzip.
    """

    slot: str
    file: str
    bus: str
    controller: str = ""
    capacity_bytes: int = 0
    is_gzip: bool = False


@dataclass(frozen=True, slots=True)
class MachineFound:
    """The machine that a description describes, in libvirt's words.

    Attributes:
        memory_mib: 0 where the description says nothing; likewise `cpus`.
        remarks: What cannot be honoured, one sentence each.
    """

    disks: tuple[DiskFound, ...]
    firmware: str
    nic_models: tuple[str, ...]
    memory_mib: int
    cpus: int
    guest_os: str
    remarks: tuple[str, ...]


class Model(NamedTuple):
    """A device as hosts offer it, and what is to be said where that is not what the guest had."""

    model: str
    remark: str = ""


# QEMU's LSI Logic is not VMware's: Linux has the driver (sym53c8xx), its start-up image may lack it.
LSI_LOGIC = Model(
    "lsilogic",
    "is an LSI Logic 53C1030; hosts offer a 53C895A in its place, for which the guest needs a driver",
)

BUS_LOGIC = Model(
    "lsilogic", "is a BusLogic controller, which no host offers; an LSI Logic 53C895A takes its place"
)

# These change from a vlance into themselves under VMware's driver; without it they stay a vlance.
FLEXIBLE = Model("pcnet", "runs as the AMD PCnet card it falls back to")
VMXNET = Model("pcnet", "is VMware's vmxnet, offered as the AMD PCnet card it falls back to")
VMXNET2 = Model("e1000", "is VMware's vmxnet2, offered as an Intel e1000")
SRIOV = Model("e1000e", "is a passed-through card, offered as an Intel e1000e")


def unknown_controller(word: str) -> Model:
    """Return what stands in for a SCSI controller that nobody knows."""
    return Model("lsilogic", f"is of the unknown model {word[:40]!r}; an LSI Logic 53C895A takes its place")


def unknown_nic(word: str) -> Model:
    """Return what stands in for a network card that nobody knows."""
    return Model("e1000", f"is of the unknown model {word[:40]!r}, offered as an Intel e1000")


def bounded(remarks: Sequence[str]) -> tuple[str, ...]:
    """Return the first remarks, each once, and how many more there are."""
    each = tuple(dict.fromkeys(remarks))
    rest = len(each) - _MOST_REMARKS
    return (*each[:_MOST_REMARKS], *([f"and {rest} remarks more"] if rest > 0 else ()))
