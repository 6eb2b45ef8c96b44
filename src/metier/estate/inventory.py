"""The nouns: an estate, its VMs, their disks and network cards, as somebody else listed them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Power(StrEnum):
    """What a VM's power was when the list was made."""

    ON = "on"
    OFF = "off"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EstateDisk:
    """One virtual disk.

    Attributes:
        label: As VMware calls it: `Hard disk 1`.
        capacity_bytes: What the guest sees; None if nobody said.
        thin: Whether its file grows with its content; None if nobody said.
        raw: Empty, or of a raw device mapping its mode: `physical`, `virtual`, `unknown`.
        mode: VMware's word: `persistent`, `independent_persistent`…; empty if nobody said.
        is_shared: Whether other VMs may write to it at the same time.
        controller: What it is attached to, in VMware's words; empty if nobody said.
        form: What its file is: `flat`, or what cannot be read as it lies: `sesparse`, `sparse`, `vsan`,
            `vvol`; empty if nobody said.
        is_child: It holds only the difference to another disk.
    """

    label: str
    capacity_bytes: int | None
    thin: bool | None = None
    raw: str = ""
    mode: str = ""
    is_shared: bool = False
    controller: str = ""
    form: str = ""
    is_child: bool = False


@dataclass(frozen=True, slots=True)
class EstateNic:
    """One network card; `model` and `network` are VMware's words, empty if nobody said."""

    model: str = ""
    network: str = ""


@dataclass(frozen=True, slots=True)
class EstateVm:
    """One VM; None and empty words stand for what nobody said.

    Attributes:
        connection: What vCenter says of it when it is not simply `connected`: `orphaned`…
        firmware: `bios`, `uefi`, or empty.
        disk_count: Disks that were counted, where they are not listed one by one.
        disks: None where no list of disks was given.
        used_bytes: What its files take on its datastores.
        snapshots: How many there are.
        passed_through: Devices of the host that it was given, in words.
        is_ambiguous: Another VM has its name, and the list tells the two apart nowhere.
        url: Where it can be taken from by an import, if the list is from a server.
        user: Who asked there.
        called: By what it is found there: its name, or its .vmx where that is not the only one.
    """

    name: str
    power: Power = Power.UNKNOWN
    memory_mib: int | None = None
    cpus: int | None = None
    guest_os: str = ""
    firmware: str = ""
    secure_boot: bool = False
    disk_count: int | None = None
    disks: tuple[EstateDisk, ...] | None = None
    nics: tuple[EstateNic, ...] | None = None
    used_bytes: int | None = None
    snapshots: int | None = None
    needs_consolidation: bool = False
    is_template: bool = False
    is_encrypted: bool = False
    has_tpm: bool = False
    is_fault_tolerant: bool = False
    connection: str = ""
    passed_through: tuple[str, ...] = ()
    is_ambiguous: bool = False
    host: str = ""
    cluster: str = ""
    folder: str = ""
    url: str = ""
    user: str = ""
    called: str = ""

    @property
    def capacity_bytes(self) -> int | None:
        """What its guest sees of all its disks; None if that of one is unknown."""
        if self.disks is None:
            return None
        sizes = [disk.capacity_bytes for disk in self.disks]
        return None if None in sizes else sum(size for size in sizes if size is not None)


@dataclass(frozen=True, slots=True)
class Estate:
    """A list of VMs.

    Attributes:
        source: Where it is from, in words.
        hosts: How many hosts were listed; None if none were.
        remarks: What the list leaves unsaid, one sentence each.
    """

    source: str
    vms: tuple[EstateVm, ...]
    hosts: int | None = None
    remarks: tuple[str, ...] = ()


class Inventory(Protocol):
    """Something that knows an estate."""

    def read(self) -> Estate:
        """Return all of it; nothing is changed by that.

        Raises:
            Refusal: It cannot be understood, or is beyond the limits.
            Unavailable: It could not be reached.
        """
