"""VM by VM: what an import would need, and whether it can be had.

Ready means that nothing has to be changed beforehand.  Switching the guest off is no
work but part of the move itself, so it is told apart: in a living estate nearly every
VM runs, and a list that calls them all unready says nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from metier.drivers.formats.api import Limits, in_words
from metier.drivers.formats.machine import MOST_CPUS, MOST_MEMORY_MIB
from metier.estate.devices import controller_note, nic_note
from metier.estate.guests import why_impossible
from metier.estate.inventory import EstateVm, Power


class Verdict(StrEnum):
    """Whether a VM can be imported."""

    READY = "ready"
    NEEDS_WORK = "needs work"
    NOT_POSSIBLE = "not possible"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of looking at one VM.

    Attributes:
        blockers: Why it cannot be imported, whatever is done to it.
        work: What has to be done before, each with why.
        at_the_move: What is done when its turn has come.
        notes: What will be different afterwards.
        unknown: What the list did not tell and somebody has to look up.
    """

    blockers: tuple[str, ...]
    work: tuple[str, ...]
    at_the_move: tuple[str, ...]
    notes: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """What it comes to: the worst of what was found."""
        if self.blockers:
            return Verdict.NOT_POSSIBLE
        return Verdict.NEEDS_WORK if self.work else Verdict.READY


def judged(vm: EstateVm) -> Judgement:
    """Judge one VM."""
    return Judgement(*(tuple(dict.fromkeys(find(vm))) for find in _FINDERS))


def _blockers(vm: EstateVm) -> Iterator[str]:
    why = why_impossible(vm.name, vm.guest_os)
    if why:
        yield why
    if "Site Recovery" in vm.connection:
        yield "it is a placeholder of Site Recovery Manager: import the VM that it stands for"
    if not vm.is_ambiguous and _counted(vm) == 0:
        yield "it has no hard disk, so there is nothing to import: it starts from the network or a CD"
    limits = Limits()
    if (_counted(vm) or 0) > limits.disks:
        yield f"it has {_counted(vm)} disks; an import takes {limits.disks} at most"
    for disk in vm.disks or ():
        if (disk.capacity_bytes or 0) > limits.disk_bytes:
            yield (
                f"{disk.label} has {in_words(disk.capacity_bytes or 0)}; an import takes "
                f"{in_words(limits.disk_bytes)} at most"
            )
    if (vm.memory_mib or 0) > MOST_MEMORY_MIB or (vm.cpus or 0) > MOST_CPUS:
        yield f"it has {vm.memory_mib} MiB of memory and {vm.cpus} CPUs, which is more than any host has"
    if any(disk.is_shared for disk in vm.disks or ()):
        shared = ", ".join(disk.label for disk in vm.disks or () if disk.is_shared)
        yield (
            f"{shared} may be written by several VMs at once, and each node has disks of its own: "
            "set the cluster up anew with storage that its guests reach over the network"
        )


def _work(vm: EstateVm) -> Iterator[str]:
    if vm.is_ambiguous:
        yield "another VM has the same name, and the list tells them apart nowhere: rename one, export again"
    if vm.connection and "Site Recovery" not in vm.connection:
        yield f"vCenter calls it {vm.connection}: get it connected again first"
    if vm.disks is None:
        yield "nobody said what disks it has: export the tab vDisk too, or fill in disks_gib"
    if vm.snapshots:
        amount = "a snapshot" if vm.snapshots == 1 else f"{vm.snapshots} snapshots"
        yield f"it has {amount}: delete them all, so that its disks are whole"
    if vm.needs_consolidation:
        yield "its disks need consolidation: Snapshots, Consolidate"
    if vm.is_encrypted:
        yield "it is encrypted: decrypt it by the storage policy 'Datastore Default'"
    if vm.has_tpm:
        yield (
            "it has a virtual TPM, which is left out: suspend BitLocker or whatever else seals with it, "
            "keep the recovery keys, and remove it"
        )
    yield from _work_on_disks(vm)
    if vm.is_fault_tolerant:
        yield "it is fault tolerant: turn that off, so that it is one VM"
    for device in vm.passed_through:
        yield f"it was given a device of its host, {device}: do without it, or share it over the network"
    if vm.power is Power.SUSPENDED:
        yield "it is suspended: resume it, and shut its guest OS down"


def _work_on_disks(vm: EstateVm) -> Iterator[str]:
    if not vm.snapshots and any(disk.is_child for disk in vm.disks or ()):
        yield "it is a linked clone, whose disks hold only what differs from another's: clone it in full"
    for disk in vm.disks or ():
        if disk.raw:
            how = "" if disk.raw == "unknown" else f" in {disk.raw} mode"
            yield (
                f"{disk.label} is a raw device mapping{how}: copy it into a virtual disk "
                "(vmkfstools -i SOURCE.vmdk -d thin TARGET.vmdk), or migrate its storage to another format"
            )


def _at_the_move(vm: EstateVm) -> Iterator[str]:
    if vm.power is Power.ON:
        yield "shut its guest OS down from inside"
    if vm.power is Power.UNKNOWN:
        yield "see that it is off"


def _notes(vm: EstateVm) -> Iterator[str]:
    for form in dict.fromkeys(disk.form for disk in vm.disks or () if disk.form not in ("", "flat")):
        yield f"its disks are {form}, which cannot be read as they lie: export it with ovftool"
    if vm.firmware == "uefi":
        yield "it boots by UEFI: from its disk's default entry, since the variables are not taken over"
    if vm.secure_boot:
        yield "Secure Boot is switched off"
    for disk in vm.disks or ():
        mode = disk.mode.lower().replace("-", "_")
        if "nonpersistent" in mode:
            yield f"{disk.label} forgets its changes at power-off under VMware; here it keeps them"
        elif "independent" in mode:
            yield f"{disk.label} is independent: snapshots and many backups left it out, the import does not"
        note = controller_note(disk.controller)
        if note:
            yield note
    for nic in vm.nics or ():
        note = nic_note(nic.model)
        if note:
            yield note
    if vm.nics:
        yield "each node gets a MAC address of its own: see what is bound to the old one"
    if vm.is_template:
        yield "it is a template, and a good image: nothing runs that would have to be switched off"


def _unknown(vm: EstateVm) -> Iterator[str]:
    for value, what in (
        (vm.snapshots, "snapshots"),
        (vm.firmware or None, "firmware"),
        (vm.guest_os or None, "guest OS"),
        (vm.memory_mib, "memory"),
        (vm.nics, "network cards"),
    ):
        if value is None:
            yield what
    if vm.disks and any(disk.capacity_bytes is None for disk in vm.disks):
        yield "size of a disk"


_FINDERS: tuple[Callable[[EstateVm], Iterator[str]], ...] = (_blockers, _work, _at_the_move, _notes, _unknown)


def _counted(vm: EstateVm) -> int | None:
    """Return how many disks it has; None if nobody said."""
    if vm.disks is None:
        return vm.disk_count
    return max(len(vm.disks), vm.disk_count or 0)
