"""Copies what the disks of a VM hold, and makes sure that it is one state of them and all of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from metier.domain.errors import Refused
from metier.drivers.hypervisor.api import Ended, MakeRoom, TakenDisks
from metier.drivers.hypervisor.local_file import new_file
from metier.drivers.hypervisor.vsphere import vms
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.configuration import Place
from metier.drivers.hypervisor.vsphere.store import Store
from metier.drivers.hypervisor.vsphere.vmware import vim

_ENDED = {"TRUE": Ended.BY_GUEST, "FALSE": Ended.CUT}
_CAPTURE_FIRST = "shut its guest OS down, then capture it again"


def ended(vm: vms.Vm, place: Place) -> Ended:
    """Return how a VM came to be off, by what its last run wrote into its configuration; raises Refused."""
    vms.require_off(vm, place, "capture", _CAPTURE_FIRST)
    return _ENDED.get(vm.extra.get("softPowerOff", "").upper(), Ended.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Capture:
    """The copying of one VM's disks, for the length of one attempt.

    VMware has no way to read a child by itself: the host puts each disk
    together, beside it on the datastore, and that copy is fetched and deleted.

    Attributes:
        vm: Looks the VM up, as it is at that moment; raises Refused.
    """

    vm: Callable[[], vms.Vm]
    store: Store
    place: Place
    attempt: Attempt

    def take(self, into: Path, make_room: MakeRoom) -> TakenDisks:
        """Copy the disks into a folder; raises Refused if they are in use, or not what Metier made."""
        vm = self.vm()
        sizes = self._sizes(vm)
        assert vm.instance is not None
        total = sum(sizes)
        make_room(total)
        files = [into / f"disk{number}.raw" for number in range(len(sizes))]
        for number, size in enumerate(sizes):
            tell = partial(self._tell, sum(sizes[:number]), total)
            self._fetch(vm, number, size, files[number], tell)
        again = self.vm()
        if again.instance != vm.instance or self._sizes(again) != sizes:
            raise Refused(f"cannot capture {self._name(vm)}: it was changed while it was copied")
        return TakenDisks(vm.instance, tuple(files), parent="")

    def _tell(self, before: int, total: int, sent: int) -> None:
        self.attempt.tell(before + sent, total)

    def _sizes(self, vm: vms.Vm) -> list[int]:
        """Return the sizes of the disks of a VM that is off and has its whole instance and nothing else."""
        vms.require_off(vm, self.place, "capture", _CAPTURE_FIRST)
        if vm.instance is None:
            raise Refused(f"cannot capture {self._name(vm)}: it has no instance on it")
        disks = vm.of_kind(vim.vm.device.VirtualDisk)
        for number, disk in enumerate(disks):
            file = getattr(disk.backing, "fileName", "")
            if file != self.store.instance_disk(vm.instance, number):
                raise Refused(
                    f"cannot capture {self._name(vm)}: its disk {file or number} is not of its instance"
                    f" {vm.instance}; another tool made it, perhaps as a snapshot",
                    remedy="delete the VM's snapshots, or detach the disk, with VMware's own tools",
                )
        if not disks:
            raise Refused(f"cannot capture {self._name(vm)}: it does not have any disk of {vm.instance}")
        return [int(disk.capacityInBytes or disk.capacityInKB << 10) for disk in disks]

    def _fetch(self, vm: vms.Vm, number: int, size: int, file: Path, tell: Callable[[int], None]) -> None:
        assert vm.instance is not None
        with self.store.whole_copy(vm.instance, number) as copy, new_file(file) as content:
            done = 0
            for piece in self.store.transfers.pieces(copy):
                if piece.count(0) == len(piece):
                    content.seek(len(piece), 1)
                else:
                    content.write(piece)
                done += len(piece)
                tell(done)
            content.truncate(done)
        if done != size:
            raise Refused(f"cannot capture {self._name(vm)}: disk {number} is {done} bytes, and not {size}")

    def _name(self, vm: vms.Vm) -> str:
        return f"VM{vm.number} of {self.place.node}"
