"""What lies in Metier's folder on a datastore: images, instances and personalities.

images/KEY/disk0.vmdk    disk 0 of an image, flat: shared by all hosts of the datastore, never written to
images/KEY/complete      made last: every disk of the image is whole
instances/ID/disk0.vmdk  disk 0 of an instance, a child of the image's
instances/ID/of.KEY      which image's children they are
seeds/NODE-VMn.iso       personality of what runs on VM n
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, BinaryIO

from metier.domain.errors import Refusal, Refused, Unavailable
from metier.drivers.hypervisor.api import DiskContent, ImageSource
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.configuration import Place, file_word
from metier.drivers.hypervisor.vsphere.devices import DiskFile
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.host import Host, free_bytes
from metier.drivers.hypervisor.vsphere.properties import finish
from metier.drivers.hypervisor.vsphere.qcow2 import Qcow2Stream, Unreadable
from metier.drivers.hypervisor.vsphere.transfer import Transfers
from metier.drivers.hypervisor.vsphere.vmware import vim, vmodl

# Left free on the datastore: one that is filled to the brim stops the guests that write to it.
RESERVE_BYTES = 64 << 20
_COMPLETE = "complete"
_SECTOR_BYTES = 512

_Browser = vim.host.DatastoreBrowser
_GONE = (vim.fault.FileNotFound, vmodl.fault.ManagedObjectNotFound)

_locks: dict[tuple[str, str, str], threading.Lock] = {}
_locks_lock = threading.Lock()


class Store:
    """The disks of one datastore, for the length of one attempt."""

    def __init__(self, endpoint: Endpoint, host: Host, place: Place, attempt: Attempt) -> None:
        self._endpoint, self._datastore, self._place = endpoint, host.datastore, place
        self._attempt = attempt
        self.transfers = Transfers(endpoint, host.datastore, attempt)

    # --- images -------------------------------------------------------------

    def ensure_image(self, source: ImageSource) -> tuple[str, ...]:
        """Make sure that the image's disks are here, each once, and return their paths.

        Of many callers in this process one copies, and the others wait for it.
        """
        key = file_word(source.key, "image")
        # Looked for before waiting: one that is here does not wait for another that is being copied.
        if not self._is_complete(key):
            with self.alone("images"):
                if not self._is_complete(key):
                    self._copy(key, source)
        return tuple(self.path(f"images/{key}/{_disk(number)}") for number in range(len(source.disks)))

    def drop_image(self, key: str) -> None:
        """Delete an image's disks, unless an instance stands on one of them."""
        folder = f"images/{file_word(key, 'image')}"
        with self.alone("images"), self.alone("instances"):
            names = self._files(folder)
            if names is None or self._has_children(key):
                return
            # The sign goes first: what a deletion that breaks off leaves is not a whole image.
            if _COMPLETE in names:
                self._delete(f"{folder}/{_COMPLETE}")
            self._drop_folder(folder)

    def _is_complete(self, key: str) -> bool:
        return _COMPLETE in (self._files(f"images/{key}") or ())

    def _copy(self, key: str, source: ImageSource) -> None:
        folder = f"images/{key}"
        if self._files(folder) is not None and not self._has_children(key):
            self._drop_folder(folder)
        self._require_room(key, sum(disk.capacity_bytes for disk in source.machine.disks))
        self._make_folder(folder)
        try:
            self._upload(folder, source)
            self.put_small(f"{folder}/{_COMPLETE}", b"whole\n")
        except Refused:
            # What is half there would take the very room that may be lacking.
            self._drop_folder(folder)
            raise

    def _upload(self, folder: str, source: ImageSource) -> None:
        done, total = 0, sum(disk.capacity_bytes for disk in source.machine.disks)
        for number, content in enumerate(source.disks):
            extent, size = f"disk{number}-flat.vmdk", source.machine.disks[number].capacity_bytes
            with _unreadable_is_refused(source.key, number), _opened(content) as file:
                disk = Qcow2Stream(file)
                if disk.capacity_bytes != size:
                    raise Unreadable(
                        f"it is a disk of {disk.capacity_bytes} bytes and should be one of {size}"
                    )
                tell = partial(self._tell, done, total)
                self.transfers.put(self.file(f"{folder}/{extent}"), disk.pieces(), size, tell)
            self.put_small(f"{folder}/{_disk(number)}", descriptor(extent, size))
            done += size

    def _tell(self, before: int, total: int, sent: int) -> None:
        self._attempt.tell(before + sent, total)

    def _require_room(self, key: str, needed: int) -> None:
        free = free_bytes(self._endpoint, self._datastore)
        if needed + RESERVE_BYTES > free:
            raise Refused(
                f"cannot put image {key} on datastore {self._datastore.name} of {self._place.node}: it takes"
                f" {_mib(needed)} MiB, {_mib(RESERVE_BYTES)} MiB stay in reserve, {_mib(free)} MiB are free",
                remedy="make room on the datastore, or delete image versions and instances that nobody needs",
            )

    def _has_children(self, key: str) -> bool:
        """Whether an instance stands on an image: one question, however many instances there are."""
        task = self._datastore.browser.SearchDatastoreSubFolders_Task(
            self.path("instances"), _search(f"of.{key}")
        )
        try:
            results = finish(self._endpoint, self._attempt, task)
        except _GONE:
            return False
        return any(result.file for result in results or ())

    # --- instances ----------------------------------------------------------

    def plan_instance(
        self, instance: str, image: ImageSource, parents: Sequence[str]
    ) -> tuple[DiskFile, ...]:
        """Return an instance's disks: those that are here, and those to be made over the image's.

        To be called, with what makes them, under `alone("instances")`.
        """
        folder = f"instances/{file_word(instance, 'instance')}"
        if not self._is_complete(image.key):
            raise Unavailable(f"cannot {self._attempt.what}: image {image.key} was deleted meanwhile")
        there = self._files(folder)
        if there is None:
            self._make_folder(folder)
        names = there or []
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

    def drop_instance(self, instance: str) -> None:
        """Delete the disks of an instance; nothing happens if there are none."""
        folder = f"instances/{file_word(instance, 'instance')}"
        with self.alone("instances"):
            if self._files(folder) is not None:
                self._drop_folder(folder)

    def instance_disk(self, instance: str, number: int) -> str:
        """Return the path of an instance's disk."""
        return self.path(f"instances/{file_word(instance, 'instance')}/{_disk(number)}")

    @contextmanager
    def whole_copy(self, instance: str, number: int) -> Iterator[str]:
        """Have a copy of an instance's disk that stands on nothing; yields the file with its content."""
        folder = f"captures/{self._place.node}/{file_word(instance, 'instance')}"
        if self._files(folder) is not None:
            self._drop_folder(folder)
        self._make_folder(folder)
        try:
            self._attempt.begin()
            source, center = self.instance_disk(instance, number), self._datastore.datacenter
            task = self._endpoint.content.virtualDiskManager.CopyVirtualDisk_Task(
                source, center, self.path(f"{folder}/{_disk(number)}"), center, None, False
            )
            finish(self._endpoint, self._attempt, task)
            yield self.file(f"{folder}/disk{number}-flat.vmdk")
        finally:
            self._drop_folder(folder)

    # --- personalities ------------------------------------------------------

    def put_seed(self, number: int, content: bytes) -> str:
        """Write the personality of VM `number` anew, and return its path."""
        with self.alone("seeds"):
            if self._files("seeds") is None:
                self._make_folder("seeds")
            self.put_small(self._seed(number), content)
        return self.path(self._seed(number))

    def drop_seed(self, number: int) -> None:
        """Delete the personality of VM `number`, if there is one."""
        with self.alone("seeds"):
            self._delete(self._seed(number))

    def _seed(self, number: int) -> str:
        return f"seeds/{self._place.node}-VM{number}.iso"

    # --- files --------------------------------------------------------------

    def file(self, name: str) -> str:
        """Return a file's name on the datastore, as HTTP wants it."""
        return f"{self._place.folder}/{name}"

    def path(self, name: str) -> str:
        """Return it as VMware's own calls want it."""
        return f"[{self._datastore.name}] {self.file(name)}"

    def put_small(self, name: str, content: bytes) -> None:
        """Write a small file."""
        self.transfers.put(self.file(name), (content,), len(content), lambda _sent: None)

    def _files(self, folder: str) -> list[str] | None:
        """Return the names in a folder; None if there is no such folder."""
        task = self._datastore.browser.SearchDatastore_Task(self.path(folder), _search("*"))
        try:
            result = finish(self._endpoint, self._attempt, task)
        except _GONE:
            return None
        return [str(file.path) for file in result.file or ()]

    def _make_folder(self, folder: str) -> None:
        self._attempt.begin()
        files = self._endpoint.content.fileManager
        with suppress(vim.fault.FileAlreadyExists):
            files.MakeDirectory(self.path(folder), self._datastore.datacenter, True)

    def delete_disk(self, name: str) -> None:
        """Delete a disk by its descriptor, with all its extents."""
        self._attempt.begin()
        disks = self._endpoint.content.virtualDiskManager
        task = disks.DeleteVirtualDisk_Task(self.path(name), self._datastore.datacenter)
        self._unless_gone(task)

    def _delete(self, name: str) -> None:
        self._attempt.begin()
        files = self._endpoint.content.fileManager
        self._unless_gone(files.DeleteDatastoreFile_Task(self.path(name), self._datastore.datacenter))

    def _drop_folder(self, folder: str) -> None:
        """Delete a folder; its disks first, as disks, so that none is left where disks are not mere files."""
        for name in self._files(folder) or ():
            if name.endswith(".vmdk") and not name.endswith(("-flat.vmdk", "-delta.vmdk", "-sesparse.vmdk")):
                self.delete_disk(f"{folder}/{name}")
        self._delete(folder)

    def _unless_gone(self, task: Any) -> None:
        with suppress(*_GONE):
            finish(self._endpoint, self._attempt, task)

    @contextmanager
    def alone(self, part: str) -> Iterator[None]:
        """Keep other calls of this process out of one part of this store."""
        whose = (str(self._endpoint.url), self._datastore.name, f"{self._place.folder}/{part}")
        with _locks_lock:
            lock = _locks.setdefault(whose, threading.Lock())
        busy = f"another copy to datastore {self._datastore.name} is under way"
        with self._attempt.alone(lock, busy):
            yield


def descriptor(extent: str, size: int) -> bytes:
    """Return the descriptor of a flat disk, as ESX attaches it.

    Args:
        extent: Name of the file with its content, in the same folder.
        size: What the guest sees, in bytes; what is beyond the last whole sector is not seen.
    """
    sectors = size // _SECTOR_BYTES
    cylinders = max(1, min(65535, sectors // (255 * 63)))
    return (
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        f'createType="vmfs"\n\n# Extent description\nRW {sectors} VMFS "{extent}"\n\n'
        '# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = "8"\nddb.adapterType = "lsilogic"\n'
        f'ddb.geometry.cylinders = "{cylinders}"\nddb.geometry.heads = "255"\n'
        'ddb.geometry.sectors = "63"\n'
    ).encode()


def _search(pattern: str) -> Any:
    # Without any specification some servers fail; with all details a large folder takes long.
    details = _Browser.FileInfo.Details(fileType=False, fileSize=False, modification=False, fileOwner=False)
    return _Browser.SearchSpec(matchPattern=[pattern], details=details, searchCaseInsensitive=False)


def _disk(number: int) -> str:
    return f"disk{number}.vmdk"


@contextmanager
def _opened(content: DiskContent) -> Iterator[BinaryIO]:
    try:
        file = content.open()
    except OSError as error:
        raise Unreadable("it cannot be opened") from error
    with file:
        yield file


@contextmanager
def _unreadable_is_refused(key: str, number: int) -> Iterator[None]:
    """Turn a disk of the image matrix that cannot be read into a driver's error."""
    try:
        yield
    except (Refusal, Unreadable) as error:
        raise Refused(
            f"cannot read disk {number} of image {key}", remedy="run `metier image verify`"
        ) from error


def _mib(size: int) -> int:
    """Return a size in MiB, rounded up."""
    return -(-size >> 20)
