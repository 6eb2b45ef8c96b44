"""What lies in Metier's folder on a datastore: images, instances and personalities.

images/KEY/                      see `images.py`
instances/ID/disk0.vmdk          disk 0 of an instance, a child of the image's, or a copy of it
instances/ID/disk0.vmdk.copying  it is such a copy, and not whole yet
instances/ID/of.KEY              which image's they are
seeds/NODE-VMn.iso               personality of what runs on VM n
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from metier.domain.errors import Unavailable
from metier.drivers.hypervisor.api import ImageSource
from metier.drivers.hypervisor.names import file_word
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.configuration import Place
from metier.drivers.hypervisor.vsphere.devices import DiskFile
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.files import BROKEN, Files
from metier.drivers.hypervisor.vsphere.host import Host
from metier.drivers.hypervisor.vsphere.images import Images
from metier.drivers.hypervisor.vsphere.properties import finish
from metier.drivers.hypervisor.vsphere.vmware import vim

_Spec = vim.VirtualDiskManager.VirtualDiskSpec
_COPYING = ".copying"


class Store(Files):
    """The disks of one datastore, for the length of one attempt."""

    def __init__(self, endpoint: Endpoint, host: Host, place: Place, attempt: Attempt) -> None:
        super().__init__(endpoint, host.datastore, place, attempt)
        self._images = Images(self)

    # --- images -------------------------------------------------------------

    def ensure_image(self, source: ImageSource) -> tuple[str, ...]:
        """Make sure that the image's disks are here, each once, and return their paths.

        Of many callers one copies; those of this process wait for it.
        """
        return self._images.ensure(source)

    def drop_image(self, key: str) -> None:
        """Delete an image's disks, unless an instance stands on one of them."""
        self._images.drop(key)

    # --- instances ----------------------------------------------------------

    def plan_instance(
        self, instance: str, image: ImageSource, parents: Sequence[str]
    ) -> tuple[DiskFile, ...]:
        """Return an instance's disks: those that are here, and those to be made over the image's.

        To be called, with what makes them, under `alone("instances")`.
        """
        folder = f"instances/{file_word(instance, 'instance')}"
        if not self._images.is_whole(image):
            raise Unavailable(f"cannot {self.attempt.what}: image {image.key} was deleted meanwhile")
        there = self.names(folder)
        if there is None:
            self.make_folder(folder)
        names = there or []
        for name in [name for name in names if name.endswith(_COPYING)]:
            self._drop_copy(f"{folder}/{name.removesuffix(_COPYING)}")
            names = [other for other in names if other != name.removesuffix(_COPYING)]
        if f"of.{image.key}" not in names:
            self.put_small(f"{folder}/of.{image.key}", f"{image.key}\n".encode())
        return tuple(
            DiskFile(
                self.path(f"{folder}/{_disk(number)}"),
                None if _disk(number) in names else parent,
                disk.capacity_bytes,
            )
            for number, (disk, parent) in enumerate(zip(image.machine.disks, parents, strict=True))
        )

    def copied(self, disks: Sequence[DiskFile]) -> tuple[DiskFile, ...]:
        """Make those of an instance's disks that are not there whole, by copying the image's.

        Copies are thin where the datastore makes them so by itself; a vCenter takes no word on it.
        """
        return tuple(disk if disk.parent is None else self._copied(disk, disk.parent) for disk in disks)

    def _copied(self, disk: DiskFile, source: str) -> DiskFile:
        name, center = disk.path.removeprefix(self.path("")), self.datastore.datacenter
        disks = self.endpoint.content.virtualDiskManager
        thin = None if self.endpoint.is_vcenter else _Spec(diskType="thin", adapterType="lsiLogic")
        try:
            self.put_small(name + _COPYING, b"not whole yet\n")
            self.attempt.begin()
            task = disks.CopyVirtualDisk_Task(source, center, disk.path, center, thin, False)
            finish(self.endpoint, self.attempt, task)
        except BaseException:  # whatever it is, the room must not stay taken
            with suppress(*BROKEN):
                self._drop_copy(name)
            raise
        self.delete(name + _COPYING)
        return replace(disk, parent=None)

    def _drop_copy(self, name: str) -> None:
        """Delete a copy that is not whole, and last the sign that it is none."""
        self.delete_disk(name)
        self.delete(name + _COPYING)

    def drop_instance(self, instance: str) -> None:
        """Delete the disks of an instance; nothing happens if there are none."""
        folder = f"instances/{file_word(instance, 'instance')}"
        with self.alone("instances"):
            if self.names(folder) is not None:
                self.drop_folder(folder)

    def instance_disk(self, instance: str, number: int) -> str:
        """Return the path of an instance's disk."""
        return self.path(f"instances/{file_word(instance, 'instance')}/{_disk(number)}")

    @contextmanager
    def whole_copy(self, instance: str, number: int) -> Iterator[str]:
        """Have a copy of an instance's disk that stands on nothing; yields the file with its content."""
        folder = f"captures/{self.place.node}/{file_word(instance, 'instance')}"
        if self.names(folder) is not None:
            self.drop_folder(folder)
        self.make_folder(folder)
        with self.dropped_if_it_fails(folder):
            self.attempt.begin()
            source, center = self.instance_disk(instance, number), self.datastore.datacenter
            task = self.endpoint.content.virtualDiskManager.CopyVirtualDisk_Task(
                source, center, self.path(f"{folder}/{_disk(number)}"), center, None, False
            )
            finish(self.endpoint, self.attempt, task)
            yield self.file(f"{folder}/disk{number}-flat.vmdk")
        self.drop_folder(folder)

    # --- personalities ------------------------------------------------------

    def put_seed(self, number: int, content: bytes) -> str:
        """Write the personality of VM `number` anew, and return its path."""
        with self.alone("seeds"):
            if self.names("seeds") is None:
                self.make_folder("seeds")
            self.put_small(self._seed(number), content)
        return self.path(self._seed(number))

    def drop_seed(self, number: int) -> None:
        """Delete the personality of VM `number`, if there is one."""
        with self.alone("seeds"):
            self.delete(self._seed(number))

    def seeds(self) -> list[int]:
        """Return the numbers of this node's VMs that a personality is here for."""
        start, end = f"{self.place.node}-VM", ".iso"
        words = [
            name[len(start) : -len(end)]
            for name in self.names("seeds") or ()
            if name.startswith(start) and name.endswith(end)
        ]
        return sorted(int(word) for word in words if word.isascii() and word.isdigit())

    def _seed(self, number: int) -> str:
        return f"seeds/{self.place.node}-VM{number}.iso"


def _disk(number: int) -> str:
    return f"disk{number}.vmdk"
