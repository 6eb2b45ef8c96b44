"""How many bytes a VM's import copies, and what they take in the matrix, at most."""

from typing import NamedTuple

from metier.drivers.formats.qcow2.room import most_bytes
from metier.estate.inventory import EstateVm


class Sizes(NamedTuple):
    """Bounds in bytes; None where the list does not tell enough.

    Attributes:
        capacity: What the guest sees of its disks.
        copied: What has to be read and sent: zeros are left out, so it may be far less.
        matrix: Room in the image matrix.
    """

    capacity: int | None
    copied: int | None
    matrix: int | None


def sizes_of(vm: EstateVm) -> Sizes:
    """Return the bounds of one VM.

    A disk that grows with its content holds no more than its file takes; of any other
    disk the list tells nothing of how full it is.
    """
    capacity = vm.capacity_bytes
    if capacity is None or not vm.disks:
        return Sizes(None, None, None)
    copied = capacity
    if vm.used_bytes and all(disk.thin for disk in vm.disks):
        copied = min(capacity, vm.used_bytes)
    # Whichever disk the content lies on: each may end in a block of its own.
    matrix = sum(most_bytes(0, disk.capacity_bytes or 0) for disk in vm.disks)
    matrix += most_bytes(copied, capacity) - most_bytes(0, capacity) + (len(vm.disks) << 17)
    return Sizes(capacity, copied, matrix)
